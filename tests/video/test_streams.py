"""Which of a file's video streams is the video."""

from __future__ import annotations

import json

import pytest
from clips import ffmpeg, make, raw_bytes
from typer.testing import CliRunner

from compressvqa.cli import app
from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.video import Clip, probe, read_clip, read_frames

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-threads", "1", "-pix_fmt", "yuv420p")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A video, a smaller one of another content, and a picture that is larger than both."""
    folder = tmp_path_factory.mktemp("streams")
    make(folder / "video.mp4", *X264)
    make(folder / "small.mp4", *X264, size="64x48", source="testsrc")
    make(folder / "cover.jpg", size="320x240", frames=1)
    make(folder / "cover.png", size="320x240", frames=1)
    return folder


def mux(place, name, *files, options=()):
    inputs = [word for file in files for word in ("-i", str(place / file))]
    maps = [word for number in range(len(files)) for word in ("-map", str(number))]
    ffmpeg(*inputs, *maps, "-c", "copy", *options, str(place / name))
    return place / name


COVERS = [
    ("jpg.mp4", "cover.jpg", ()),
    ("attached.mp4", "cover.jpg", ("-disposition:v:0", "attached_pic")),
    ("png.mkv", "cover.png", ()),
    ("png.mov", "cover.png", ()),
    ("jpg.mkv", "cover.jpg", ("-disposition:v:0", "default", "-disposition:v:1", "0")),
]


@pytest.mark.parametrize(("name", "cover", "options"), COVERS)
def test_a_cover_before_the_video_is_not_the_video(place, name, cover, options):
    path = mux(place, name, cover, "video.mp4", options=options)
    found = probe(path, count=True)
    assert (found.width, found.frames, found.codec) == (128, 8, "h264")
    assert b"".join(frame.to_bytes() for frame in read_frames(path)) == raw_bytes(place / "video.mp4", "yuv420p")
    (note,) = found.notes
    assert "2 video streams" in note and "320x240" in note and "--stream" in note
    assert score(place / "video.mp4", path, model="psnr").score == 60


def test_a_cover_may_be_attached_to_matroska(place):
    attached = ("-attach", str(place / "cover.jpg"), "-metadata:s:t", "mimetype=image/jpeg")
    path = mux(place, "attached.mkv", "video.mp4", options=attached)
    assert probe(path, count=True).frames == 8
    assert probe(path, stream=1).width == 320


def test_only_a_cover_is_no_video(place):
    path = place / "song.m4a"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-i", str(place / "cover.jpg"), "-map", "0", "-map", "1", "-c:a",
           "aac", "-c:v", "copy", "-disposition:v:0", "attached_pic", str(path))  # fmt: skip
    with pytest.raises(DataError, match=r"song\.m4a: holds no video, only a cover picture"):
        probe(path)
    assert probe(path, stream=0, count=True).frames == 1


def test_a_lone_picture_in_a_container_is_a_video_of_one_frame(place):
    path = mux(place, "one.mkv", "cover.png")
    assert probe(path, count=True).frames == 1 and sum(1 for _ in read_frames(path)) == 1


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov"])
def test_the_largest_stream_is_taken_and_another_may_be_named(place, suffix):
    options = ("-disposition:v", "default")
    path = mux(place, f"two.{suffix}", "small.mp4", "video.mp4", options=options)
    assert probe(path).width == 128
    assert probe(path, stream=0, count=True).notes == (
        "it holds 2 video streams: 0 (h264 64x48) is read, 1 (h264 128x96) is not (--stream chooses)",
    )
    frames = b"".join(frame.to_bytes() for frame in read_frames(Clip(path, stream=0)))
    assert frames == raw_bytes(place / "small.mp4", "yuv420p")
    assert read_clip(path, frames=2, stream=0).shape[-2:] == (48, 64)
    with pytest.raises(DataError, match=r"there is no video stream 2 \(try: the file has 2 video streams, from 0 on\)"):
        probe(path, stream=2)


def test_the_default_stream_goes_before_a_larger_one(place):
    options = ("-disposition:v:0", "default", "-disposition:v:1", "0")
    path = mux(place, "default.mkv", "small.mp4", "video.mp4", options=options)
    assert probe(path).width == 64


def test_scores_of_a_stream(place):
    path = mux(place, "both.mp4", "small.mp4", "video.mp4")
    assert score(place / "small.mp4", Clip(path, stream=0), model="psnr").score == 60
    assert score(path, path, model="psnr", stream=0).distorted.width == 64
    run = CliRunner().invoke
    asked = ["score", str(place / "small.mp4"), str(path), "--model", "psnr", "--json"]
    found = json.loads(run(app, [*asked, "--stream-dist", "0"]).stdout)
    assert found["score"] == 60 and "0 (h264 64x48) is read" in found["distorted"]["notes"][0]
    refused = run(app, [*asked, "--stream", "1"])
    assert isinstance(refused.exception, DataError) and "small.mp4: there is no video stream 1" in str(
        refused.exception
    )
    assert "--stream-dist" in str(refused.exception)  # the note beside a score names --stream only
    other = json.loads(run(app, ["score", str(path), str(path), "--stream-ref", "1", "--stream-dist", "0",
                                 "--model", "psnr", "--json"]).stdout)  # fmt: skip
    assert (other["reference"]["width"], other["distorted"]["width"]) == (128, 64)
