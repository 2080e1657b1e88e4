"""One weighted sum of registered distillation losses."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compressvqa.distillation.margins import to_probabilities
from compressvqa.distillation.positions import Positions, match_items, match_positions
from compressvqa.errors import RecipeError, TrainingError
from compressvqa.registry import Entry, losses


class Outputs(NamedTuple):
    """What a network said about a batch; each loss takes the part it compares."""

    margins: Tensor | None = None
    """Score of the first clip minus score of the second, (B,), for losses on probabilities; of K teachers (K, B)."""
    scores: Tensor | None = None
    """One score a clip, (N,), for losses on scores."""
    features: Mapping[str, Tensor] = {}
    """{module path: map (N, C, ...)}, as `FeatureTaps.take` gives them, for losses on features."""
    shares: Tensor | None = None
    """Of K teachers, each one's share, (K,) with sum 1: their probabilities are averaged so."""


class DistillationLoss(nn.Module):
    """Sum of registered losses, each with its weight: RankDVQA-mini's equation (7) is three weights of 1.

    A loss on probabilities is summed over the `temperatures` (Jin et al., CVPR 2023, take 2 to 6; the paper of
    RankDVQA-mini takes 1), and a loss registered with ``temperature_power=n`` is multiplied by T^n, which keeps the
    size of its gradient. A loss on features is averaged over the tapped maps.

    Args:
        weights: {loss name: weight}, in the order of the report; weights >= 0, at least one loss.
        settings: {loss name: {setting: value}} for losses that take settings.
        temperatures: divide the margins.
        symmetric: probabilities as [p, 1 - p] rather than the column p; see `to_probabilities`.
        pairs: {student's module path: teacher's} where the tapped paths differ; by default they have the same names.
        positions: what is done where the maps differ in size; see `match_positions`. Losses that take maps of any shape
            see whole items, or with ``mean`` the averages.

    Raises:
        RecipeError: an unknown loss or setting, a negative weight, settings of a loss that is not used.

    >>> loss = DistillationLoss({"instance": 1.0, "batch": 1.0, "class": 1.0})
    >>> total, parts = loss(Outputs(torch.tensor([0.0, 0.0])), Outputs(torch.tensor([0.0, 0.0])))
    >>> {name: round(value, 4) for name, value in parts.items()}
    {'instance': 0.6931, 'batch': 0.0, 'class': 0.0}
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        temperatures: Sequence[float] = (1.0,),
        symmetric: bool = True,
        pairs: Mapping[str, str] | None = None,
        positions: Positions = "equal",
    ) -> None:
        super().__init__()
        self._entries: dict[str, Entry] = {name: losses[name] for name in weights}
        self.settings = {name: dict(values) for name, values in (settings or {}).items()}
        self.weights, self.temperatures, self.symmetric = dict(weights), tuple(temperatures), symmetric
        self.pairs, self.positions = dict(pairs or {}), positions
        _check(self)
        self.projections = nn.ModuleDict()

    @property
    def needs(self) -> set[str]:
        """What the losses compare: a subset of {"probability", "score", "feature"}."""
        return {entry.facts["on"] for entry in self._entries.values()}

    def add_projections(self, teacher: Outputs, student: Outputs) -> list[str]:
        """Adds a learnable linear map (a 1x1 convolution) of the student's channels wherever the widths differ.

        Call it once with the outputs for one batch, before the optimiser is built, and train `parameters` along with
        the student's. The maps belong to this loss and are dropped with it: the student's size stays. Nothing is added
        when every loss on features takes maps of any width or shape.

        Returns:
            The student's module paths that got a projection.
        """
        if not any(entry.facts["on"] == "feature" and _same_width(entry) for entry in self._entries.values()):
            return []
        added = []
        for path, theirs, ours in self._matched(teacher, student):
            if theirs.ndim >= 2 and ours.ndim >= 2 and theirs.shape[1] != ours.shape[1]:
                projection = nn.Linear(ours.shape[1], theirs.shape[1], bias=False)
                self.projections[_key(path)] = projection.to(ours.device)
                added.append(path)
        return added

    def forward(self, teacher: Outputs, student: Outputs) -> tuple[Tensor, dict[str, float]]:
        """The weighted total, a 0-d tensor, and each loss's own value before its weight.

        Raises:
            TrainingError: an output that a loss needs is missing, the shapes differ, or the batch holds fewer clips (or
                pairs) than a loss can compare.
        """
        parts = {name: self._part(entry, teacher, student) for name, entry in self._entries.items()}
        values = torch.stack([part.detach().double() for part in parts.values()]).tolist()
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return total, dict(zip(parts, values, strict=True))

    def _part(self, entry: Entry, teacher: Outputs, student: Outputs) -> Tensor:
        settings, on = self.settings.get(entry.name, {}), entry.facts["on"]
        if on == "score":
            theirs, ours = _both(entry, teacher.scores, student.scores, "scores")
            return _value(entry, theirs, ours, settings)
        if on == "probability":
            theirs, ours = _both(entry, teacher.margins, student.margins, "margins")
            power = entry.facts.get("temperature_power", 0)
            terms = []
            for temperature in self.temperatures:
                how: dict[str, Any] = {"temperature": temperature, "symmetric": self.symmetric}
                p, q = _mean_probabilities(theirs, teacher.shares, **how), to_probabilities(ours, **how)
                terms.append(temperature**power * _value(entry, p, q, settings))
            return torch.stack(terms).sum()
        return torch.stack(
            [self._feature_part(entry, *matched, settings) for matched in self._matched(teacher, student)]
        ).mean()

    def _feature_part(
        self, entry: Entry, path: str, theirs: Tensor, ours: Tensor, settings: Mapping[str, Any]
    ) -> Tensor:
        try:
            if entry.facts.get("any_shape") and self.positions != "mean":
                theirs, ours = match_items(theirs, ours)
            else:
                theirs, ours = match_positions(theirs, ours, self.positions)
        except TrainingError as error:
            where = f"features, {path} with {self.pairs.get(path, path)}"
            raise TrainingError(error.what, where=where, hint=error.hint) from error
        if _key(path) in self.projections and _same_width(entry):
            ours = self._project(path, ours)
        return _value(entry, theirs, ours, settings)

    def _project(self, path: str, feature: Tensor) -> Tensor:
        projection = self.projections[_key(path)]
        wide = feature.movedim(1, -1).to(next(projection.parameters()).dtype)
        return _tensor(projection(wide)).movedim(-1, 1)

    def _matched(self, teacher: Outputs, student: Outputs) -> list[tuple[str, Tensor, Tensor]]:
        """(the student's path, the teacher's map, the student's map) of every tapped module."""
        if not student.features:
            raise TrainingError("no feature of the student was tapped", where="distillation", hint="FeatureTaps")
        matched = []
        for path, ours in student.features.items():
            name = self.pairs.get(path, path)
            if name not in teacher.features:
                known = ", ".join(teacher.features) or "none"
                raise TrainingError(
                    f"the teacher has no feature {name!r}", where="distillation", hint=f"one of {known}"
                )
            matched.append((path, teacher.features[name], ours))
        return matched


def _mean_probabilities(margins: Tensor, shares: Tensor | None, **how: Any) -> Tensor:
    """Of one teacher its probabilities; of several the mean of theirs, each counted by its share."""
    if shares is None:
        return to_probabilities(margins, **how)
    each = torch.stack([to_probabilities(row, **how) for row in margins])
    return (shares.to(each)[:, None, None] * each).sum(0)


def _both(entry: Entry, teacher: Tensor | None, student: Tensor | None, what: str) -> tuple[Tensor, Tensor]:
    if teacher is None or student is None:
        raise TrainingError(f"the loss {entry.name!r} needs the {what} of both networks", where="distillation")
    return teacher, student


def _value(entry: Entry, teacher: Tensor, student: Tensor, settings: Mapping[str, Any]) -> Tensor:
    least = entry.facts.get("least_items", 1)
    if len(student) < least:
        fault = (
            f"the loss {entry.name!r} compares at least {least} items with each other, and a batch has {len(student)}"
        )
        raise TrainingError(fault, where="distillation", hint="a larger `batch`")
    return _tensor(entry.value(teacher, student, **settings))


def _same_width(entry: Entry) -> bool:
    return not (entry.facts.get("any_width") or entry.facts.get("any_shape"))


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TrainingError(f"a loss returned a {type(value).__name__}, not a tensor", where="distillation")
    return value


def _key(path: str) -> str:
    return path.replace(".", "/")  # a module's name may hold no dot


def _check(loss: DistillationLoss) -> None:
    if not loss.weights:
        raise RecipeError("no distillation loss is named", where="distillation", hint=", ".join(losses))
    if not all(weight >= 0 for weight in loss.weights.values()):
        raise RecipeError(f"a weight is negative: {loss.weights}", where="distillation")
    if not loss.temperatures or not all(temperature > 0 for temperature in loss.temperatures):
        raise RecipeError(f"temperatures {loss.temperatures} must be positive, at least one", where="distillation")
    for name, values in loss.settings.items():
        if name not in loss.weights:
            raise RecipeError(f"settings of {name!r}, which has no weight", where="distillation")
        known = list(inspect.signature(losses[name].value).parameters)[2:]
        for setting in values:
            if setting not in known:
                hint = ", ".join(known) or "it takes none"
                raise RecipeError(f"the loss {name!r} has no setting {setting!r}", where="distillation", hint=hint)
