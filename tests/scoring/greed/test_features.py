import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from compressvqa.errors import DataError
from compressvqa.scoring.greed import FEATURE_NAMES, greed_features
from compressvqa.scoring.greed.features import features_of
from compressvqa.scoring.greed.filters import filter_bank
from compressvqa.scoring.greed.luma import grids
from compressvqa.scoring.greed.stream import EntropyStream, FeatureStream
from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.frames import Colour, Planes
from compressvqa.video.raw import RawFormat, write_y4m
from compressvqa.video.read import read_frames

from . import naive

SIZE = (160, 192)


@pytest.fixture
def write(tmp_path: Path):
    """Writes moving texture as Y4M: `step` takes every so many of its frames, `change` alters each."""

    def make(name: str, frames: int = 42, *, rate: int = 24, step: int = 1, change=None, size=SIZE, bitdepth=8) -> Clip:
        chance = np.random.default_rng(5)
        texture = gaussian_filter(chance.standard_normal((size[0], size[1] + 100)), 6, mode="wrap")
        texture = 118 + 60 * texture / np.abs(texture).max()
        kind = np.uint8 if bitdepth == 8 else np.uint16
        made = []
        for number in range(0, frames * step, step):
            left = 3 * number + round(20 * np.sin(number / 3))
            luma = np.roll(texture, -left, axis=1)[:, : size[1]] + 2 * np.random.default_rng(number).standard_normal(
                size
            )
            luma = luma if change is None else change(luma, number)
            codes = np.round(np.clip(luma, 16, 235) * 2 ** (bitdepth - 8)).astype(kind)
            made.append(Planes(codes, None, None, "400", Colour(bitdepth)))
        write_y4m(tmp_path / name, made, Fraction(rate))
        return Clip(tmp_path / name)

    return make


def blur(amount: float):
    return lambda luma, number: gaussian_filter(luma, amount)


def shake(amount: float):
    """Brightness that flickers, which only the temporal bands can see."""
    return lambda luma, number: luma + amount * (-1) ** number


