"""What `ratios` by path ask of a group: the share that each layer which makes its channels keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compressvqa.errors import PruneError
from compressvqa.module_paths import closest, covers
from compressvqa.pruning.dependency.group import Group
from compressvqa.pruning.dependency.names import unmatched
from compressvqa.pruning.settings import kept_share


def shares_kept(group: Group, ratios: Mapping[str, float]) -> dict[str, float]:
    """The share kept that is asked for each layer that makes the group's channels, where one is asked for."""
    wanted = {}
    for producer in group.producers:
        pattern = closest(ratios, producer)
        if pattern is not None:
            wanted[producer] = kept_share(ratios[pattern], pattern)
    return wanted


def must_match(path: str, groups: Sequence[Group], free: Sequence[Group]) -> None:
    """Checks that a path of `ratios` names a layer that can be pruned.

    Raises:
        PruneError: it names none.
    """
    if any(covers(path, p) for g in free for p in g.producers):
        return
    kept = next((g for g in groups if g.frozen and any(covers(path, p) for p in g.producers)), None)
    if kept is not None:
        raise PruneError(f"{path!r} can't be pruned: {kept.frozen}", where="ratios", hint="leave it out")
    raise unmatched(path, groups, "ratios")
