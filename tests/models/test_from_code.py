"""A user's own network by file or module: what is built, what it is called with, and one line for each mistake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from compressvqa.errors import DataError
from compressvqa.models import create_model, example_inputs
from compressvqa.models.from_code import is_code, register_code, shape_of_text, try_inputs

CODE = """
import torch
from neighbour import WIDTH


def build():
    return torch.nn.Linear(4, WIDTH)


def wrong():
    return 3


def fails():
    raise ValueError("in two\\nlines")
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file that imports its neighbour; what it adds to the interpreter goes again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mine", "neighbour"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text("WIDTH = 7\n")
    return str(tmp_path / "mine.py")


def test_a_network_of_a_file(file: str) -> None:
    register_code(f"{file}:build", [(2, 4)])
    network = create_model(f"{file}:build")
    (x,) = example_inputs(network)
    assert (x.shape, network(x).shape) == ((2, 4), (2, 7))
    assert torch.equal(x, example_inputs(network)[0])
    assert try_inputs(network, [(3, 4)], "mine")[0].shape == (3, 4)
    assert network.training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{file}:nothing", "holds no function 'nothing'"),
        ("{file}:wrong", "returned int, not a torch.nn.Module"),
        ("{file}:fails", "fails with ValueError: in two lines"),
        ("no/such.py:build", "no/such.py: no such file"),
        ("no_such_module:build", "ModuleNotFoundError"),
        ("rankdvqa", "neither file.py:function nor package.module:function"),
    ],
)
def test_mistakes(file: str, name: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        register_code(name.format(file=file), [(1, 4)])
        create_model(name.format(file=file))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="net on 2x5: fails with RuntimeError: "):
        try_inputs(torch.nn.Linear(4, 1), [(2, 5)], "net")


@pytest.mark.parametrize("text", ["", "1x", "1xx3", "0x3", "1x-3", "1 x 3", "1X3", "axb"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="no size of an input"):
        shape_of_text(text)


def test_names_that_are_no_code() -> None:
    names = ["timm/resnet18", "rankdvqa", "runs/small", "hf-hub:owner/name", "C:/nets", "a:b:c", "net.py:"]
    assert [is_code(name) for name in names] == [False] * len(names)
