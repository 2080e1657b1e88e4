"""Several teachers of one student, each with a weight: what they say together.

Scores of two networks have nothing in common but their order: one may count from 0 to 100, another in the logits of
rank pairs. So each teacher is brought to the first one's mean and deviation, measured once, on clips of the training.
The joint score of a clip is the weighted mean of theirs. A probability is not that of the joint scores but the mean of
the teachers' own: two that are sure of opposite orders leave 1/2, and the one that counts in larger steps has no more
to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressvqa.distillation.combine import Outputs
from compressvqa.distillation.teacher import Teacher
from compressvqa.errors import TrainingError
from compressvqa.metrics import correlation


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a teacher's scores over the clips that it was measured on."""

    mean: float
    deviation: float


class Teachers:
    """One teacher or several, asked together.

    Args:
        teachers: {name: teacher}; features are the first one's, and its scale is the common one.
        weights: {name: weight}, each above 0; only their ratios matter.

    Raises:
        TrainingError: names and weights differ, or a weight is not above 0.
    """

    def __init__(self, teachers: Mapping[str, Teacher], weights: Mapping[str, float]) -> None:
        if not teachers or set(teachers) != set(weights) or not all(weight > 0 for weight in weights.values()):
            raise TrainingError(f"teachers {', '.join(teachers) or 'none'} with weights {dict(weights)}")
        self.teachers = dict(teachers)
        total = sum(weights.values())
        self.shares = torch.tensor([weights[name] / total for name in teachers])
        self.scales: dict[str, Scale] = {}
        """Of each teacher, once `measure` was called; empty where there is one teacher, which keeps its scale."""
        self.agreement: dict[str, float] = {}
        """SROCC of each further teacher with the first, over the same clips."""

    @property
    def first(self) -> Teacher:
        """The teacher whose features are compared."""
        return next(iter(self.teachers.values()))

    def measure(self, batches: Iterable[tuple[Sequence[Tensor], Sequence[str]]]) -> None:
        """Measures every teacher's scale on the clips of some batches, each clip counted once.

        Args:
            batches: (the network's arguments, a name for each clip) of each.

        Raises:
            TrainingError: a teacher gives all of the clips the same score.
        """
        if len(self.teachers) == 1:
            return
        found: dict[str, dict[str, float]] = {name: {} for name in self.teachers}
        for inputs, keys in batches:
            for name, teacher in self.teachers.items():
                scores = teacher(inputs, keys).scores
                assert scores is not None
                found[name].update(zip(keys, scores.double().tolist(), strict=True))
        first = list(next(iter(found.values())).values())
        if not first:
            return
        for position, (name, scored) in enumerate(found.items()):
            values = torch.tensor(list(scored.values()), dtype=torch.float64)
            deviation = float(values.std(correction=0))
            if not deviation > 0:
                raise TrainingError(f"the teacher gives all of {len(values)} clips one score", where=name)
            self.scales[name] = Scale(float(values.mean()), deviation)
            if position > 0:
                self.agreement[name] = correlation(list(scored.values()), first, "none").srocc

    def __call__(
        self, inputs: Sequence[Tensor], keys: Sequence[str], parts: Sequence[slice] = (slice(None),)
    ) -> tuple[Outputs, Tensor]:
        """The joint answer to N clips, and each teacher's scores on the common scale, (K, N).

        The answer holds the joint scores, the first teacher's features, and each teacher's share.

        Args:
            inputs: the network's arguments, each (N, ...).
            keys: a name for each clip.
            parts: of the batch, in order: rows of features follow each other part after part, and within each as the
                teacher gives them for such a batch.
        """
        said = [self._ask([value[part] for value in inputs], keys[part]) for part in parts]
        if len(said) == 1:
            return said[0]
        answers = [answer for answer, _ in said]
        scores = torch.cat([answer.scores for answer in answers if answer.scores is not None])
        features = {path: torch.cat([answer.features[path] for answer in answers]) for path in answers[0].features}
        return answers[0]._replace(scores=scores, features=features), torch.cat([each for _, each in said], dim=1)

    def _ask(self, inputs: Sequence[Tensor], keys: Sequence[str]) -> tuple[Outputs, Tensor]:
        said = self.first(inputs, keys)
        if len(self.teachers) == 1:
            assert said.scores is not None
            return said, said.scores[None]
        rows = [said.scores, *(teacher(inputs, keys).scores for teacher in list(self.teachers.values())[1:])]
        each = torch.stack([self._common(name, row) for name, row in zip(self.teachers, rows, strict=True)])
        shares = self.shares.to(each)
        return said._replace(scores=(shares[:, None] * each).sum(0), shares=shares), each

    def _common(self, name: str, scores: Tensor | None) -> Tensor:
        """A teacher's scores on the first one's scale."""
        if name not in self.scales or scores is None:
            raise TrainingError("the scale of the teachers is not known yet: call `measure` first", where=name)
        own, common = self.scales[name], next(iter(self.scales.values()))
        wide = (scores.double() - own.mean) * (common.deviation / own.deviation) + common.mean
        return wide.to(scores.dtype)

    def figures(self) -> dict[str, Any]:
        """What there is to report: of several teachers each one's share and scale, and how often they were asked."""
        caches = [teacher.cache for teacher in self.teachers.values()]
        figures: dict[str, Any] = {
            "clips_scored_by_the_teacher": max(map(len, caches)),
            "scores_asked_of_the_teacher": sum(cache.hits + cache.misses for cache in caches),
        }
        if self.scales:
            figures["teachers"] = {
                name: {"share": share, "mean": self.scales[name].mean, "deviation": self.scales[name].deviation}
                | ({"srocc_with_the_first": self.agreement[name]} if name in self.agreement else {})
                for name, share in zip(self.teachers, self.shares.tolist(), strict=True)
            }
        return figures

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: what was said is on disk, and scales are measured again on the same clips."""
        for teacher in self.teachers.values():
            teacher.state_dict()
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing to load."""
