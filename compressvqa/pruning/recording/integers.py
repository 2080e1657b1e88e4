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
from typing import Any, Union

from torch import Size, nn

from compressvqa.pruning.recording.graph import Value


@dataclass(frozen=True)
class SizeOf:
    """The size of one dimension of a tensor."""

    value: Value
    dim: int

    def __str__(self) -> str:
        return f"size {self.dim} of {self.value.leaf or 'x'}"


@dataclass(frozen=True)
class Attribute:
    """An integer attribute of a module, or one entry of a tuple or list of integers."""

    module: str
    name: str
    number: int
    entry: int | None = None

    def __str__(self) -> str:
        name = f"{self.module}.{self.name}" if self.module else self.name
        return name if self.entry is None else f"{name}[{self.entry}]"


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

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)

    def __deepcopy__(self, memo: Any) -> int:
        return int(self)


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
    Attribute(module='a', name='n', number=3, entry=None)
    """
    whole = len(asked)
    for start in range(len(called) - whole + 1):
        part = called[start : start + whole]
        if all(a == b or (sizes and a == -1) for a, b in zip(part, asked, strict=True)):
            return tuple(number.origin if isinstance(number, Int) else None for number in part)
    known: dict[int, set[Origin | None]] = {}
    for number in called:
        known.setdefault(int(number), set()).add(number.origin if isinstance(number, Int) else None)
    found = []
    for number in asked:
        candidates = known.get(number, {None}) if isinstance(number, int) else {None}
        found.append(next(iter(candidates)) if len(candidates) == 1 else None)
    return tuple(found)


def _tags(path: str, module: nn.Module) -> Iterator[tuple[str, Any, Any]]:
    """(name, attribute, the same with origins) of the integers that a module's forward may read."""
    for name, held in vars(module).items():
        if type(held) is int and held > 1:
            yield name, held, Int(held, Attribute(path, name, held))
        elif type(held) in (tuple, list) and held and all(type(item) is int for item in held):
            items = [Int(item, Attribute(path, name, item, k)) if item > 1 else item for k, item in enumerate(held)]
            yield name, held, type(held)(items)


@contextlib.contextmanager
def tagged(model: nn.Module) -> Iterator[None]:
    """Integer attributes carry their origin while this lasts; torch's own layers, whose C++ reads theirs, are left."""
    marked: list[tuple[nn.Module, str, Any, Any]] = []
    try:
        for path, module in model.named_modules():
            own = type(module).__module__.startswith("torch.nn.")
            if own and not isinstance(module, nn.MultiheadAttention):
                continue
            for name, held, tag in list(_tags(path, module)):
                marked.append((module, name, held, tag))
                module.__dict__[name] = tag
        yield
    finally:
        for module, name, held, tag in marked:
            if module.__dict__.get(name) is tag:
                module.__dict__[name] = held
        for module in model.modules():
            for name, held in vars(module).items():
                if _is_tagged(held):  # the forward kept a size in an attribute
                    module.__dict__[name] = _plain(held)


def _is_tagged(held: Any) -> bool:
    if isinstance(held, (tuple, list)):
        return any(isinstance(item, Int) for item in held)
    return isinstance(held, Int)


def _plain(held: Any) -> Any:
    if isinstance(held, Int):
        return int(held)
    items = [int(item) if isinstance(item, Int) else item for item in held]
    return Size(items) if isinstance(held, Size) else type(held)(items)
