"""What pruning changed in a network since its construction, as plain data, and the way back.

Three things change: modules and whole blocks that were taken out (`pruning.cutting.removed.Removed` in their place, all
below them gone), numbers that describe a layer (``out_channels``, ``num_heads``, a list of widths, a field of a
config), and the shapes of its tensors. Everything else follows from the constructor, so nothing else is stored; what
differs in another way is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from compressvqa.errors import WeightsError
from compressvqa.models.inner_numbers import differing, is_valid, set_inner
from compressvqa.models.plain import is_plain, pack, same, unpack
from compressvqa.random_weights import NOTE

# Names that every module has for itself.
_MODULES_OWN = frozenset(vars(nn.Module()))
# Types that are not stored but whose values can be compared.
_COMPARABLE = (tuple, set, frozenset, complex, bytes, range, slice, Enum, torch.dtype, torch.device)


@dataclass
class Changes:
    """The difference between a network and the same constructor's fresh one.

    Attributes:
        removed: paths of modules and blocks that pruning took out.
        attributes: new values of plain attributes (`plain.pack`), by module path.
        numbers: whole numbers inside other attributes (`inner_numbers.differing`), by module path and attribute.
        tensors: new shapes, by tensor name.
        shared: names of tensors that are one and the same as another, stored once: {name: stored name}.
        constants: tensors outside the state dict whose values differ from the constructor's.
    """

    removed: list[str] = field(default_factory=list)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    tensors: dict[str, list[int]] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """What a config.json holds. Numbers inside configs are left out where there are none, as in older folders."""
        found = dataclasses.asdict(self)
        return found if self.numbers else {key: value for key, value in found.items() if key != "numbers"}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], *, where: object) -> Changes:
        """Changes as a config.json holds them, checked.

        Raises:
            WeightsError: an unknown or malformed entry.
        """
        checks = {
            "removed": lambda v: _is_list_of(str)(v) and all(v),
            "attributes": lambda v: isinstance(v, dict) and all(isinstance(values, dict) for values in v.values()),
            "numbers": is_valid,
            "tensors": lambda v: isinstance(v, dict) and all(_is_list_of(int)(shape) for shape in v.values()),
            "shared": lambda v: isinstance(v, dict) and _is_list_of(str)(list(v.values())),
            "constants": _is_list_of(str),
        }
        for key, value in found.items():
            if key not in checks or not checks[key](value):
                raise WeightsError(f"config.json is damaged: it has no valid changes.{key}", where=where)
        return cls(**found)


_MISSING = object()


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def find_changes(fresh: nn.Module, model: nn.Module) -> Changes:
    """Compares a network with a fresh one of the same constructor.

    Raises:
        WeightsError: a module was exchanged, added or lost in another way than by pruning.
    """
    changes = Changes()
    # A network may hold one module in two places, and then both of them are to be changed alike.
    ours, theirs = (dict(net.named_modules(remove_duplicate=False)) for net in (fresh, model))
    first: dict[int, str] = {}
    for path, module in ours.items():
        if _below(path, changes.removed):
            continue
        other = theirs.get(path)
        if other is not None and type(other).__name__ == "Removed" and type(module).__name__ != "Removed":
            changes.removed.append(path)
            continue
        if other is None or type_before_parametrizations(other) is not type_before_parametrizations(module):
            found = "missing" if other is None else f"a {type(other).__name__}"
            raise WeightsError(
                f"can't be saved: it is {found}, its constructor makes a {type(module).__name__}", where=path
            )
        known = first.setdefault(id(module), path)
        if known != path:
            if other is not theirs[known]:
                raise WeightsError(f"can't be saved: its constructor makes it one with {known}", where=path)
            continue
        plain, inner = _differing_attributes(path, module, other)
        changes.attributes |= {path: plain} if plain else {}
        changes.numbers |= {path: inner} if inner else {}
    added = sorted(set(theirs) - set(ours))
    if added:
        raise WeightsError("can't be saved: its constructor does not make this module", where=added[0])
    changes.shared = _shared(model)
    _compare_tensors(fresh, model, changes)
    return changes


def _differing_attributes(path: str, fresh: nn.Module, model: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Packed values of the plain attributes that are new or have changed, and what changed inside the others."""
    before, after = dict(_attributes(fresh)), dict(_attributes(model))
    found: dict[str, Any] = {}
    inner: dict[str, Any] = {}
    for name, value in after.items():
        known = before.get(name, _MISSING)
        # What a class defines for all its networks (a property, a method) is not to be hidden by a stored value.
        if is_plain(value) and not (known is _MISSING and _is_defined(fresh, name, value)):
            if not same(known, value):
                found[name] = pack(value)
        elif known is not _MISSING and (numbers := differing(known, value)):
            inner[name] = numbers
        elif isinstance(value, _COMPARABLE) and known is not _MISSING and known != value:
            raise WeightsError(f"can't be saved: its attribute {name!r} has become {value!r}", where=path)
        elif is_plain(known) and known is not _MISSING and known not in (None, [], {}):  # those are caches, filled
            raise WeightsError(
                f"can't be saved: its attribute {name!r} has become a {type(value).__name__}", where=path
            )
    return found, inner


def _is_defined(module: nn.Module, name: str, value: object) -> bool:
    """Whether a class defines a name for all its networks, other than as a number that this network has another of."""
    return hasattr(type(module), name) and type(getattr(type(module), name)) is not type(value)


