"""Which module of the student learns from which of the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.module_paths import is_pattern, modules_named


def pair_taps(student: nn.Module, teacher: nn.Module, features: Mapping[str, str]) -> dict[str, str]:
    """Module paths of the student and of the teacher that belong together.

    Either side of an entry may be a pattern (see `compressvqa.module_paths`). What both sides match is paired in the
    order of the networks; where one side matches more, its modules are thinned evenly and the last goes with the last:
    the i-th of 12 blocks learns from the end of the i-th twelfth of 40, blocks 4, 7, 10, 14, ... 40 counted from 1.

    Args:
        student: the network that learns.
        teacher: the network that it learns from.
        features: {path or pattern of the student: path or pattern of the teacher}.

    Raises:
        RecipeError: a side matches nothing (the nearest paths are named), a pattern stands against a single path, a
            module of the student is paired twice, or a pattern matches a module and another one inside it.

    >>> small, large = (nn.Sequential(*(nn.Identity() for _ in range(depth))) for depth in (2, 5))
    >>> pair_taps(small, large, {"*": "*"})
    {'0': '2', '1': '4'}
    """
    pairs: dict[str, str] = {}
    for ours, theirs in features.items():
        left, right = _found(student, ours, "student"), _found(teacher, theirs, "teacher")
        for pattern, found, other in ((ours, left, theirs), (theirs, right, ours)):
            if len(found) > 1 and not is_pattern(other):
                fault = f"{pattern!r} matches {len(found)} modules, and {other!r} is one"
                raise RecipeError(fault, where="features", hint=f"one path, for example {found[-1]}")
        count = min(len(left), len(right))
        for path, partner in zip(_spread(left, count), _spread(right, count), strict=True):
            if path in pairs:
                fault = f"the student's {path!r} is paired twice: with {pairs[path]!r} and {partner!r}"
                raise RecipeError(fault, where="features")
            pairs[path] = partner
    return pairs


def _found(model: nn.Module, pattern: str, role: str) -> list[str]:
    found = modules_named(model, pattern, RecipeError, where=f"{type(model).__name__}, the {role}")
    for path in found:
        inside = next((other for other in found if other.startswith(path + ".")), None)
        if inside is not None:
            fault = f"{pattern!r} matches the {role}'s {path!r} and {inside!r} inside it"
            raise RecipeError(fault, where="features", hint="* for one level, ** only before a name")
    return found


def _spread(paths: Sequence[str], count: int) -> list[str]:
    """`count` of the paths, each the last of one of `count` equal parts."""
    return [paths[-(-len(paths) * (part + 1) // count) - 1] for part in range(count)]
