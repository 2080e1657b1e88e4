"""Trained networks that ship: put there by the script, found by name, checked file by file, and said where none is."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import compressvqa as cv
from compressvqa.cli import main
from compressvqa.errors import RegistryError, WeightsError
from compressvqa.metrics.score_scale import ScoreScale
from compressvqa.models import shipped
from compressvqa.models.factory import is_untrained, spec_of
from compressvqa.models.scales import scale_of, set_scale
from tests.clips import make

torch.set_num_threads(1)
SMALL = {"widths": (4, 6, 8, 10, 12, 14), "merge_width": 8, "mlp_width": 8}
SCALE = ScoreScale((-2.0, 0.0, 1.0), (20.0, 50.0, 80.0), "VMAF 0.6.1 of 3 patches")
ROW = {"stage": "pruned", "params": 9, "macs": 9, "macs_conv_linear": 9, "srocc": 0.9, "n": 40, "latency_ms": 3.0}
RESULTS = {"name": "run", "label": "vmaf_v0.6.1", "table": [ROW], "data": {"train": {"contents": 3}}}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    place = Path(__file__).parents[2] / "scripts" / "ship.py"
    spec = importlib.util.spec_from_file_location("ship", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(*, seed: int = 0):
    """Weights that are not those that were drawn; a pruned network, as most that ship."""
    torch.manual_seed(seed)
    network = cv.create_model("rankdvqa", **SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.3).add_(0.002)
    return cv.prune(network, cv.example_inputs(network, size=96), ratios=0.5, verify=False).model.eval()


def run_of(network, folder: Path) -> Path:
    """What a run leaves of it."""
    cv.save(network, folder / "model")
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return folder


@pytest.fixture(scope="module")
def network():
    found = trained()
    set_scale(found, SCALE)
    return found


@pytest.fixture(scope="module")
def package(network, script, tmp_path_factory) -> Path:
    """A folder as the package's, with one network."""
    folder = tmp_path_factory.mktemp("package")
    data = folder / "data.csv"
    data.write_text("file,author,licence\na.mp4,Ada,CC BY 4.0\nb.mp4,Ada,CC BY 4.0\nc.png,Bea,CC0\n")
    script.ship(
        run_of(network, folder / "run"), "rankdvqa-mini", to=folder / "weights", data=[data],
        retrain="compressvqa run reference/mini", limits=["It never saw snow."],
    )  # fmt: skip
    return folder / "weights"


@pytest.fixture
def ships(package, monkeypatch) -> Path:
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", package)
    return package


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns its exit code and what it printed on both streams."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["compressvqa", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(logging.getLogger("compressvqa"), "handlers", [])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("files")
    make(folder / "r.y4m", size="128x96", frames=14)
    make(folder / "d.y4m", "-vf", "boxblur=3", size="128x96", frames=14)
    return [str(folder / "r.y4m"), str(folder / "d.y4m")]


def test_it_is_listed_made_and_in_single_precision(ships, network):
    assert cv.list_models(pretrained=True) == ["rankdvqa-mini"] and "rankdvqa-mini" in cv.list_models()
    assert cv.list_models("stanet*", pretrained=True) == []
    made = cv.create_model("rankdvqa-mini", weights="pretrained")
    assert made.training and spec_of(made).name == "rankdvqa" and scale_of(made) == SCALE
    held = dict(network.named_parameters())
    for name, parameter in made.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, held[name].half().float()), "stored in half precision, by independent rounding"
    size = (ships / "rankdvqa-mini" / "model.safetensors").stat().st_size
    assert size < 2 * sum(p.numel() for p in network.parameters()) + 20_000


def test_half_precision_hardly_moves_scores(ships, network, files):
    whole, half = (cv.score(*files, model=one) for one in (network, "rankdvqa-mini"))
    assert 0 < abs(whole.raw_score - half.raw_score) < 0.01 * abs(whole.raw_score)
    assert abs(whole.score - half.score) < 0.05
    facts = json.loads((ships / "rankdvqa-mini" / "config.json").read_text())["facts"]["half_precision"]
    assert 0 < facts["largest_difference"] < 0.05


def test_without_weights_the_name_stands_for_its_widths(ships, network):
    torch.manual_seed(3)
    fresh, again = (cv.create_model("rankdvqa-mini", dropout=0.1) for _ in range(2))
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    assert {name: parameter.shape for name, parameter in fresh.named_parameters()} == shapes
    assert is_untrained(fresh) and scale_of(fresh) is None and fresh.scales[0].dropout.p == 0.1
    weights = [next(one.parameters()) for one in (fresh, again, network)]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    # As its constructor draws a convolution of these widths: sqrt(2 / (outputs * 9)).
    layer = fresh.scales[0].conv_in.weight
    assert layer.std().item() == pytest.approx((2 / (layer.shape[0] * 9)) ** 0.5, rel=0.2)
    assert [tuple(one.shape) for one in cv.example_inputs("rankdvqa-mini", size=96)] == [(1, 12, 3, 96, 96)] * 2
    cv.save(fresh, ships.parent / "again")
    assert torch.equal(next(cv.load(ships.parent / "again").parameters()), weights[0])


def test_its_own_weights_from_a_file_and_a_folder(ships, network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    cv.save(network, tmp_path / "mine")
    for place in ("mine.pth", "mine"):
        made = cv.create_model("rankdvqa-mini", weights=tmp_path / place)
        assert torch.equal(next(made.parameters()), next(network.parameters()))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "README.md"])
