"""Channels that can become exactly zero: which elements of which parameters fall with each of them.

A weight element lies in the row of the channel that it makes and in the column of the channel that it reads, so the
sets of elements overlap. A channel is zero when all of its elements are: then nothing makes it and nothing reads it,
and the network without it computes the same, whatever the activations do. Zero sets of overlapping groups are unions
of groups (Jenatton, Audibert and Bach, JMLR 2011), which is what removing channels leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.errors import RecipeError
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.torch_private import BATCH_NORM

_STATISTICS = ("running_mean", "running_var")


@dataclass(eq=False)
class _Place:
    """One dimension of a parameter along which channels lie.

    Args:
        param: the parameter.
        dim: the dimension.
        owner: for each position, the channel's number, or the number of channels where there is none.
        fresh: 1 for elements that no earlier dimension has given to the same channel, else 0; None: all are fresh.
        counted: whether the elements have a say in norms; they are zeroed with their channel either way.
    """

    param: nn.Parameter
    dim: int
    owner: Tensor
    fresh: Tensor | None
    counted: bool

    def spread(self, padded: Tensor) -> Tensor:
        """One number per channel (and a last one for no channel), laid out along the dimension."""
        return padded[self.owner].view([-1 if d == self.dim else 1 for d in range(self.param.ndim)])


class Channels:
    """Removable channels, numbered from 0 group by group, and sums over their elements without a loop over channels.

    Args:
        parameters: the network's parameters, by name.
        groups: groups of channels, all of whose slots are in `parameters`.
        silent: names of parameters that have no say in norms, since no gradient ever reaches them.
        left_out: groups that were left out, with the reason, by name.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        groups: Sequence[Group],
        *,
        silent: Collection[str] = (),
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self.groups, self.left_out = tuple(groups), dict(left_out or {})
        self.counts = np.array([g.channels for g in groups], dtype=np.int64)
        self.group = torch.from_numpy(np.repeat(np.arange(len(groups)), self.counts))
        first = np.cumsum(self.counts) - self.counts
        owners: dict[str, dict[int, Tensor]] = {}
        for start, group in zip(first.tolist(), groups, strict=True):
            for slot in group.slots:
                size = parameters[slot.leaf].shape[slot.dim]
                owner = owners.setdefault(slot.leaf, {}).setdefault(slot.dim, torch.full((size,), len(self)))
                channels = start + np.arange(group.channels)[:, None]
                owner[torch.from_numpy(slot.indices)] = torch.from_numpy(channels).expand(slot.indices.shape)
        self._places = [
            place
            for name, by_dim in owners.items()
            for place in _places(parameters[name], dict(sorted(by_dim.items())), len(self), name not in silent)
        ]
        self.params = list(dict.fromkeys(place.param for place in self._places))
        self.counted = list(dict.fromkeys(place.param for place in self._places if place.counted))
        self.sizes = self.sums(torch.ones_like)

    @classmethod
    def of(cls, network: nn.Module, traced: Trace, groups: Sequence[Group]) -> Channels:
        """The channels of a traced network whose removal is lossless once they are zero.

        Left out, with the reason in `left_out`: frozen and dead groups; groups that share a hard-coded width with
        others; channels in the mean of a layer, group or RMS normalisation, since a zero counts in it until it is
        removed; channels with a part that is not trained, or with a buffer that adds to them.

        Raises:
            RecipeError: no channel is left.
        """
        parameters = dict(network.named_parameters())
        find = traced.dependencies.classes.find
        counted = {root for statistic in traced.dependencies.statistics for root in find(statistic.labels).tolist()}
        taken, left_out = [], {}
        for group in groups:
            reason = _reason(group, network, parameters, traced, counted)
            if reason is None:
                # The direction of a weight norm is not zeroed: it would have no length.
                slots = [
                    s
                    for s in group.slots
                    if s.leaf in parameters and (s.leaf, s.dim) not in traced.dependencies.unzeroed
                ]
                taken.append(replace(group, slots=tuple(slots)))
            else:
                left_out[group.name] = reason
        if not taken:
            said = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:5])
            raise RecipeError(f"no channel can be made zero: {said or 'no layer makes channels'}", where="sparsifier")
        return cls(parameters, taken, silent=traced.dead_parameters, left_out=left_out)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def sums(self, values: Callable[[nn.Parameter], Tensor]) -> Tensor:
        """(channels,) sums of ``values(parameter)``, shaped like the parameter, over the counted elements."""
        return self._sums(values, [place for place in self._places if place.counted])

    def _sums(self, values: Callable[[nn.Parameter], Tensor], places: Sequence[_Place]) -> Tensor:
        total: Tensor | None = None
        seen, elements = None, torch.empty(0)
        for place in places:
            if place.param is not seen:
                seen, elements = place.param, values(place.param)
            self._follow(place)
            own = elements if place.fresh is None else elements * place.fresh
            own = own.sum([d for d in range(own.ndim) if d != place.dim]) if own.ndim > 1 else own
            if total is None:
                total = own.new_zeros(len(self) + 1)
            total.index_add_(0, place.owner, own.to(total))
        return torch.zeros(len(self)) if total is None else total[:-1]

    def squares(self) -> Tensor:
        """(channels,) squared L2 norms."""
        return self.sums(lambda p: p.detach().square())

    def rms(self) -> Tensor:
        """(channels,) root mean squares."""
        squares = self.squares()
        return (squares / self.sizes.to(squares).clamp_min(1)).sqrt()

    @torch.no_grad()
    def scale_(self, factors: Tensor) -> None:
        """Multiplies every element by the (channels,) factors of the channels that it lies in."""
        padded = torch.cat([factors, factors.new_ones(1)])
        for place in self._places:
            self._follow(place)
            place.param.mul_(place.spread(padded).to(place.param.dtype))

    @torch.no_grad()
    def pull_(self, old: Mapping[nn.Parameter, Tensor], factors: Tensor) -> None:
        """Subtracts from each counted element its ``old`` value times the sum of the factors of its channels."""
        padded = torch.cat([factors, factors.new_zeros(1)])
        for place in self._places:
            if place.counted and place.param in old:
                self._follow(place)
                weight = place.spread(padded).to(place.param.dtype)
                weight = weight if place.fresh is None else weight * place.fresh
                place.param.addcmul_(old[place.param], weight, value=-1)

    def zeros(self) -> Tensor:
        """(channels,) whether all elements of a channel are exactly zero, also those without a say in norms."""
        return self._sums(lambda p: (p.detach() != 0).float(), self._places) == 0

    def removed(self, which: Tensor) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(groups,) how many channels of each group are marked in the (channels,) booleans."""
        found = torch.bincount(self.group[which.cpu()], minlength=len(self.groups))
        return found.numpy().astype(np.int64)

    def ranks(self, scores: Tensor) -> Tensor:
        """(channels,) place of each channel in its group by falling score, from 0; equal scores in channel order."""
        order = torch.argsort(scores, descending=True, stable=True)
        group = self.group.to(scores.device)
        order = order[torch.argsort(group[order], stable=True)]
        counts = torch.from_numpy(self.counts).to(scores.device)
        first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(len(order), device=scores.device) - first
        return ranks

    def means(self, scores: Tensor) -> Tensor:
        """(channels,) the mean score of each channel's group."""
        group = self.group.to(scores.device)
        total = scores.new_zeros(len(self.groups)).index_add_(0, group, scores)
        return (total / torch.from_numpy(self.counts).to(scores))[group]

    def _follow(self, place: _Place) -> None:
        """Moves the numbers to where the parameter is."""
        if place.owner.device != place.param.device:
            place.owner = place.owner.to(place.param.device)
            place.fresh = None if place.fresh is None else place.fresh.to(place.param.device)


