"""Whole numbers that remember where they come from: the size of a tensor, a module's attribute, or sums of these.

A forward often says a width in numbers (`x.view(b, n, 3, self.num_heads, c // self.num_heads)`). While a network is
recorded, sizes and attributes are such numbers, so that it can be told which of them follow when channels go, which
attributes have to be set anew, and which widths depend on each other.
"""

from __future__ import annotations

import contextlib
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Union

import torch
from torch import Size

from compressvqa.pruning.recording.steps import Steps, said
from compressvqa.pruning.recording.values import Value


@dataclass(frozen=True)
class SizeOf:
    """The size of one dimension of a tensor."""

    value: Value
    dim: int

    def __str__(self) -> str:
        return f"size {self.dim} of {self.value.leaf or 'x'}"


@dataclass(frozen=True)
class Attribute:
    """An integer that a module holds: an attribute, or a number inside one (an entry of a list, a field of a config).

    Args:
        module: path of the module.
        name: its attribute.
        number: the integer.
        steps: the way from the attribute to the number (places.py).
    """

    module: str
    name: str
    number: int
    steps: Steps = ()

    def __str__(self) -> str:
        return (f"{self.module}.{self.name}" if self.module else self.name) + said(self.steps)


@dataclass(frozen=True)
class Computed:
    """Two numbers and the operation between them; a plain number has no origin and stays what it is."""

    sign: str
    left: Origin | int
    right: Origin | int

    def __str__(self) -> str:
        return f"({self.left} {self.sign} {self.right})"


Origin = Union[SizeOf, Attribute, Computed]  # noqa: UP007  (evaluated at run time, also on Python 3.10)
_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}


def evaluate(origin: Origin | int, of: Callable[[SizeOf | Attribute], int]) -> int:
    """The number that an origin gives when its sizes and attributes are what `of` says."""
    if isinstance(origin, int):
        return origin
    if isinstance(origin, Computed):
        return _OPERATIONS[origin.sign](evaluate(origin.left, of), evaluate(origin.right, of))
    return of(origin)


def leaves(origin: Origin | int) -> Iterator[SizeOf | Attribute]:
    """The sizes and attributes that an origin is made of."""
    if isinstance(origin, Computed):
        yield from leaves(origin.left)
        yield from leaves(origin.right)
    elif not isinstance(origin, int):
        yield origin


class Int(int):
    """An integer with an origin. Sums, differences, products and whole quotients keep it; all else gives plain ones."""

    origin: Origin

    def __new__(cls, value: int, origin: Origin) -> Int:
        """`value` as it is, with its origin."""
        self = super().__new__(cls, value)
        self.origin = origin
        return self

    def __hash__(self) -> int:
        # einops keeps the sizes that it computed under the sizes of its input, and would hand out the origins of an
        # earlier call; for sizes that it can't hash it computes anew.
        if sys._getframe(1).f_code.co_filename.endswith("einops.py"):
            raise TypeError("sizes with an origin are not to be cached")
        return int.__hash__(self)

    def __eq__(self, other: object) -> bool:
        same = int.__eq__(self, other)
        if same is True and _watched and isinstance(other, int):
            _note("==", self, other)
        return same

    def __ne__(self, other: object) -> bool:
        differ = int.__ne__(self, other)
        if differ is False and _watched and isinstance(other, int):
            _note("==", self, other)
        return differ

    def __lt__(self, other: Any) -> bool:
        return _decided(self, other, int.__lt__(self, other))

    def __le__(self, other: Any) -> bool:
        return _decided(self, other, int.__le__(self, other))

    def __gt__(self, other: Any) -> bool:
        return _decided(self, other, int.__gt__(self, other))

    def __ge__(self, other: Any) -> bool:
        return _decided(self, other, int.__ge__(self, other))

    def __neg__(self) -> Int:
        return Int(-int(self), Computed("-", 0, self.origin))

    def __pos__(self) -> Int:
        return self

    def __abs__(self) -> Int:
        return self if self >= 0 else -self

    def __round__(self, digits: Any = None) -> Any:
        return self if digits is None or digits >= 0 else int.__round__(self, digits)

    def __floor__(self) -> Int:
        return self

    def __ceil__(self) -> Int:
        return self

    def __trunc__(self) -> Int:
        return self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __lshift__(self, other: Any) -> Any:
        return self * (1 << other) if type(other) is int else int.__lshift__(self, other)

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other) if type(other) is int else int.__rshift__(self, other)

    def __pow__(self, other: Any, *modulo: Any) -> Any:
        if type(other) is int and other == 2 and not modulo:
            return self * self
        _note("scale", self, 0)
        return int.__pow__(self, other, *modulo)

    def __rpow__(self, other: Any, *modulo: Any) -> Any:
        _note("scale", self, 0)
        return int.__rpow__(self, other, *modulo)

    def __truediv__(self, other: Any) -> Any:
        _note("scale", self, 0)
        return int.__truediv__(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        _note("scale", self, 0)
        return int.__rtruediv__(self, other)

    def __float__(self) -> float:
        _note("scale", self, 0)
        return int.__float__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)

    def __deepcopy__(self, memo: Any) -> int:
        return self if _watched else int(self)  # a forward may copy its config


