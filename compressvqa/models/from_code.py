"""A network of the user's own, named on the command line as `file.py:function` or `package.module:function`.

Its code is run, so such a name is taken from the person who starts the command only: recipes and model folders hold
names of the registry, which imports installed plugins and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.registry import models
from compressvqa.user_code import import_code, tried

_NAME = re.compile(r"(?P<code>.+\.py|[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")


def is_code(name: str) -> bool:
    """Whether a name stands for a function or class in a file or module.

    >>> is_code("nets/mine.py:build"), is_code("my_package.nets:Net"), is_code("timm/resnet18"), is_code("rankdvqa")
    (True, True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def register_code(name: str, shapes: Sequence[Sequence[int]]) -> None:
    """Registers a user's own network under its name for this process.

    Args:
        name: `file.py:function` or `package.module:function`; the function (or class) takes no argument that it needs,
            and returns an `nn.Module`.
        shapes: sizes of its inputs, in the order in which it takes them; each is noise in [0, 1].

    Raises:
        DataError: no such file, module or function, or its code fails while it is imported or called.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise DataError(f"{name!r} is neither file.py:function nor package.module:function")
    build = getattr(import_code(found["code"]), found["function"], None)
    if not callable(build):
        raise DataError(f"holds no function {found['function']!r}", where=found["code"])

    def network() -> nn.Module:
        """A network of the user's own."""
        made = tried(build, name)
        if not isinstance(made, nn.Module):
            raise DataError(f"returned {type(made).__name__}, not a torch.nn.Module", where=name)
        return made

    def example(**_: Any) -> tuple[Tensor, ...]:
        return noise(shapes)

    models.register(name, mode="NR", inputs="tensors", example=example)(network)


def noise(shapes: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    """Tensors of these sizes, uniform in [0, 1], the same at every call."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(tuple(shape), generator=generator) for shape in shapes)


def try_inputs(model: nn.Module, shapes: Sequence[Sequence[int]], name: str) -> tuple[Tensor, ...]:
    """Noise of these sizes, once the network has run on it.

    Raises:
        DataError: it does not run.
    """
    inputs, training = noise(shapes), model.training
    try:
        with torch.no_grad():
            tried(lambda: model.eval()(*inputs), f"{name} on {', '.join('x'.join(map(str, s)) for s in shapes)}")
    finally:
        model.train(training)
    return inputs


def shape_of_text(text: str) -> tuple[int, ...]:
    """The size of a tensor as it is written on a command line.

    Raises:
        DataError: not whole numbers of at least 1 with x between them.

    >>> shape_of_text("1x3x224x224")
    (1, 3, 224, 224)
    """
    if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text) is None:
        raise DataError(f"{text!r} is no size of an input", hint="1x3x224x224")
    return tuple(map(int, text.split("x")))
