"""`compressvqa verify`: exit code 0 for a right result, 1 for a wrong one, 2 for a mistake in what was asked."""

import json
from pathlib import Path

import pytest
import torch
from running import inside

import compressvqa as cv

CODE = """
import torch
from torch import nn

def large():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))

def small(shift=0.0):
    net, kept = large(), [0, 2, 5]
    net[0].weight, net[0].bias = nn.Parameter(net[0].weight[kept].detach()), nn.Parameter(net[0].bias[kept].detach())
    net[2].weight = nn.Parameter(net[2].weight[:, kept].detach())
    return net

def wrong():
    net = small()
    net[0].bias = nn.Parameter(net[0].bias.flip(0).detach())
    return net
"""
SIZES = ("--inputs", "1x3x12x12")


@pytest.fixture
def nets(tmp_path: Path) -> str:
    file = tmp_path / "nets.py"
    file.write_text(CODE)
    return str(file)


def run(*arguments: str) -> tuple[int, str]:
    done = inside("verify", *arguments)
    return done.returncode, done.stdout + done.stderr


def test_networks_of_the_users_own(nets: str) -> None:
    code, text = run(f"{nets}:large", f"{nets}:small", *SIZES)
    assert code == 0
    assert "it is the original with channels zeroed" in text and "0: 5 (1, 3, 4, 6, 7)" in text
    code, text = run(f"{nets}:large", f"{nets}:small", *SIZES, "--json", "--no-power")
    found = json.loads(text)
    assert code == 0 and found["passed"] and found["removed"] == {"0": [1, 3, 4, 6, 7]} and found["unobservable"] == []
    code, text = run(f"{nets}:large", f"{nets}:wrong", *SIZES)
    assert code == 1 and "not proven: off by" in text


def test_folders_and_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = cv.create_model("rankdvqa", widths=(4, 4, 6, 6, 8, 8), merge_width=8, mlp_width=8)
    pruned = cv.prune(net, cv.example_inputs(net, size=96), ratios=0.5).model
    cv.save(net, tmp_path / "large")
    cv.save(pruned, tmp_path / "small")
    code, text = run(str(tmp_path / "large"), str(tmp_path / "small"))
    assert code == 0, text
    for name, said in [
        ("c3dvqa", "no trained weights of c3dvqa ship"),
        ("rankdvqa=nothing.pth", "there is no such file"),
        ("nonsense", "neither a model folder nor a network"),
        ("nets.py:build", "the sizes of its inputs are not known"),
    ]:
        code, text = run(name, str(tmp_path / "small"))
        assert code == 2 and said in text and text.count("\n") == 1
