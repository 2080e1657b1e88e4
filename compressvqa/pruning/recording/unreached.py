"""What no run reached: modules and parameters that no operator touched, and the names by which code may know them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from compressvqa.pruning.recording.graph import Graph
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.torch_private import tables

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.ParameterList, nn.ParameterDict)
_DEPTH = 3  # how deep lists of lists are looked into


@dataclass(frozen=True, eq=False)
class Unreached:
    """A module none of whose parameters and buffers was touched, or one such tensor of a module that ran.

    Args:
        path: of the module, or name of the tensor.
        elements: numbers that its parameters hold.
        names: attributes under which it, or a list that it is in, is known.
        leaves: names of its parameters and float buffers.
        things: ids of the module or tensor, and of what lies in it where that is a list.
        module: whether it is a module.
    """

    path: str
    elements: int
    names: frozenset[str]
    leaves: tuple[str, ...]
    things: frozenset[int] = field(repr=False)
    module: bool = True

    def __str__(self) -> str:
        return self.path

    def held_by(self, thing: Any, depth: int = _DEPTH) -> bool:
        """Whether an object is it, or a list, dict or list of modules that it is in."""
        if id(thing) in self.things:
            return True
        items: Iterable[Any] = ()
        if isinstance(thing, CONTAINERS):
            items = [item for table in tables(thing) for item in table.values()]
        elif isinstance(thing, Mapping):
            items = list(thing.values())
        elif isinstance(thing, (list, tuple)):
            items = thing
        owner = getattr(thing, "__self__", None)  # a bound method
        if isinstance(owner, nn.Module) and id(owner) in self.things:
            return True
        return depth > 0 and any(self.held_by(item, depth - 1) for item in items)


def touched(graph: Graph) -> set[str]:
    """Names of the leaves that some operator read, or that were returned."""
    read = {value.index for node in graph.nodes for value in node.inputs()} | {v.index for v in graph.outputs}
    return {name for name, value in graph.leaves.items() if value.index in read}


def unreached(model: nn.Module, graph: Graph) -> list[Unreached]:
    """The largest modules that no run reached, and single tensors of modules that ran."""
    reached = touched(graph)
    if len(reached) == len(graph.leaves):
        return []
    leaves = leaves_of(model)
    registered = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    missed = {name: tensor for name, tensor in leaves.items() if name in registered and name not in reached}
    if not missed:
        return []
    silent = {id(tensor) for tensor in missed.values()}
    modules = dict(modules_of(model))
    found: list[Unreached] = []
    inside: set[int] = set()  # ids of the tensors that were found
    for path, module in modules.items():
        tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point() or t.is_complex()]
        if not path or path in graph.called or not tensors or any(id(t) not in silent for t in tensors):
            continue
        if all(id(t) in inside for t in tensors):
            continue
        inside |= {id(t) for t in tensors}
        mine = {id(t) for t in tensors}
        names = tuple(name for name, tensor in missed.items() if id(tensor) in mine)
        things = {id(module)} | {id(m) for _, m in modules_of(module) if isinstance(module, CONTAINERS)}
        elements = sum(p.numel() for p in module.parameters())
        found.append(Unreached(path, elements, _names(model, path), names, frozenset(things)))
    for name, tensor in missed.items():
        if id(tensor) not in inside:
            elements = tensor.numel() if isinstance(tensor, nn.Parameter) else 0
            found.append(Unreached(name, elements, _names(model, name), (name,), frozenset({id(tensor)}), module=False))
    return found


def _names(model: nn.Module, path: str) -> frozenset[str]:
    """Attributes by which code may get at a module or tensor: its own, those of lists that it is in, other aliases."""
    owner, _, last = path.rpartition(".")
    target = getattr(model.get_submodule(owner), last, None)
    chain: list[Any] = [target]
    names = set()
    while True:
        parent = model.get_submodule(owner)
        if not isinstance(parent, CONTAINERS) or type(parent).forward not in _PLAIN_FORWARDS:
            names.add(last)
        if not isinstance(parent, CONTAINERS) or not owner:
            break
        chain.append(parent)
        owner, _, last = owner.rpartition(".")
    known = {id(thing) for thing in chain}
    for _, module in modules_of(model):
        for name, held in _held(module):
            if any(id(item) in known for item in _inside(held)):
                names.add(name)
    return frozenset(name for name in names if not name.isdigit())


_PLAIN_FORWARDS = {kind.forward for kind in CONTAINERS}


def _held(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a module keeps, by attribute; of torch's lists only their own attributes, not their numbered elements."""
    yield from ((name, held) for name, held in vars(module).items() if not name.startswith("_"))
    if not isinstance(module, CONTAINERS):
        for table in tables(module):
            yield from table.items()


def _inside(held: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """An object, what it holds as a list or dict, and the module of a bound method."""
    yield held
    items = held.values() if isinstance(held, Mapping) else held if isinstance(held, (list, tuple)) else ()
    for item in items if depth else ():
        yield from _inside(item, depth - 1)
    owner = getattr(held, "__self__", None)
    if isinstance(owner, (nn.Module, Tensor)):
        yield owner
