"""What pruning changed in a network since its construction, as plain data, and the way back.

Three things change: modules that were taken out (`compressvqa.pruning.removed.Removed` in their place), numbers that
describe a layer (``out_channels`` and the like), and the shapes of its tensors. Everything else follows from the
constructor, so nothing else is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.errors import WeightsError


@dataclass
class Changes:
    """The difference between a network and the same constructor's fresh one.

    Attributes:
        removed: paths of modules that pruning took out.
        attributes: new values of plain attributes (numbers, words, tuples of them), by module path.
        tensors: new shapes, by tensor name.
        shared: names of tensors that are one and the same as another, stored once: {name: stored name}.
        constants: buffers outside the state dict whose values differ from the constructor's.
    """

    removed: list[str] = field(default_factory=list)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    tensors: dict[str, list[int]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], *, where: object) -> Changes:
        """Changes as a config.json holds them, checked.

        Raises:
            WeightsError: an unknown or malformed entry.
        """
        checks = {
            "removed": _is_list_of(str),
            "attributes": lambda v: isinstance(v, dict) and all(isinstance(values, dict) for values in v.values()),
            "tensors": lambda v: isinstance(v, dict) and all(_is_list_of(int)(shape) for shape in v.values()),
            "shared": lambda v: isinstance(v, dict) and _is_list_of(str)(list(v.values())),
            "constants": _is_list_of(str),
        }
        for key, value in found.items():
            if key not in checks or not checks[key](value):
                raise WeightsError(f"config.json is damaged: it has no valid changes.{key}", where=where)
        return cls(**found)


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def find_changes(fresh: nn.Module, model: nn.Module) -> Changes:
    """Compares a network with a fresh one of the same constructor.

    Raises:
        WeightsError: a module was exchanged, added or lost in another way than by pruning.
    """
    changes = Changes()
    ours, theirs = dict(fresh.named_modules()), dict(model.named_modules())
    for path, module in ours.items():
        if _below(path, changes.removed):
            continue
        other = theirs.get(path)
        if other is not None and type(other).__name__ == "Removed" and type(module).__name__ != "Removed":
            changes.removed.append(path)
            continue
        if other is None or type(other) is not type(module):
            found = "missing" if other is None else f"a {type(other).__name__}"
            raise WeightsError(
                f"can't be saved: it is {found}, its constructor makes a {type(module).__name__}", where=path
            )
        differing = {
            name: getattr(other, name)
            for name, value in _plain_attributes(module)
            if hasattr(other, name) and getattr(other, name) != value
        }
        if differing:
            changes.attributes[path] = differing
    added = sorted(set(theirs) - set(ours))
    if added:
        raise WeightsError("can't be saved: its constructor does not make this module", where=added[0])
    changes.shared = _shared(model)
    _compare_tensors(fresh, model, changes)
    return changes


def _compare_tensors(fresh: nn.Module, model: nn.Module, changes: Changes) -> None:
    before, after = fresh.state_dict(), model.state_dict()
    kept = {name for name in before if not _below(name, changes.removed)}
    odd = sorted(kept ^ set(after))
    if odd:
        raise WeightsError("can't be saved: its constructor makes another set of tensors", where=odd[0])
    changes.tensors = {name: list(after[name].shape) for name in after if after[name].shape != before[name].shape}
    constants = dict(fresh.named_buffers())
    for name, buffer in model.named_buffers():
        if name in after:
            continue
        value = constants.get(name)
        if value is None or value.shape != buffer.shape or not torch.equal(value, buffer.to(value)):
            changes.constants.append(name)


def stored_tensors(model: nn.Module, changes: Changes) -> dict[str, Tensor]:
    """The tensors of a network as a safetensors file takes them: on the CPU, contiguous, each stored once."""
    tensors = dict(model.state_dict())
    buffers = dict(model.named_buffers())
    tensors |= {name: buffers[name] for name in changes.constants}
    # clone(): tensors that are views into one storage (flattened GRU weights) are refused by safetensors.
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items() if name not in changes.shared}


def apply_changes(
    model: nn.Module, changes: Changes, tensors: Mapping[str, Tensor], *, where: object
) -> dict[str, Tensor]:
    """Brings a fresh network to the stored widths; returns the state dict that it can then load strictly.

    Raises:
        WeightsError: the changes name something that the network or the file does not have.
    """
    from compressvqa.pruning.removed import Removed

    for path in changes.removed:
        _module(model, path, where)
        parent, _, child = path.rpartition(".")
        setattr(_module(model, parent, where), child, Removed())
    for path, values in changes.attributes.items():
        module = _module(model, path, where)
        known = dict(_plain_attributes(module))
        for name, value in values.items():
            if name not in known:
                raise WeightsError(f"{path} has no attribute {name!r} to set", where=where)
            if type(known[name]) is not type(_tuples(value)):
                raise WeightsError(f"{path}.{name} can't be {value!r}", where=where)
            setattr(module, name, _tuples(value))
    state = dict(tensors)
    state |= {alias: _stored(state, name, where) for alias, name in changes.shared.items()}
    replaced: dict[int, nn.Parameter] = {}
    for name, shape in changes.tensors.items():
        tensor = _stored(state, name, where)
        if list(tensor.shape) != shape:
            raise WeightsError(
                f"{name} is {tuple(tensor.shape)} in the file, {tuple(shape)} in config.json", where=where
            )
        _give_shape(model, name, tensor, replaced, where)
    for name in changes.constants:
        parent, _, leaf = name.rpartition(".")
        setattr(_module(model, parent, where), leaf, _stored(state, name, where))
        del state[name]
    _take_dtypes(model, state)
    return state


def _give_shape(model: nn.Module, name: str, tensor: Tensor, replaced: dict[int, nn.Parameter], where: object) -> None:
    parent, _, leaf = name.rpartition(".")
    module = _module(model, parent, where)
    old = getattr(module, leaf, None)
    if isinstance(old, nn.Parameter):
        # One new parameter for each old one, so that tied parameters stay tied.
        new = replaced.setdefault(id(old), nn.Parameter(torch.empty_like(tensor), requires_grad=old.requires_grad))
        setattr(module, leaf, new)
    elif isinstance(old, Tensor):
        setattr(module, leaf, torch.empty_like(tensor))
    else:
        raise WeightsError(f"the network has no tensor {name}", where=where)


def _take_dtypes(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Parameters take the dtype of what they will hold: a float64 file stays float64."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in state and tensor.dtype != state[name].dtype:
            tensor.data = tensor.data.to(state[name].dtype)


def _plain_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if not name.startswith("_") and name != "training" and _is_plain(value):
            yield name, value


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, (bool, int, float, str))


def _tuples(value: Any) -> Any:
    """JSON has no tuples; attributes of layers never are lists."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _shared(model: nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    shared = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        known = first.setdefault(id(tensor), name)
        if known != name:
            shared[name] = known
    return shared


def _below(path: str, parents: list[str]) -> bool:
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


def _module(model: nn.Module, path: str, where: object) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise WeightsError(f"the network has no module {path!r}", where=where) from error


def _stored(state: Mapping[str, Tensor], name: str, where: object) -> Tensor:
    if name not in state:
        raise WeightsError(f"the weights lack {name}", where=where)
    return state[name]