def test_a_file_that_is_not_what_was_shipped_is_named(file, package, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(package, tmp_path / "weights")
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", tmp_path / "weights")
    path = tmp_path / "weights" / "rankdvqa-mini" / file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=rf"{file}: is not the file that shipped with rankdvqa-mini"):
        cv.create_model("rankdvqa-mini", weights="pretrained")
    path.unlink()
    with pytest.raises(WeightsError, match=f"lack {file}"):
        cv.create_model("rankdvqa-mini", weights="pretrained")
    (tmp_path / "weights" / "index.json").write_text('{"format": 1, "networks": {"a": {}}}')
    with pytest.raises(WeightsError, match="index of the shipped networks is damaged"):
        cv.list_models()


def test_what_does_not_ship_is_one_line_with_what_does(ships, run, files):
    with pytest.raises(WeightsError, match=r"no trained weights of deepqa ship with this version; these do: rank"):
        cv.create_model("deepqa", weights="pretrained")
    with pytest.raises(RegistryError, match="unknown model 'rankdvqa-nano'"):
        cv.create_model("rankdvqa-nano", weights="pretrained")
    code, printed, error = run("score", *files, "--model", "stanet")
    assert (code, printed) == (2, "") and error.count("\n") == 1 and "these do: rankdvqa-mini" in error


def test_where_nothing_ships(tmp_path, monkeypatch, run, files):
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", tmp_path)
    assert cv.list_models(pretrained=True) == []
    code, _, error = run("score", *files)
    assert code == 2 and "no trained weights of rankdvqa-mini ship with this version, nor of any other network" in error
    code, printed, error = run("models", "--pretrained")
    assert (code, printed) == (0, "") and "no trained weights ship" in error


def test_two_files_are_scored_by_it_unless_asked_otherwise(ships, run, files):
    code, said, _ = run("score", *files)
    assert code == 0
    for words in (
        "rankdvqa-mini",
        "higher is better, 0 to 100",
        "identical files: 100",
        "raw score",
        "VMAF 0.6.1 of 3",
    ):
        assert words in said
    assert "(the default)" in said
    code, said, _ = run("score", *files, "--json")
    log = json.loads(said)
    assert log["model"]["name"] == "rankdvqa-mini" and log["model"]["score_range"] == [0, 100]
    assert log["score"] == cv.score(*files).score and log["raw_score"] == cv.score(*files).raw_score
    assert log["model"]["source"] == "ships with compressvqa"
    _, said, _ = run("score", *files, "-m", "rankdvqa-mini=pretrained", "-m", "psnr", "--json")
    assert json.loads(said)["score"]["rankdvqa-mini"] == log["score"]


def test_the_commands_that_name_networks(ships, run):
    _, said, _ = run("models", "--pretrained", "--json")
    (one,) = json.loads(said)
    assert one["name"] == "rankdvqa-mini" and one["weights"]["licence"] == "Apache-2.0" and one["pretrained"]
    _, said, _ = run("models", "rankdvqa*")
    assert [line.split()[:2] for line in said.splitlines()] == [
        ["rankdvqa", "FR"], ["rankdvqa-mini", "FR*"], ["rankdvqa-stanet", "FR"],
    ]  # fmt: skip
    _, said, _ = run("profile", "rankdvqa-mini=pretrained", "--size", "96", "--json")
    assert json.loads(said)["params"] == one["weights"]["params"]


def test_the_card_says_what_a_user_has_to_know(ships):
    card = (ships / "rankdvqa-mini" / "README.md").read_text()
    for words in (
        'create_model("rankdvqa-mini", weights="pretrained")', "--model rankdvqa-mini", "not mean opinion scores",
        "a.mp4, b.mp4: Ada; CC BY 4.0", "c.png: Bea; CC0", "compressvqa run reference/mini", "It never saw snow.",
        "license: Apache-2.0", "half precision", "gets 100",
    ):  # fmt: skip
        assert words in card, words


def test_the_script_refuses_what_must_not_ship(script, tmp_path):
    torch.manual_seed(0)
    run_of(cv.create_model("rankdvqa", **SMALL), tmp_path / "fresh")
    with pytest.raises(WeightsError, match="random"):
        script.ship(tmp_path / "fresh", "x", to=tmp_path / "weights")
    network = trained()
    with torch.no_grad():
        network.extractor.stages[0][0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(WeightsError, match="half precision can't"):
        script.ship(run_of(network, tmp_path / "large"), "x", to=tmp_path / "weights")
    network = trained()
    with torch.no_grad():  # differences of large numbers: what half precision loses is all that the score shows
        for scale in network.scales:
            scale.conv_out.weight.mul_(1e-5)
            scale.conv_out.bias.fill_(5.0)
    with pytest.raises(WeightsError, match="moves its scores too far"):
        script.ship(run_of(network, tmp_path / "fine"), "x", to=tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_second_network_joins_the_first_and_its_notice_goes_along(script, package, network, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(package, tmp_path / "weights")
    (tmp_path / "LICENCE.txt").write_text("All rights reserved.")
    run = run_of(network, tmp_path / "run")
    script.ship(run, "c3dvqa-mini", to=tmp_path / "weights", licence="BSD-3-Clause", notice=tmp_path / "LICENCE.txt")
    monkeypatch.setattr(shipped, "WEIGHTS_FOLDER", tmp_path / "weights")
    assert cv.list_models(pretrained=True) == ["c3dvqa-mini", "rankdvqa-mini"]
    assert "LICENSE" in shipped.shipped()["c3dvqa-mini"].files
    for name in cv.list_models(pretrained=True):
        cv.create_model(name, weights="pretrained")
