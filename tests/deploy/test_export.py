"""Exports: run by a new process, held against PyTorch there, refused where they differ, and of use without us."""

import json
import re
import subprocess
import sys
from pathlib import Path

import clips
import numpy as np
import pytest
import torch
from running import command
from torch import nn

import compressvqa as cv
from compressvqa.deploy.exporting.facts import facts_of
from compressvqa.deploy.exporting.formats import ALL, FORMATS
from compressvqa.deploy.exporting.graph import ScaleCurve, ScoringGraph
from compressvqa.errors import CompressVQAError, DataError, RuntimeRefusedError, WeightsError
from compressvqa.metrics.score_scale import ScoreScale
from compressvqa.models import scales


class Difference(nn.Module):
    """The negated mean square of filtered differences."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.filters = nn.Conv2d(3, 4, 3, stride=4)

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        return -self.filters((reference - distorted).flatten(0, 1)).square().mean((1, 2, 3)).unflatten(
            0, reference.shape[:2]
        ).mean(1)  # fmt: skip


class OfOneSize(Difference):
    """Says something else of large pictures, by a size that a tracer takes for a constant."""

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        return super().forward(reference, distorted) * (2.0 if reference.shape[-1] > 400 else 1.0)


class Branching(Difference):
    """Says something else of bad pictures: which way it went is not in a graph."""

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        factor = 1.0 if float((reference - distorted).abs().mean()) < 0.05 else 1.1
        return super().forward(reference, distorted) * factor


class Squares(Difference):
    """Takes pictures of one size only, and says so in its own words."""

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        if reference.shape[-2:] != (64, 64):
            raise ValueError("64x64 only, please")
        return super().forward(reference, distorted)


@pytest.fixture(autouse=True)
def _registered() -> None:
    for made in (Difference, OfOneSize, Branching, Squares):
        cv.register_model(f"test-{made.__name__.lower()}", mode="FR", frames=3, smallest_side=32)(made)


def small(name: str = "difference", *, scaled: bool = True) -> nn.Module:
    network = cv.create_model(f"test-{name}").eval()
    if scaled:
        scales.set_scale(network, ScoreScale((-0.2, -0.05, -0.01), (20.0, 60.0, 90.0), "somebody's scores"))
    return network


def test_the_curve_of_a_graph_is_the_scale() -> None:
    for raw, readable in (
        ((-3.0, -1.0, 0.5, 2.0), (5.0, 40.0, 60.0, 99.0)),
        ((1.0, 2.0), (90.0, 10.0)),
        ((-40.0, -39.0, -5.0), (1.0, 30.0, 99.9)),
    ):
        scale = ScoreScale(raw, readable)
        scores = np.linspace(raw[0] - 5, raw[-1] + 5, 201)
        found = ScaleCurve(scale)(torch.tensor(scores, dtype=torch.float32))
        assert np.abs(found.numpy() - scale.map(scores)).max() < 1e-3


def test_identical_blocks_get_100_as_in_score() -> None:
    graph = ScoringGraph(small(), scales.scale_of(small()), full_reference=True)
    clip = torch.rand(2, 3, 3, 32, 32)
    other = clip.clone()
    other[1, 2, 1, 5, 7] += 1e-3
    score, raw = graph(clip, other)
    assert score[0] == 100 and score[1] < 100 and raw.shape == (2,)


@pytest.mark.parametrize(
    "form", ["onnx", *(pytest.param(form, marks=pytest.mark.slow) for form in ("openvino", "torch-export"))]
)
def test_an_export_gives_pytorchs_scores_in_a_new_process(form: str, tmp_path: Path) -> None:
    for package in FORMATS[form].packages:
        pytest.importorskip(package)
    network = small()
    made = cv.export(network, tmp_path / "made", format=form, allow_random_weights=True, licence="MIT", name="mine",
                     size=None if form == "onnx" else (40, 48))  # fmt: skip
    assert made.error < 1e-4 and made.clips >= 5
    assert made.free == (ALL if form == "onnx" else ("batch",))
    assert sorted(file.name for file in made.folder.iterdir() if file.suffix != ".bin") == sorted(
        ["README.md", "example.py", "facts.json", FORMATS[form].file]
    )
    facts = json.loads((made.folder / "facts.json").read_text())
    assert facts["licence"] == "MIT" and facts["name"] == "mine" and facts["scale"]["raw"] == [-0.2, -0.05, -0.01]
    assert facts["input"]["range"] == [0, 1] and "BT.709" in facts["colour"] and facts["block"].startswith("3 ")
    assert "somebody's scores" in (made.folder / "README.md").read_text()


@pytest.mark.slow
def test_a_shipped_network_scores_two_files_without_us(tmp_path: Path) -> None:
    """The example that goes along gives what `compressvqa score` gives, also of a block that is not full."""
    pytest.importorskip("onnxruntime")
    made = cv.export("rankdvqa-pico", tmp_path / "made")
    assert made.free == ALL and made.facts["licence"] == "Apache-2.0"
    tagged = ("-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_range", "tv", "-c:v", "libx264", "-crf")
    reference = clips.make(tmp_path / "reference.mp4", *tagged, "0", size="130x100", frames=15)
    distorted = clips.make(tmp_path / "distorted.mp4", *tagged, "44", size="130x100", frames=15)
    code = made.folder / "example.py"
    assert "compressvqa" not in code.read_text().split('"""')[2]
    done = subprocess.run([sys.executable, str(code), str(reference), str(distorted)], capture_output=True, text=True,
                          check=False, cwd=tmp_path, env={"PATH": "/usr/bin"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = cv.score(reference, distorted, model="rankdvqa-pico", runtime="eager").score
    assert float(done.stdout) == pytest.approx(expected, abs=0.01)


def test_a_graph_that_knows_one_size_is_not_said_to_know_all(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    made = cv.export(small("ofonesize"), tmp_path / "made", allow_random_weights=True)
    assert made.size == (256, 256) and "height" not in made.free
    assert "not for any size of picture" in made.notes[0] and "differs from PyTorch" in made.notes[0]
    assert "256x256 only" in (made.folder / "README.md").read_text()


def test_a_way_that_fails_leaves_dropout_asleep_for_the_next(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network = cv.create_model("wadiqam-fr", widths=(2, 2, 2, 2, 2), hidden=4)
    made = cv.export(network, tmp_path / "made", allow_random_weights=True)
    assert made.free == ("batch",) and "not for any size" in made.notes[0]


def test_a_network_of_one_size_is_exported_for_that_size(tmp_path: Path) -> None:
    network = small("squares").train()
    made = cv.export(network, tmp_path / "made", format="torch-export", size=64, allow_random_weights=True)
    assert made.size == (64, 64) and network.training
    with pytest.raises(RuntimeRefusedError, match="64x64 only, please"):
        cv.export(network, tmp_path / "none", format="torch-export", size=80, allow_random_weights=True)


def test_an_export_that_differs_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(RuntimeRefusedError):
        cv.export(small("branching"), tmp_path / "made", allow_random_weights=True, size=64)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_weights_were_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight off by a thousandth, after the exporter has done its work."""
    pytest.importorskip("onnxruntime")
    form = FORMATS["onnx"]
    write = type(form).write

    def wrong(self, graph, example, free, facts, path):
        write(self, graph, example, free, facts, path)
        import onnx

        model = onnx.load(str(path))
        weights = next(one for one in model.graph.initializer if list(one.dims) == [4, 3, 3, 3])
        changed = onnx.numpy_helper.to_array(weights).copy()
        changed[0, 0, 0, 0] += 1e-2
        weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
        onnx.save(model, str(path))

    monkeypatch.setattr(type(form), "write", wrong)
    with pytest.raises(RuntimeRefusedError, match=r"differs from PyTorch by .* of the range of its scores, 0\.0001"):
        cv.export(small(), tmp_path / "made", allow_random_weights=True, size=64)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    for error, asked in (
        (DataError, {"format": "tensorrt"}),
        (DataError, {"folder": tmp_path / "other"}),
        (DataError, {"folder": tmp_path / "other" / "letter.txt"}),
        (WeightsError, {"model": "c3dvqa"}),
        (CompressVQAError, {"model": "no-such-network"}),
        (WeightsError, {"model": str(tmp_path / "none" / "model")}),
    ):
        settings = {"model": "rankdvqa-pico", "folder": tmp_path / "made"} | asked
        with pytest.raises(error):
            cv.export(settings.pop("model"), settings.pop("folder"), **settings)
    assert (tmp_path / "other" / "letter.txt").read_text() == "dear" and not (tmp_path / "made").exists()


def test_facts_of_a_network_without_a_scale_say_so() -> None:
    facts = facts_of(small(scaled=False), 3, name="x", licence=None)
    assert facts["scale"] is None and "raw" in facts["output"]["score"]


@pytest.mark.slow
def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    for arguments, message in (
        (["rankdvqa-pico", "--size", "big"], "'big' is no size of pictures"),
        (["rankdvqa-pico", "--int8", str(tmp_path)], "--int8: onnx is not written in int8"),
        (["rankdvqa-pico", "--format", "openvino", "--int8", str(tmp_path)], "no finished set of patches"),
        (["deepqa"], "no trained weights of deepqa ship"),
    ):
        done = command("export", *arguments, "--out", str(tmp_path / "made"))
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert re.search(message, done.stderr)
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_the_command_exports_and_says_what_it_checked(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = command("export", "rankdvqa-pico", "--size", "96", "--out", "made", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["size"] == [96, 96] and said["error"] < 1e-4 and said["facts"]["licence"] == "Apache-2.0"
