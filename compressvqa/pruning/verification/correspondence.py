"""Which part of the original every tensor of the smaller network is, told from names and values alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.verification.locate import Place, locate
from compressvqa.torch_private import stored_names, tables

_MISSES = 8  # so many in a row that stand nowhere in the original were trained, not renamed


@dataclass(frozen=True, eq=False)
class Pair:
    """One tensor of the smaller network and what it is of the original.

    Args:
        small: its name in the smaller network.
        large: the name in the original of the tensor that it is a block of.
        place: where it stands there.
        dtype: what the smaller network stores it in.
    """

    small: str
    large: str
    place: Place
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Correspondence:
    """What every tensor of a smaller network is of the original.

    Args:
        pairs: what was found, by name in the original.
        foreign: parameters and stored buffers of the smaller network that are no part of the original, with what is
            known of each.
        recomputed: likewise, buffers that are not stored with a network, and plain tensors: they may be made anew.
        gone: parameters of the original of which nothing is left.
        layers: norm layers that hold no tensor but other widths, by path: (width before, width after).
    """

    pairs: Mapping[str, Pair]
    foreign: Mapping[str, str] = field(default_factory=dict)
    recomputed: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    layers: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def cut(self) -> dict[str, Place]:
        """Where what is left of the tensors stands that lost something, by name in the original."""
        return {name: pair.place for name, pair in self.pairs.items() if pair.place.cut}

    def without(self, names: Collection[str]) -> Correspondence:
        """The same with these tensors taken to be whole, as if nothing of them had gone."""
        return replace(self, pairs={name: pair for name, pair in self.pairs.items() if name not in names})

    @property
    def open(self) -> list[tuple[str, int]]:
        """(name in the original, dimension) whose values leave a choice."""
        return [(name, d) for name, pair in self.pairs.items() for d in sorted(pair.place.open)]


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Floating-point parameters, buffers and plain tensor attributes by name; one with several names has several."""
    found: dict[str, Tensor] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        parameters, buffers, _ = tables(module)
        plain = {k: v for k, v in vars(module).items() if isinstance(v, Tensor)}
        for table in (parameters, buffers, plain):
            for name, held in table.items():
                if held is not None and (held.is_floating_point() or held.is_complex()):
                    found[f"{path}.{name}" if path else name] = held
    return found


def find(original: nn.Module, smaller: nn.Module) -> Correspondence:
    """Finds every tensor of the smaller network in the original: by its name, or by its values where names differ.

    Args:
        original: the network before pruning.
        smaller: what was made of it.
    """
    ours, theirs = named_tensors(original), named_tensors(smaller)
    pairs: dict[str, Pair] = {}
    lost: dict[str, str] = {}
    for name, tensor in theirs.items():
        if name not in ours:
            lost[name] = "the original has none of this name, and none that it is a block of"
        elif (place := _located(ours[name], tensor)) is not None:
            pairs[name] = Pair(name, name, place, tensor.dtype)
        else:
            sizes = f"{_size(tensor)}, not a block of the original's {_size(ours[name])}"
            same = tensor.shape == ours[name].shape
            lost[name] = "its values are others than the original's" if same else sizes
    free = {name: tensor for name, tensor in ours.items() if name not in pairs}
    for may_be_open in (False, True):
        missed = 0
        for name in list(lost):
            if missed == _MISSES:
                break
            renamed = _renamed(name, theirs[name], free, may_be_open)
            missed = missed + 1 if renamed is None else 0
            if renamed is not None:
                pairs[renamed.large] = renamed
                free.pop(renamed.large)
                lost.pop(name)
    free = {name: tensor for name, tensor in free.items() if name not in lost}
    stored = _stored(smaller)
    order = {name: number for number, name in enumerate(ours)}
    return Correspondence(
        pairs=dict(sorted(pairs.items(), key=lambda item: order[item[0]])),
        foreign={name: why for name, why in lost.items() if name in stored},
        recomputed={name: why for name, why in lost.items() if name not in stored},
        gone=tuple(name for name, tensor in free.items() if isinstance(tensor, nn.Parameter)),
        layers=_without_weight(original, smaller),
    )


def _stored(model: nn.Module) -> set[str]:
    """Names of the parameters and buffers that are stored with a network."""
    names = set()
    for path, module in model.named_modules(remove_duplicate=False):
        held = stored_names(module)
        names |= {f"{path}.{name}" if path else name for name in held}
    return names


def _located(large: Tensor, small: Tensor) -> Place | None:
    """Where a tensor stands; the smaller network may be stored in fewer bits than the original."""
    if large.dtype != small.dtype and small.is_floating_point() and large.is_floating_point():
        large = large.detach().to(small.dtype)
    return locate(large, small)


def _renamed(name: str, tensor: Tensor, free: Mapping[str, Tensor], may_be_open: bool) -> Pair | None:
    """The tensor that one of another name is a block of: the first, those of the same last name before others.

    One whose values leave a choice must have the same last name.
    """
    last = name.rpartition(".")[2]
    for alike in (True,) if may_be_open else (True, False):
        for other, held in free.items():
            if (other.rpartition(".")[2] == last) == alike:
                place = _located(held, tensor)
                if place is not None and (may_be_open or not place.open):
                    return Pair(name, other, place, tensor.dtype)
    return None


def _without_weight(original: nn.Module, smaller: nn.Module) -> dict[str, tuple[int, int]]:
    """Layer and group norms that hold no weight and other widths in the two networks."""
    others = dict(modules_of(smaller))
    found = {}
    for path, module in modules_of(original):
        widths = [_width_without_weight(m) for m in (module, others.get(path))]
        if widths[0] is not None and widths[1] is not None and widths[0] > widths[1]:
            found[path] = (widths[0], widths[1])
    return found


def _width_without_weight(module: nn.Module | None) -> int | None:
    if not isinstance(module, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)) or tables(module)[0].get("weight") is not None:
        return None
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    return int(module.normalized_shape[0]) if len(module.normalized_shape) == 1 else None


def _size(tensor: Tensor) -> str:
    return " x ".join(str(n) for n in tensor.shape) or "1"


def output_dimension(module: nn.Module, tensor: Tensor) -> int:
    """The dimension of a layer's weight that counts its output channels."""
    transposed = getattr(module, "transposed", False) is True
    return 1 if tensor.ndim > 1 and (transposed or isinstance(module, (nn.Embedding, nn.EmbeddingBag))) else 0


def removed_outputs(original: nn.Module, cut: Mapping[str, Place]) -> dict[str, tuple[int, ...]]:
    """Output channels that went, by path of the layer that makes them, or by name of a parameter that stands alone.

    Norms make no channels, and a bias goes with its weight: neither is named.
    """
    found: dict[str, tuple[int, ...]] = {}
    parameters = dict(original.named_parameters(remove_duplicate=False))
    for name, place in cut.items():
        path, _, last = name.rpartition(".")
        owner = path.split(".parametrizations.")[0]
        if owner != path:
            last = path.split(".parametrizations.")[1]
        module = original.get_submodule(owner)
        if last in ("weight", "weight_v") and len(place.size) > 1:
            d = output_dimension(module, parameters[name])
            if d in place.cut:
                found[owner] = place.gone(d)
        elif name in parameters and "bias" not in last and not isinstance(getattr(module, "weight", None), Tensor):
            found[name] = place.gone(place.cut[0])
    return found
