"""The parts that everything rests on, each against something independent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.pruning.dependency import moves
from compressvqa.pruning.dependency.labels import FIXED, FREE, Classes
from compressvqa.pruning.dependency.rules import pointwise, rule_of

SHAPE = (2, 3, 4, 6)
MOVES: list[tuple[str, tuple[Any, ...]]] = [
    ("view", ((6, 4, 6),)), ("view", ((2, 12, 6),)), ("view", ((2, 3, 2, 2, 6),)), ("view", ((144,),)),
    ("view", ((2, 1, 3, 24, 1),)), ("view", ((3, 8, 6),)), ("permute", ((3, 0, 2, 1),)), ("transpose", (1, -1)),
    ("unsqueeze", (2,)), ("unsqueeze", (-1,)), ("expand", ((5, 2, 3, 4, 6),)), ("slice", (1, 1, 3)),
    ("slice", (3, 0, 6, 2)), ("slice", (2, -2, 9223372036854775807)), ("select", (1, -1)), ("split", (2, 3)),
    ("split_with_sizes", ([1, 2], 1)), ("unbind", (2,)), ("flip", ((1, 3),)), ("roll", ((1, 2), (1, 3))),
    ("repeat", ((2, 1, 3, 1, 2),)), ("clone", ()), ("squeeze", (1,)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arguments"), MOVES, ids=[f"{op}{list(a)}" for op, a in MOVES])
@given(kept=st.tuples(*[st.booleans()] * 4))
@settings(max_examples=8)
def test_a_move_on_compact_labels_is_the_operator_on_full_ones(
    op: str, arguments: tuple[Any, ...], kept: tuple[bool, ...]
) -> None:
    """Every subset of dimensions may be the one along which labels differ."""
    compact = np.random.default_rng(0).integers(1, 99, [n if k else 1 for n, k in zip(SHAPE, kept, strict=True)])
    expected = getattr(torch.ops.aten, op)(torch.from_numpy(compact).expand(SHAPE).contiguous(), *arguments)
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    found = moves.moves(op, SHAPE, arguments, [tuple(t.shape) for t in expected])
    assert found is not None
    assert len(found) == len(expected)
    for move, tensor in zip(found, expected, strict=True):
        assert (np.broadcast_to(move.replay(compact), tensor.shape) == tensor.numpy()).all()


@given(st.lists(st.tuples(st.integers(-1, 30), st.integers(-1, 30)), max_size=60))
def test_union_find(pairs: list[tuple[int, int]]) -> None:
    classes, sets = Classes.of(31), {k: {k} for k in range(1, 31)}
    for chunk in range(0, len(pairs), 7):
        part = np.array(pairs[chunk : chunk + 7], dtype=np.int64).reshape(-1, 2)
        classes.unite(part[:, 0], part[:, 1])
        for a, b in part.tolist():
            if a > 0 and b > 0:
                union = sets[a] | sets[b]
                sets.update(dict.fromkeys(union, union))
    roots = classes.find(np.arange(31))
    assert all((roots[a] == roots[b]) == (b in sets[a]) for a in sets for b in sets)
    assert classes.find(np.array([FIXED, FREE])).tolist() == [FIXED, FREE]
    assert classes.unions == 30 - len({frozenset(s) for s in sets.values()})


def _call(name: str, *tensors: torch.Tensor) -> torch.Tensor | None:
    """The operator on tensors, with whatever settings its signature asks for; None where it can't be called so."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None:
        return None
    for overload in packet.overloads():
        arguments, used = [], 0
        for argument in getattr(packet, overload)._schema.arguments:
            if argument.kwarg_only or argument.has_default_value():
                break
            kind = str(argument.type)
            if kind == "Tensor" and used < len(tensors):
                arguments.append(tensors[used])
                used += 1
            else:
                arguments.append({"bool": True, "int": 1}.get(kind, 0.5))
        if used != len(tensors):
            continue
        if name in ("clamp", "clip"):  # both bounds have defaults, one must be given
            arguments.append(0.3)
        for casted in (lambda t: t, lambda t: t > 0, lambda t: (9 * t).int()):
            try:
                ready = [casted(a) if isinstance(a, torch.Tensor) else a for a in arguments]
                if name == "where":
                    ready[0] = ready[0] > 0
                result = getattr(packet, overload)(*ready)
            except (RuntimeError, TypeError):
                continue
            if isinstance(result, torch.Tensor):
                return result
    return None


@pytest.mark.parametrize("name", pointwise.UNARY + pointwise.BINARY)
def test_every_pointwise_operator_is_pointwise(name: str) -> None:
    """Run on a tensor and on the same elements in another order: the results are in that other order."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(12, generator=generator)
    for count in (1, 2, 3):
        tensors = [torch.rand(12, generator=generator) * 0.9 + 0.05 for _ in range(count)]
        result = _call(name, *tensors)
        if result is not None:
            shuffled = _call(name, *[t[order] for t in tensors])
            assert shuffled is not None
            assert result.shape == (12,)
            torch.testing.assert_close(shuffled, result[order], equal_nan=True)
            return
    pytest.fail(f"{name} was not called")


def test_operators_that_mix_are_not_taken_for_pointwise() -> None:
    for name in (
        "glu",
        "cumsum",
        "sort",
        "softmax",
        "prelu",
        "cross",
        "tensordot",
        "layer_norm",
        "dropout",
        "bincount",
    ):
        assert rule_of(name) is not pointwise.pointwise