def small(clip: Clip, scale: int, height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    rows, columns = grids(height, width)[scale]
    return np.stack([naive.small(planes.y, rows, columns) for planes in read_frames(clip.path, raw=clip.raw)])


def test_streaming_gives_what_the_whole_clip_gives(write) -> None:
    reference, distorted = write("r.y4m"), write("d.y4m", change=blur(8))
    found = greed_features(reference, distorted)
    assert found.shape == (16,) == (len(FEATURE_NAMES),)
    for scale in (0, 1):
        wanted = naive.features(small(reference, scale), small(distorted, scale), filter_bank())
        assert np.allclose(found[scale::2], wanted, rtol=5e-3, atol=1e-4)
        assert (wanted > 0.01).all()


def test_a_third_of_the_frame_rate(write) -> None:
    reference, distorted = write("r.y4m", 120, rate=60), write("d.y4m", 40, rate=20, step=3, change=blur(8))
    found = greed_features(reference, distorted)
    for scale in (0, 1):
        wanted = naive.features(small(reference, scale), small(distorted, scale), filter_bank(), step=3)
        assert np.allclose(found[scale::2], wanted, rtol=5e-3, atol=1e-4)


def test_frame_drops_alone_are_seen_in_time_and_more_so_the_more_there_are(write) -> None:
    """The n-th frame of the distorted clip is the one that the pseudo-reference keeps, so coding adds nothing."""
    reference = write("r.y4m", 160, rate=80)
    made = [
        greed_features(reference, write(f"{step}.y4m", 160 // step, rate=80 // step, step=step)) for step in (1, 2, 4)
    ]
    assert (made[0] == 0).all()
    assert (made[1][2:] > 0).all()
    assert made[2][2:].sum() > made[1][2:].sum()


@pytest.mark.parametrize("rate", [98, 82, 60, 30, 24])
def test_the_pseudo_reference_is_what_ffmpegs_filter_keeps(write, rate: int) -> None:
    """The rates of LIVE-YT-HFR, from 120: the same frames, and none between two that are kept is dropped."""
    reference = write("r.y4m", 120, rate=120, size=(16, 48))
    lower = reference.path.with_name("lower.y4m")
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", reference.path, "-vf", f"fps={rate}", lower]
    subprocess.run(ffmpeg, check=True)
    frames = [planes.y for planes in read_frames(reference.path)]
    stream = FeatureStream(Fraction(rate, 120))
    kept = [frame for number, frame in enumerate(frames) if stream.ends_slot(number)]
    made = [planes.y for planes in read_frames(lower)]
    assert len(kept) == len(made) == rate
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(kept, made, strict=True))


def test_uneven_rates(write) -> None:
    """50 of 60 frames a second: every slot has a frame, and features are numbers."""
    found = greed_features(write("r.y4m", 60, rate=60), write("d.y4m", 50, rate=50))
    assert np.isfinite(found).all() and (found > 0).all()


def test_the_same_clip_has_no_difference(write, tmp_path: Path) -> None:
    reference = write("r.y4m", 40)
    assert (greed_features(reference, write("d.y4m", 40)) == 0).all()
    raw = tmp_path / "r.yuv"
    grey = b"".join(
        planes.to_bytes() + bytes([128]) * (SIZE[0] * SIZE[1] // 2) for planes in read_frames(reference.path)
    )
    raw.write_bytes(grey)
    assert (greed_features(reference, Clip(raw, RawFormat(SIZE[1], SIZE[0]))) == 0).all()


def test_more_blur_and_more_flicker_are_larger_features(write) -> None:
    reference = write("r.y4m", 40)
    blurred = [greed_features(reference, write(f"b{n}.y4m", 40, change=blur(n))) for n in (4, 8, 16)]
    assert (np.diff([found.mean() for found in blurred]) > 0).all() and (np.diff(blurred, axis=0)[:, :2] > 0).all()
    shaken = [greed_features(reference, write(f"s{n}.y4m", 40, change=shake(n))) for n in (1, 3, 9)]
    assert (np.diff(shaken, axis=0)[:, -2:] > 0).all()  # the highest band holds what turns from frame to frame
    assert all(found[:2].max() < 0.05 * found[-2:].min() for found in shaken)


def test_bit_depth_does_not_matter(write) -> None:
    found = greed_features(write("r.y4m", 40), write("d.y4m", 40, change=blur(8)))
    deep = greed_features(write("r10.y4m", 40, bitdepth=10), write("d10.y4m", 40, change=blur(8), bitdepth=10))
    assert np.allclose(found, deep, rtol=0.1, atol=0.01)


def test_another_size_is_brought_to_the_references_grid(write) -> None:
    reference = write("r.y4m", 40)
    smaller = write("d.y4m", 40)
    half = [
        Planes(planes.y.reshape(80, 2, 96, 2).mean(axis=(1, 3)).round().astype(np.uint8), None, None, "400", Colour())
        for planes in read_frames(smaller.path)
    ]
    write_y4m(smaller.path, half, Fraction(24))
    found = greed_features(reference, smaller)
    assert (found < greed_features(reference, write("b.y4m", 40, change=blur(4)))).all()
    with pytest.raises(DataError, match="frame size"):
        greed_features(reference, smaller, Pairing(size="refuse"))


def test_several_files_are_what_each_is_alone(write) -> None:
    reference = write("r.y4m", 80, rate=40)
    files = [write("a.y4m", 80, rate=40, change=blur(2)), write("b.y4m", 40, rate=20, step=2, change=blur(6))]
    seen: list[tuple[int, int | None]] = []
    together = features_of(reference, files, Pairing(), lambda done, total: seen.append((done, total)))
    for clip, side in zip(files, together, strict=True):
        assert np.array_equal(side.features, greed_features(reference, clip))
    assert seen[0] == (1, 80) and seen[-1] == (80, 80)


def test_blocks_left_out_and_frames_skipped(write) -> None:
    reference, distorted = write("r.y4m", 72), write("d.y4m", 72, change=lambda x, n: x if n < 48 else blur(8)(x, n))
    assert (greed_features(reference, distorted, Pairing(frames=48)) == 0).all()
    assert (greed_features(reference, distorted, Pairing(frames=36, skip_distorted=1))[:2] > 0).all()
    distorted = write("e.y4m", 72, change=lambda x, n: x if n < 16 else blur(8)(x, n))
    # 37 windows, in blocks of 12: all four, the first and the third, the first; that one begins with frames alike.
    every, half, first = (greed_features(reference, distorted, Pairing(subsample=n)) for n in (1, 2, 4))
    assert (every > 0).all() and (half > 0).all() and not np.allclose(every, half)
    assert (first[:2] == 0).all() and (first[2:] > 0).all()


def test_lengths(write) -> None:
    reference, shorter = write("r.y4m", 44), write("d.y4m", 40)
    with pytest.raises(DataError, match="frame count"):
        greed_features(reference, shorter)
    assert (greed_features(reference, shorter, Pairing(length="trim")) == 0).all()
    assert (greed_features(reference, shorter, Pairing(frames=38)) == 0).all()
    with pytest.raises(DataError, match="frame count"):
        greed_features(reference, shorter, Pairing(frames=41))


def test_what_cannot_be_compared_is_refused_in_a_line(write) -> None:
    with pytest.raises(DataError, match="36 frames"):
        greed_features(write("r.y4m", 20), write("d.y4m", 20))
    with pytest.raises(DataError, match="160"):
        greed_features(write("r.y4m", 40, size=(96, 192)), write("d.y4m", 40, size=(96, 192)))
    with pytest.raises(DataError, match="higher frame rate"):
        greed_features(write("r.y4m", 40, rate=20), write("d.y4m", 80, rate=40), Pairing(rate="hold"))


def test_memory_does_not_grow_with_the_length(write) -> None:
    """The windows that wait are bounded, also where the reference runs ahead of a lower rate."""
    whole, stream = EntropyStream(), FeatureStream(Fraction(1, 4))
    picture = np.random.default_rng(0).standard_normal((300, 5, 5))
    most = []
    for number in range(300):
        pictures = (picture[number], picture[number])
        stream.push_reference(number, pictures, whole.push(pictures))
        if stream.ends_slot(number):
            stream.push_distorted(pictures)
        most.append(max(len(queue) for queue in stream._waiting))
    assert max(most[:200]) == max(most) <= 36
