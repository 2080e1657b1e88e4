"""Faults that are put into the pruner on purpose: rules, folds, slots and surgery that are a little wrong.

`draw` picks one that fits a network, `sit` prunes with it and says what became of it. Whether a result is wrong is for
`judge` to say, which knows nothing of groups: it finds the kept channels again by the values of the weights.
"""

from __future__ import annotations

import contextlib
import copy
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from pruning.grammar import build
from pruning.nets import REGISTRY
from pruning.patterns import PATTERNS
from pruning.reference import difference, zeroed
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from compressvqa.errors import CompressVQAError
from compressvqa.pruning import Pruned, find_groups, prune, trace
from compressvqa.pruning import search as searching
from compressvqa.pruning.cutting import surgery
from compressvqa.pruning.cutting.proof import pair
from compressvqa.pruning.dependency import moves, propagation
from compressvqa.pruning.dependency.labels import AxisLabels, ChannelLabels
from compressvqa.pruning.dependency.propagation import Propagation
from compressvqa.pruning.dependency.trace import Trace
from compressvqa.pruning.recording.running import run

TOLERANCE = 1e-4  # beyond this the judge calls a result wrong


@dataclass(frozen=True)
class Fault:
    """Something wrong in the pruner.

    Args:
        room: where it is: "rules", "folds", "slots", "surgery" or "liveness".
        what: what is wrong, in words.
        injected: makes it so while it lasts.
    """

    room: str
    what: str
    injected: Callable[[], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: "harmless" (no result is wrong), "refused", "kept" or "uncaught" (a wrong result)."""

    fault: Fault
    ending: str
    said: str = ""

    @property
    def counts(self) -> bool:
        """Whether the fault makes a wrong result unless the proof sees it."""
        return self.ending != "harmless"


# -- the judge --------------------------------------------------------------------------------------------------------


def make_unique(model: nn.Module, seed: int) -> None:
    """Gives every parameter and buffer values that occur once, of the size that they have."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
            if tensor.numel() > 1:
                ranks = (torch.randperm(tensor.numel(), generator=generator) + 0.5) / tensor.numel()
                middle, spread = tensor.mean(), tensor.std() + 0.1
                tensor.copy_((middle + spread * (2 * ranks - 1)).view(tensor.shape))


def slots_by_values(model: nn.Module, small: nn.Module) -> dict[tuple[str, int], set[int]] | None:
    """Positions of the original's tensors that a smaller network lacks; None where a tensor is no block of the one."""
    gone: dict[tuple[str, int], set[int]] = {}
    there = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, found in {**dict(small.named_parameters()), **dict(small.named_buffers())}.items():
        whole = there.get(name)
        if (
            whole is None
            or whole.ndim != found.ndim
            or any(a < b for a, b in zip(whole.shape, found.shape, strict=True))
        ):
            return None
        if whole.shape == found.shape:
            if not torch.equal(whole, found):
                return None
            continue
        where = {value: place for place, value in enumerate(whole.flatten().tolist())}
        places = [where.get(value) for value in found.flatten().tolist()]
        if None in places:
            return None
        kept = [np.unique(axis) for axis in np.unravel_index(np.array(places), tuple(whole.shape))]
        if not torch.equal(whole.detach()[np.ix_(*kept)], found.detach()):
            return None
        for d, rows in enumerate(kept):
            if len(rows) < whole.shape[d]:
                gone[name, d] = set(range(whole.shape[d])) - set(rows.tolist())
    return gone


def is_right(model: nn.Module, small: nn.Module, inputs: Sequence[Any]) -> bool:
    """Whether a smaller network is the original with what it lacks set to zero, in float64 and on all inputs."""
    slots = slots_by_values(model, small)
    if slots is None:
        return False
    reference, exact = zeroed(model, slots), copy.deepcopy(small).double()
    for one in inputs:
        given = tree_map_only(Tensor, lambda t: t.double() if t.is_floating_point() else t, one)
        with torch.no_grad():
            wanted = run(reference, given)
            try:
                found = run(exact, given)
            except Exception:  # whatever it is: the reference runs
                return False
        try:
            if difference(lambda answer=wanted: answer, lambda answer=found: answer, ()) > TOLERANCE:
                return False
        except AssertionError:  # answers of another shape
            return False
    return True


def sit(fault: Fault, model: nn.Module, inputs: Any, others: Sequence[Any], seed: int) -> Outcome:
    """Prunes with a fault, first without the proof to see what it does, then with it."""
    with fault.injected():
        try:
            blind = prune(model, inputs, ratios=0.5, importance="random", seed=seed, verify=False)
        except Exception as error:  # it comes to nothing by itself
            return Outcome(fault, "harmless", f"{type(error).__name__}: {error}")
        if is_right(model, blind.model, others):
            return Outcome(fault, "harmless")
        try:
            pruned: Pruned = prune(model, inputs, ratios=0.5, importance="random", seed=seed)
        except CompressVQAError as error:
            return Outcome(fault, "refused", str(error))
    if not is_right(model, pruned.model, others):
        return Outcome(fault, "uncaught", f"max_error {pruned.max_error:.1e}")
    return Outcome(fault, "kept", "; ".join(n for n in pruned.plan.notes if "kept whole after all" in n))


# -- the faults -------------------------------------------------------------------------------------------------------


def draw(model: nn.Module, inputs: Any, dice: random.Random) -> Fault:
    """A fault that touches something of this network."""
    facts = trace(model, inputs)
    return dice.choice([_in_a_rule, _in_a_rule, _in_a_fold, _in_a_slot, _in_surgery, _in_liveness])(facts, dice)


def _rolled(labels: AxisLabels, by: int) -> AxisLabels:
    return replace(labels, ids=np.roll(labels.ids, by, labels.axes[0]) if labels.axes else labels.ids)


def _reversed(labels: AxisLabels) -> AxisLabels:
    return replace(labels, ids=np.flip(labels.ids, labels.axes[0]) if labels.axes else labels.ids)


_TELLS: dict[str, Callable[[AxisLabels], AxisLabels | None]] = {
    "gives its labels one position further on": lambda labels: _rolled(labels, 1),
    "gives its labels in reverse": _reversed,
    "gives half of its labels twice": lambda labels: _rolled(labels, max(labels.ids.size // 2, 1)),
    "takes its result for zero": lambda labels: replace(labels, zero=True),
    "forgets its labels": lambda labels: None,
}


def _in_a_rule(facts: Trace, dice: random.Random) -> Fault:
    """An operator's rule says something wrong, or leaves something out."""
    values = facts.dependencies.values
    numbers = [
        k
        for k, node in enumerate(facts.graph.nodes)
        if any(v is not None and v.index in values and values[v.index].per_axis for v in node.outputs)
        or any(v.index in values and values[v.index].per_axis for v in node.inputs())
    ]
    number = dice.choice(numbers)
    op = facts.graph.nodes[number].op
    kinds = [*_TELLS, "does not tie", "ties one position further on", "does not freeze", "forgets an attribute"]
    what = dice.choice(kinds)
    if what in _TELLS:
        return Fault("rules", f"{op} {what}", lambda: _telling(number, _TELLS[what]))
    return Fault("rules", f"{op} {what}", lambda: _saying(number, what))


@contextlib.contextmanager
def _telling(number: int, change: Callable[[AxisLabels], AxisLabels | None]) -> Iterator[None]:
    right = propagation.rule_of

    def rule_of(op: str) -> Any:
        rule = right(op)
        if rule is None:
            return None

        def wrong(run: Any, node: Any) -> list[ChannelLabels]:
            told = rule(run, node)
            if run.number != number:
                return told
            return [replace(t, per_axis=tuple(c for a in t.per_axis if (c := change(a)) is not None)) for t in told]

        return wrong

    with patch.object(propagation, "rule_of", rule_of):
        yield


@contextlib.contextmanager
def _saying(number: int, what: str) -> Iterator[None]:
    unite, freeze, attribute = Propagation.unite, Propagation.freeze, Propagation.attribute

    def wrong_unite(run: Propagation, node: Any, a: Any, b: Any) -> None:
        if run.number == number and what == "does not tie":
            return
        if run.number == number and what == "ties one position further on" and b.ndim:
            b = np.roll(b, 1, int(np.argmax(b.shape)))
        unite(run, node, a, b)

    def wrong_freeze(run: Propagation, ids: Any, reason: str, *, first: bool = False) -> None:
        if run.number != number or what != "does not freeze":
            freeze(run, ids, reason, first=first)

    def wrong_attribute(run: Propagation, node: Any, name: str, ids: Any) -> None:
        if run.number != number or what != "forgets an attribute":
            attribute(run, node, name, ids)

    with (
        patch.object(Propagation, "unite", wrong_unite),
        patch.object(Propagation, "freeze", wrong_freeze),
        patch.object(Propagation, "attribute", wrong_attribute),
    ):
        yield


_ORDERS: dict[str, Callable[[Any], Any]] = {
    "backwards": lambda ids: np.flip(ids, int(np.argmax(ids.shape))),
    "one position further on": lambda ids: np.roll(ids, 1, int(np.argmax(ids.shape))),
    "with its halves swapped": lambda ids: np.roll(ids, max(ids.shape) // 2, int(np.argmax(ids.shape))),
    "in the other order": lambda ids: ids.ravel(order="F").reshape(ids.shape),
    "by columns": lambda ids: ids.reshape(-1)[_by_columns(ids.size)].reshape(ids.shape),
}


def _by_columns(count: int) -> Any:
    rows = next((n for n in (2, 3, 5, 7) if count % n == 0), 1)
    return np.arange(count).reshape(rows, -1).T.ravel()


def _in_a_fold(facts: Trace, dice: random.Random) -> Fault:
    """A movement of data is replayed in another order, or its limits are forgotten."""
    values = facts.dependencies.values
    ops = [
        node.op
        for node in facts.graph.nodes
        if node.op in moves.NAMES and node.op not in moves.SAME
        and any(v.index in values and values[v.index].per_axis for v in node.inputs())
    ]  # fmt: skip
    if not ops:
        return _in_a_rule(facts, dice)
    op, turn = dice.choice(ops), dice.randrange(3)
    what = dice.choice([*_ORDERS, "as if nothing were picked by number"])
    return Fault("folds", f"{op} is replayed {what}", lambda: _folding(op, turn, what))


@contextlib.contextmanager
def _folding(op: str, turn: int, what: str) -> Iterator[None]:
    right, calls = moves.moves, [0]

    def wrong(name: str, *args: Any) -> Any:
        found = right(name, *args)
        if name != op or found is None:
            return found
        calls[0] += 1
        if calls[0] % 3 != turn:  # some of its calls
            return found
        if what in _ORDERS:
            return [replace(m, replay=lambda ids, m=m: _turned(m.replay(ids), _ORDERS[what])) for m in found]
        return [replace(m, cut=frozenset(), tied=frozenset()) for m in found]

    with patch.object(moves, "moves", wrong):
        yield


def _turned(ids: Any, change: Callable[[Any], Any]) -> Any:
    return change(ids) if ids.size > 1 else ids


def _in_a_slot(facts: Trace, dice: random.Random) -> Fault:
    """A group names other positions of one of its tensors."""
    groups = [g for g in find_groups(facts) if g.frozen is None and g.channels > 1 and not facts.is_dead(g.producers)]
    if not groups:
        return _in_a_rule(facts, dice)
    name = dice.choice(groups).name
    kinds: dict[str, Callable[[Any], Any]] = {
        "rolled by one": lambda indices: np.roll(indices, 1, 0),
        "reversed": lambda indices: indices[::-1],
        "with its halves swapped": lambda indices: np.roll(indices, len(indices) // 2, 0),
        "in another order": lambda indices: indices[_by_columns(len(indices))],
        "sorted across channels": lambda indices: np.sort(indices.ravel()).reshape(indices.shape[::-1]).T,
    }
    what, which = dice.choice([*kinds, "left out"]), dice.randrange(100)

    def wrong(found: Trace, *args: Any) -> Any:
        groups = find_groups(found, *args)
        for k, group in enumerate(groups):
            if group.name != name:
                continue
            slots = list(group.slots)
            n = which % len(slots)
            slots[n : n + 1] = [] if what == "left out" else [replace(slots[n], indices=kinds[what](slots[n].indices))]
            groups[k] = replace(group, slots=tuple(slots))
        return groups

    return Fault("slots", f"a slot of {name} {what}", lambda: _patched(searching, "find_groups", wrong))


def _in_surgery(facts: Trace, dice: random.Random) -> Fault:
    """The knife slips: other positions of one tensor are cut, or a number is set wrong."""
    groups = [g for g in find_groups(facts) if g.frozen is None and g.channels > 1 and not facts.is_dead(g.producers)]
    numbers = facts.dependencies.attributes()
    if numbers and dice.random() < 0.3:
        off = dice.choice([-1, 1, None])
        key = dice.choice(list(numbers))
        what = "is forgotten" if off is None else "is off by one"
        return Fault("surgery", f"{key[0]}.{key[1]} {what}", lambda: _misset(key, off))
    if not groups:
        return _in_a_rule(facts, dice)
    slot = dice.choice(dice.choice(groups).slots)
    kinds: dict[str, Callable[[Any, int], Any]] = {
        "the next positions": lambda gone, size: np.unique((gone + 1) % size),
        "the first positions": lambda gone, size: np.arange(len(gone)),
        "the last positions": lambda gone, size: np.arange(size - len(gone), size),
        "the mirrored positions": lambda gone, size: np.sort(size - 1 - gone),
        "one other position": _one_other,
    }
    what = dice.choice(list(kinds))

    def wrong(model: nn.Module, slots: Any) -> nn.Module:
        key = slot.leaf, slot.dim
        if key in slots:
            size = surgery.leaves_of(model)[slot.leaf].shape[slot.dim]
            slots = {**slots, key: kinds[what](slots[key], size)}
        return right(model, slots)

    right = surgery._copy_without
    return Fault("surgery", f"{what} of {slot.leaf} are cut", lambda: _patched(surgery, "_copy_without", wrong))


def _one_other(gone: Any, size: int) -> Any:
    others = np.setdiff1d(np.arange(size), gone)
    return gone if not len(others) else np.sort([*gone[1:], others[0]])


@contextlib.contextmanager
def _misset(key: Any, off: int | None) -> Iterator[None]:
    right = pair.cut

    def wrong(model: nn.Module, slots: Any, attributes: Any, dead: Any) -> nn.Module:
        if key in attributes:
            others = {k: v for k, v in attributes.items() if k != key}
            attributes = others if off is None else {**others, key: attributes[key] + off}
        return right(model, slots, attributes, dead)

    with patch.object(pair, "cut", wrong):
        yield


def _in_liveness(facts: Trace, dice: random.Random) -> Fault:
    """A layer whose result is read is taken for dead."""
    layers = [path for path in facts.owners.values() if path and path in facts.graph.called and path not in facts.dead]
    if not layers:
        return _in_a_rule(facts, dice)
    path = dice.choice(layers)

    def wrong(model: nn.Module, inputs: Any, found: Trace, settings: Any) -> Any:
        return right(model, inputs, replace(found, dead={**found.dead, path: 1}), settings)

    pruning = sys.modules["compressvqa.pruning.prune"]
    right = pruning.Search
    return Fault("liveness", f"{path} is taken for dead", lambda: _patched(pruning, "Search", wrong))


@contextlib.contextmanager
def _patched(owner: Any, name: str, new: Any) -> Iterator[None]:
    with patch.object(owner, name, new):
        yield


# -- the exam ---------------------------------------------------------------------------------------------------------


def without_statistics() -> list[type[nn.Module]]:
    """Networks of the zoo in which no statistic is taken over channels, so that the judge needs no convention."""
    kinds = [kind for name, kind in sorted(REGISTRY.items()) if not name.startswith("_") and kind.expected_groups]
    kinds += [PATTERNS[name] for name in sorted(PATTERNS)]
    found = []
    for kind in kinds:
        torch.manual_seed(0)
        net: Any = kind().eval()
        if not any(len(s.labels) for s in trace(net, net.inputs()).dependencies.statistics):
            found.append(kind)
    return found


def grammar_sitting(seed: int, most: int = 3) -> Outcome:
    """A fault in the pruner, tried on the random network of a seed."""
    net = build(seed, most)
    make_unique(net, seed)
    fault = draw(net, net.example(seed), random.Random(seed))
    return sit(fault, net, net.example(seed), [net.example(seed + 1000, clips) for clips in (2, 3)], seed)


def zoo_sitting(kind: type[nn.Module], seed: int) -> Outcome:
    """A fault in the pruner, tried on a network of the zoo."""
    torch.manual_seed(seed)
    net: Any = kind().eval()
    make_unique(net, seed)
    inputs = net.inputs()
    fault = draw(net, inputs, random.Random(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    others = [
        tree_map_only(
            Tensor, lambda t: torch.randn(t.shape, generator=generator) if t.is_floating_point() else t, inputs
        )
        for _ in range(2)
    ]
    return sit(fault, net, inputs, others, seed)
