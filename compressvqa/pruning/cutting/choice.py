"""Which channels go: a plan's widths and an importance -> slots to cut from every parameter and buffer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.pruning.cutting.activations import Activations, canonical, mean_activations
from compressvqa.pruning.cutting.importance import CannotJudgeError, Part, l1, named_by, score
from compressvqa.pruning.cutting.torch_pruning_importance import as_criterion, refused
from compressvqa.pruning.dependency.group import Group, Slot
from compressvqa.pruning.dependency.labels import Ids
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.settings import Importance
from compressvqa.registry import importances
from compressvqa.torch_private import CONVOLUTION


@dataclass(frozen=True)
class Cut:
    """The channels of one group that go."""

    group: Group
    channels: tuple[int, ...]


class ChannelScores:
    """The importance of every channel of every group, found when it is asked for.

    Args:
        model: the network.
        importance: a registered criterion, with its data.
        inputs: what the network is called with: a criterion of activations looks at them if it has no data.
        generator: for criteria that draw.
        without: names of parameters that have no say, since nothing reads what they make.
        divided: (parameter, dimension) that a parameter is divided by, which stays where a channel is zero.

    Attributes:
        comparable: whether the criterion says that scores of different groups may be ranked together as they are.

    Raises:
        RegistryError: no such criterion.
        PruneError: an importance of torch-pruning that works with its own pruner only.
    """

    def __init__(
        self,
        model: nn.Module,
        importance: Importance,
        inputs: Any,
        generator: torch.Generator,
        *,
        without: Collection[str] = (),
        divided: Collection[tuple[str, int]] = (),
    ) -> None:
        if (error := refused(importance.name)) is not None:
            raise error
        entry = None if importance.criterion is not None else importances[importance.name]
        facts = {} if entry is None else entry.facts
        self._criterion: Any = as_criterion(importance.criterion) if entry is None else entry.value
        self._name, self._taken = importance.name, named_by(self._criterion)
        self._gradient_of = getattr(self._criterion, "gradient_of", lambda parameter: parameter.grad)
        self.comparable = bool(facts.get("comparable"))
        self._needs_activations = bool(facts.get("activations"))
        self._batches = [inputs] if importance.batches is None else importance.batches
        self._model, self._generator = model, generator
        self._leaves = leaves_of(model)
        self._parameters = {name for name, _ in model.named_parameters()} - set(without)
        self._divided = divided
        self._found: dict[str, Tensor] = {}
        self._unjudged: dict[str, CannotJudgeError] = {}

    def of(self, group: Group) -> Tensor:
        """(channels,) scores of a group.

        Raises:
            PruneError: the criterion's answer is not one finite number per channel.
        """
        if group.name not in self._found:
            self._found[group.name] = self._score(group)
        return self._found[group.name]

    def zero(self, group: Group) -> Ids:
        """Which channels of a group have nothing but zeros in all their parameters, in order.

        What a parameter is divided by, such as a weight norm's direction, need not be zero.
        """
        slots = tuple(s for s in group.slots if (s.leaf, s.dim) not in self._divided)
        _, weights = self._weights(replace(group, slots=slots))
        largest = torch.stack([w.abs().amax(1) for w in weights]).amax(0)
        return np.flatnonzero((largest == 0).numpy())

    def notes(self) -> tuple[str, ...]:
        """Which groups the criterion could not judge.

        Raises:
            PruneError: it could judge none.
        """
        if not self._unjudged:
            return ()
        error = next(iter(self._unjudged.values()))
        if len(self._unjudged) == len(self._found):
            raise error
        names = list(self._unjudged)
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return (f"{error.what}: {', '.join(names[:5])}{more} judged by 'l1'",)

    @cached_property
    def _activations(self) -> Activations:
        return mean_activations(self._model, self._batches)

    def _weights(self, group: Group) -> tuple[list[Any], list[Tensor]]:
        slots = [s for s in group.slots if s.leaf in self._parameters]
        return slots, [_slices(self._leaves[s.leaf].detach(), s.dim, s.indices) for s in slots]

    def _score(self, group: Group) -> Tensor:
        slots, weights = self._weights(group)
        if not weights:  # dead layers that are kept: nothing reads them, so that no channel of theirs matters
            return torch.zeros(group.channels)
        gradients: list[Tensor | None] = []
        activations: list[Tensor | None] = []
        for slot in slots:
            gradient = self._gradient_of(self._leaves[slot.leaf])
            gradients.append(None if gradient is None else _slices(gradient, slot.dim, slot.indices))
            seen = self._activations.get((canonical(slot.leaf), slot.dim)) if self._needs_activations else None
            activations.append(None if seen is None else seen[torch.from_numpy(slot.indices.copy())].mean(1).float())
        parts = [self._part(s) for s in slots] if "parts" in self._taken else []
        try:
            return score(
                self._name,
                weights,
                gradients,
                self._generator,
                parts=parts,
                activations=activations,
                criterion=self._criterion,
                taken=self._taken,
            )
        except CannotJudgeError as error:
            self._unjudged[group.name] = error
            return l1(weights, gradients)

    def _part(self, slot: Slot) -> Part:
        module = self._model.get_submodule(canonical(slot.leaf).rpartition(".")[0])
        groups = getattr(module, "groups", 1) if isinstance(module, CONVOLUTION) else 1
        depthwise = groups > 1 and groups == self._leaves[slot.leaf].shape[0]
        return Part(slot.leaf, slot.role, type(module), slot.indices.shape[1], depthwise)


def choose(groups: Sequence[Group], widths: Mapping[str, int], score_of: Callable[[Group], Tensor]) -> list[Cut]:
    """The least important channels of every group that shrinks; of equal ones, those that come first.

    Args:
        groups: the groups that may shrink.
        widths: channels kept, by group name; a group that is not named keeps all.
        score_of: (channels,) scores of a group.
    """
    cuts = []
    for group in groups:
        gone = group.channels - widths.get(group.name, group.channels)
        if gone > 0:
            order = np.argsort(score_of(group).numpy(), kind="stable")
            cuts.append(Cut(group, tuple(sorted(order[:gone].tolist()))))
    return cuts


def _slices(tensor: Tensor, d: int, indices: Ids) -> Tensor:
    """(channels, elements): what falls with each channel."""
    rows = (tensor.movedim(d, 0) if d else tensor).reshape(tensor.shape[d], -1)
    # All rows in their order, the usual case, need no copy.
    if indices.size != len(rows) or (indices.ravel() != np.arange(len(rows))).any():
        rows = rows[torch.from_numpy(indices.ravel()).to(tensor.device)]
    return rows.reshape(len(indices), -1).float().cpu()


def slots_of(cuts: Sequence[Cut]) -> dict[tuple[str, int], Ids]:
    """Positions that go, in order, for each (leaf, dimension)."""
    found: dict[tuple[str, int], list[Ids]] = {}
    for cut in cuts:
        for slot in cut.group.slots:
            found.setdefault((slot.leaf, slot.dim), []).append(slot.indices[list(cut.channels)].ravel())
    return {key: np.unique(np.concatenate(parts)) for key, parts in found.items()}


def removed_outputs(cuts: Sequence[Cut]) -> dict[str, tuple[int, ...]]:
    """Output channels that go, by path of the layer that makes them."""
    found: dict[str, set[int]] = {}
    for cut in cuts:
        for slot in cut.group.slots:
            if slot.role == "out":
                owner = slot.leaf.rpartition(".")[0].split(".parametrizations.")[0]
                gone = slot.indices[list(cut.channels)].ravel().tolist()
                found.setdefault(owner or slot.leaf, set()).update(gone)
    return {path: tuple(sorted(gone)) for path, gone in found.items()}
