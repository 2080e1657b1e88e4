"""One network, pruned by us and judged: what became of it, and why."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from compressvqa.errors import CompressVQAError, TargetError
from compressvqa.pruning import Pruned, prune
from pruning_coverage.case import Case
from pruning_coverage.clock import now
from pruning_coverage.judging import Snapshot, distinct, judge, settle

TARGET = 0.5
NEAR = 0.02  # a target is met when the work kept is within so much of it
NEAR_SMALL, SMALL = 0.05, 200_000  # for networks of fewer parameters than this, whose layers are narrow
LIBRARIES = ("ours", "timm", "torchvision", "pyiqa", "pattern", "siamese")  # pruned by their target, or refused
Row = dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """A pruning and what it was asked.

    Args:
        row: outcome, what was said, the share of work kept, seconds.
        again: prunes the same network once more, with other settings; None where it was refused or crashed.
        model: the network, with distinct weights.
        inputs: what it was pruned with.
        pruned: the result.
    """

    row: Row
    model: nn.Module
    inputs: Any
    again: Callable[..., Pruned] | None = None
    pruned: Pruned | None = None


def attempt(case: Case, *, loud: bool = False) -> Attempt:
    """Prunes a network of distinct weights and has the result judged: once more where the judge could not tell.

    A deep network's output hardly moves at random initialisation. Its second try has the statistics of its data in its
    batch normalisations, as a trained one has. The row says so: "statistics" is "of a batch".

    Args:
        case: the network.
        loud: print the traceback of a crash.
    """
    first = _attempt(case, settled=False, loud=loud)
    if first.row["outcome"] != "not judged":
        return first
    second = _attempt(case, settled=True, loud=loud)
    if second.row["outcome"] == "not judged":
        return first
    second.row["statistics"] = "of a batch"
    return second


def _attempt(case: Case, *, settled: bool, loud: bool) -> Attempt:
    """Prunes a network of distinct weights and has the result judged.

    Outcomes: "right", "right, little went" and "right, too much went" (off the target), "right, kept whole" (not the
    layers that it is about), "silently wrong", "broken" (does not run, or returns other shapes), "left traces", "not
    judged", "nothing removed", "refused as it should", "refused", "crashed".

    Args:
        case: the network.
        settled: whether its batch normalisations get the statistics of a batch.
        loud: print the traceback of a crash.
    """
    model = case.build()
    inputs, calls, also = case.inputs(model), case.calls(model), case.also()
    if not case.expects:
        distinct(model)
    if settled:
        settle(model, calls[-2].args)
    before = Snapshot(model)
    ways = [("train" if name == "train" else getattr(model, name), args) for name, args in also]
    entries = {"also": ways} if ways else {}

    def run(**settings: Any) -> Pruned:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return prune(model, inputs, **entries, **{**case.asked, **settings})

    def asked(**more: Any) -> Pruned:
        return run(**({"ratios": 0.5} if by_ratio else {"target_macs": TARGET}), **more)

    by_ratio = "ratios" in case.asked
    start = now()
    try:
        try:
            pruned = asked()
        except TargetError:  # a small network of few layers is asked for less
            if by_ratio or case.family in LIBRARIES:
                raise
            by_ratio = True
            pruned = asked()
    except CompressVQAError as error:
        return Attempt(refusal(error, case), model, inputs)
    except Exception as error:  # whatever a network does to it, the pruner must not raise this
        if loud:
            traceback.print_exc()
        return Attempt({"outcome": "crashed", "said": crash(error)}, model, inputs)
    row: Row = {"verified_s": now() - start, "max_error": pruned.max_error, "by_ratio": by_ratio}
    row |= {"share": pruned.plan.macs[1] / max(1, pruned.plan.macs[0]), "notes": list(pruned.plan.notes)}
    if changed := before.changed(model):
        row |= {"outcome": "left traces", "said": ", ".join(changed[:5])}
    else:
        verdict = judge(model, pruned.model, calls)
        row |= {"outcome": verdict.outcome, "said": verdict.said, "calls": verdict.calls}
    if row["outcome"] == "right":
        row |= narrowed(row["share"], by_ratio, model, pruned, case)
    return Attempt(row, model, inputs, asked, pruned)


def narrowed(share: float, by_ratio: bool, model: nn.Module, pruned: Pruned, case: Case) -> Row:
    """Whether what was asked for went; nothing where it did."""
    if whole := kept_whole(model, pruned.model, case.wanted):
        return {"outcome": "right, kept whole", "said": "; ".join(f"{p}: {why(pruned, p)}" for p in whole)[:500]}
    near = NEAR_SMALL if sum(p.numel() for p in model.parameters()) < SMALL else NEAR
    if share > 0.75 or (abs(share / TARGET - 1) > near and not by_ratio):
        return {"outcome": "right, little went" if share > TARGET else "right, too much went"}
    return {}


def kept_whole(before: nn.Module, after: nn.Module, wanted: Sequence[str]) -> list[str]:
    """The layers among `wanted` that are as large as they were."""
    sizes = [{n: p.numel() for n, p in net.named_parameters(remove_duplicate=False)} for net in (before, after)]
    found = []
    for path in wanted:
        names = [name for name in sizes[0] if name == path or name.startswith(f"{path}.")]
        if names and all(sizes[1].get(name) == sizes[0][name] for name in names):
            found.append(path)
    return found


def why(pruned: Pruned, path: str) -> str:
    """What the pruner says of a layer that it kept."""
    return next((reason for layer, reason in pruned.plan.frozen.items() if path in layer), "not said")


def refusal(error: CompressVQAError, case: Case) -> Row:
    """A refusal is right where it was expected, in one line that says so."""
    said = str(error)
    fits = bool(case.expects) and re.search(case.expects, said, re.IGNORECASE) is not None and "\n" not in said
    return {"outcome": "refused as it should" if fits else "refused", "said": said[:600]}


def crash(error: Exception) -> str:
    """The error, and the last line of ours that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "compressvqa" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}"
    return f"{type(error).__name__}: {error}".splitlines()[0][:300] + f" ({place})"
