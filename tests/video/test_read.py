from __future__ import annotations

import resource
import sys

import numpy as np
import pytest
import torch
from clips import ffmpeg, make, raw_bytes

from compressvqa.errors import DataError
from compressvqa.video import probe, read, read_clip, read_frames

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1")
KINDS = [
    ("mp4", (*X264, "-pix_fmt", "yuv420p"), "yuv420p", "420", 8),
    ("mkv", (*X264, "-pix_fmt", "yuv422p10le"), "yuv422p10le", "422", 10),
    ("mov", (*X264, "-pix_fmt", "yuv444p"), "yuv444p", "444", 8),
    ("mkv", ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p12le"), "yuv420p12le", "420", 12),
    ("webm", ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime"), "yuv420p", "420", 8),
    ("avi", ("-c:v", "mpeg4"), "yuv420p", "420", 8),
    ("ts", (*X264, "-pix_fmt", "yuv420p"), "yuv420p", "420", 8),
    ("264", (*X264, "-pix_fmt", "yuv420p"), "yuv420p", "420", 8),
    ("ivf", ("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p10le"), "yuv420p10le", "420", 10),
    ("266", ("-c:v", "libvvenc", "-preset", "faster"), "yuv420p10le", "420", 10),
    ("mkv", ("-c:v", "ffv1", "-pix_fmt", "gray10le"), "gray10le", "400", 10),
]


@pytest.mark.parametrize(("suffix", "options", "pixel_format", "chroma", "bitdepth"), KINDS)
def test_frames_are_bit_equal_to_ffmpegs(tmp_path, suffix, options, pixel_format, chroma, bitdepth):
    path = make(tmp_path / f"clip.{suffix}", *options)
    info = probe(path, count=True)
    assert (info.width, info.height, info.frames) == (128, 96, 8)
    assert (info.chroma, info.colour.bitdepth, info.transfer) == (chroma, bitdepth, "sdr")
    assert info.variable_rate is False
    frames = list(read_frames(path))
    assert b"".join(frame.to_bytes() for frame in frames) == raw_bytes(path, pixel_format)
    some = list(read_frames(path, start=2, stop=5))
    assert [frame.to_bytes() for frame in some] == [frame.to_bytes() for frame in frames[2:5]]


@pytest.mark.parametrize(("packed", "planar"), [("nv12", "yuv420p"), ("yuyv422", "yuv422p")])
def test_packed_formats_become_planes(tmp_path, packed, planar):
    path = make(tmp_path / "clip.nut", "-c:v", "rawvideo", "-pix_fmt", packed)
    assert b"".join(frame.to_bytes() for frame in read_frames(path)) == raw_bytes(path, planar)


@pytest.mark.parametrize("pixel_format", ["gbrp", "bgr0"])
def test_rgb_video_keeps_its_codes(tmp_path, pixel_format):
    path = make(tmp_path / "clip.mkv", "-c:v", "ffv1", "-pix_fmt", pixel_format, frames=2)
    theirs = np.frombuffer(raw_bytes(path, "rgb24"), np.uint8).reshape(2, 96, 128, 3).transpose(0, 3, 1, 2)
    ours = read_clip(path, frames=2)
    assert (ours - torch.from_numpy(theirs / 255.0)).abs().max() < 0.5 / 255


def test_colour_follows_the_file(tmp_path):
    colour = ("-vf", "scale=out_range=full:out_color_matrix=bt709,setparams=range=full:colorspace=bt709,format=yuv420p")
    path = make(tmp_path / "full.mp4", *colour, *X264)
    assert probe(path).colour == next(read_frames(path)).colour == read.Colour(8, "bt709", True)
    hdr = "setparams=range=limited:colorspace=bt2020nc:color_primaries=bt2020:color_trc"
    for transfer, name in (("smpte2084", "pq"), ("arib-std-b67", "hlg")):
        path = make(tmp_path / f"{name}.mp4", "-vf", f"format=yuv420p10le,{hdr}={transfer}", *X264)
        assert probe(path).transfer == name and probe(path).colour.matrix == "bt2020"


def test_a_file_that_says_nothing_gets_the_usual_matrix(tmp_path):
    low = make(tmp_path / "low.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="128x96", frames=1)
    high = make(tmp_path / "high.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="1280x720", frames=1)
    assert (probe(low).colour.matrix, probe(high).colour.matrix) == ("bt601", "bt709")


def test_rotation_and_variable_rate_are_seen(tmp_path):
    still = make(tmp_path / "still.mp4", *X264, "-pix_fmt", "yuv420p")
    ffmpeg("-display_rotation", "90", "-i", str(still), "-c", "copy", str(tmp_path / "turned.mp4"))
    assert abs(probe(tmp_path / "turned.mp4").rotation) == 90 and probe(still).rotation == 0
    wobbly = make(tmp_path / "wobbly.mkv", "-vf", "select='mod(n,3)'", "-fps_mode", "vfr", *X264)
    assert probe(wobbly, count=True).variable_rate is True


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_a_truncated_file_is_one_clear_error(tmp_path, suffix):
    options = ("-movflags", "+faststart") if suffix == "mp4" else ()
    path = make(tmp_path / f"clip.{suffix}", *X264, "-g", "10", *options, frames=150, rate=25)
    assert sum(1 for _ in read_frames(path)) == 150
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"clip\.{suffix}.*(cut off|damaged|does not decode)"):
        list(read_frames(path))


def test_an_mp4_without_its_end_does_not_open(tmp_path):
    path = make(tmp_path / "clip.mp4", *X264, frames=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"clip\.mp4: is not a video that can be read"):
        probe(path)


def test_files_that_are_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video at all\n" * 50)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    (tmp_path / "join.txt").write_text("ffconcat version 1.0\nfile '/etc/passwd'\n")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", str(tmp_path / "sound.mp4"))
    for name, message in [
        ("none.mp4", "no such file"), ("empty.mp4", "is empty"), ("text.mp4", "not a video"),
        ("list.m3u8", r"a playlist \(HLS\)"), ("join.txt", r"a playlist \(ffconcat\)"),
        ("sound.mp4", "holds no video"), (".", "a folder"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=message):
            probe(tmp_path / name)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "lavfi:testsrc", "pipe:0"])
def test_addresses_are_not_opened(address):
    with pytest.raises(DataError, match=r"no such file|is a URL"):
        probe(address)


def test_a_name_with_a_colon_is_a_file(tmp_path):
    path = make(tmp_path / "clip.mkv", *X264, frames=2)
    odd = path.rename(tmp_path / "http:odd name.mkv")
    assert sum(1 for _ in read_frames(odd)) == 2


def test_a_frame_size_that_changes_is_refused(tmp_path):
    a = make(tmp_path / "a.264", *X264, "-pix_fmt", "yuv420p", size="128x96")
    b = make(tmp_path / "b.264", *X264, "-pix_fmt", "yuv420p", size="96x128")
    (tmp_path / "ab.264").write_bytes(a.read_bytes() + b.read_bytes())
    with pytest.raises(DataError, match=r"frame size changes at frame 8, from 128x96 to 96x128"):
        list(read_frames(tmp_path / "ab.264"))


def test_sizes_have_a_limit(tmp_path, monkeypatch):
    path = make(tmp_path / "clip.mkv", *X264)
    monkeypatch.setattr("compressvqa.video.info.MAX_SIDE", 100)
    with pytest.raises(DataError, match=r"128x96 is outside the limits"):
        probe(path)


def test_a_clip_longer_than_the_file_is_refused(tmp_path):
    path = make(tmp_path / "clip.mkv", *X264)
    with pytest.raises(DataError, match=r"has 8 frames, 15 were asked for"):
        read_clip(path, start=3, frames=12)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_memory_does_not_grow_with_length(tmp_path):
    path = make(tmp_path / "long.mkv", *X264, size="1280x720", frames=120)
    frames = read_frames(path, threads=1)
    for _ in range(30):
        next(frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in frames) == 90
    # 90 frames of 1.4 MB would be 124 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000
