"""Which cuts spoil a pruning: found by halving, on a weightless copy as far as it will go.

A layer may hold a width as a plain number that no trace can see (`x.view(b, n, 3, 64)`). The pruned network then does
not run, or computes something else; the groups at fault are found here, kept whole, and said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.check import Proof
from compressvqa.pruning.cutting.proof.pair import pruned_copy
from compressvqa.pruning.cutting.proof.verdict import Verdict
from compressvqa.pruning.recording.copying import copied
from compressvqa.pruning.recording.running import leaves_of, quiet, run, tensors_of
from compressvqa.torch_private import tree_map_only

Removable = Cut | str  # a group that shrinks, or the path of a dead module
P = TypeVar("P")


def groups_at_fault(proof: Proof, cuts: Sequence[Cut], dead: Sequence[str]) -> dict[str, str]:
    """Names of the groups and dead modules that must stay for the rest to be right, with the reason.

    Args:
        proof: what prunings of the network are tried on.
        cuts: channels whose removal did not pass.
        dead: paths of modules whose removal did not pass.
    """
    found: dict[str, str] = {}
    parts: list[Removable] = [*dead, *cuts]
    for judge in _judges(proof):
        reasons = _judge(judge, parts)
        found.update(reasons)
        parts = [part for part in parts if _name(part) not in reasons]
    return found


def _judge(judge: Callable[[list[Cut], list[str]], Verdict], parts: Sequence[Removable]) -> dict[str, str]:
    """Names of the parts that do not pass, with the reason."""
    last: dict[str, str] = {}

    def passes(chosen: list[Removable]) -> bool:
        verdict = judge([p for p in chosen if isinstance(p, Cut)], [p for p in chosen if isinstance(p, str)])
        if not verdict.passed:
            last[_name(chosen[-1])] = str(verdict)  # the part that was added last, when it was added alone
        return verdict.passed

    if not parts or passes(list(parts)):
        return {}
    return {_name(part): last[_name(part)] for part in bisect(passes, parts)}


def bisect(passes: Callable[[list[P]], bool], parts: Sequence[P]) -> list[P]:
    """The parts that spoil a whole, found by halving: the rest together pass.

    Args:
        passes: tells whether a list of parts passes.
        parts: all parts; together they do not pass.

    >>> bisect(lambda parts: 3 not in parts and 5 not in parts, [1, 2, 3, 4, 5])
    [3, 5]
    """
    good: list[P] = []
    bad: list[P] = []

    def look(chunk: list[P]) -> None:
        if passes([*good, *chunk]):
            good.extend(chunk)
        elif len(chunk) == 1:
            bad.extend(chunk)
        else:
            look(chunk[: len(chunk) // 2])
            look(chunk[len(chunk) // 2 :])

    look(list(parts))
    return bad


def _name(part: Removable) -> str:
    return part if isinstance(part, str) else part.group.name


def _judges(proof: Proof) -> list[Callable[[list[Cut], list[str]], Verdict]]:
    """First the cheap judge, which only sees shapes, where the network runs without numbers; then the proof itself."""
    bones = skeleton(proof.model)
    hollow = tree_map_only(Tensor, lambda t: t.to("meta"), proof.inputs)
    full: list[Callable[[list[Cut], list[str]], Verdict]] = [proof.verdict]
    try:
        with quiet(bones):
            shapes = [t.shape for t in tensors_of(run(bones, hollow))]
    except Exception:  # the network looks at numbers, so only the check itself can judge
        return full

    def runs(cuts: list[Cut], dead: list[str]) -> Verdict:
        small = pruned_copy(bones, proof.trace, cuts, dead)
        try:
            with quiet(small):
                outputs = tensors_of(run(small, hollow))
        except Exception as error:  # whatever it is, it is the pruning's fault: the whole network ran
            return Verdict(math.inf, str(error).splitlines()[0])
        return Verdict(0.0 if [t.shape for t in outputs] == shapes else math.inf)

    return [runs, *full]


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of a network without numbers (on torch's meta device); no weight is allocated."""
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers(), *leaves_of(model).values()]:
        hollow = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(hollow, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else hollow
    return copied(model, memo)
