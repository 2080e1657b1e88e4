"""What a pruning has to say beside its plan: what the proof could not see, and why nothing could go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compressvqa.errors import PruneError, TargetError
from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.pair import gone_roots
from compressvqa.pruning.dependency.bindings import key_of
from compressvqa.pruning.dependency.constraints import along
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.names import compact
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.integers import Attribute, SizeOf, leaves
from compressvqa.pruning.settings import Settings


def over_the_kept(trace: Trace, cuts: Sequence[Cut]) -> list[str]:
    """Where a normalisation that is written by hand counts fewer channels than before."""
    gone = gone_roots(trace, cuts)
    places = {
        s.place
        for s in trace.dependencies.statistics
        if s.place and gone[np.maximum(trace.dependencies.classes.find(s.labels), 0)].any()
    }
    shown = ", ".join(sorted(places)[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the normalisation at {shown} is taken over the channels kept, as a layer norm is"] if places else []


def one_way(trace: Trace) -> list[str]:
    """What the check can't see: the network decides by its numbers, and only the way that it took was run."""
    places = sorted({node.place for node in trace.graph.decisions()})
    shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the forward decides by its numbers at {shown}: only the way that it took was checked"] if places else []


def by_trial(trace: Trace, settings: Settings) -> list[str]:
    """Operators without a rule: which were tried out, and that nobody counts their work."""
    tried = trace.probed_ops
    notes = [f"probed: {u} has no rule; tried on random numbers, it passes channels one by one" for u in tried]
    unseen = [*tried, *trace.unknown_ops] if settings.target_macs is not None else []
    return notes + [f"target_macs does not count the work of {u}" for u in unseen]


def did_not_run(trace: Trace) -> list[str]:
    """What no example reached, and what that means for the rest."""
    said = []
    kept = {path for _, paths in trace.graph.kept.values() for path in paths}
    for used in (True, False):
        names = compact(thing.path for thing in trace.unreached if thing.elements and (thing.path in kept) is used)
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        if names and used:
            hint = "an example that reaches it lets it be cut: also=[...]"
            said.append(f"did not run, so it stays as it is, and so do channels that it may read: {shown} ({hint})")
        elif names:
            said.append(f"did not run, so it stays as it is: {shown}")
    return said


def by_widths(trace: Trace, cuts: Sequence[Cut]) -> list[str]:
    """Where the forward compares a width that became smaller: the way that the pruned network takes was checked."""
    gone, run = gone_roots(trace, cuts), trace.dependencies
    places = set()
    for remark in trace.graph.remarks:
        for leaf in leaves(remark.left) if remark.kind == "order" else ():
            counted = run.attributes().get(key_of(leaf), (0, None))[1] if isinstance(leaf, Attribute) else None
            ids = along(run.labels_of(leaf.value), leaf.dim) if isinstance(leaf, SizeOf) else counted
            if ids is not None and gone[np.maximum(run.classes.find(ids), 0)].any():
                places.add(remark.place)
    shown = ", ".join(sorted(places)[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the forward decides by a width that became smaller at {shown}"] if places else []


def nothing_to_remove(groups: Sequence[Group], trace: Trace) -> PruneError:
    """The error for a pruning that would do nothing: every layer with its reason."""
    if not groups:
        return PruneError("the network has no convolution or linear layer whose channels could go")
    free = [g.name for g in groups if g.frozen is None]
    if free:
        return PruneError("nothing would be removed", where=", ".join(free[:5]), hint="a larger ratio")
    said = "; ".join(f"{g.name}: {g.frozen}" for g in groups[:8])
    said += f"; and {len(groups) - 8} more" if len(groups) > 8 else ""
    unknown = "; ".join(str(u) for u in trace.unknown_ops[:3])
    hint = f"a rule for {unknown}" if unknown else None
    return TargetError(f"no channel can be removed: {said}", hint=hint)
