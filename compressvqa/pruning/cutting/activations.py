"""What flows through a network's layers on real data: network + batches -> mean absolute activations of channels.

Layers are recognised by the weight that a convolution or linear operator is given, not by their type, so shared layers
and `F.linear` on another module's weight are seen as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import copied_inputs, quiet, run
from compressvqa.torch_private import TorchFunctionMode

Activations = dict[tuple[str, int], Tensor]  # (weight, dimension) -> one number for each index of that dimension

# Operator -> (dimension of the channels counted from the end, dimension of the weight that reads, that makes).
_OPERATORS: dict[Callable[..., Any], tuple[int, int, int]] = {
    functional.linear: (-1, 1, 0),
    functional.conv1d: (-2, 1, 0),
    functional.conv2d: (-3, 1, 0),
    functional.conv3d: (-4, 1, 0),
    functional.conv_transpose1d: (-2, 0, 1),
    functional.conv_transpose2d: (-3, 0, 1),
    functional.conv_transpose3d: (-4, 0, 1),
}


def canonical(leaf: str) -> str:
    """The name that a layer calls a tensor by, also where a parametrisation makes it from another one.

    >>> canonical("conv.parametrizations.weight.original0")
    'conv.weight'
    """
    owner, found, rest = leaf.partition(".parametrizations.")
    return f"{owner}.{rest.partition('.')[0]}" if found else leaf


def mean_activations(model: nn.Module, batches: Iterable[Any]) -> Activations:
    """Mean absolute value of what each channel of each weight reads and makes, over positions, calls and batches.

    Args:
        model: the network; it runs in eval mode and is left as it was.
        batches: inputs, each a tuple (by position), a dict (by name) or one tensor.

    Returns:
        By (name of a weight, its dimension); parametrised weights under the name that their layer calls them by.
    """
    watch = _Watch()
    with quiet(model), parametrize.cached():
        for path, module in modules_of(model):
            names = [name for name, _ in module.named_parameters(recurse=False)]
            names += list(getattr(module, "parametrizations", ()))
            for name in names:
                watch.names.setdefault(id(getattr(module, name)), f"{path}.{name}" if path else name)
        for batch in batches:
            with watch:
                run(model, copied_inputs(batch))
    return {key: total / watch.counts[key] for key, total in watch.totals.items()}


class _Watch(TorchFunctionMode):
    """Adds up absolute activations beside the operators that know a named weight."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[int, str] = {}
        self.totals: Activations = {}
        self.counts: dict[tuple[str, int], int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in _OPERATORS:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            name = self.names.get(id(weight))
            if name is not None:
                channel, reads, makes = _OPERATORS[func]
                self._add((name, reads), args[0] if args else kwargs["input"], channel, weight.shape[reads])
                self._add((name, makes), result, channel, weight.shape[makes])
        return result

    def _add(self, key: tuple[str, int], values: Tensor, channel: int, size: int) -> None:
        # With groups, an index of the weight stands for one channel of every group.
        rows = values.detach().movedim(channel, 0).reshape(-1, size, values.numel() // values.shape[channel])
        total = rows.abs().double().sum((0, 2)).cpu()
        self.totals[key] = self.totals[key] + total if key in self.totals else total
        self.counts[key] = self.counts.get(key, 0) + rows.shape[0] * rows.shape[2]