def _places(param: nn.Parameter, owners: Mapping[int, Tensor], none: int, counted: bool) -> list[_Place]:
    places: list[_Place] = []
    for d, owner in owners.items():
        fresh = torch.ones(param.shape, dtype=torch.bool)
        mine = _along(owner, d, param.ndim)
        for before in places:
            fresh &= (_along(before.owner, before.dim, param.ndim) != mine) | (mine == none)
        places.append(_Place(param, d, owner, None if bool(fresh.all()) else fresh.to(param.dtype), counted))
    return places


def _along(vector: Tensor, d: int, ndim: int) -> Tensor:
    return vector.view([-1 if k == d else 1 for k in range(ndim)])


def _reason(
    group: Group, network: nn.Module, parameters: Mapping[str, nn.Parameter], traced: Trace, counted: set[int]
) -> str | None:
    """Why a group's channels would not vanish without loss, or None."""
    if group.frozen is not None:
        return group.frozen
    if traced.is_dead(group.producers):
        return "nothing reads it"
    if getattr(group, "coupling", None) is not None:
        return "its width is tied by a number to that of other layers"
    slot = group.slots[0]
    first = traced.dependencies.slots.first[slot.leaf][slot.dim]
    if counted.intersection(traced.dependencies.classes.find(first + slot.indices.ravel()).tolist()):
        return "a zero channel counts in the mean and variance of a normalisation"
    return next((why for s in group.slots if (why := _unfit(s.leaf, network, parameters)) is not None), None)


def _unfit(leaf: str, network: nn.Module, parameters: Mapping[str, nn.Parameter]) -> str | None:
    if leaf not in parameters:
        return None if _statistic(network, leaf) else f"the buffer {leaf} adds to it"
    return None if parameters[leaf].requires_grad else f"{leaf} is not trained"


def _statistic(network: nn.Module, leaf: str) -> bool:
    """Whether a buffer is a running statistic of a batch norm whose weight and bias silence it."""
    path, _, name = leaf.rpartition(".")
    module = network.get_submodule(path)
    return isinstance(module, BATCH_NORM) and module.affine and name in _STATISTICS
