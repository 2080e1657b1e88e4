"""What a pruning has to say beside its plan: what the proof could not see, and why nothing could go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compressvqa.errors import PruneError, TargetError
from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.pair import gone_roots
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.trace import Trace


def over_the_kept(facts: Trace, cuts: Sequence[Cut]) -> list[str]:
    """Where a normalisation that is written by hand counts fewer channels than before."""
    gone = gone_roots(facts, cuts)
    places = {
        s.place
        for s in facts.dependencies.statistics
        if s.place and gone[np.maximum(facts.dependencies.classes.find(s.labels), 0)].any()
    }
    shown = ", ".join(sorted(places)[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the normalisation at {shown} is taken over the channels kept, as a layer norm is"] if places else []


def one_way(facts: Trace) -> list[str]:
    """What the check can't see: the network decides by its numbers, and only the way that it took was run."""
    places = sorted({node.place for node in facts.graph.decisions()})
    shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return [f"the forward decides by its numbers at {shown}: only the way that it took was checked"] if places else []


def nothing_to_remove(groups: Sequence[Group], facts: Trace) -> PruneError:
    """The error for a pruning that would do nothing: every layer with its reason."""
    if not groups:
        return PruneError("the network has no convolution or linear layer whose channels could go")
    free = [g.name for g in groups if g.frozen is None]
    if free:
        return PruneError("nothing would be removed", where=", ".join(free[:5]), hint="a larger ratio")
    said = "; ".join(f"{g.name}: {g.frozen}" for g in groups[:8])
    said += f"; and {len(groups) - 8} more" if len(groups) > 8 else ""
    unknown = "; ".join(str(u) for u in facts.unknown_ops[:3])
    hint = f"a rule for {unknown}" if unknown else None
    return TargetError(f"no channel can be removed: {said}", hint=hint)
