"""Scores of two files: against the network itself, against numpy, and every refusal."""

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from compressvqa.deploy.eager import Eager
from compressvqa.errors import DataError, RegistryError, WeightsError
from compressvqa.models import create_model, save
from compressvqa.registry import runtimes
from compressvqa.scoring import NetworkScorer, model_folder, score, score_several
from compressvqa.video.clip import Pairing
from compressvqa.video.raw import RawFormat, write_y4m
from compressvqa.video.read import read_clip


def whole(path: Path, frames: int) -> torch.Tensor:
    return read_clip(path, frames=frames).unsqueeze(0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8).eval()


def test_equals_the_network_called_with_the_whole_clip(write, network):
    """30 frames: two whole blocks and one that the network fills up."""
    reference, distorted = write("r.y4m"), write("d.y4m", noise=0.1)
    result = score(reference, distorted, model=network, allow_random_weights=True)
    with torch.no_grad():
        expected = network(whole(reference, 30), whole(distorted, 30))
    assert result.score == pytest.approx(float(expected), abs=1e-5)
    assert [(part.first_frame, part.last_frame) for part in result.per_segment] == [(0, 11), (12, 23), (24, 29)]


def test_against_numpy(write, mean_difference, clip):
    reference, distorted = write("r.y4m", 12), write("d.y4m", 12, noise=0.05)
    luma = [np.stack([frame.y for frame in clip(12, noise=noise)]).astype(np.float64) for noise in (0, 0.05)]
    grey = [np.clip((plane - 16) / 219, 0, 1) for plane in luma]  # neutral chroma: R = G = B = scaled luma
    result = score(reference, distorted, model=mean_difference)
    assert result.score == pytest.approx(-np.abs(grey[0] - grey[1]).mean(), abs=1e-5)


def test_the_same_twice_and_from_a_saved_folder(write, network, tmp_path):
    reference, distorted = write("r.y4m", 24), write("d.y4m", 24, noise=0.1)
    folder, any_weights = save(network, tmp_path / "run" / "model"), {"allow_random_weights": True}
    first, second = (score(reference, distorted, model=folder, **any_weights).to_dict() for _ in range(2))
    assert first == second
    assert score(reference, distorted, model=network, **any_weights).score == first["score"]
    of_the_run = score(reference, distorted, model=str(tmp_path / "run"), **any_weights)  # the run folder does too
    assert of_the_run.score == first["score"]


def test_identical_files_score_best(write, mean_difference):
    reference = write("r.y4m", 12)
    assert score(reference, reference, model=mean_difference).score == 0


def test_the_network_is_left_as_it_was(write, mean_difference):
    network = mean_difference.train()
    network.requires_grad_(True)
    score(write("r.y4m", 12), write("d.y4m", 12), model=network)
    assert network.training and network.weight.grad is None


def test_subsample_skips_whole_blocks(write, mean_difference):
    reference, distorted = write("r.y4m", 40), write("d.y4m", 40, noise=0.1)
    every = score(reference, distorted, model=mean_difference)
    second = score(reference, distorted, model=mean_difference, pairing=Pairing(subsample=2))
    assert [part for part in every.per_segment if part.first_frame in (0, 24)] == list(second.per_segment)
    assert second.settings["subsample"] == 2


def test_frames_limits_files_of_different_length(write, mean_difference):
    reference, distorted = write("r.y4m", 40), write("d.y4m", 25, noise=0.1)
    with pytest.raises(DataError, match=r"frame count: 40 \(reference\) and 25 \(distorted\).*number of frames"):
        score(reference, distorted, model=mean_difference)
    result = score(reference, distorted, model=mean_difference, pairing=Pairing(frames=25))
    assert result.per_segment[-1].last_frame == 24
    with pytest.raises(DataError, match="frame count"):
        score(reference, distorted, model=mean_difference, pairing=Pairing(frames=26))


def test_skipped_frames_bring_files_into_step(write, tmp_path, mean_difference, clip):
    frames = clip(30)
    write_y4m(tmp_path / "late.y4m", frames[6:])
    result = score(write("r.y4m", 30), tmp_path / "late.y4m", model=mean_difference, pairing=Pairing(skip_reference=6))
    assert result.score == 0
    assert result.per_segment[-1].last_frame == 23


