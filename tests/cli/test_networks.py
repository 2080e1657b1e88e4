"""Every command that takes a network takes the same ones, and refuses the others in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
from running import inside

import compressvqa as cv

COMMANDS = ("score", "evaluate", "profile", "prune", "verify", "export")


def line(name: str, network: str, clips: Path, folder: Path) -> list[str]:
    """A command on a network, as quick as it can be."""
    if name == "score":
        files = [str(clips / "dog.y4m"), str(clips / "encodes" / "dog_1.y4m")]
        return ["score", *files, "-m", network, "--allow-random-weights", "--json", "--runtime", "eager"]
    if name == "evaluate":
        table = clips / "manifest.csv"
        rows = [f"dog.y4m,encodes/dog_{n}.y4m,{5 - n}" for n in (1, 2)] + ["dog.y4m,dog.y4m,5"]
        table.write_text("\n".join(["ref,dist,mos", *rows]) + "\n")
        keep = ["--cache", str(folder / "kept"), "--resamples", "0", "--allow-random-weights", "--json"]
        return ["evaluate", network, str(table), *keep, "--runtime", "eager"]
    if name == "profile":
        return ["profile", network, "--size", "96", "--json"]
    if name == "prune":
        return ["prune", network, "--size", "96", "--ratio", "0.25", "--json"]
    if name == "export":
        return ["export", network, "--out", str(folder / "exported"), "--json", "--allow-random-weights"]
    return ["verify", network, network, "--json", "--no-power"]


@pytest.fixture(scope="module")
def forms(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A network in each form that stands for one."""
    file = tmp_path_factory.mktemp("weights") / "mini.safetensors"
    mini = cv.create_model("rankdvqa-mini", weights="pretrained")
    safetensors.torch.save_file({key: value.contiguous() for key, value in mini.state_dict().items()}, file)
    return {
        "run folder": str(small_model),
        "model folder": str(small_model / "model"),
        "its file": str(small_model / "model" / "model.safetensors"),
        "NAME": "rankdvqa-pico",
        "NAME=pretrained": "rankdvqa-pico=pretrained",
        "NAME=FILE": f"rankdvqa-mini={file}",
        "NAME=FOLDER": f"rankdvqa={small_model}",
    }


PARAMS = {"NAME": 180_098, "NAME=pretrained": 180_098, "NAME=FILE": 452_889}


@pytest.mark.parametrize("form", ["run folder", "its file", "NAME", "NAME=pretrained", "NAME=FILE", "NAME=FOLDER"])
def test_profile_takes_every_form(form: str, forms: dict[str, str], clips: Path, tmp_path: Path) -> None:
    done = inside(*line("profile", forms[form], clips, tmp_path))
    assert done.returncode == 0, done.stderr
    small = sum(p.numel() for p in cv.load(Path(forms["model folder"])).parameters())
    assert json.loads(done.stdout)["params"] == PARAMS.get(form, small)


@pytest.mark.parametrize("command", ["score", "prune", "verify", "evaluate"])
@pytest.mark.parametrize("form", ["run folder", "NAME", "NAME=FOLDER"])
def test_so_does_every_other_command(
    command: str, form: str, forms: dict[str, str], clips: Path, tmp_path: Path
) -> None:
    if form == "NAME" and command in ("prune", "evaluate"):
        pytest.skip("the same code, on a network that takes seconds")
    done = inside(*line(command, forms[form], clips, tmp_path))
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("no/such/folder", "there is no such model folder"),
        ("rankdvqa_mini", "neither a model folder nor a network"),
        ("rankdvqa-mini=nothing.pth", "there is no such file or folder"),
        ("nothing=pretrained", "nothing"),
        ("{clips}/encodes", "is no model folder"),
        ("{clips}/dog.y4m", "neither a model folder nor a file of weights"),
        ("{run}", "the run has not come to its end"),
    ],
)
def test_what_is_none_is_one_line(command: str, network: str, said: str, clips: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "recipe.yaml").write_text("name: x\n")
    done = inside(*line(command, network.format(clips=clips, run=unfinished), clips, tmp_path))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert said in done.stderr and done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def test_they_say_so_in_one_text() -> None:
    """The help of each command holds the same words for what a network is."""
    from compressvqa.cli.networks import NETWORK

    for command in COMMANDS:
        said = " ".join(inside(command, "--help", columns=100).stdout.split())
        assert NETWORK in said, command


def test_a_folder_that_is_called_like_a_network_and_holds_none(tmp_path: Path) -> None:
    (tmp_path / "rankdvqa-pico").mkdir()
    done = inside("profile", "rankdvqa-pico", "--size", "96", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["params"] == 180_098


def test_a_name_means_the_weights_that_ship(tmp_path: Path) -> None:
    """`prune NAME` prunes what `score NAME` scores with."""
    done = inside("prune", "rankdvqa-pico", "--size", "96", "--ratio", "0.1", "--out", str(tmp_path / "small"))
    assert done.returncode == 0 and "random" not in done.stdout
    assert json.loads((tmp_path / "small" / "config.json").read_text())["random_weights"] is False


def test_a_pattern_that_matches_no_network_is_refused() -> None:
    done = inside("models", "rankdvqa-mino")
    assert (done.returncode, done.stdout) == (2, "") and "rankdvqa-mini" in done.stderr