def _compare_tensors(fresh: nn.Module, model: nn.Module, changes: Changes) -> None:
    before, after = fresh.state_dict(), model.state_dict()
    kept = {name for name in before if not _below(name, changes.removed)}
    odd = sorted(kept ^ set(after))
    if odd:
        raise WeightsError("can't be saved: its constructor makes another set of tensors", where=odd[0])
    for name, tensor in after.items():
        if not isinstance(tensor, Tensor):
            raise WeightsError("can't be saved: its state is not a tensor", where=name)
        if tensor.shape != before[name].shape:
            changes.tensors[name] = list(tensor.shape)
    constants = dict(_constants(fresh))
    for name, tensor in _constants(model):
        value = constants.get(name)
        if value is None:
            continue  # a forward has filled it, such as the map that attention keeps to be looked at; it will again
        if value.shape != tensor.shape or not torch.equal(value, tensor.to(value)):
            changes.constants.append(name)


def stored_tensors(model: nn.Module, changes: Changes) -> dict[str, Tensor]:
    """The tensors of a network as a safetensors file takes them: on the CPU, contiguous, each stored once."""
    tensors = dict(model.state_dict())
    constants = dict(_constants(model))
    tensors |= {name: constants[name] for name in changes.constants}
    # clone(): tensors that are views into one storage (flattened GRU weights) are refused by safetensors.
    return {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items() if name not in changes.shared}


def apply_changes(
    model: nn.Module, changes: Changes, tensors: Mapping[str, Tensor], *, where: object
) -> dict[str, Tensor]:
    """Brings a fresh network to the stored widths; returns the state dict that it can then load strictly.

    Raises:
        WeightsError: the changes name something that the network or the file does not have.
    """
    from compressvqa.pruning.cutting.removed import Removed

    for path in changes.removed:
        _module(model, path, where)
        parent, _, child = path.rpartition(".")
        setattr(_module(model, parent, where), child, Removed())
    for path, values in changes.attributes.items():
        _set_attributes(_module(model, path, where), path, values, where)
    memo: dict[int, Any] = {}
    for path, names in changes.numbers.items():
        for name, numbers in names.items():
            set_inner(_module(model, path, where), name, numbers, memo, where=where)
    state = dict(tensors)
    state |= {alias: _stored(state, name, where) for alias, name in changes.shared.items()}
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for name, shape in changes.tensors.items():
        tensor = _stored(state, name, where)
        if list(tensor.shape) != shape:
            raise WeightsError(
                f"{name} is {tuple(tensor.shape)} in the file, {tuple(shape)} in config.json", where=where
            )
        _give_shape(model, name, tensor, replaced, where)
    for name in changes.constants:
        _set_constant(model, name, _stored(state, name, where), where)
        del state[name]
    _share(model, changes.shared)
    _take_dtypes(model, state)
    return state


def _set_attributes(module: nn.Module, path: str, values: Mapping[str, Any], where: object) -> None:
    known = dict(_attributes(module))
    for name, packed in values.items():
        try:
            value = unpack(packed)
        except ValueError as error:
            raise WeightsError(f"{path}.{name} is damaged: {error}", where=where) from error
        # A newer version of a class may have lost the attribute, and then does not read it.
        if name not in known and (name in _MODULES_OWN or _is_defined(module, name, value)):
            raise WeightsError(f"{path} has no attribute {name!r} to set", where=where)
        if name in known and type(known[name]) is not type(value) and None not in (known[name], value):
            raise WeightsError(f"{path}.{name} can't be {value!r}", where=where)
        setattr(module, name, value)


def _share(model: nn.Module, shared: Mapping[str, str]) -> None:
    """Ties parameters as they were tied when the network was saved, and no others."""
    held: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        parent, _, leaf = name.rpartition(".")
        module, stored = model.get_submodule(parent), shared.get(name, name)
        if stored != name:
            other, _, last = stored.rpartition(".")
            setattr(module, leaf, getattr(model.get_submodule(other), last))
        elif held.setdefault(id(tensor), name) != name and isinstance(tensor, nn.Parameter):
            setattr(module, leaf, nn.Parameter(tensor.detach().clone(), requires_grad=tensor.requires_grad))


def _give_shape(
    model: nn.Module, name: str, tensor: Tensor, replaced: dict[nn.Parameter, nn.Parameter], where: object
) -> None:
    parent, _, leaf = name.rpartition(".")
    module = _module(model, parent, where)
    old = getattr(module, leaf, None)
    if isinstance(old, nn.Parameter):
        # One new parameter for each old one, so that tied parameters stay tied. The old one is held: were it gone, a
        # new one could be taken for it.
        new = replaced.setdefault(old, nn.Parameter(torch.empty_like(tensor), requires_grad=old.requires_grad))
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


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name not in _MODULES_OWN and name != NOTE and not isinstance(value, Tensor):
            yield name, value


def _constants(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Tensors outside the state dict: buffers that are not persistent, and tensors held as plain attributes."""
    from compressvqa.pruning.recording.held import held_tensors

    stored = set(model.state_dict())
    for name, buffer in model.named_buffers():
        if name not in stored:
            yield name, buffer
    inside = {name: held.tensor for name, held in held_tensors(model).items() if held.steps}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                yield f"{path}.{name}" if path else name, value
    yield from inside.items()


def _set_constant(model: nn.Module, name: str, value: Tensor, where: object) -> None:
    from compressvqa.pruning.recording.held import held_tensors
    from compressvqa.pruning.recording.steps import replaced

    held = held_tensors(model).get(name)
    if held is not None and held.steps:
        module = _module(model, held.module, where)
        vars(module)[held.attribute] = replaced(vars(module)[held.attribute], held.steps, value)
        return
    parent, _, leaf = name.rpartition(".")
    if not isinstance(getattr(_module(model, parent, where), leaf, None), Tensor):
        raise WeightsError(f"the network has no tensor {name}", where=where)
    setattr(_module(model, parent, where), leaf, value)


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
