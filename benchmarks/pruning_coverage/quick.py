"""One network, pruned once and judged: what `prune_coverage.py --quick` prints while a rule is being written."""

from __future__ import annotations

import re
import time
import traceback
import warnings
from typing import Any

from torch import nn

from compressvqa.errors import CompressVQAError, TargetError
from compressvqa.pruning import prune
from pruning_coverage.case import Case
from pruning_coverage.judging import Snapshot, distinct, judge

TARGET = 0.5


def try_once(case: Case) -> dict[str, Any]:
    """Outcome, what was said, the share of work kept, and seconds.

    Outcomes: "right", "silently wrong", "broken", "left traces", "not judged", "nothing removed", "refused as it should",
    "refused", "crashed".
    """
    row: dict[str, Any] = {"name": case.name, "family": case.family}
    try:
        model = case.build()
        inputs, calls = case.inputs(model), case.calls(model)
        original = model if case.expects else distinct(model)
        before = Snapshot(original)
        built = time.perf_counter()
        try:
            pruned = pruned_by_us(original, inputs, case)
        finally:
            row["seconds"] = time.perf_counter() - built
    except CompressVQAError as error:
        return {**row, **refusal(error, case)}
    except Exception as error:  # a network may fail in any way, and so may the pruner
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        return {**row, "outcome": "crashed", "said": f"{said} ({place.filename.rpartition('/')[2]}:{place.lineno})"}
    row |= {"share": pruned.plan.macs[1] / max(1, pruned.plan.macs[0]), "max_error": pruned.max_error}
    if changed := before.changed(original):
        return {**row, "outcome": "left traces", "said": ", ".join(changed[:5])}
    verdict = judge(original, pruned.model, calls)
    return {**row, "outcome": verdict.outcome, "said": verdict.said, "calls": verdict.calls}


def pruned_by_us(original: nn.Module, inputs: Any, case: Case) -> Any:
    """`prune` to the target; where the target can't be reached, by a ratio of a half."""
    more = dict(case.asked)
    if also := case.also(original):
        more["also"] = [(getattr(original, method), args) for method, args in also]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return prune(original, inputs, **{"target_macs": TARGET, **more})
        except TargetError:
            if "ratios" in more or "target_macs" in more or not case.network:
                raise
            return prune(original, inputs, ratios=0.5, **more)


def refusal(error: CompressVQAError, case: Case) -> dict[str, Any]:
    """A refusal is right where it was expected, in one line that says so."""
    said = str(error)
    fits = bool(case.expects) and re.search(case.expects, said, re.IGNORECASE) is not None and "\n" not in said
    return {"outcome": "refused as it should" if fits else "refused", "said": said[:600]}
