"""One network, pruned once and judged: what `prune_coverage.py --quick` prints while a rule is being written."""

from __future__ import annotations

import re
import time
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from compressvqa.errors import CompressVQAError, TargetError
from compressvqa.pruning import prune
from pruning_coverage.case import Case
from pruning_coverage.judging import Snapshot, distinct, judge

TARGET = 0.5
NEAR = 0.02  # a target is met when the work kept is within 2 % of it
LIBRARIES = ("ours", "timm", "torchvision", "pyiqa", "pattern")  # too large to be pruned by a ratio as well


def try_once(case: Case, *, loud: bool = False) -> dict[str, Any]:
    """Outcome, what was said, the share of work kept, and seconds.

    Outcomes: "right", "right, little went" (far from the target), "right, kept whole" (not the layers that it is about), "silently wrong", "broken" (does not run, or returns
    other shapes), "left traces", "not judged", "nothing removed", "refused as it should", "refused", "crashed".
    """
    row: dict[str, Any] = {"name": case.name, "family": case.family}
    model = case.build()
    inputs, calls, also = case.inputs(model), case.calls(model), case.also()
    if not case.expects:
        distinct(model)
    before = Snapshot(model)
    start = time.perf_counter()
    try:
        pruned = pruned_by_us(model, inputs, also, case)
    except CompressVQAError as error:
        return {**row, **refusal(error, case)}
    except Exception as error:  # whatever a network does to it, the pruner must not raise this
        if loud:
            traceback.print_exc()
        return {**row, "outcome": "crashed", "said": crash(error)}
    row |= {"seconds": time.perf_counter() - start, "max_error": pruned.max_error}
    row["share"] = pruned.plan.macs[1] / max(1, pruned.plan.macs[0])
    if changed := before.changed(model):
        return {**row, "outcome": "left traces", "said": ", ".join(changed[:5])}
    verdict = judge(model, pruned.model, calls)
    row |= {"outcome": verdict.outcome, "said": verdict.said, "calls": verdict.calls}
    if verdict.outcome == "right" and (whole := kept_whole(model, pruned.model, case.wanted)):
        reasons = [f"{path}: {why(pruned, path)}" for path in whole]
        row |= {"outcome": "right, kept whole", "said": "; ".join(reasons)[:500]}
    elif verdict.outcome == "right" and row["share"] > 0.75:
        row["outcome"] = "right, little went"
    return row


def kept_whole(before: nn.Module, after: nn.Module, wanted: Sequence[str]) -> list[str]:
    """The layers among `wanted` that are as large as they were."""
    sizes = [{n: p.numel() for n, p in net.named_parameters(remove_duplicate=False)} for net in (before, after)]
    found = []
    for path in wanted:
        names = [name for name in sizes[0] if name == path or name.startswith(f"{path}.")]
        if names and all(sizes[1].get(name) == sizes[0][name] for name in names):
            found.append(path)
    return found


def why(pruned: Any, path: str) -> str:
    """What the pruner says of a layer that it kept."""
    return next((reason for layer, reason in pruned.plan.frozen.items() if path in layer), "not said")


def pruned_by_us(model: nn.Module, inputs: Any, also: list[tuple[str, tuple[Any, ...]]], case: Case) -> Any:
    """`prune` to the target; a small network whose target can't be reached, by a ratio of a half."""
    more = dict(case.asked)
    if also:
        more["also"] = [(getattr(model, method), args) for method, args in also]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return prune(model, inputs, **{"target_macs": TARGET, **more})
        except TargetError:
            if "ratios" in more or case.family in LIBRARIES:
                raise
            return prune(model, inputs, ratios=0.5, **more)


def refusal(error: CompressVQAError, case: Case) -> dict[str, Any]:
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
