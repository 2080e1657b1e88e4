"""Animated PNG, GIF and WebP are videos of all their frames."""

from __future__ import annotations

import numpy as np
import pytest
from clips import ffmpeg
from PIL import Image

from compressvqa.errors import DataError
from compressvqa.video import probe, read_frames


def levels(path):
    return [round(float(frame.to_rgb().mean()) * 255) for frame in read_frames(path)]


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.apng", {"format": "PNG"}), ("a.gif", {}),
                                               ("a.webp", {"lossless": True})])  # fmt: skip
def test_every_frame_of_an_animation_is_read(tmp_path, name, options):
    pictures = [Image.new("RGB", (64, 48), (20 * n,) * 3) for n in range(6)]
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=50, **options)
    info = probe(tmp_path / name, count=True)
    assert (info.frames, info.width, info.frame_rate, info.variable_rate) == (6, 64, 20, False)
    assert levels(tmp_path / name) == [20 * n for n in range(6)]
    assert info.times is not None and np.allclose(info.times, np.arange(6) / 20)


def test_animated_webp_of_changing_pace(tmp_path):
    pictures = [Image.new("RGB", (64, 48), (20 * n,) * 3) for n in range(4)]
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 40, 40, 40], lossless=True)
    info = probe(path, count=True)
    assert info.variable_rate is True and info.times is not None and info.times.tolist() == [0, 0.1, 0.14, 0.18]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.webp"):
        list(read_frames(path))


def test_a_picture_that_does_not_move_is_one_frame(tmp_path):
    for name in ("a.png", "a.webp", "a.gif"):
        ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x48", "-frames:v", "1", str(tmp_path / name))
        assert probe(tmp_path / name, count=True).frames == 1 and len(levels(tmp_path / name)) == 1
