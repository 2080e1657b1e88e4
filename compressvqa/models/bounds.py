"""Networks out of folders that anybody may have written: built within a limit, and looked at before they are run.

Numbers in a config say how large a network is to be. Each tensor is refused before its memory is taken, so a config of
a few hundred bytes can't ask for more than `most_bytes` of it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from compressvqa.errors import CompressVQAError, WeightsError
from compressvqa.torch_private import CONVOLUTION, DispatchMode

# What a constructor may take at least, whatever the file holds, and as a multiple of the file beyond that: pruning
# leaves a few percent of what the constructor makes.
LEAST_BYTES, TIMES_THE_FILE = 1 << 30, 16
MAX_MODULES = 50_000
LARGEST_WEIGHT = 1e6  # of a parameter; products of larger ones leave float32 within a few layers
LARGEST_VALUE = 1e30  # of a buffer, such as a variance; a mask may be infinite
MAX_PADDING = 4_096
MAX_FACTOR = 64  # by which a layer makes pictures larger


class _TooLargeError(Exception):
    """What is being built goes beyond its limit."""


def most_bytes(file_bytes: int) -> int:
    """Bytes that building a network may take whose weights are a file of this size."""
    return LEAST_BYTES + TIMES_THE_FILE * file_bytes


def built(make: Callable[[], nn.Module], limit: int, where: object) -> nn.Module:
    """What a constructor makes of a folder's settings.

    Args:
        make: calls the constructor.
        limit: bytes that its tensors may take together.
        where: the folder's config, for the error.

    Raises:
        WeightsError: larger than the limit, more than `MAX_MODULES` modules, or settings that the constructor refuses,
            with whatever it says.
        CompressVQAError: our own errors pass as they are.
    """
    try:
        with _counted_modules(), _Bounded(limit):
            return make()
    except CompressVQAError:
        raise
    except _TooLargeError as error:
        raise WeightsError(f"config.json asks for a network that is too large: {error}", where=where) from error
    # Settings of a stranger may break a constructor in any way; each is a folder that can't be read.
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        what = f"config.json holds settings that the network does not take ({type(error).__name__}: {said})"
        raise WeightsError(what, where=where) from error


@contextmanager
def within(limit: int) -> Iterator[None]:
    """Refuses tensors that take more than so many bytes together, before they are made.

    Raises:
        WeightsError: they would.
    """
    try:
        with _Bounded(limit):
            yield
    except _TooLargeError as error:
        raise WeightsError(f"the network is too large for this machine: {error}") from error


class _Bounded(DispatchMode):
    """Counts the memory of tensors that are made anew, before they are made."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limit, self.taken = limit, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        size = _new_size(args)
        if size is not None:
            self.taken += size * _item_bytes(kwargs.get("dtype"))
            if self.taken > self.limit:
                raise _TooLargeError(f"{_gib(self.taken)} or more, where {_gib(self.limit)} is the limit")
        return func(*args, **kwargs)


def _new_size(args: Sequence[Any]) -> int | None:
    """Elements of a tensor that an operator makes of numbers only; None for one that works on tensors."""
    if not args or isinstance(args[0], Tensor):
        return None
    if isinstance(args[0], (list, tuple)):
        whole = all(isinstance(side, int) for side in args[0])
        return math.prod(max(0, side) for side in args[0]) if whole else None
    numbers = [item for item in args[:3] if isinstance(item, (int, float)) and not isinstance(item, bool)]
    return int(
        min(max(map(abs, numbers), default=0), 2**62)
    )  # arange, linspace, eye: no more than their largest number


def _item_bytes(dtype: torch.dtype | None) -> int:
    return (torch.get_default_dtype() if dtype is None else dtype).itemsize