def test_headerless_video_of_ten_bits(write, tmp_path, mean_difference, clip):
    frames = clip(12, bitdepth=10)
    (tmp_path / "r.yuv").write_bytes(b"".join(frame.to_bytes() for frame in frames))
    raw = RawFormat(112, 96, bitdepth=10)
    result = score(tmp_path / "r.yuv", tmp_path / "r.yuv", model=mean_difference, raw=raw)
    assert result.score == 0
    assert result.to_dict()["reference"]["bitdepth"] == 10
    with pytest.raises(DataError, match=r"r\.yuv: a headerless"):
        score(tmp_path / "r.yuv", tmp_path / "r.yuv", model=mean_difference)


def test_what_differs_is_said(write, mean_difference):
    result = score(write("r.y4m", 12, bitdepth=10), write("d.y4m", 12, rate=50), model=mean_difference)
    assert {found["what"] for found in result.to_dict()["differences"]} == {"frame rate", "bit depth"}
    assert "frame rate: 25.000 fps (reference) and 50.000 fps (distorted)" in result.to_text()


def test_progress_reaches_the_end(write, mean_difference):
    seen = []
    score(
        write("r.y4m"), write("d.y4m"), model=mean_difference, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(12, 30), (24, 30), (30, 30)]


@pytest.mark.slow
def test_memory_does_not_grow_with_length(write):
    """Ten times the frames, decoded some 380 MB, take no more memory at the peak."""
    short, long = (write(f"{frames}.y4m", frames, height=256, width=256) for frames in (24, 240))
    script = f"""
import re, torch
from compressvqa.scoring import score
class Network(torch.nn.Module):
    def forward(self, reference, distorted):
        return (reference - distorted).mean(dim=(1, 2, 3, 4))
torch.set_num_threads(1)
for path in ({str(short)!r}, {str(long)!r}):
    score(path, path, model=Network())
    # Not getrusage: its peak begins with that of the process that started this one.
    print(re.search("VmHWM: *.(.*) kB", open("/proc/self/status").read())[1])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())  # kilobytes
    assert after - before < 80_000


# --- refusals ---------------------------------------------------------------------------------------------------


def test_sizes_that_differ(write, mean_difference):
    with pytest.raises(DataError, match=r"r\.y4m.*d\.y4m.*frame size: 112x96 \(reference\) and 128x96"):
        score(write("r.y4m", 3), write("d.y4m", 3, width=128), model=mean_difference, pairing=Pairing(size="refuse"))


def test_frames_below_96_pixels(write, mean_difference):
    small = write("small.y4m", 3, height=94)
    with pytest.raises(DataError, match=r"96 pixels"):
        score(small, small, model=mean_difference)


def test_missing_empty_and_foreign_files(write, tmp_path, mean_difference):
    reference = write("r.y4m", 3)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    for name, words in (("absent.mp4", "no such file"), ("empty.mp4", "empty"), ("text.mp4", "not a video")):
        with pytest.raises(DataError, match=rf"{name}: .*{words}"):
            score(reference, tmp_path / name, model=mean_difference)


def test_a_truncated_file_is_named(write, mean_difference):
    reference, distorted = write("r.y4m", 30), write("d.y4m", 30)
    data = distorted.read_bytes()
    distorted.write_bytes(data[: len(data) - 5000])
    with pytest.raises(DataError, match=r"d\.y4m"):
        score(reference, distorted, model=mean_difference)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_hdr_is_refused(transfer, tmp_path, mean_difference):
    import imageio_ffmpeg

    path = tmp_path / "hdr.mkv"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25"]
    command += ["-frames:v", "4", "-pix_fmt", "yuv420p10le", "-c:v", "libx265", "-preset", "ultrafast"]
    command += ["-x265-params", f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(DataError, match=r"transfer: (pq|hlg)"):
        score(path, path, model=mean_difference)


def test_a_network_that_gives_no_number(write, mean_difference):
    network = mean_difference
    torch.nn.init.constant_(network.weight, float("nan"))
    with pytest.raises(WeightsError, match=r"scores frames 0 to 11 of .*d.y4m as nan"):
        score(write("r.y4m", 12), write("d.y4m", 12), model=network)


def test_names_without_weights(tmp_path, write):
    reference = write("r.y4m", 3)
    with pytest.raises(WeightsError, match=r"no trained weights of deepqa "):
        score(reference, reference, model="deepqa")
    with pytest.raises(RegistryError, match=r"'rankdvq' is neither"):
        model_folder("rankdvq")
    with pytest.raises(WeightsError, match="there is no such model folder"):
        model_folder(tmp_path / "none")
    (tmp_path / "weights.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match="does not say which network"):
        model_folder(tmp_path / "weights.pth")


def test_settings_that_mean_nothing(write, mean_difference):
    reference = write("r.y4m", 3)
    for settings in ({"runtime": "abacus"}, {"max_pixels": 10}, {"device": "tpu"}):
        with pytest.raises((DataError, RegistryError)):
            score(reference, reference, model=mean_difference, **settings)
    for wrong in ({"frames": 0}, {"subsample": 0}, {"skip_reference": -1}):
        with pytest.raises(DataError):
            Pairing(**wrong)
    with pytest.raises(DataError, match="full-reference"):
        score(None, reference, model=mean_difference)


# --- no-reference and tiles -------------------------------------------------------------------------------------


def test_a_no_reference_network_reads_the_distorted_file_only(write):
    from compressvqa.models import ModelSpec

    class Brightness(torch.nn.Module):
        def forward(self, distorted):
            return distorted.mean(dim=(1, 2, 3, 4))

    network, distorted = Brightness(), write("d.y4m", 30)
    network.compressvqa_spec = ModelSpec("brightness", mode="NR")
    result = score(None, distorted, model=network)
    blocks = whole(distorted, 30).split(12, dim=1)
    assert [part.score for part in result.per_segment] == pytest.approx([float(b.mean()) for b in blocks], abs=1e-6)
    assert result.to_dict()["reference"] is None


def test_no_reference_files_of_different_sizes(write):
    from compressvqa.models import ModelSpec

    class Width(torch.nn.Module):
        def forward(self, distorted):
            return distorted.mean(dim=(1, 2, 3, 4)) + distorted.shape[-1]

    network = Width()
    network.compressvqa_spec = ModelSpec("width", mode="NR")
    files = [write("a.y4m", 3, width=112), write("b.y4m", 5, width=256, height=128)]
    found = score_several(None, files, model=network)
    assert [one.score for one in found] == [score(None, file, model=network).score for file in files]
    assert [int(one.score) for one in found] == [112, 256]


def test_large_frames_are_scored_in_tiles(write, mean_difference):
    network = mean_difference
    reference, distorted = (
        write("r.y4m", 2, height=600, width=1000),
        write("d.y4m", 2, height=600, width=1000, noise=0.1),
    )
    tiled = score(reference, distorted, model=network, max_pixels=512 * 512)
    assert len(network.shapes) == tiled.settings["tiles"] == 3
    assert all(h * w <= 512 * 512 for *_, h, w in network.shapes)
    assert "3 a frame" in tiled.to_text()
    # The mean over pixels is the area-weighted mean over tiles exactly.
    assert tiled.score == pytest.approx(score(reference, distorted, model=network, max_pixels=None).score, abs=1e-6)


def test_a_network_is_made_ready_once_for_files_of_one_size_and_anew_for_other_weights(write, network):
    """What takes seconds (compiling, the check against PyTorch) is not paid by each of many short files."""
    made = []

    @runtimes.register("counted", tolerance=0.0)
    class Counted(Eager):
        def prepare(self, network, size):
            made.append((size.height, size.width))
            return super().prepare(network, size)

    files = [(write(f"r{n}.y4m", 12 + n), write(f"d{n}.y4m", 12 + n, noise=0.05 + 0.01 * n)) for n in range(3)]
    copied = copy.deepcopy(network)
    scorer = NetworkScorer(copied, runtime="counted", allow_random_weights=True)
    found = [score(*pair, model=scorer).score for pair in files]
    assert len(made) == 1
    assert found == [score(*pair, model=network, runtime="eager", allow_random_weights=True).score for pair in files]
    with torch.no_grad():
        next(copied.parameters()).mul_(1.5)
    changed = score(*files[0], model=scorer).score
    assert len(made) == 2
    assert changed == score(*files[0], model=copied, runtime="eager", allow_random_weights=True).score != found[0]
