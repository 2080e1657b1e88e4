"""Which cuts spoil a pruning: found by halving, on a weightless copy as far as it will go.

A layer may hold a width as a plain number that no trace can see (`x.view(b, n, 3, 64)`). The pruned network then does
not run, or computes something else; the groups at fault are found here, kept whole, and said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compressvqa.pruning.cutting.carried import read_last
from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.check import Proof
from compressvqa.pruning.cutting.proof.pair import pruned_copy
from compressvqa.pruning.cutting.proof.verdict import Verdict
from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.recording.running import leaves_of, quiet, run, tensors_of
from compressvqa.torch_private import tree_map_only

Removable = Cut | str  # a group that shrinks, or the path of a dead module
Part = tuple[Removable, ...]
Judge = Callable[[Sequence[Cut], Sequence[str]], Verdict]
P = TypeVar("P")


def groups_at_fault(proof: Proof, cuts: Sequence[Cut], dead: Sequence[str], failed: Verdict) -> dict[str, str]:
    """Names of groups and dead modules that must stay for the rest to be right, with the reason.

    What it finds is at fault; more may be, which the next proof shows.

    Args:
        proof: what prunings of the network are tried on.
        cuts: channels whose removal did not pass.
        dead: paths of modules whose removal did not pass.
        failed: why.
    """
    last = read_last(proof.trace, [c.group for c in cuts])
    together: dict[str, list[Cut]] = {}  # groups whose widths depend on each other can only be cut together
    for c in cuts:
        together.setdefault(c.group.coupling or c.group.name, []).append(c)
    parts: list[Part] = [(path,) for path in dead] + [tuple(chosen) for chosen in together.values()]
    # The score is where most faults are: a distance of features over the square root of their number.
    parts.sort(key=lambda part: any(isinstance(p, Cut) and p.group.name in last for p in part))
    for judge, known in _judges(proof, failed):
        if parts and (reasons := _judge(judge, parts, known)):
            return reasons
    return {}


def _judge(judge: Judge, parts: Sequence[Part], known: Verdict | None) -> dict[str, str]:
    """Names of what does not pass, with the reason; `known` is what the judge says of all parts."""
    last: dict[Part, str] = {}

    def passes(chosen: list[Part], verdict: Verdict | None = None) -> bool:
        inside = [p for part in chosen for p in part]
        verdict = verdict or judge([p for p in inside if isinstance(p, Cut)], [p for p in inside if isinstance(p, str)])
        if not verdict.passed:
            last[chosen[-1]] = str(verdict)  # the part that was added last, when it was added alone
        return verdict.passed

    if passes(list(parts), known):
        return {}
    return {_name(p): last[part] for part in bisect(passes, parts) for p in part}


def bisect(passes: Callable[[list[P]], bool], parts: Sequence[P]) -> list[P]:
    """The parts that spoil a whole: the rest together pass. The last is tried first, then halves.

    Args:
        passes: tells whether a list of parts passes.
        parts: all parts; together they do not pass.

    >>> bisect(lambda parts: 3 not in parts and 5 not in parts, [1, 2, 3, 4, 5])
    [3, 5]
    """
    good: list[P] = []
    bad: list[P] = []

    def look(chunk: list[P], *, fails: bool) -> None:
        if not fails and passes([*good, *chunk]):
            good.extend(chunk)
        elif len(chunk) == 1:
            bad.extend(chunk)
        else:
            half, before = len(chunk) // 2, len(bad)
            look(chunk[:half], fails=False)
            look(chunk[half:], fails=len(bad) == before)  # with the first half it did not pass

    if len(parts) > 1 and passes(list(parts[:-1])):
        return [parts[-1]]
    look(list(parts), fails=True)
    return bad


def _name(part: Removable) -> str:
    return part if isinstance(part, str) else part.group.name


def _judges(proof: Proof, failed: Verdict) -> list[tuple[Judge, Verdict | None]]:
    """The cheap judge, which only sees shapes, where the network runs without numbers; then what the proof failed on.

    Each with what it says of all cuts together, where that is known.
    """
    bones = skeleton(proof.model)
    hollow = tree_map_only(Tensor, lambda t: t.to("meta"), proof.inputs)
    full: list[tuple[Judge, Verdict | None]] = [
        (proof.verdict, None) if failed.share is None else (partial(proof.verdict_of_one, failed.share), failed)
    ]
    try:
        with quiet(bones):
            shapes = [t.shape for t in tensors_of(run(bones, hollow))]
    except Exception:  # the network looks at numbers, so only the check itself can judge
        return full

    def runs(cuts: Sequence[Cut], dead: Sequence[str]) -> Verdict:
        small = pruned_copy(bones, proof.trace, cuts, dead)
        try:
            with quiet(small):
                outputs = tensors_of(run(small, hollow))
        except Exception as error:  # whatever it is, it is the pruning's fault: the whole network ran
            return Verdict(math.inf, str(error).splitlines()[0])
        return Verdict(0.0 if [t.shape for t in outputs] == shapes else math.inf)

    return [(runs, None), *full]


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of a network without numbers (on torch's meta device); no weight is allocated."""
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers(), *leaves_of(model).values()]:
        hollow = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(hollow, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else hollow
    return copied(model, memo)
