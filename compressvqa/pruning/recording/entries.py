"""The ways in which a network is called, each stated by an example: what is given -> a tuple of `Entry`.

One run says nothing about what it did not reach. A network that takes another way for large pictures, for more than one
frame, in training mode or through another method has one entry for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning.recording.dropout import WithoutDropout
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import call, quiet
from compressvqa.pruning.recording.untouched import seed_all
from compressvqa.torch_private import tree_map_only

_HINT = "another example of the forward, (model.method, arguments), 'train', ('train', arguments) or an Entry"


@dataclass(frozen=True)
class Entry:
    """One way to call a network, with an example. It names the method, so it runs copies as well.

    Args:
        inputs: what is given: a tuple or list (by position), a dict (by name) or one tensor. Tensors may be nested.
        method: what is called: "" for the network itself, else a method or module of it, dotted, as "encode_text".
        train: whether the network is in training mode. Dropout drops nothing then, chance is seeded, and buffers that
            training writes to (the statistics of a batch norm) come back.
    """

    inputs: Any = field(repr=False)
    method: str = ""
    train: bool = False

    def __str__(self) -> str:
        return (f"{self.method}(...)" if self.method else "the forward") + (" in training mode" if self.train else "")

    def run(self, model: nn.Module, *, seed: int = 0, fused: bool = False) -> Any:
        """Calls the network, or a copy of it, on copies of the inputs, and leaves it and all chance as they were.

        Args:
            model: the network.
            seed: of whatever it draws.
            fused: leaves torch's attention as it is, which takes less time and memory.

        Returns:
            What it returned.
        """
        with quiet(model, fused=fused, train=self.train):
            seed_all(seed)
            return self.call(model, self.copied().inputs)

    def call(self, model: nn.Module, inputs: Any) -> Any:
        """Calls it as it is, on these inputs; the caller has set its mode."""
        function: Any = model
        for name in self.method.split(".") if self.method else ():
            function = getattr(function, name)
        if not self.train:
            return call(function, inputs)
        with WithoutDropout():
            return call(function, inputs)

    def with_inputs(self, inputs: Any) -> Entry:
        """The same call with other inputs."""
        return replace(self, inputs=inputs)

    def copied(self) -> Entry:
        """The same call on copies of its tensors: a network may write into what it is given."""
        made: dict[int, Tensor] = {}

        def clone(item: Tensor) -> Tensor:
            if id(item) not in made:
                made[id(item)] = item.detach().clone()
            return made[id(item)]

        return self.with_inputs(tree_map_only(Tensor, clone, self.inputs))


def examples_in(inputs: Any) -> list[Any]:
    """The examples of the forward that are given: a list of nothing but tuples and dicts is several, else it is one.

    >>> examples_in([(1,), (2,)]), examples_in([1, 2])
    ([(1,), (2,)], [[1, 2]])
    """
    several = isinstance(inputs, list) and inputs and all(isinstance(item, (tuple, Mapping)) for item in inputs)
    return inputs if several else [inputs]


def entries_of(model: nn.Module, inputs: Any, also: Sequence[Any] = ()) -> tuple[Entry, ...]:
    """All the ways in which a network is called; the first is the one whose work is counted.

    Args:
        model: the network.
        inputs: an example of its forward: a tuple or list (by position), a dict (by name) or one tensor. A list of
            nothing but tuples and dicts is several examples.
        also: further ways, each another example of the forward (a tuple, dict or tensor), ``(method, arguments)`` with
            a bound method or a module of the network, ``"train"`` (the first example in training mode),
            ``("train", arguments)``, or an `Entry`.

    Raises:
        PruneError: an item is none of these, or a method is not the network's.
    """
    first = [Entry(example) for example in examples_in(inputs)]
    if isinstance(also, (str, Tensor, Mapping)) or not isinstance(also, Sequence):
        raise PruneError(f"also must be a list of ways to call the network, not {also!r}", hint=_HINT)
    if also and callable(also[0]) and isinstance(also, tuple):
        raise PruneError("also is a list of ways to call the network", hint="also=[(model.method, arguments)]")
    return tuple(first + [_entry(model, item, first[0].inputs) for item in also])


def _entry(model: nn.Module, item: Any, example: Any) -> Entry:
    if isinstance(item, Entry):
        _check(model, item.method)
        return item
    if isinstance(item, str):
        if item != "train":
            raise PruneError(f"{item!r} is no way to call the network", where="also", hint=_HINT)
        return Entry(example, train=True)
    if isinstance(item, (Tensor, Mapping)):
        return Entry(dict(item) if isinstance(item, Mapping) else item)
    if callable(item):
        raise PruneError("a method without its arguments", where="also", hint="also=[(model.method, arguments)]")
    if not isinstance(item, (tuple, list)):
        raise PruneError(f"a {type(item).__name__} is no way to call the network", where="also", hint=_HINT)
    if item and (isinstance(item[0], str) or (callable(item[0]) and not isinstance(item[0], Tensor))):
        if len(item) != 2 or (isinstance(item[0], str) and item[0] != "train"):
            raise PruneError("a way to call the network has a method and its arguments", where="also", hint=_HINT)
        return Entry(item[1], train=True) if item[0] == "train" else Entry(item[1], _method(model, item[0]))
    return Entry(tuple(item))


def _method(model: nn.Module, function: Any) -> str:
    """The dotted name of a bound method, or of a module, of the network."""
    owner = function if isinstance(function, nn.Module) else getattr(function, "__self__", None)
    name = "" if isinstance(function, nn.Module) else getattr(function, "__name__", "")
    for path, module in modules_of(model):
        if module is owner:
            found = ".".join(part for part in (path, name) if part)
            _check(model, found)
            return "" if found == "forward" else found
    raise PruneError(
        f"{getattr(function, '__qualname__', function)} is no method of the network", where="also", hint=_HINT
    )


def _check(model: nn.Module, method: str) -> None:
    function: Any = model
    for name in method.split(".") if method else ():
        function = getattr(function, name, None)
    if not callable(function):
        raise PruneError(f"the network has no method {method!r}", where="also", hint=_HINT)
