"""What to say when a network fails while it is run: the error's type and text, its place, and what may mend it."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.errors import CompressVQAError, PruneError
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import copied_inputs, quiet, run
from compressvqa.torch_private import tree_leaves

_LONGEST = 200  # letters of a text that are shown
# Packages whose frames are not the user's code.
_LIBRARY = (f"{Path(torch.__file__).parent}{os.sep}", f"{Path(__file__).parents[2]}{os.sep}", contextlib.__file__)


@contextlib.contextmanager
def explained(model: nn.Module, inputs: Any) -> Iterator[None]:
    """Turns whatever is raised while a network is run into one line.

    Raises:
        PruneError: something was raised; its cause is the error itself.
    """
    try:
        yield
    except CompressVQAError:
        raise
    except Exception as error:
        raise _told(model, inputs, error) from error


def said(error: BaseException) -> str:
    """An error's type and the first line of its text."""
    text = " ".join(str(error).strip().split("\n", 1)[0].split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"{type(error).__name__}: {text}" if text else f"{type(error).__name__} without a text"


def place_of(error: BaseException) -> str | None:
    """File and line of the innermost code of the user's that an error went through."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_LIBRARY)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None


def _module_of(model: nn.Module, error: BaseException) -> str | None:
    """Path of the innermost module that an error went through, where it is torch's own code throughout."""
    paths = {id(module): path for path, module in modules_of(model)}
    running = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((paths[id(module)] for module in reversed(running) if id(module) in paths), None) or None


def _told(model: nn.Module, inputs: Any, error: Exception) -> PruneError:
    where = place_of(error)
    try:
        with quiet(model, fused=True):
            run(model, copied_inputs(inputs))
    except Exception as own:  # the network's own fault
        where = place_of(own) or where or _module_of(model, own)
        return PruneError(f"the network raises {said(own)}", where=where, hint=_hint(model, inputs))
    return PruneError(f"the network runs, but not while it is recorded: {said(error)}", where=where)


def _hint(model: nn.Module, inputs: Any) -> str | None:
    """What is odd about the inputs, where something is."""
    weights = [p for p in model.parameters() if p.is_floating_point() or p.is_complex()]
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    devices, kinds = {p.device for p in weights}, {p.dtype for p in weights}
    for tensor in tensors:
        if len(devices) == 1 and tensor.device not in devices:
            return f"inputs on {devices.pop()}, where the network is, not on {tensor.device}"
        if len(kinds) == 1 and tensor.dtype not in kinds and (tensor.is_floating_point() or tensor.ndim > 2):
            return f"inputs of {kinds.pop()}, as the network is, not of {tensor.dtype}"
    if not tensors:
        return "inputs that hold tensors: a tuple by position, a dict by name, or one tensor"
    return "inputs that the network takes in eval mode"
