"""Groups of channels that can be cut alike: `Trace` -> list of `Group`.

A *channel* here is a class of tied slots: rows and columns of weights, elements of biases, norms and tables. Channels
with the same kind of slots form a group; which of them go is a choice, how many is a width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compressvqa.module_paths import covers
from compressvqa.pruning.dependency.coupling import bind
from compressvqa.pruning.dependency.factors import with_factors
from compressvqa.pruning.dependency.group import Group, Slot
from compressvqa.pruning.dependency.labels import Ids
from compressvqa.pruning.dependency.trace import Trace


def find_groups(trace: Trace, protect: Sequence[str] = ()) -> list[Group]:
    """Every group of channels that some layer makes, in the order of the network's parameters.

    Args:
        trace: the facts.
        protect: paths (a module, a parent, or a shell pattern) of layers whose outputs are kept.

    Channels that are in doubt are in groups of their own, with the reason in `frozen`.
    """
    run = trace.dependencies
    roots = run.classes.find(np.arange(len(run.slots), dtype=np.int64))
    made = np.zeros(len(run.slots), bool)
    made[roots[run.produces]] = True
    reasons, told = _reasons(trace, roots)
    kinds = _alike(trace, roots, made, np.stack([reasons, _segments(trace, roots)]))
    ties = _ties(trace, roots)
    groups = [_group(trace, rows, told.get(int(reasons[roots[rows[0, 0]]])), ties) for rows in kinds]
    ordered = sorted((_protected(g, protect) for g in groups), key=lambda g: _first(trace, g))
    names: dict[str, int] = {}
    for group in ordered:
        names[group.name] = names.get(group.name, 0) + 1
    seen: dict[str, int] = {}
    unique = []
    for group in ordered:
        seen[group.name] = seen.get(group.name, 0) + 1
        many = names[group.name] > 1
        unique.append(replace(group, name=f"{group.name}#{seen[group.name]}") if many else group)
    return bind(trace, unique)


def _protected(group: Group, protect: Sequence[str]) -> Group:
    found = [p for p in protect if any(covers(p, path) for path in group.producers)]
    if not found or group.frozen:
        return group
    return replace(group, frozen=f"protected by {found[0]!r}")


def _first(trace: Trace, group: Group) -> int:
    slot = next(s for s in group.slots if s.role == "out")
    return trace.dependencies.slots.first[slot.leaf][slot.dim] + int(slot.indices.min())


def _alike(trace: Trace, roots: Ids, made: NDArray[np.bool_], marks: Ids) -> list[Ids]:
    """Classes of labels that some layer makes, alike ones together: (channels, slots) arrays of labels.

    Two classes are alike if they have as many slots in the same dimensions of the same leaves, and the same marks.
    """
    run = trace.dependencies
    labels = np.flatnonzero(made[roots])
    labels = labels[labels > 0]
    if not labels.size:
        return []
    labels = labels[np.lexsort((labels, roots[labels]))]
    starts = np.flatnonzero(np.diff(roots[labels], prepend=-1))
    sizes = np.diff(starts, append=len(labels))
    dims = (run.slots.leaf * 16 + run.slots.dim)[labels]
    kinds: dict[tuple[object, ...], list[int]] = {}
    for size in np.unique(sizes).tolist():  # labels of a class are in order, and so are the dimensions they lie in
        chosen = np.flatnonzero(sizes == size)
        rows = dims[starts[chosen][:, None] + np.arange(size)]
        keys = np.concatenate([rows, marks[:, roots[labels[starts[chosen]]]].T], axis=1)
        for key, which in zip(_codes(keys), chosen.tolist(), strict=True):
            kinds.setdefault((size, key), []).append(which)
    return [labels[starts[which][:, None] + np.arange(sizes[which[0]])] for which in kinds.values()]


def _codes(rows: Ids) -> list[bytes]:
    """Bytes that are equal for equal rows: only the first row of a run of equal ones is turned into bytes."""
    fresh = np.append(True, (rows[1:] != rows[:-1]).any(axis=1))
    firsts = [row.tobytes() for row in rows[fresh]]
    return [firsts[k] for k in (np.cumsum(fresh) - 1).tolist()]


def _segments(trace: Trace, roots: Ids) -> Ids:
    """A number for each root, different for labels that the forward names apart (`x[:, :fold]`)."""
    parts = np.zeros(len(roots), dtype=np.int64)
    for segment in trace.dependencies.segments:
        inside = np.zeros(len(roots), dtype=np.int64)
        inside[roots[segment]] = 1
        _, parts = np.unique(2 * parts + inside, return_inverse=True)
    return parts


def _reasons(trace: Trace, roots: Ids) -> tuple[Ids, dict[int, str]]:
    """For each root a number, 0 where it may be cut, and the reason that each number stands for: the first found."""
    numbers: dict[str, int] = {}
    found = np.zeros(len(roots), dtype=np.int64)
    for freeze in reversed(trace.dependencies.freezes):
        found[roots[freeze.ids]] = numbers.setdefault(freeze.reason, len(numbers) + 1)
    return found, {number: reason for reason, number in numbers.items()}


def _ties(trace: Trace, roots: Ids) -> dict[int, list[str]]:
    """For each root, the operators that tied its labels."""
    ties: dict[int, list[str]] = {}
    for number, labels in trace.dependencies.classes.ties.items():
        for label in labels:
            ties.setdefault(int(roots[label]), []).append(str(trace.graph.nodes[number]))
    return ties


def _group(trace: Trace, members: Ids, reason: str | None, ties: dict[int, list[str]]) -> Group:
    """A group from its labels, (channels, slots) with equal kinds of slots in equal columns."""
    run = trace.dependencies
    members = members[np.argsort(_order(trace, members))]
    kinds = run.slots.leaf[members[0]] * 16 + run.slots.dim[members[0]]
    slots, producers, consumers = [], {}, {}
    for kind in dict.fromkeys(kinds.tolist()):
        name, d = run.slots.names[kind // 16], kind % 16
        if name not in trace.graph.leaves:  # a tensor that the forward makes: there is nothing to cut
            continue
        columns = members[:, kinds == kind]
        made, read = bool(run.produces[columns].any()), bool(run.consumes[columns].any())
        slots.append(Slot(name, d, columns - run.slots.first[name][d], "out" if made else "in" if read else "with"))
        if made:
            producers[trace.owners[name] or name] = columns.shape[1]
        if read:
            consumers[trace.owners[name] or name] = columns.shape[1]
    slots, odd = with_factors(trace, members, slots, consumers)
    reason = odd if reason is None else reason
    roots = set(run.classes.find(members[:, 0]).tolist())
    found = tuple(dict.fromkeys(tie for root in roots for tie in ties.get(root, [])))
    return Group(next(iter(producers)), len(members), tuple(slots), producers, consumers, reason, found)


def _order(trace: Trace, members: Ids) -> Ids:
    """Channels in the order of the first layer that makes them."""
    made = trace.dependencies.produces[members]
    order: Ids = np.where(made, members, np.iinfo(np.int64).max).min(axis=1)
    return order
