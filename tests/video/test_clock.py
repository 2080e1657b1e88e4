"""Frames that belong together in time: at other rates, at rates that vary, and what ffmpeg pairs by the same clock."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from clips import ffmpeg, make

from compressvqa.errors import DataError
from compressvqa.video import Clip, Pairing, RawFormat, look, probe
from compressvqa.video.align import blocks
from compressvqa.video.clock import Clock, clock_of, nearest
from compressvqa.video.sides import picked

LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p")


def ticks(rate, frames):
    step = 1 / float(rate)
    return Clock(np.arange(frames) * step, step, step, False)


def pairs(reference: Path, distorted: Path, **settings) -> list[int]:
    """The distorted frame beside each reference frame."""
    sight = look(Clip(reference), Clip(distorted), Pairing(**settings))
    return list(range(sight.frames)) if sight.shown is None else sight.shown[1].tolist()


@pytest.mark.parametrize(("r", "d"), [(25, 50), (50, 25), (60, Fraction(60000, 1001)), (24, 25), (30, 24), (24, 60)])
def test_the_nearest_frame_is_taken_and_the_earlier_of_two(r, d):
    seconds = 4
    reference, distorted = ticks(r, int(seconds * r)), ticks(d, int(seconds * d))
    found = nearest(reference, distorted)
    for number, shown in enumerate(found):
        # Exact arithmetic, and the definition: the least distance, of equal ones the first.
        away = [abs(Fraction(number) / r - Fraction(other) / d) for other in range(len(distorted.times))]
        assert shown == away.index(min(away))


@pytest.mark.parametrize("rate", [24, 30])
def test_an_encode_at_another_rate_that_ends_a_frame_late(tmp_path, rate):
    """`ffmpeg -r` runs up to a frame late: the files are as long, and their frames belong together by time."""
    a = make(tmp_path / "a.mp4", *LOSSLESS, frames=60, size="64x64")
    b = tmp_path / "b.mp4"
    ffmpeg("-i", str(a), "-r", str(rate), *LOSSLESS, str(b))
    held = probe(b, count=True).frames
    want = [min(range(held), key=lambda other: abs(Fraction(n, 25) - Fraction(other, rate))) for n in range(60)]
    assert pairs(a, b) == pairs(a, b, rate="hold") == want


def test_a_file_of_another_rate_that_is_too_short_is_told_apart_by_its_length(tmp_path):
    a = make(tmp_path / "a.mp4", *LOSSLESS, frames=60, size="64x64")
    b = make(tmp_path / "b.mp4", *LOSSLESS, frames=50, rate=24, size="64x64")
    with pytest.raises(DataError, match="by time: cut both to one length, or --length trim"):
        look(Clip(a), Clip(b), Pairing(rate="hold"))


@pytest.mark.parametrize(("rate", "seconds"), [("24000/1001", 60), ("30000/1001", 40)])
def test_film_and_video_rates_are_not_their_neighbours(tmp_path, rate, seconds):
    """24 and 23.976 differ by one frame in 42 seconds: as many frames as the clocks say are no fault."""
    whole = round(float(Fraction(rate)))
    size = ("-vf", "scale=64:64", *LOSSLESS)
    a = make(tmp_path / "a.mp4", *size, frames=seconds * whole, rate=whole, size="64x64")
    b = tmp_path / "b.mp4"
    ffmpeg("-i", str(a), "-vf", f"fps={rate}", *LOSSLESS, str(b))
    assert probe(b, count=True).frames < probe(a, count=True).frames
    sight = look(Clip(a), Clip(b), Pairing())
    assert [found.what for found in sight.differences] == ["frame rate"] and "by time" in sight.differences[0].hint
    shown = pairs(a, b)
    want = [round(number / whole * Fraction(rate) - Fraction(1, 10**9)) for number in range(len(shown))]
    assert shown == want
    assert pairs(a, b, rate="hold") == shown


def test_as_many_frames_at_another_rate_go_by_number_unless_held(tmp_path):
    a = make(tmp_path / "a.mp4", *LOSSLESS, frames=30, rate=30, size="64x64")
    b = tmp_path / "b.mp4"
    ffmpeg("-r", "25", "-i", str(make(tmp_path / "c.y4m", frames=30, size="64x64")), *LOSSLESS, str(b))
    assert pairs(a, b) == list(range(30))
    held = pairs(a, b, rate="hold", length="trim")
    assert held == [round(n * 25 / 30 - 1e-9) for n in range(30)]


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    """Fifty frames at 25 a second, lossless, and the same without frames 10, 11, 12 and every fifth."""
    folder = tmp_path_factory.mktemp("varying")
    constant = make(folder / "constant.mp4", *LOSSLESS, frames=50, size="64x64")
    kept = [n for n in range(50) if n not in (10, 11, 12) and n % 5 != 2]
    choice = "+".join(f"eq(n\\,{n})" for n in kept)
    for suffix in ("mp4", "mkv"):
        ffmpeg("-i", str(constant), "-vf", f"select={choice}", "-fps_mode", "passthrough", *LOSSLESS,
               str(folder / f"varying.{suffix}"))  # fmt: skip
    late = folder / "late.ts"
    ffmpeg("-i", str(folder / "varying.mkv"), "-c", "copy", "-output_ts_offset", "3.7", str(late))
    return folder, kept


@pytest.mark.parametrize("name", ["varying.mp4", "varying.mkv", "late.ts"])
def test_a_rate_that_varies_is_matched_by_time(varying, name):
    folder, kept = varying
    away = [[abs(number - frame) for frame in kept] for number in range(50)]
    want = [row.index(min(row)) for row in away]
    found = pairs(folder / "constant.mp4", folder / name)
    assert found == want[: len(found)] and len(found) >= 49
    # The other way round each kept frame is found again.
    assert pairs(folder / name, folder / "constant.mp4") == kept
    (difference,) = look(Clip(folder / "constant.mp4"), Clip(folder / name), Pairing()).differences
    assert difference.what == "variable frame rate" and "varies" in difference.distorted


def test_two_copies_of_one_varying_clock_go_one_by_one(varying):
    folder, kept = varying
    assert look(Clip(folder / "varying.mp4"), Clip(folder / "late.ts"), Pairing()).shown is None
    assert pairs(folder / "varying.mp4", folder / "late.ts") == list(range(len(kept)))


def test_ffmpeg_pairs_the_same_frames(varying):
    """`ts_sync_mode=nearest` of ffmpeg's psnr; ours is computed from the frames that were paired."""
    folder, _ = varying
    import subprocess

    graph = "[1:v]setpts=PTS-STARTPTS[d];[0:v]setpts=PTS-STARTPTS[r];[r][d]psnr=ts_sync_mode=nearest:stats_file=-"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-i", "constant.mp4", "-i", "varying.mkv"]
    done = subprocess.run([*command, "-lavfi", graph, "-f", "null", "-"], cwd=folder, capture_output=True, check=True)
    theirs = [float(value) for value in re.findall(r"mse_y:([\d.]+)", done.stdout.decode())]
    clips = Clip(folder / "constant.mp4"), Clip(folder / "varying.mkv")
    sight = look(*clips, Pairing())
    ours = []
    for block in blocks(clips[0], [clips[1]], [sight], Pairing(), block=12):
        for r, d in zip(block.reference, block.distorted[0], strict=True):
            ours.append(np.square(r.y.astype(float) - d.y.astype(float)).mean())
    # Where two frames are equally near, ffmpeg takes the later one.
    alike = np.abs(np.asarray(ours) - np.asarray(theirs[: len(ours)])) < 0.006
    _, kept = varying
    ties = [
        n for n in range(len(ours)) if sorted(abs(n - k) for k in kept)[:2].count(min(abs(n - k) for k in kept)) > 1
    ]
    assert all(alike[n] for n in range(len(ours)) if n not in ties)


