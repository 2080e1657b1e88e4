"""One data set with all that data sets hold: headerless 10 bit, half the frame rate, half the size, other lengths."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from compressvqa.evaluation import evaluate
from compressvqa.opinions import Item, Manifest
from compressvqa.video import ffmpeg

FRAMES, H, W = 12, 96, 128


def luma(noise: float) -> np.ndarray:
    """(FRAMES, H, W) codes of 10 bit: a picture that moves, with noise."""
    y, x = np.mgrid[0:H, 0:W]
    moving = np.stack([512 + 150 * np.sin((x + 5 * t) / 11) + 120 * np.sin((y - 3 * t) / 9) for t in range(FRAMES)])
    noisy = moving + noise * np.random.default_rng(1).standard_normal(moving.shape)
    return np.clip(np.rint(noisy), 64, 940).astype("<u2")


def write(path: Path, frames: np.ndarray) -> None:
    grey = np.full(H * W // 2, 512, "<u2").tobytes()
    path.write_bytes(b"".join(frame.tobytes() + grey for frame in frames))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    errors = ((a.astype(float) - b.astype(float)) ** 2).mean(axis=(1, 2))
    return float(np.mean(10 * np.log10(1023**2 / errors)))


def test_scores_are_those_of_numpy(tmp_path):
    reference = luma(0)
    write(tmp_path / "r.yuv", reference)
    raw = {"reference": "r.yuv", "width": W, "height": H, "bitdepth": 10}
    rates = {"fps": Fraction(50), "reference_fps": Fraction(50)}
    expected, items = {}, []
    for name, noise in (("a", 8), ("b", 20), ("c", 60)):
        write(tmp_path / f"{name}.yuv", luma(noise))
        expected[f"{name}.yuv"] = psnr(reference, luma(noise))
        items.append(Item(f"{name}.yuv", mos=5 - noise / 20, **raw, **rates))
    half = luma(5)[::2]
    write(tmp_path / "half.yuv", half)
    expected["half.yuv"] = psnr(reference, np.repeat(half, 2, axis=0))  # each frame stays on the screen for two
    items.append(Item("half.yuv", mos=3.0, **raw, fps=Fraction(25), reference_fps=Fraction(50)))
    found = evaluate(["psnr"], [Manifest("mixed", tmp_path, tuple(items))], cache=tmp_path / "kept", resamples=0)
    scores = {item.distorted: item.score for item in found.scores[0].items}
    assert scores == pytest.approx(expected, abs=1e-4)
    assert found.datasets[0].left_out == 0


def test_a_smaller_encode_and_a_longer_one(tmp_path):
    """An mp4 of half the size is scaled as ffmpeg scales it; a longer file is left out, or cut where that is asked."""
    from compressvqa.video import Pairing

    source = ["-f", "lavfi", "-i", f"testsrc2=size={W}x{H}:rate=25"]
    ffmpeg.run([*source, "-frames:v", "12", "-pix_fmt", "yuv420p", "-c:v", "ffv1", "r.mkv"], folder=tmp_path)
    coded = ["-pix_fmt", "yuv420p", "-c:v", "libx264"]
    scale = ["-vf", "scale=64:48:flags=lanczos"]
    ffmpeg.run([*source, "-frames:v", "12", *scale, *coded, "small.mp4"], folder=tmp_path)
    ffmpeg.run([*source, "-frames:v", "20", *coded, "-crf", "35", "long.mp4"], folder=tmp_path)
    ffmpeg.run([*source, "-frames:v", "12", *coded, "-crf", "35", "same.mp4"], folder=tmp_path)
    items = tuple(Item(f"{n}.mp4", mos, reference="r.mkv") for n, mos in (("small", 2.0), ("long", 3.0), ("same", 4.0)))
    manifest = Manifest("mixed", tmp_path, items)
    left = evaluate(["psnr"], [manifest], cache=tmp_path / "kept", resamples=0)
    (facts,) = left.datasets
    assert facts.left_out == 1 and any("long.mp4" in note and "frame count" in note for note in facts.notes)
    cut = evaluate(["psnr"], [manifest], cache=tmp_path / "kept", resamples=0, pairing=Pairing(length="trim"))
    scores = {item.distorted: item.score for item in cut.scores[0].items}
    graph = "[0:v]scale=128:96:flags=bicubic[d];[d][1:v]psnr=stats_file=log.txt"
    ffmpeg.run(["-i", "small.mp4", "-i", "r.mkv", "-lavfi", graph, "-f", "null", "-"], folder=tmp_path)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    theirs = np.mean([float(line.split("psnr_y:")[1].split()[0]) for line in lines])
    assert scores["small.mp4"] == pytest.approx(theirs, abs=0.05)  # two builds of ffmpeg's scaler
    assert set(scores) == {"small.mp4", "long.mp4", "same.mp4"}