def _decided(number: Int, other: Any, result: bool) -> bool:
    """A comparison of sizes: which way it goes may be another for other widths."""
    if _watched and isinstance(other, int):
        _note("order", number, 0, back=3)
    return result


def _operation(sign: str) -> tuple[Callable[[Int, Any], Any], Callable[[Int, Any], Any]]:
    work = _OPERATIONS[sign]

    def forward(self: Int, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        return Int(work(int(self), int(other)), Computed(sign, self.origin, origin_of(other)))

    def backward(self: Int, other: Any) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        return Int(work(int(other), int(self)), Computed(sign, origin_of(other), self.origin))

    return forward, backward


for _sign, _name in (("+", "add"), ("-", "sub"), ("*", "mul"), ("//", "floordiv"), ("%", "mod")):
    _forward, _backward = _operation(_sign)
    setattr(Int, f"__{_name}__", _forward)
    setattr(Int, f"__r{_name}__", _backward)


def origin_of(number: int) -> Origin | int:
    """Where a number comes from; a plain number is its own origin."""
    return number.origin if isinstance(number, Int) else int(number)


def sizes_of(sizes: Iterable[int], value: Value) -> Size:
    """A tensor's size, each number with its origin."""
    return Size([Int(size, SizeOf(value, d)) for d, size in enumerate(sizes)])


def integers_in(tree: Any, depth: int = 6) -> Iterator[int]:
    """All whole numbers in nested arguments of a call, in order."""
    if isinstance(tree, int):
        if not isinstance(tree, bool):
            yield tree
    elif isinstance(tree, slice):
        yield from integers_in((tree.start, tree.stop, tree.step), depth - 1)
    elif depth and isinstance(tree, (tuple, list)):
        for item in tree:
            yield from integers_in(item, depth - 1)


def origins(called: Sequence[int], asked: Sequence[Any], *, sizes: bool = False) -> tuple[Origin | None, ...]:
    """Origins of the numbers that an operator was given, found among those of the call that led to it.

    Args:
        called: the integers of the call, in order.
        asked: the operator's.
        sizes: whether they are the sizes of a view, where torch has worked out what the call gave as -1.

    >>> origins([Int(3, Attribute("a", "n", 3)), 4], [4, 3])[1]
    Attribute(module='a', name='n', number=3, steps=())
    """
    return tuple(n.origin if isinstance(n, Int) else None for n in matched(called, asked, sizes=sizes))


def matched(
    called: Sequence[int], asked: Sequence[Any], *, sizes: bool = False, in_order: bool = False
) -> tuple[int | None, ...]:
    """The number of a call that led to each number of an operator; None where that can't be told.

    Args:
        called: the integers of the call, in order.
        asked: the operator's.
        sizes: whether -1 among the former stands for any number.
        in_order: whether they are the same numbers in the same order, or none is told.
    """
    whole = len(asked)
    for start in range(len(called) - whole + 1):
        part = called[start : start + whole]
        if all(int(a) == b or (sizes and int(a) == -1) for a, b in zip(part, asked, strict=True)):
            return tuple(part)
    if in_order:
        return (None,) * whole
    known: dict[int, dict[Origin | None, int]] = {}
    for number in called:
        origin = number.origin if isinstance(number, Int) else None
        known.setdefault(int(number), {}).setdefault(origin, number)
    found = []
    for number in asked:
        candidates = known.get(int(number), {}) if isinstance(number, int) else {}
        found.append(next(iter(candidates.values())) if len(candidates) == 1 else None)
    return tuple(found)


@dataclass(frozen=True)
class Remark:
    """What a forward did with a number besides giving it as a size.

    Args:
        kind: "==" where it was found equal to `right`, "order" where it was found larger or smaller than something,
            "scale" where it was made a number that is no size.
        left: its origin.
        right: the other number, where they are equal; else 0.
        number: what it was.
        place: file and line.
    """

    kind: str
    left: Origin
    right: Origin | int
    number: int
    place: str


@contextlib.contextmanager
def watched() -> Iterator[list[Remark]]:
    """Collects what is remarked of numbers with an origin while this lasts."""
    remarks: list[Remark] = []
    _watched.append(remarks)
    try:
        yield remarks
    finally:
        _watched.pop()


def _note(kind: str, left: Int, right: int, *, back: int = 2) -> None:
    if not _watched:
        return
    frame: FrameType = sys._getframe(back)
    name = frame.f_code.co_filename
    if kind != "scale" and name.startswith(
        _TORCH
    ):  # torch makes sure of what it was given, which the check does as well
        return
    place = f"{Path(name).name}:{frame.f_lineno}"
    _watched[-1].append(Remark(kind, left.origin, origin_of(right), int(left), place))


_watched: list[list[Remark]] = []
_TORCH = str(Path(torch.__file__).parent)