def test_a_raw_file_of_no_known_rate_goes_by_number_and_cannot_be_held(tmp_path):
    raw = make(tmp_path / "a.yuv", "-f", "rawvideo", "-pix_fmt", "yuv420p", frames=10, size="64x64")
    video = make(tmp_path / "b.mp4", *LOSSLESS, frames=10, size="64x64")
    clips = Clip(raw, RawFormat(64, 64)), Clip(video)
    assert look(*clips, Pairing()).shown is None
    with pytest.raises(DataError, match=r"frame rate: unknown \(reference\) and 25.000 fps"):
        look(*clips, Pairing(rate="hold"))
    known = Clip(raw, RawFormat(64, 64, frame_rate=Fraction(50)))
    assert look(known, clips[1], Pairing(rate="hold", length="trim")).shown[1].tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    ]


def test_skipped_frames_begin_the_clock(varying):
    folder, kept = varying
    found = pairs(folder / "constant.mp4", folder / "varying.mp4", skip_reference=kept[9], skip_distorted=9)
    away = [[abs(number - frame) for frame in kept[9:]] for number in range(kept[9], 50)]
    assert found == [row.index(min(row)) for row in away][: len(found)]


def test_a_y4m_with_tags_in_its_frames_is_counted(tmp_path):
    half = make(tmp_path / "half.y4m", frames=5, rate=5, size="64x64")
    data = half.read_bytes().replace(b"FRAME\n", b"FRAME Ip\n")
    (tmp_path / "tagged.y4m").write_bytes(data)
    full = make(tmp_path / "full.y4m", frames=10, rate=10, size="64x64")
    assert pairs(full, tmp_path / "tagged.y4m") == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_picked_frames_never_fall():
    assert list(picked(iter("abc"), [0, 2, 2, 5])) == ["a", "c", "c"]


def test_an_unknown_length_has_no_clock(tmp_path):
    from dataclasses import replace

    info = probe(make(tmp_path / "a.y4m", frames=2, size="64x64"))
    assert clock_of(replace(info, frames=None)) is None and clock_of(replace(info, frame_rate=None)) is None
