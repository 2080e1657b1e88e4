"""The 16 features of ST-GREED of two files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from compressvqa.errors import DataError
from compressvqa.progress import Progress
from compressvqa.scoring.greed.filters import Array
from compressvqa.scoring.greed.luma import SMALLEST_SIDE, Grid, grids, small_luma
from compressvqa.scoring.greed.stream import WINDOW, Entropies, EntropyStream, FeatureStream, Pictures
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, look
from compressvqa.video.form import alike
from compressvqa.video.frames import Planes
from compressvqa.video.reformat import Reformatter


def greed_features(reference: Clip, distorted: Clip, pairing: Pairing | None = None) -> Array:
    """ST-GREED's features: entropic differences in space and time, 0 where the two files are the same.

    Madhusudana, Birkbeck, Wang, Adsumilli and Bovik, "ST-GREED: Space-Time Generalized Entropic Differences for Frame
    Rate Dependent Video Quality Prediction", IEEE TIP 2021. Where the frame rates differ and the pairing goes by time,
    the distorted video is not held on the reference's clock as for other metrics: the reference is brought to the
    distorted rate, as the paper does. A picture of another size is averaged on the reference's grid.

    There are 35 windows less than frames; window i looks at frames i to i + 35 in time and at frame i in space, so that
    the last 35 frames count in time only (as in the authors' program).

    Differs from the authors' program in that: codes of more than 8 bits are brought to the range of 8 bits; the scales
    go by height and not by bit depth; a kurtosis between two entries of the table of shapes is interpolated.

    Args:
        reference: at least 36 frames, 160 pixels a side.
        distorted: the distorted file, of the reference's frame rate or a lower one.
        pairing: how they are brought together; with `subsample` n, one of n blocks of 12 windows is looked at.

    Returns:
        (16,), named by `FEATURE_NAMES`.

    Raises:
        DataError: a file can't be read or compared, is too short or too small, or has a higher frame rate than its
            reference.
    """
    return features_of(reference, [distorted], pairing or Pairing())[0].features


def features_of(
    reference: Clip, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
) -> list[Comparison]:
    """Features of several files against one reference, which is decoded and filtered once; see `greed_features`."""
    sights = [_look(reference, clip, pairing) for clip in distorted]
    found: dict[int, Comparison] = {}
    # Side by side are files in whose matrix the reference's luma is one and the same.
    for places in alike(
        [
            (sight.reference and sight.reference.colour, sight.form and sight.form.matrix, sight.treatments[0])
            for sight in sights
        ]
    ):
        sides = [Comparison(distorted[place], sights[place], pairing) for place in places]
        found |= zip(places, _side_by_side(reference, sides, pairing, progress), strict=True)
    return [found[place] for place in range(len(distorted))]


def _side_by_side(
    reference: Clip, sides: list[Comparison], pairing: Pairing, progress: Progress | None
) -> list[Comparison]:
    total = max((side.sight.frames for side in sides if side.sight.frames is not None), default=None)
    whole, number = EntropyStream(), 0
    try:
        for planes in sides[0].sight.left(reference, pairing).frames(pairing.frames):
            if all(side.ended for side in sides):
                break
            pictures = small_luma(sides[0].in_form(planes), sides[0].grids)
            entropies = whole.push(pictures)
            for side in sides:
                side.push(number, pictures, entropies)
            number += 1
            if progress is not None:
                progress(number, total)
        for side in sides:
            side.check(reference, number)
    finally:
        for side in sides:
            side.close()
    return sides


class Comparison:
    """One distorted file beside its reference.

    Attributes:
        sight: what a look at both said.
        frames: reference frames compared so far.
        ended: whether the distorted file has no more frames.
    """

    def __init__(self, clip: Clip, sight: Sight, pairing: Pairing) -> None:
        assert sight.reference is not None
        self.sight, self.frames, self.ended = sight, 0, False
        self.grids: tuple[Grid, Grid] = grids(sight.reference.height, sight.reference.width)
        self._clip, self._pairing = clip, pairing
        self._stream = FeatureStream(sight.hold or Fraction(1), pairing.subsample)
        # Of its own size: the grids average it.
        self._reader = replace(sight.right(clip, pairing), size=None).frames()
        self._bring = Reformatter(matrix=None if sight.form is None else sight.form.matrix)

    def in_form(self, planes: Planes) -> Planes:
        """A picture of either file in the matrix that both are compared in."""
        return self._bring(planes)

    @property
    def features(self) -> Array:
        """(16,), the means over all windows."""
        features = self._stream.features()
        if features is None:
            raise DataError(
                f"ST-GREED filters {WINDOW} frames in time; fewer are there to compare", where=self._clip.path
            )
        return features

    def push(self, number: int, pictures: Pictures, entropies: Entropies | None) -> None:
        """Takes reference frame `number`, and the distorted file's next frame where that belongs to it."""
        if self.ended:
            return
        if self._stream.ends_slot(number):
            frame = next(self._reader, None)
            if frame is None:
                self.ended = True
                return
            self._stream.push_distorted(small_luma(self.in_form(frame), self.grids))
        self._stream.push_reference(number, pictures, entropies)
        self.frames = number + 1

    def check(self, reference: Clip, number: int) -> None:
        """Refuses an end that `look` could not foresee: files that do not tell their length, or a number asked for.

        Raises:
            DataError: one of the files ended too early.
        """
        asked = self._pairing.frames
        if asked is not None and self.frames < asked:
            short = self._clip if self.ended else reference
            raise DataError(
                f"has too few frames: {self.frames} could be compared, {asked} were asked for", where=short.path
            )
        rest = self.sight.hold is None and asked is None and self._pairing.length == "refuse"
        if (rest and self.frames < number) or (rest and not self.ended and next(self._reader, None) is not None):
            short = self._clip if self.ended else reference
            raise DataError(f"ends after {self.frames} frames and the other video goes on", where=short.path,
                            hint="cut both to the same frames, or give a number of frames")  # fmt: skip

    def close(self) -> None:
        """Ends the decoder."""
        self._reader = iter(())


def _look(reference: Clip, distorted: Clip, pairing: Pairing) -> Sight:
    sight = look(reference, distorted, pairing, smallest_side=SMALLEST_SIDE)
    if pairing.align != "no":
        raise DataError("ST-GREED reads whole files and does not align frames", where=distorted.path)
    if sight.shown is not None and sight.hold is None:
        raise DataError("has a frame rate that varies, which ST-GREED does not compare", where=distorted.path,
                        hint="compare by frame number")  # fmt: skip
    if sight.hold is not None and sight.hold > 1:
        raise DataError("has a higher frame rate than its reference, which ST-GREED does not compare",
                        where=distorted.path, hint="compare by frame number")  # fmt: skip
    return sight
