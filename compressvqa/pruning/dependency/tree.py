"""An `Explanation` as a tree to read; in the short form groups that are alike are told once and long lists are cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from compressvqa.plurals import count
from compressvqa.pruning.dependency.explain import ExplainedGroup, Explanation, Tie
from compressvqa.pruning.dependency.names import compact, shape_of

_MANY = 6  # a longer list is cut in the short form


def to_tree(explanation: Explanation, title: str, *, every: bool = False) -> Tree:
    """The groups as a tree for `rich.console.Console.print`.

    Args:
        explanation: what to tell.
        title: name of the network.
        every: each group on its own, with every tensor and every tie.
    """
    groups = explanation.groups
    cuttable = [g for g in groups if g.group.frozen is None and not g.dead]
    kept = [g for g in groups if g.group.frozen is not None and not g.dead]
    tree = Tree(
        _line(
            (title, "bold"),
            f": {explanation.parameter_count:,} parameters, {count(explanation.operators, 'operator')}; "
            f"groups of channels: {len(cuttable)} can be cut, {len(kept)} kept whole",
        )
    )
    for alike in _alike(cuttable, every):
        _add_group(tree, alike, every)
    if kept and every:
        for fact in kept:
            _add_group(tree, [fact], every)
    elif kept:
        _add_kept(tree.add(_line(("kept whole", "bold yellow"))), kept)
    _add_bundles(tree, groups)
    if explanation.dead:
        branch = tree.add(_line(("nothing reads them", "bold red"), ": prune removes these modules"))
        for path, number in explanation.dead.items():
            share = number / max(explanation.parameter_count, 1)
            branch.add(_line(f"{path}  {count(number, 'parameter')}, {share:.1%}"))
    outside = [path for path in explanation.uncalled if not _below(path, explanation.dead)]
    if outside:
        branch = tree.add(_line(("never called as modules", "bold"), ", though their weights may be read"))
        for line in _cut(compact(outside), every):
            branch.add(_line(line))
    if explanation.unknown:
        branch = tree.add(_line(("operators without a rule", "bold red"), ": what they touch is kept"))
        for unknown in explanation.unknown:
            branch.add(_line(str(unknown)))
    return tree


def _add_group(tree: Tree, alike: Sequence[ExplainedGroup], every: bool) -> None:
    first, group = alike[0], alike[0].group
    names = compact(f.group.name for f in alike)
    many = f"{len(alike)} groups alike, each of " if len(alike) > 1 else ""
    said = f": {many}{count(group.channels, 'channel')}"
    if first.coupling is not None:
        said += f", {first.unit} at a time, coupling {first.coupling}"
    said += f", kept: {group.frozen}" if group.frozen else ""
    made, read = _counted(alike, "producers", "outputs"), _counted(alike, "consumers", "inputs")
    ties = [str(tie) for tie in first.ties] if every else _ties([tie for fact in alike for tie in fact.ties])
    rest = {
        "norms": compact(n for f in alike for n in f.norms),
        "parameters": compact(n for f in alike for n in f.parameters),
        "buffers": compact(n for f in alike for n in f.buffers),
    }
    if every:
        rest["tensors"] = [f"{s.leaf} dim {s.dim} ({s.indices.shape[1]} per channel)" for s in group.slots]
    name = _line((", ".join(_cut(names, every)), "bold green" if group.frozen is None else "bold yellow"), said)
    if made == names and not ties and not any(rest.values()):
        tree.add(name + _line(", read by ", ", ".join(_cut(read, every)) or "nothing"))
        return
    branch = tree.add(name)
    for word, items in (("made by", made), ("read by", read), *rest.items()):
        if items:
            branch.add(_line((word, "cyan"), " ", ", ".join(_cut(items, every))))
    if ties:
        reasons = branch.add(_line(("tied by", "cyan")))
        for tie in _cut(ties, every):
            reasons.add(_line(tie))


def _add_kept(branch: Tree, kept: Sequence[ExplainedGroup]) -> None:
    """One line a reason, however many groups it keeps."""
    reasons: dict[str, list[ExplainedGroup]] = {}
    for fact in kept:
        reasons.setdefault(shape_of(fact.group.frozen or ""), []).append(fact)
    for alike in reasons.values():
        reasons_told = compact(f.group.frozen or "" for f in alike)
        reason = reasons_told[0] + (", and alike" if len(reasons_told) > 1 else "")
        names = ", ".join(_cut(compact(f.group.name for f in alike), False))
        many = f"{len(alike)} groups, " if len(alike) > 1 else ""
        widths = [f.group.channels for f in alike]
        span = f"{min(widths)}" if min(widths) == max(widths) else f"{min(widths)} to {max(widths)}"
        branch.add(_line((names, "yellow"), f" ({many}{span} {'channel' if span == '1' else 'channels'}): {reason}"))


_NUMBERS = 3  # of a coupling that are told


def _add_bundles(tree: Tree, groups: Sequence[ExplainedGroup]) -> None:
    couplings: dict[str, list[ExplainedGroup]] = {}
    for fact in groups:
        if fact.coupling is not None:
            couplings.setdefault(fact.coupling, []).append(fact)
    for name, members in couplings.items():
        branch = tree.add(_line(("coupling", "bold magenta"), f" {name}: these groups keep the same number of units"))
        for fact in members:
            units = fact.group.channels // fact.unit
            branch.add(_line(f"{fact.group.name}: {count(units, 'unit')} of {count(fact.unit, 'channel')}"))
        numbers = list(dict.fromkeys(number for fact in members for number in fact.group.numbers))
        for number in numbers[:_NUMBERS]:
            branch.add(_line(("by the number ", "dim"), number))
        if len(numbers) > _NUMBERS:
            branch.add(_line((f"and {len(numbers) - _NUMBERS} numbers more", "dim")))


def _alike(facts: Sequence[ExplainedGroup], every: bool) -> list[list[ExplainedGroup]]:
    """Groups that differ in the numbers of their names only, together."""
    found: dict[object, list[ExplainedGroup]] = {}
    for number, fact in enumerate(facts):
        group = fact.group
        key = (
            group.channels,
            fact.coupling,
            fact.unit,
            _shapes(group.producers),
            _shapes(group.consumers),
            tuple(map(shape_of, (*fact.norms, *fact.parameters, *fact.buffers))),
            tuple((t.operator, t.place) for t in fact.ties),
        )
        found.setdefault(number if every else key, []).append(fact)
    return list(found.values())


def _shapes(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple((shape_of(path), count) for path, count in counts.items())


def _counted(alike: Sequence[ExplainedGroup], side: str, what: str) -> list[str]:
    """Paths of the producers or consumers, with how many outputs or inputs make one channel where it is not one."""
    by_count: dict[int, list[str]] = {}
    for fact in alike:
        for path, number in getattr(fact.group, side).items():
            by_count.setdefault(number, []).append(path)
    return [
        name if count == 1 else f"{name} ({count} {what} per channel)"
        for count, paths in by_count.items()
        for name in compact(paths)
    ]


def _ties(ties: Sequence[Tie]) -> list[str]:
    """Ties by the same line of source together."""
    found: dict[tuple[str, str, str], list[Tie]] = {}
    for tie in ties:
        joined = tuple(map(shape_of, tie.joins[1:]))
        found.setdefault((tie.operator, tie.place, str((shape_of(tie.joins[0]), joined))), []).append(tie)
    lines = []
    for (operator, place, _), alike in found.items():
        where = f"{operator} in {', '.join(compact(t.module or 'the network' for t in alike))} ({place})"
        first = ", ".join(compact(t.joins[0] for t in alike))
        others = ", ".join(_cut(compact(name for t in alike for name in t.joins[1:]), False))
        lines.append(f"{where}: {others} with {first}" if others else f"{where}: outputs of {first} to each other")
    return lines


def _cut(items: Iterable[str], every: bool) -> list[str]:
    items = list(items)
    if every or len(items) <= _MANY + 1:
        return items
    return [*items[:_MANY], f"and {len(items) - _MANY} more"]


def _below(path: str, parents: Iterable[str]) -> bool:
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts)
