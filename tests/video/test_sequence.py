"""Pictures in numbered files and in folders as one video; a video on standard input."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import ffmpeg, make, raw_bytes
from PIL import Image
from running import inside

from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.video import Clip, Pairing, RawFormat, probe, read_frames
from compressvqa.video.piped import kept


def pictures(folder, names, size=(64, 48)):
    """One grey level a picture: its place in the list times ten."""
    folder.mkdir(exist_ok=True, parents=True)
    for number, name in enumerate(names):
        Image.new("RGB", size, (10 * number,) * 3).save(folder / name)
    return folder


def levels(path):
    return [round(float(frame.to_rgb().mean()) * 255) for frame in read_frames(path)]


NAMES = [
    [f"frame_{n:04d}.png" for n in range(12)],
    [f"frame_{n}.png" for n in range(1, 13)],
    [f"{n:06d}.bmp" for n in range(995, 1007)],
    [f"shot2-{n}-1080p.png" for n in range(7, 19)],
]


@pytest.mark.parametrize("names", NAMES)
def test_a_folder_of_numbered_pictures_is_a_video(tmp_path, names):
    folder = pictures(tmp_path / "frames", names)
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_text("neither")
    info = probe(folder, count=True)
    assert (info.frames, info.width, info.height, info.frame_rate, info.chroma) == (12, 64, 48, None, "444")
    assert levels(folder) == [10 * n for n in range(12)]
    assert [f.to_bytes() for f in read_frames(folder, start=3, stop=5)] == [
        f.to_bytes() for f in list(read_frames(folder))[3:5]
    ]


@pytest.mark.parametrize(("names", "pattern"), [(NAMES[0], "frame_%04d.png"), (NAMES[1], "frame_%d.png"),
                                                (NAMES[3], "shot2-%d-1080p.png")])  # fmt: skip
def test_a_name_with_a_place_for_a_number_is_a_video(tmp_path, names, pattern):
    folder = pictures(tmp_path / "frames", [*names, "other_0001.png"])
    assert levels(folder / pattern) == [10 * n for n in range(12)]
    info = probe(Clip(folder / pattern, frame_rate=Fraction(24)))
    assert (info.frames, info.frame_rate, info.path.name) == (12, 24, pattern)


def test_a_file_of_that_very_name_is_a_file(tmp_path):
    pictures(tmp_path, ["100%d.png"])
    assert probe(tmp_path / "100%d.png").frames == 1


FAULTS = [
    (["a_1.png", "a_2.png", "a_4.png"], "picture 3 is missing: a_2.png is followed by a_4.png"),
    (["a_1.png", "a_2.png", "a_9.png"], "picture 3 to 8 is missing"),
    (["a_1.png", "a_01.png"], "have one number"),
    (["a_1.png", "b_1.png"], "holds several series of pictures (a_#, b_#), not one video (try: name one: odd/a_%d.png"),
    (["a1_1.png", "a2_2.png"], "2 numbers differ in the names of its pictures"),
    (["a_1.png", "cover.png"], "cover.png has no number in its name"),
    (["a_1.png", "a_2.bmp"], "mixes formats of pictures (1 .bmp, 1 .png)"),
    ([], "is a folder without pictures"),
]


@pytest.mark.parametrize(("names", "message"), FAULTS)
def test_what_is_not_one_video_is_one_line(tmp_path, names, message):
    folder = pictures(tmp_path / "odd", names)
    with pytest.raises(DataError) as error:
        probe(folder)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_pictures_that_differ_are_no_video(tmp_path):
    folder = pictures(tmp_path / "odd", ["a_1.png", "a_2.png"])
    Image.new("RGB", (32, 48)).save(folder / "a_3.png")
    with pytest.raises(DataError, match=r"odd: a_3\.png has 32x48 pixels, a_1\.png has 64x48: not one video"):
        probe(folder)
    with pytest.raises(DataError, match=r"frame size changes at frame 2 \(a_3\.png\)"):
        list(read_frames(folder))
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(folder / "a_3.png")
    with pytest.raises(DataError, match=r"a_3\.png has 16 bit, a_1\.png has 8"):
        probe(folder)
    (folder / "a_3.png").write_bytes((folder / "a_2.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"a_3\.png"):
        list(read_frames(folder))


def test_names_that_fit_nothing(tmp_path):
    folder = pictures(tmp_path / "frames", NAMES[0])
    make(folder / "clip.mkv", "-c:v", "ffv1", frames=2)
    for name, message in [
        ("frame_%03d.png", "no file fits this name (try: the folder has frame_0000.png)"),
        ("%d_%d.png", "one place for a number"),
        ("none/frame_%d.png", "no such folder"),
        (".", "is a folder of 1 video and 12 pictures, not one video (try: name one file: clip.mkv"),
    ]:
        with pytest.raises(DataError) as error:
            probe(folder / name)
        assert message in str(error.value)


def test_numbered_pictures_are_scored_as_the_video_that_they_are(tmp_path):
    video = make(tmp_path / "video.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp", size="64x48", frames=12)
    (tmp_path / "frames").mkdir()
    ffmpeg("-i", str(video), str(tmp_path / "frames" / "%03d.png"))
    same = score(video, tmp_path / "frames" / "%03d.png", model="psnr")
    assert same.score > 50 and same.distorted.frames == 12 and len(same.per_segment) == 12
    files = [str(tmp_path / "frames"), str(tmp_path / "frames" / "%03d.png")]
    found = json.loads(inside("score", *files, "--frame-rate", "23.976", "--model", "psnr", "--json").stdout)
    assert found["reference"]["frame_rate"] == found["distorted"]["frame_rate"] == 24000 / 1001
    with pytest.raises(DataError, match=r"frame count: 12 \(reference\) and 11 \(distorted\)"):
        (tmp_path / "frames" / "012.png").unlink()
        score(video, tmp_path / "frames", model="psnr")
    assert score(video, tmp_path / "frames", model="psnr", pairing=Pairing(frames=11)).score > 50


# --- standard input -----------------------------------------------------------------------------------------------


def test_a_y4m_stream_on_standard_input(tmp_path):
    video = make(tmp_path / "video.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    stream = ffmpeg("-i", str(video), "-f", "yuv4mpegpipe", "-")
    line = ["score", "-", str(video), "--model", "psnr", "--json"]
    piped = subprocess.run([sys.executable, "-m", "compressvqa", *line], input=stream, capture_output=True, check=True)
    turned = inside("score", str(video), "-", *line[3:], stdin=stream)
    for said in (piped.stdout, turned.stdout):
        found = json.loads(said)
        assert found["score"] == 60 and found["distorted"]["frames"] == found["reference"]["frames"] == 8


def test_what_else_may_come_on_standard_input(tmp_path):
    video = make(tmp_path / "video.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    form = RawFormat(128, 96)
    samples = raw_bytes(video, "yuv420p")
    for sent, raw in ((video.read_bytes(), None), (samples, form)):
        with kept(Clip(video), [Clip(Path("-"), raw)], io.BytesIO(sent)) as (left, (right,)):
            assert left == Clip(video)
            assert b"".join(frame.to_bytes() for frame in read_frames(right)) == samples
        assert not right.path.exists()


def test_faults_of_standard_input_are_one_line(tmp_path):
    video = make(tmp_path / "video.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p")
    stream = ffmpeg("-i", str(video), "-f", "yuv4mpegpipe", "-")
    cases = [
        (b"", [str(video), "-"], "standard input: is empty"),
        (b"no video at all" * 99, [str(video), "-"], "standard input: is not a video that can be read"),
        (stream, ["-", "-"], "only one file can come on standard input"),
        (stream[:-100], [str(video), "-"], "standard input: frame 7 is cut off"),
    ]
    for sent, files, message in cases:
        done = inside("score", *files, "--model", "psnr", stdin=sent)
        said = done.stderr.strip()
        assert done.returncode == 2 and message in said and "\n" not in said


def test_a_data_set_may_hold_folders_of_pictures(tmp_path, monkeypatch):
    from compressvqa.evaluation.cache import ScoreCache
    from compressvqa.scoring import find_scorers

    for number, name in enumerate(["a", "b"]):
        pictures(tmp_path / name, [f"f{n}.png" for n in range(number, number + 3)])
    cache, facts = ScoreCache(tmp_path / "kept"), find_scorers(["psnr"])[0].facts[0]
    clip = Clip(tmp_path / "a" / "f%d.png")
    key = cache.key(facts, clip, clip, Pairing())
    assert key == cache.key(facts, clip, Clip(tmp_path / "b" / "f%d.png"), Pairing())  # the same pictures
    assert key != cache.key(facts, clip, Clip(clip.path, stream=0), Pairing())
    Image.new("RGB", (64, 48), (9, 9, 9)).save(tmp_path / "a" / "f2.png")
    assert key != cache.key(facts, clip, clip, Pairing())
    cache.close()
