"""VMAF, PSNR, SSIM and MS-SSIM by libvmaf, all of them in one pass.

libvmaf is that of the ffmpeg which the package brings. Frames reach it through our own reader, one picture under the
other in one raw stream: it measures exactly what networks are shown, whether skipped, scaled, held or cut.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from compressvqa.errors import DataError
from compressvqa.fingerprint import content_digest
from compressvqa.progress import Progress
from compressvqa.registry import scorers
from compressvqa.scoring.scorer import Course, Facts, Scorer, Segment
from compressvqa.video import ffmpeg
from compressvqa.video.align import blocks
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, look
from compressvqa.video.form import alike
from compressvqa.video.frames import Planes, Samples, plane_shapes, sample_type
from compressvqa.video.raw import RawFormat
from compressvqa.video.vmaf import pixel_format

BLOCK = 12  # frames: `subsample` leaves out whole blocks, as it does for networks


@dataclass(frozen=True)
class _Feature:
    """One score of libvmaf: what is asked of the filter, what its log calls it, and its limits."""

    ask: str  # "feature" or "model"
    value: str
    key: str
    score_range: tuple[float, float] | None
    smallest_side: int


def _model(version: str, smallest_side: int = 16) -> _Feature:
    # The log calls a model by its `name`, in which only letters, digits and underscores are safe.
    key = version.replace(".", "_")
    return _Feature("model", rf"version={version}\:name={key}", key, (0.0, 100.0), smallest_side)


FEATURES: dict[str, _Feature] = {
    "psnr": _Feature("feature", "name=psnr", "psnr_y", None, 16),
    "ssim": _Feature("feature", "name=float_ssim", "float_ssim", (0.0, 1.0), 16),
    "ms_ssim": _Feature("feature", "name=float_ms_ssim", "float_ms_ssim", (0.0, 1.0), 176),
    "vmaf_v0.6.1": _model("vmaf_v0.6.1"),
    "vmaf_v0.6.1neg": _model("vmaf_v0.6.1neg"),
    "vmaf_4k_v0.6.1": _model("vmaf_4k_v0.6.1"),
    # Below 256 pixels a side version 1 prints 0.0 for everything, without an error.
    "vmaf_v1.0.16_3d0h": _model("vmaf_v1.0.16_3d0h", 256),
}


class LibvmafScorer(Scorer):
    """Some of libvmaf's scores (`FEATURES`) in one pass; a file's score is the mean over its frames.

    Each pair is compared in its own form (`compressvqa.video.form`), whatever is scored beside it. PSNR is that of
    luma. Identical files get what libvmaf caps it at, 60, 72, 84 and 108 dB for a reference of 8, 10, 12 and 16 bit;
    no deeper file gets more. SSIM and MS-SSIM are of luma too.

    Args:
        names: keys of `FEATURES`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        unknown = [name for name in names if name not in FEATURES]
        if unknown:
            raise DataError(f"libvmaf is not asked for {unknown[0]!r}", hint=", ".join(FEATURES))
        self.names = tuple(names)
        source = f"libvmaf of ffmpeg {ffmpeg.version()}"
        self.facts = tuple(
            Facts(name, f"{source}:{name}", score_range=FEATURES[name].score_range, source=source) for name in names
        )

    def state(self) -> Any:
        """The program that measures, told by its content: two builds of one version may hold other libraries."""
        return ffmpeg.version(), content_digest(Path(ffmpeg.binary()))

    def score(
        self, reference: Clip | None, distorted: Sequence[Clip], pairing: Pairing, progress: Progress | None = None
    ) -> list[dict[str, Course]]:
        """As `Scorer.score`."""
        if reference is None:
            raise DataError(f"{', '.join(self.names)} compare with a reference, and there is none")
        ffmpeg.require(filter="libvmaf")
        smallest = max(FEATURES[name].smallest_side for name in self.names)
        sights = [look(reference, clip, pairing, smallest_side=smallest) for clip in distorted]
        found: dict[int, dict[str, Course]] = {}
        # Depth, matrix and length are a matter of each pair: only files that are compared alike are measured together.
        for places in alike([(sight.form, sight.frames) for sight in sights]):
            clips, some = [distorted[place] for place in places], [sights[place] for place in places]
            found |= zip(places, self._together(reference, clips, some, pairing, progress), strict=True)
        return [found[place] for place in range(len(distorted))]

    def _together(
        self, reference: Clip, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing,
        progress: Progress | None,
    ) -> list[dict[str, Course]]:  # fmt: skip
        """Files that are compared in one form, in one pass."""
        with tempfile.TemporaryDirectory(prefix="compressvqa-") as place:
            form, counts = _Form(sights), [0] * len(distorted)
            chunks = self._stacked(reference, distorted, sights, pairing, form, counts, progress)
            outputs = [word for side in range(len(distorted)) for word in ("-map", f"[o{side}]", "-f", "null", "-")]
            ffmpeg.feed([*form.input(), "-filter_complex", self._graph(form), *outputs], chunks, folder=Path(place))
            logs = [_read(Path(place) / f"{side}.json") for side in range(len(distorted))]
        settings = {"block": BLOCK, "subsample": pairing.subsample, "compared as": str(form.form), "runtime": "libvmaf"}
        courses = [
            {
                fact.name: _course(log[:count], name, pairing.subsample, clip, settings, form.form.reference_depth)
                for name, fact in zip(self.names, self.facts, strict=True)
            }
            for log, count, clip in zip(logs, counts, distorted, strict=True)
        ]
        for side, (clip, sight) in enumerate(zip(distorted, sights, strict=True)):
            if counts[side] < max(counts):
                # It ended early, which nobody foresaw. Motion at its last frame looked at what comes after.
                (courses[side],) = self._together(reference, [clip], [sight], pairing, None)
        return courses

    def _stacked(
        self, reference: Clip, distorted: Sequence[Clip], sights: Sequence[Sight], pairing: Pairing, form: _Form,
        counts: list[int], progress: Progress | None,
    ) -> Iterator[bytes]:  # fmt: skip
        """Every frame of the reference with the same frames of all distorted files below it, as raw bytes."""
        # Motion is measured from frame to frame, so none is left out here; subsampling picks from what was measured.
        everything = replace(pairing, subsample=1)
        total = max((sight.frames for sight in sights if sight.frames is not None), default=None)
        for group in blocks(reference, distorted, sights, everything, block=BLOCK):
            assert group.reference is not None
            length = max(map(len, group.distorted))
            for number, planes in enumerate(group.reference[:length]):
                # A file that ended is filled up with the reference; what is measured there is not kept.
                rest = [side[number] if number < len(side) else planes for side in group.distorted]
                yield form.join([planes, *rest])
            for side, frames in enumerate(group.distorted):
                counts[side] += len(frames)
            if progress is not None:
                progress(group.first + length, total)

    def _graph(self, form: _Form) -> str:
        """Cuts the stacked pictures apart and measures each distorted one."""
        asked: dict[str, list[str]] = {"model": [], "feature": []}
        for name in self.names:
            asked[FEATURES[name].ask].append(FEATURES[name].value)
        options = "".join(f":{kind}='{'|'.join(values)}'" for kind, values in asked.items() if values)
        if not asked["model"]:
            options += ":model=''"  # else the filter runs its default model as well
        count = form.count
        names = [f"[p{place}]" for place in range(count)]
        cuts = [f"[0:v]split={count}{''.join(names)}"]
        for place, name in enumerate(names):
            cuts.append(f"{name}crop={form.width}:{form.height}:0:{place * form.rows}:exact=1[c{place}]")
        copies = "".join(f"[r{side}]" for side in range(count - 1))
        cuts.append(f"[c0]split={count - 1}{copies}")
        threads = max(1, (os.cpu_count() or 1) // (count - 1))
        for side in range(count - 1):
            log = f"log_fmt=json:log_path={side}.json:n_threads={threads}"
            cuts.append(f"[c{side + 1}][r{side}]libvmaf={log}{options}[o{side}]")
        return ";".join(cuts)


for _name in FEATURES:
    scorers.register(_name, mode="FR", one_pass=True)(LibvmafScorer)


class _Form:
    """The one form that all pictures are brought to, and their stacking."""

    def __init__(self, sights: Sequence[Sight]) -> None:
        assert sights[0].form is not None
        self.form, self.count = sights[0].form, 1 + len(sights)
        self.height, self.width, self.chroma = self.form.height, self.form.width, self.form.chroma
        self.rows = self.height + self.height % 2  # stacked pictures begin on whole chroma samples
        self.raw = RawFormat(self.width, self.rows * self.count, cast(Any, self.chroma), self.form.bitdepth)
        self._bring = self.form.bring()

    def input(self) -> list[str]:
        """ffmpeg's options of the stacked stream."""
        size = f"{self.width}x{self.rows * self.count}"
        return ["-f", "rawvideo", "-pixel_format", pixel_format(self.raw), "-video_size", size, "-i", "pipe:0"]

    def join(self, pictures: Sequence[Planes]) -> bytes:
        """One raw frame of all pictures, one under the other."""
        same = [self._planes(picture) for picture in pictures]
        shapes = plane_shapes(self.rows, self.width, self.chroma)
        parts = []
        for number, (rows, _) in enumerate(shapes):
            for planes in same:
                plane = planes[number]
                parts.append(plane if plane.shape[0] == rows else np.concatenate([plane, plane[-1:]]))
        kind = sample_type(self.form.bitdepth)
        return b"".join(np.ascontiguousarray(part, dtype=kind).tobytes() for part in parts)

    def _planes(self, picture: Planes) -> list[Samples]:
        made = self._bring(picture)
        assert made.u is not None and made.v is not None
        return [made.y, made.u, made.v]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        return [row["metrics"] for row in json.loads(path.read_text(encoding="utf-8"))["frames"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("libvmaf left no log that can be read", where=path.name) from error


def _course(
    rows: Sequence[dict[str, Any]], name: str, subsample: int, clip: Clip, settings: dict[str, Any], depth: int
) -> Course:
    key = FEATURES[name].key
    ceiling = 6 * depth + 12 if FEATURES[name].value == "name=psnr" else math.inf
    segments = []
    for number, row in enumerate(rows):
        if (number // BLOCK) % subsample:
            continue
        value = row.get(key)
        if value is None or not math.isfinite(value):
            raise DataError(f"libvmaf gave no number for {name} at frame {number}", where=clip.path)
        segments.append(Segment(number, number, min(float(value), ceiling)))
    if not segments:
        raise DataError(f"libvmaf measured no frame of {name}", where=clip.path)
    return Course(math.fsum(part.score for part in segments) / len(segments), tuple(segments), settings)