def _gib(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"


@contextmanager
def _counted_modules() -> Iterator[None]:
    """Ends a constructor of this thread that makes layers without end."""
    count, thread = 0, threading.get_ident()

    def add(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal count
        del module, name, child
        count += threading.get_ident() == thread
        if count > MAX_MODULES:
            raise _TooLargeError(f"more than {MAX_MODULES} modules")

    handle = torch_module.register_module_module_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()


def check_kinds(model: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Refuses tensors of another kind of number than the network's, such as whole numbers for weights.

    Args:
        model: the network that they are for.
        state: its tensors by name.
        where: the file, for the error.

    Raises:
        WeightsError: names the first tensor.
    """
    wanted = model.state_dict()
    for key in state.keys() & wanted.keys():
        here, there = state[key].dtype, wanted[key].dtype
        if here.is_floating_point != there.is_floating_point or here.is_complex != there.is_complex:
            raise WeightsError(f"{key} holds {_title(here)}, the network's are {_title(there)}", where=where)
        if here.is_floating_point and here.itemsize < 2:
            raise WeightsError(f"{key} holds {_title(here)}, which is not read", where=where)


def check_value(key: str, tensor: Tensor, *, is_weight: bool, where: object) -> None:
    """Refuses what no training leaves: a number that is none, or one so large that scores overflow.

    Raises:
        WeightsError: names the tensor.
    """
    # A mask may be infinite; a weight may not.
    unsound = tensor.isfinite().logical_not() if is_weight else tensor.isnan()
    if bool(unsound.any()):
        raise WeightsError(f"{key} holds NaN or infinite values", where=where)
    if not tensor.is_floating_point() or not tensor.numel():
        return
    finite = tensor if is_weight else tensor[tensor.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    if largest > (LARGEST_WEIGHT if is_weight else LARGEST_VALUE):
        raise WeightsError(f"{key} holds a value of {largest:.3g}: no training leaves such", where=where)
    if key.endswith("running_var") and bool((tensor < 0).any()):
        raise WeightsError(f"{key} holds a variance below 0", where=where)


def _title(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_layers(model: nn.Module, where: object) -> None:
    """Refuses layers that can't run, or that would make their input larger without bound.

    Raises:
        WeightsError: names the first of them.
    """
    for path, layer in model.named_modules():
        fault = _fault(layer)
        if fault is not None:
            raise WeightsError(f"{path or 'the network'} ({type(layer).__name__}) has {fault}", where=where)


_LEAST = {
    "stride": 1,
    "dilation": 1,
    "kernel_size": 1,
    "padding": 0,
    "output_padding": 0,
    "output_size": 1,
    "groups": 1,
}
_MOST = {"padding": MAX_PADDING, "output_padding": MAX_PADDING, "output_size": 1 << 14, "size": 1 << 14,
         "scale_factor": MAX_FACTOR, "upscale_factor": MAX_FACTOR}  # fmt: skip
_SHARES = {"p": (0.0, 1.0), "eps": (0.0, 1.0), "momentum": (0.0, 1.0)}
_HOME = "torch.nn."


def _fault(layer: nn.Module) -> str | None:
    if not type(layer).__module__.startswith(_HOME) and not isinstance(layer, CONVOLUTION):
        return None  # other people's layers may mean anything by such names
    for name, value in vars(layer).items():
        numbers = [item for item in (value if isinstance(value, (tuple, list)) else (value,)) if _is_number(item)]
        if name in _SHARES and numbers and not _SHARES[name][0] <= numbers[0] <= _SHARES[name][1]:
            return f"{name} {numbers[0]}"
        if name in _LEAST and any(item < _LEAST[name] for item in numbers):
            return f"{name} {value}"
        if name in _MOST and any(not -_MOST[name] <= item <= _MOST[name] for item in numbers):
            return f"{name} {value}"
    return _conv_fault(layer) if isinstance(layer, CONVOLUTION) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _conv_fault(layer: Any) -> str | None:
    # Worked out anew at each look, which a parametrization may count.
    if "weight" not in dict(layer.named_parameters(recurse=False)):
        return None
    out, inner = (1, 0) if layer.transposed else (0, 1)
    shape = layer.weight.shape
    held = {"out_channels": shape[out] * (layer.groups if layer.transposed else 1)}
    held["in_channels"] = shape[inner] * (1 if layer.transposed else layer.groups)
    for name, count in held.items():
        if getattr(layer, name) != count:
            return f"{name} {getattr(layer, name)} and weights of {tuple(shape)}"
    if tuple(layer.kernel_size) != tuple(shape[2:]):
        return f"kernel_size {layer.kernel_size} and weights of {tuple(shape)}"
    return None
