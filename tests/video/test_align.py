"""Files in step: the same frames as reading each by itself gives, scaled, held and cut as was asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make, raw_bytes

from compressvqa.errors import DataError
from compressvqa.video import Clip, Pairing, RawFormat, inspect_pair, look, probe, read_clip
from compressvqa.video.align import blocks, stacked

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "40", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return make(folder / "reference.y4m", frames=30), make(folder / "distorted.mp4", *X264, frames=30)


def in_step(reference: Path, *distorted: Path, **settings):
    """[(reference, [distorted, ...])] of RGB blocks of twelve frames."""
    pairing = Pairing(**settings)
    left, right = Clip(reference), [Clip(path) for path in distorted]
    sights = [look(left, clip, pairing) for clip in right]
    return [
        (stacked(block.reference), [stacked(side) if side else None for side in block.distorted])
        for block in blocks(left, right, sights, pairing, block=12)
    ]


def test_blocks_are_the_frames_of_both_files(pair):
    found = in_step(*pair)
    assert [tuple(reference.shape) for reference, _ in found] == [(1, 12, 3, 96, 128)] * 2 + [(1, 6, 3, 96, 128)]
    assert torch.equal(torch.cat([r for r, _ in found], dim=1)[0], read_clip(pair[0], frames=30))
    assert torch.equal(torch.cat([d[0] for _, d in found], dim=1)[0], read_clip(pair[1], frames=30))


def test_several_files_beside_one_reference_are_what_they_are_alone(pair, tmp_path):
    other = make(tmp_path / "other.mp4", *X264, "-vf", "negate", frames=30)
    both, alone = in_step(pair[0], pair[1], other), in_step(pair[0], other)
    assert all(torch.equal(a[1][1], b[1][0]) and torch.equal(a[0], b[0]) for a, b in zip(both, alone, strict=True))


def test_subsampling_leaves_out_whole_blocks(pair):
    every, second = in_step(*pair), in_step(*pair, subsample=2)
    assert len(second) == 2
    assert torch.equal(second[1][0], every[2][0]) and torch.equal(second[1][1][0], every[2][1][0])


def test_frames_and_skips(pair):
    ((reference, (distorted,)),) = in_step(*pair, frames=12, skip_reference=3, skip_distorted=5)
    assert torch.equal(reference[0], read_clip(pair[0], start=3))
    assert torch.equal(distorted[0], read_clip(pair[1], start=5))


def test_a_shorter_file_is_refused_cut_or_not_looked_at(pair, tmp_path):
    short = make(tmp_path / "short.y4m", frames=20)
    with pytest.raises(DataError, match=r"frame count: 30 \(reference\) and 20"):
        in_step(pair[0], short)
    assert sum(r.shape[1] for r, _ in in_step(pair[0], short, frames=20)) == 20
    trimmed = in_step(pair[0], short, pair[1], length="trim")
    assert [[None if d is None else d.shape[1] for d in side] for _, side in trimmed] == [[12, 12], [8, 12], [None, 6]]
    with pytest.raises(DataError, match=r"40 were asked for"):
        in_step(*pair, frames=40)


def test_another_size_is_scaled_as_ffmpeg_scales(pair, tmp_path):
    small = make(tmp_path / "small.y4m", size="64x48", frames=3)
    ((_, (scaled,)),) = in_step(pair[0], small, frames=3)
    wanted = np.frombuffer(raw_bytes(small, "yuv420p", "-vf", "scale=128:96:flags=bicubic"), np.uint8).reshape(3, -1)
    luma = (wanted[:, : 128 * 96].reshape(3, 96, 128).astype(np.float32) - 16) / 219
    ours = (0.299 * scaled[0, :, 0] + 0.587 * scaled[0, :, 1] + 0.114 * scaled[0, :, 2]).numpy()
    inside = (luma > 0.15) & (luma < 0.85)  # saturated colours are clamped to RGB
    assert np.abs(ours - luma)[inside].mean() < 2 / 255


def test_a_small_encode_that_names_no_matrix_has_that_of_its_reference(tmp_path):
    """Players take BT.601 below 720 lines: a 720p reference and its 360p encode would get other colours each."""
    large = make(tmp_path / "large.y4m", size="1280x720", frames=1)
    small = make(tmp_path / "small.mp4", *X264[:-2], "-pix_fmt", "yuv420p", size="640x360", frames=1)
    assert (probe(large).colour.matrix, probe(small).colour.matrix) == ("bt709", "bt601")
    assert look(Clip(large), Clip(small), Pairing()).differences[0].what == "frame size"
    assert len(look(Clip(large), Clip(small), Pairing()).differences) == 1
    ((reference, (distorted,)),) = in_step(large, small)
    assumed = torch.nn.functional.interpolate(read_clip(small, frames=1), scale_factor=2)  # BT.601, left as it is
    right, wrong = ((reference[0] - clip).abs().mean() for clip in (distorted[0], assumed))
    assert right < 0.6 * wrong


def test_half_the_frame_rate_is_held_on_the_clock(tmp_path):
    full = make(tmp_path / "full.y4m", frames=24, rate=24)
    half = make(tmp_path / "half.y4m", "-vf", "fps=12:round=up:start_time=0", frames=12, rate=24)
    twice = read_clip(half, frames=12).repeat_interleave(2, dim=0)
    found = in_step(full, half)
    assert torch.equal(torch.cat([d[0] for _, d in found], dim=1)[0], twice)
    # The other way round, every second frame is shown.
    found = in_step(half, full)
    assert torch.equal(torch.cat([d[0] for _, d in found], dim=1)[0], read_clip(full, frames=24)[::2])


def test_skipping_everything_is_refused(pair):
    with pytest.raises(DataError, match=r"no frame is left"):
        in_step(*pair, skip_reference=30, skip_distorted=30)


def test_raw_files_of_two_formats(tmp_path):
    eight = make(tmp_path / "a.yuv", "-f", "rawvideo", "-pix_fmt", "yuv420p", frames=4)
    ten = make(tmp_path / "b.yuv", "-f", "rawvideo", "-pix_fmt", "yuv420p10le", frames=4)
    clips = Clip(eight, RawFormat(128, 96)), Clip(ten, RawFormat(128, 96, bitdepth=10))
    sight = look(*clips, Pairing())
    (block,) = blocks(clips[0], [clips[1]], [sight], Pairing(), block=12)
    assert (stacked(block.reference) - stacked(block.distorted[0])).abs().mean() < 1 / 255
    assert inspect_pair(probe(eight, raw=clips[0].raw), probe(ten, raw=clips[1].raw))[0].what == "bit depth"


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (probe(tmp_path / "a.png").frames, probe(tmp_path / "a.png").width) == (1, 30)
    rgb = read_clip(tmp_path / "a.png", frames=1)
    assert np.abs(rgb[0].permute(1, 2, 0).numpy() * 255 - pixels).max() < 0.05
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:400])
    with pytest.raises(DataError, match=r"b\.png: is cut off or damaged"):
        read_clip(tmp_path / "b.png", frames=1)
