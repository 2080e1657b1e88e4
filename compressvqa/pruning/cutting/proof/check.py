"""Proof of a pruning: the small network must equal the original whose cut channels are zero, wherever it is tried.

It is tried with the network's own weights on the inputs that were given and on fresh ones, of another batch and picture
size where the network takes one, and with shaken weights on other fresh ones. Then it is asked what would have been
noticed. All of it happens on copies; the networks stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.compare import Scale, differing, distance, scales_of
from compressvqa.pruning.cutting.proof.inputs import Sizes, double_inputs, other_sizes
from compressvqa.pruning.cutting.proof.observe import Seen, observe
from compressvqa.pruning.cutting.proof.pair import Pair, pruned_copy, shared_copy, zeroed_copy
from compressvqa.pruning.cutting.proof.power import (
    LEAST_NORM,
    MARGIN,
    Power,
    differentiated,
    differentiated_inside,
    effects,
    noticed_by_halves,
    other_channels,
    read_by_layers,
)
from compressvqa.pruning.cutting.proof.shaken import shaken_weights
from compressvqa.pruning.cutting.proof.statistics import KeptStatistics
from compressvqa.pruning.cutting.proof.verdict import TOLERANCE, Verdict
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import WEIGHTED
from compressvqa.pruning.recording.untouched import untouched
from compressvqa.torch_private import tree_map_only

_SHARES = (0.5, 0.1, 0.02)  # of noise on the weights; less where the network fails on more


class Proof:
    """What prunings of one network are tried on; the sizes that it takes are found once.

    Args:
        model: the original network.
        trace: its trace, with all the ways in which the network is called.
        inputs: example inputs of the first of these.
        seed: of the draws and of the noise.
    """

    def __init__(self, model: nn.Module, trace: Trace, inputs: Any, seed: int) -> None:
        self.model, self.trace, self.inputs, self.seed = model, trace, inputs, seed
        self.entries = [trace.entries[0].with_inputs(inputs), *trace.entries[1:]]
        self.differentiable = True  # until it is found that it is not
        self.exactly = False  # until a trial needed 64 bits and ran in them

    @cached_property
    def candidates(self) -> list[list[Sizes]]:
        """For each entry the sizes that it may take; the first is the one that is tried."""
        return [other_sizes(entry.inputs) for entry in self.entries]

    def verdict(
        self, cuts: Sequence[Cut], dead: Sequence[str], small: nn.Module | None = None, *, power: bool = False
    ) -> Verdict:
        """Compares a pruned network with the zeroed one.

        Args:
            cuts: the channels that go.
            dead: paths of modules that go.
            small: the pruned network; made anew without it.
            power: whether to ask what would have been noticed.
        """
        given = [self.model] if small is None else [self.model, small]
        with untouched(*given):
            return self._verdict(cuts, dead, small, power)

    def verdict_of_one(self, share: float, cuts: Sequence[Cut], dead: Sequence[str]) -> Verdict:
        """The verdict of a single trial, with this share of noise on the weights: the others are not run."""
        with untouched(self.model):
            zeroed = self.zeroed(cuts, share)
            small = pruned_copy(zeroed if share else self.model, self.trace, cuts, dead)
            verdict = _Trial(self, Pair(zeroed, small), cuts, share).judge()
        return Verdict(0.0) if math.isnan(verdict.error) else verdict  # the noise was too much: nothing is said

    def _verdict(self, cuts: Sequence[Cut], dead: Sequence[str], small: nn.Module | None, power: bool) -> Verdict:
        model, trace = self.model, self.trace
        first = pruned_copy(model, trace, cuts, dead) if small is None else shared_copy(small, trace)
        true = _Trial(self, Pair(self.zeroed(cuts, 0.0), first), cuts)
        verdict = true.judge()
        if not verdict.passed:
            return verdict
        trials = [true]
        for share in _SHARES:
            zeroed = self.zeroed(cuts, share)
            shaken = _Trial(self, Pair(zeroed, pruned_copy(zeroed, trace, cuts, dead)), cuts, share)
            again = shaken.judge(gradients=power)
            if math.isnan(again.error):  # the noise was too much for this network
                continue
            if not again.passed:
                return replace(again, share=share)
            worse = again.error / again.allowed > verdict.error / verdict.allowed
            still = verdict.still and again.still
            verdict = replace(again if worse else verdict, still=still)
            trials.insert(0, shaken)
            break
        return self._with_power(verdict, trials, cuts) if power and cuts else verdict

    def zeroed(self, cuts: Sequence[Cut], share: float) -> nn.Module:
        """A copy of the original in which these channels are zero, with this share of noise on the weights."""
        weights = shaken_weights(self.model, share, self.seed) if share else {}
        return zeroed_copy(self.model, self.trace, cuts, weights)

    def _with_power(self, verdict: Verdict, trials: Sequence[_Trial], cuts: Sequence[Cut]) -> Verdict:
        """Asks each trial for the groups of which those before it noticed nothing."""
        noticed = _asked(trials, cuts, {}, lambda trial, k, left: trial.noticed_in_outputs(k))
        if len(noticed) < len(cuts) and trials[0].share and self.differentiable:
            again = trials[0].at_given_sizes()
            if again is not None and not again.passed:
                return replace(again, share=None)
            noticed = _asked(trials[:1], cuts, noticed, lambda trial, k, left: trial.noticed_in_outputs(k))
        if len(noticed) < len(cuts):
            layers = {path for path, module in modules_of(self.model) if isinstance(module, WEIGHTED)}
            inside = read_by_layers(self.trace, [c.group for c in cuts if c.group.name not in noticed], layers)
            by_layers: _Question = lambda trial, k, left: trial.noticed_in_layers(k, inside)  # noqa: E731
            noticed = _asked(trials, cuts, noticed, by_layers) if inside else noticed
            noticed = _asked(trials, cuts, noticed, lambda trial, k, left: trial.noticed_when_cut(k, left, inside))
        still = all(trial.verdict.still for trial in trials)
        why = "a wrong cut would go unnoticed" + (", the output is the same for all inputs" if still else "")
        left = {c.group.name: why for c in cuts if c.group.name not in noticed}
        return replace(verdict, power=Power(noticed, left))


_Question = Callable[["_Trial", int, list[Cut]], Mapping[str, float]]


def _asked(
    trials: Sequence[_Trial], cuts: Sequence[Cut], noticed: Mapping[str, float], ask: _Question
) -> Mapping[str, float]:
    """What is noticed of wrong cuts: each trial is asked on each of its draws, the last first, till nothing is left."""
    for trial in trials:
        for k in range(len(trial.draws) - 1, -1, -1):
            left = [c for c in cuts if c.group.name not in noticed]
            if left:
                noticed = {**ask(trial, k, left), **noticed}
    return noticed


class _Trial:
    """A pruned network and its reference with the same weights, and what they showed.

    Args:
        proof: what they are tried on.
        pair: the two networks.
        cuts: what was cut.
        share: of noise on the weights, 0 for the network's own.
    """

    def __init__(self, proof: Proof, pair: Pair, cuts: Sequence[Cut], share: float = 0.0) -> None:
        self.proof, self.pair, self.cuts, self.share = proof, pair, cuts, share
        self.draws: list[tuple[int, Entry]] = []  # number of the entry, and the call with these inputs
        self.seen: list[tuple[Seen, Seen]] = []  # for each draw, what the reference and the pruned network showed
        self.verdict = Verdict(math.nan)
        self.exactly = False  # whether both networks are in 64 bits
        self._tried: set[int] = set()  # draws on which derivatives were asked for

    def judge(self, *, gradients: bool = False) -> Verdict:
        """Runs both networks and compares; in doubt again in 64 bits.

        The error is not a number where a network with shaken weights fails itself.

        Args:
            gradients: whether the last run of the pruned network keeps what its derivatives need.
        """
        if self.proof.exactly:  # 32 bits have left a doubt before
            self.exactly = True
            self.pair.double()
            self.verdict = self._compare(gradients)
            if self.verdict.failure is None:
                return self.verdict
            self.exactly, self.draws, self.seen = False, [], []
            self.pair.float()
        self.verdict = self._compare(gradients)
        if self.verdict.doubtful:
            self.verdict = self._compare_exactly(gradients)
        return self.verdict

    def _compare(self, gradients: bool) -> Verdict:
        try:
            self._draw()
        except Exception as error:  # a network that looks at its numbers may fail on those of the check
            return Verdict(math.nan if self.share else math.inf, f"{_said(error)}, with these channels zeroed")
        if self.share and not all(_is_finite(expected) for expected, _ in self.seen):
            return Verdict(math.nan)
        return self._run_small(gradients)

    def _run_small(self, gradients: bool, first: int = 0) -> Verdict:
        for number in range(first, len(self.draws)):
            try:
                found = self._small(number, gradients=gradients and number == len(self.draws) - 1)
            except Exception as error:  # any network may fail in any way; the pruning is refused for it
                return Verdict(math.inf, _said(error))
            self.seen[number] = self.seen[number][0], found
        vars(self).pop("_scales", None)
        apart = [distance([self.seen[k] for k in numbers]) for numbers in self._by_entry()]
        return Verdict(
            max(d.error for d in apart), of_size=max(d.of_size for d in apart), still=all(d.still for d in apart)
        )

    def _by_entry(self) -> list[list[int]]:
        """Numbers of the draws of each entry: their outputs can be compared with each other."""
        numbers: dict[int, list[int]] = {}
        for number, (entry, _) in enumerate(self.draws):
            numbers.setdefault(entry, []).append(number)
        return list(numbers.values())

    def _draw(self) -> None:
        """Finds inputs that the network with zeroed channels takes, and runs it on them."""
        seed = self.proof.seed
        for number, entry in enumerate(self.proof.entries):
            candidates = self.proof.candidates[number]
            if self.share:
                self._expect(number, entry.with_inputs(candidates[0].draw(entry.inputs, seed + 1)))
                if candidates[0].batch is None:  # a second answer, to see how much they move
                    self._expect(number, entry.with_inputs(candidates[0].draw(entry.inputs, seed + 2)))
                continue
            self._expect(number, entry)
            while len(candidates) > 1:
                try:
                    self._expect(number, entry.with_inputs(candidates[0].draw(entry.inputs, seed)))
                    break
                except Exception:  # the network does not take this size
                    candidates.pop(0)
            else:
                self._expect(number, entry.with_inputs(candidates[0].draw(entry.inputs, seed)))

    def _expect(self, number: int, draw: Entry) -> None:
        if self.exactly:
            draw = draw.with_inputs(double_inputs(draw.inputs))
        expected = self._zeroed(self.pair.zeroed, self.cuts, number, draw)
        self.draws.append((number, draw))
        self.seen.append((expected, expected))

    def _zeroed(self, zeroed: nn.Module, cuts: Sequence[Cut], number: int, draw: Entry) -> Seen:
        within = KeptStatistics(self.proof.trace, cuts, number).applied(zeroed)
        seen = observe(zeroed, draw, self.proof.seed, within=within, memory=self.pair.memory(zeroed))
        for name, _ in self.proof.trace.dependencies.unzeroed:
            seen.norms.pop(self.proof.trace.owners[name], None)
        return seen

    def _small(self, number: int, *, gradients: bool) -> Seen:
        small, (_, draw) = self.pair.small, self.draws[number]
        memory = self.pair.memory(small)
        if gradients:
            try:
                for parameter in small.parameters():
                    if parameter.is_floating_point() or parameter.is_complex():
                        parameter.requires_grad_(True)
                return observe(small, draw, self.proof.seed, gradients=True, memory=memory)
            except Exception:  # it writes to its weights, for one
                small.requires_grad_(False)
        return observe(small, draw, self.proof.seed, memory=memory)

    def _compare_exactly(self, gradients: bool) -> Verdict:
        """The verdict in 64 bits; a network that runs in 32 bits only is held against its own rounding."""
        draws, seen = self.draws, self.seen
        self.exactly, self.draws, self.seen = True, [], []
        self.pair.double()
        try:
            for number, draw in draws:
                self._expect(number, draw)
        except Exception:  # it makes 32-bit tensors of its own
            self.exactly, self.draws, self.seen = False, draws, seen
            self.pair.float()
            if not self.verdict.excusable:
                return self.verdict
            return replace(self.verdict, allowed=max(TOLERANCE, 4 * self._rounding()))
        self.proof.exactly = True
        return self._run_small(gradients)

    def _rounding(self) -> float:
        """How far the zeroed network's answers move when its inputs do by a few units in the last place."""
        moved = []
        for (number, draw), (expected, _) in zip(self.draws, self.seen, strict=True):
            near = tree_map_only(Tensor, lambda t: t * (1 + 2**-21) if t.is_floating_point() else t, draw.inputs)
            moved.append((expected, self._zeroed(self.pair.zeroed, self.cuts, number, draw.with_inputs(near))))
        return max(distance([moved[k] for k in numbers], norms=False).error for numbers in self._by_entry())

    def at_given_sizes(self) -> Verdict | None:
        """Tries inputs of the sizes given as well, where others were tried: a network may go another way for these."""
        first = len(self.draws)
        try:
            for number, entry in enumerate(self.proof.entries):
                if self.proof.candidates[number][0].sides is not None:
                    drawn = Sizes(self.proof.candidates[number][0].batch).draw(entry.inputs, self.proof.seed + 3)
                    self._expect(number, entry.with_inputs(drawn))
        except Exception:  # with shaken weights it does not run on these
            return None
        if len(self.draws) == first:
            return None
        verdict = self._run_small(False, first)
        return self._compare_exactly(False) if verdict.doubtful and not self.exactly else verdict

    # -- what would be noticed ----------------------------------------------------------------------------------------

    @property
    def _least(self) -> float:
        return MARGIN * self.verdict.allowed

    @cached_property
    def _scales(self) -> dict[int, list[Scale]]:
        found: dict[int, list[Scale]] = {}
        for numbers in self._by_entry():
            found.update(zip(numbers, scales_of([self.seen[k][0] for k in numbers])[0], strict=True))
        return found

    def _differentiable(self, k: int) -> Seen:
        """What the pruned network showed on a draw, with what its derivatives need where that can be had."""
        expected, found = self.seen[k]
        if k not in self._tried and not any(t.requires_grad for t in found.outputs):
            self._tried.add(k)
            found = self._small(k, gradients=True)
            self.seen[k] = expected, found
        return found

    def noticed_in_outputs(self, k: int) -> dict[str, float]:
        """Groups whose wrong cut moves the outputs of a draw, to first order, and by how much."""
        if not self.proof.differentiable:
            return {}
        seen = self._differentiable(k)
        gradients = differentiated(self.pair.small, seen, self._scales[k])
        self.proof.differentiable = bool(gradients) or not any(t.requires_grad for t in seen.outputs)
        return self._enough(effects(self.pair.small, self.cuts, gradients, roles=("out", "in", "with")), self._least)

    def noticed_in_layers(self, k: int, only: Collection[str]) -> dict[str, float]:
        """Groups of some whose wrong cut changes what the layers that read them make, and by how much."""
        if not self.proof.differentiable:
            return {}
        gradients = differentiated_inside(self.pair.small, self._differentiable(k).norms)
        found = effects(self.pair.small, self.cuts, gradients, roles=("in",))
        return {name: by for name, by in self._enough(found, LEAST_NORM).items() if name in only}

    def _enough(self, found: Mapping[str, float], least: float) -> dict[str, float]:
        return {name: effect for name, effect in found.items() if effect >= least}

    def noticed_when_cut(self, k: int, chosen: Sequence[Cut], only_layers: Collection[str]) -> dict[str, float]:
        """Groups whose wrong cut is noticed on a draw when they are cut wrongly in fact, and by how much.

        Args:
            k: number of the draw.
            chosen: the groups in question.
            only_layers: names of the groups for which layers count as well as outputs.
        """
        (number, draw), found = self.draws[k], self.seen[k][1]

        def differs(chunk: list[Cut]) -> dict[str, float]:
            wrong = [other_channels(c) if c in chunk else c for c in self.cuts]
            made = {path for c in chunk for path in c.group.producers}
            try:
                zeroed = self.proof.zeroed(wrong, self.share)
                zeroed = zeroed.double() if self.exactly else zeroed
                seen = self._zeroed(zeroed, wrong, number, draw)
            except Exception:  # nobody would overlook that
                return {c.group.name: math.inf for c in chunk}
            error = distance([(seen, found)], scales=[self._scales[k]], norms=False).error
            if error >= self._least:
                return {c.group.name: error for c in chunk}
            if any(c.group.name in only_layers for c in chunk):
                inside = differing(seen.norms, found.norms, lambda path: path not in made)
                return {c.group.name: inside for c in chunk if c.group.name in only_layers and inside >= LEAST_NORM}
            return {}

        return noticed_by_halves(differs, chosen, together=self.proof.differentiable)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _is_finite(seen: Seen) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in seen.outputs if t.is_floating_point())
