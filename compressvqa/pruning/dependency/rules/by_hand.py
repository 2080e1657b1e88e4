"""Which means and variances over channels are those of a normalisation that the forward writes by hand.

A normalisation over channels is pruned as a layer norm is: it counts the channels that are kept. Any other mean over
channels would come out larger or smaller by the share that is kept, so its channels stay. A statistic is that of a
normalisation if, wherever its result goes,

- a mean is only taken from what it is the mean of, and that is divided: ``(x - x.mean(1)) / x.std(1)``,
- a variance, or a mean of squares, only divides what it was taken of: ``x / (x.var(1) + eps).sqrt()``,
- and what comes out is weighed channel by channel, or read by a layer, before it is summed up over channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.recording.graph import Node, Value

if TYPE_CHECKING:
    from compressvqa.pruning.dependency.interface import Labelling

STATISTICS = frozenset({"mean", "var", "std", "var_mean", "std_mean"})
_ALIASES = frozenset({"alias", "clone", "contiguous", "detach", "lift_fresh", "_to_copy", "to"})
_LAID_OUT = _ALIASES | {"expand", "squeeze", "unsqueeze", "view", "_unsafe_view", "reshape"}
# What may happen to a second moment before it divides; `eps` and other numbers are added or multiplied on the way.
_SCALED = _LAID_OUT | {"add", "clamp", "clamp_min", "maximum", "mul", "pow", "reciprocal", "rsqrt", "sqrt"}
_KEEPS_FROM_ZERO = frozenset({"add", "clamp", "clamp_min", "maximum"})
_EPS = 1e-2  # beyond, what is added has a part in the result
_SUBTRACTIONS = frozenset({"sub", "subtract", "rsub"})
_DIVISIONS = frozenset({"div", "divide", "true_divide"})
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "convolution", "_trilinear", "recurrent"})
_MIXES = frozenset({"softmax", "_softmax", "_safe_softmax", "_log_softmax", "log_softmax", "cumsum", "cumprod", "sort"})
_DEPTH = 6  # operators between two ways to write one value
_FOLLOWED = 64  # operators behind a normalisation that are looked at


def only_normalises(run: Labelling, node: Node, axis: int) -> bool:
    """Whether a statistic over the channels of `axis` is that of a normalisation, at every end."""
    if node.op not in STATISTICS:
        return False
    results = [v for v in node.outputs if v is not None]
    if not any(run.users(v) or v in run.graph.outputs for v in results):
        return True  # nothing reads it, as torch's averaged attention weights mostly
    ends: list[Value] = []
    for number, value in enumerate(results):
        first = _is_first(run, node, number)
        found = _ends_of_first(run, node, value) if first else _ends_of_second(run, node, value)
        if found is None:
            return False
        if found and first and not any(_divided(run, end) for end in found):
            return False
        ends += found
    return bool(ends) and not any(summed_up(run, end, axis) for end in ends)


def _is_first(run: Labelling, node: Node, number: int) -> bool:
    """Whether a result of a statistic is a mean, and not a variance or a mean of squares."""
    return squared(run, node.args[0]) is None if node.op == "mean" else number == 1


def _divided(run: Labelling, value: Value) -> bool:
    """Whether what a mean was taken from is divided by a second moment: without that it is no normalisation."""
    waiting = [value]
    for held in waiting:
        for user in run.users(held):
            if user.op in _LAID_OUT:
                waiting += [v for v in user.outputs if v is not None]
            elif (user.op in _DIVISIONS or user.op == "mul") and any(
                _from_second(run, v) for v in user.inputs() if v is not held
            ):
                return True
    return False


def _from_second(run: Labelling, value: Value) -> bool:
    made = run.maker(value)
    for _ in range(2 * _DEPTH):
        if made is None:
            return False
        if made.op in STATISTICS:
            return made.op != "mean" or squared(run, made.args[0]) is not None
        before = next(iter(made.inputs()), None) if made.op in _SCALED else None
        made = None if before is None else run.maker(before)
    return False


def squared(run: Labelling, value: Value) -> Value | None:
    """What a value is the square of, or None."""
    made = run.maker(strip(run, value))
    if made is None:
        return None
    if (made.op == "pow" and made.args[1] == 2) or made.op == "square":
        return _value(made.args[0])
    return _value(made.args[0]) if made.op == "mul" and made.args[0] is made.args[1] else None


def strip(run: Labelling, value: Value) -> Value:
    """The value that this one is a copy of, or another type of."""
    made = run.maker(value)
    while made is not None and made.op in _ALIASES and isinstance(made.args[0], Value):
        value = made.args[0]
        made = run.maker(value)
    return value


def _ends_of_first(run: Labelling, node: Node, value: Value) -> list[Value] | None:
    """The results of taking a mean from what it is the mean of; None where it goes elsewhere as well."""
    ends: list[Value] = []
    for one in _spread(run, value):
        if one is None:
            return None
        user, held = one
        if user.op in _LAID_OUT:
            continue
        others = [v for v in user.inputs() if v is not held]
        if user.op not in _SUBTRACTIONS or user.kwargs.get("alpha", 1) != 1 or len(others) != 1:
            return None
        if not same(run, others[0], node.args[0]):
            return None
        ends += [v for v in user.outputs if v is not None]
    return ends


def _ends_of_second(run: Labelling, node: Node, value: Value) -> list[Value] | None:
    """The results of dividing, by the root of a second moment, what it was taken of; None where it goes elsewhere."""
    base = squared(run, node.args[0]) if node.op == "mean" else node.args[0]
    ends: list[Value] = []
    waiting = [(value, 0.5 if node.op.startswith("std") else 1.0)]  # (value, which power of the second moment it is)
    for held, power in waiting:
        if held in run.graph.outputs:
            return None
        for user in run.users(held):
            others = [v for v in user.inputs() if v is not held]
            full = [v for v in others if math.prod(v.shape) > math.prod(held.shape)]
            if full:
                divides = user.op in _DIVISIONS and user.args[1] is held and power == 0.5
                if not (divides or (user.op == "mul" and power == -0.5)) or len(others) != 1:
                    return None
                if not _is_of(run, node, full[0], base):
                    return None
                ends += [v for v in user.outputs if v is not None]
            elif _only_scales(run, user, others):
                waiting += [(v, power * _power(user)) for v in user.outputs if v is not None]
            else:
                return None
    return ends


def _only_scales(run: Labelling, user: Node, others: list[Value]) -> bool:
    """Whether an operator leaves a second moment one, but for a factor and a small number that keeps it from zero."""
    if user.op not in _SCALED or not all(is_weight(run, v) or v.source == "constant" for v in others):
        return False
    numbers = [a for a in user.args[1:] if isinstance(a, (int, float)) and not isinstance(a, bool)]
    return user.op not in _KEEPS_FROM_ZERO or all(abs(number) <= _EPS for number in numbers)


def _power(user: Node) -> float:
    """The power that an operator raises its first argument to."""
    if user.op == "pow":
        return float(user.args[1]) if isinstance(user.args[1], (int, float)) else math.nan
    return {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}.get(user.op, 1.0)


def _spread(run: Labelling, value: Value) -> Iterator[tuple[Node, Value] | None]:
    """Every operator that reads a value, or the same value in another layout; None where it is returned."""
    waiting = [value]
    for held in waiting:
        if held in run.graph.outputs:
            yield None
        for user in run.users(held):
            if user.op in _LAID_OUT:
                waiting += [v for v in user.outputs if v is not None]
            yield user, held


def _is_of(run: Labelling, node: Node, value: Value, base: Value | None) -> bool:
    """Whether a value is what a second moment was taken of; for a variance also that less its own mean."""
    if base is None:
        return False
    if same(run, value, base):
        return True
    made = run.maker(strip(run, value))
    if node.op == "mean" or made is None or made.op not in _SUBTRACTIONS or not isinstance(made.args[1], Value):
        return False
    mean = run.maker(made.args[1])
    while mean is not None and mean.op in _LAID_OUT:
        mean = run.maker(mean.args[0])
    of_mean = mean is not None and mean.op in ("mean", "var_mean", "std_mean") and same(run, mean.args[0], base)
    return of_mean and same(run, made.args[0], base)


def same(run: Labelling, a: Value, b: Value, depth: int = _DEPTH) -> bool:
    """Whether two values hold the same numbers: one is a copy of the other, or both are worked out alike."""
    a, b = strip(run, a), strip(run, b)
    if a is b:
        return True
    first, second = run.maker(a), run.maker(b)
    if first is None or second is None or depth == 0 or first.op not in _WORKED_OUT or first.op != second.op:
        return False
    if len(first.args) != len(second.args) or first.kwargs.keys() != second.kwargs.keys():
        return False
    if _position(first, a) != _position(second, b):
        return False
    pairs = [*zip(first.args, second.args, strict=True), *((first.kwargs[k], second.kwargs[k]) for k in first.kwargs)]
    return all(
        same(run, x, y, depth - 1) if isinstance(x, Value) and isinstance(y, Value) else _equal(x, y) for x, y in pairs
    )


# Operators that give the same result whenever they are given the same.
_WORKED_OUT = _SCALED | _SUBTRACTIONS | _DIVISIONS | STATISTICS | {"permute", "transpose", "square", "select", "slice"}


def _equal(x: Any, y: Any) -> bool:
    return not isinstance(x, Value) and not isinstance(y, Value) and type(x) is type(y) and bool(x == y)


def _position(node: Node, value: Value) -> int:
    return next(k for k, v in enumerate(node.outputs) if v is value)


def is_weight(run: Labelling, value: Value, depth: int = _DEPTH) -> bool:
    """Whether a value is made of parameters and buffers only."""
    if value.leaf is not None:
        return True
    made = run.maker(value)
    if made is None or depth == 0:
        return False
    inputs = list(made.inputs())
    return bool(inputs) and all(is_weight(run, v, depth - 1) for v in inputs)


def summed_up(run: Labelling, value: Value, axis: int) -> bool:
    """Whether what comes out of a normalisation is summed up over its channels before anything weighs them.

    The sum of what is normalised grows with the number of channels, whatever the norm divides by: a distance of such
    features is a score that depends on the width.

    Args:
        run: the propagation.
        value: what comes out.
        axis: the dimension that holds the channels.
    """
    waiting, seen = [(value, axis)], set()
    for held, d in waiting:
        if held in run.graph.outputs:
            return True
        for user in run.users(held)[:_FOLLOWED]:
            if id(user) in seen or len(waiting) > _FOLLOWED:
                continue
            seen.add(id(user))
            others = [v for v in user.inputs() if v is not held]
            if user.op in _PRODUCTS or (user.op == "mul" and any(_weighs(run, v) for v in others)):
                if not any(is_weight(run, v) for v in (held, *others)):
                    return True
                continue
            if user.op in _MIXES:
                return True
            axes = [(v, k) for v in user.outputs if v is not None for k in _axis_after(user, held, v, d)]
            if not axes and user.outputs:
                if only_normalises(run, user, d):  # the variance of what the mean was taken from
                    continue
                return True
            waiting += axes
    return False


def _weighs(run: Labelling, value: Value) -> bool:
    return math.prod(value.shape) > 1 and is_weight(run, value)


def _axis_after(user: Node, held: Value, output: Value, axis: int) -> list[int]:
    """Where a dimension of an operator's input lies in its output; empty where the operator sums it up."""
    if output.shape == held.shape:
        return [axis]
    arguments = [*user.args[1:], *user.kwargs.values()]
    shapes = [() if v is None else v.shape for v in user.outputs]
    found = moves.moves(user.op, held.shape, arguments, shapes) if user.op in moves.NAMES else None
    if found is not None:
        move = found[_position(user, output)]
        return [k for k, origin in enumerate(move.origins) if axis in origin]
    rank = len(held.shape)
    if len(output.shape) == rank:
        return [axis] if output.shape[axis] >= held.shape[axis] else []
    if len(output.shape) > rank:  # laid over something larger: broadcasting adds dimensions in front
        return [axis + len(output.shape) - rank]
    dims = next((a for a in user.args[1:] if isinstance(a, (list, tuple))), None)
    if dims is None:
        dims = [a for a in user.args[1:] if isinstance(a, int) and not isinstance(a, bool)][:1]
    gone = {int(k) % rank for k in dims}
    return [] if not gone or axis in gone else [axis - sum(k < axis for k in gone)]


def _value(item: Any) -> Value | None:
    return item if isinstance(item, Value) else None
