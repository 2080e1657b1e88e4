"""Which numbers of a network are set anew when channels go, and what they count: constraints -> attributes.

An attribute may be given as it is, inside a sum or a product, or may only be compared with a size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from compressvqa.pruning.dependency.constraints import SizeConstraint
from compressvqa.pruning.dependency.labels import Ids
from compressvqa.pruning.recording.integers import Attribute, Computed, Origin, SizeOf, leaves
from compressvqa.pruning.recording.steps import Steps

Key = tuple[str, str, Steps]  # module path, attribute, the way from there to the number


def bindings(
    constraints: Sequence[SizeConstraint], moves: Callable[[SizeOf], bool] = lambda size: False
) -> dict[Key, tuple[int, Ids]]:
    """Attributes that have to follow, with their number now and the labels that they count.

    An attribute that is given as it is comes first; one inside a sum or product is bound if nothing else in it moves.

    Args:
        constraints: what the numbers must be.
        moves: whether channels may go along the dimension whose size a number is made of.
    """
    found: dict[Key, tuple[int, Ids]] = {}
    for constraint in constraints:
        if isinstance(constraint.origin, Attribute) and (constraint.ids > 0).any():
            found.setdefault(key_of(constraint.origin), (constraint.origin.number, constraint.ids))
    pinned = {key_of(d.origin) for d in constraints if isinstance(d.origin, Attribute)}
    for constraint in constraints:
        if isinstance(constraint.origin, Attribute) or not (constraint.ids > 0).any():
            continue
        attributes = [leaf for leaf in leaves(constraint.origin) if isinstance(leaf, Attribute)]
        if any(isinstance(leaf, SizeOf) and moves(leaf) for leaf in leaves(constraint.origin)):
            continue  # `kv_heads * self.groups`: the size follows by itself
        loose = {a for a in attributes if key_of(a) not in pinned and key_of(a) not in found}
        for attribute in loose if len(loose) == 1 else loose and _sharing(constraint.origin, loose):
            found[key_of(attribute)] = attribute.number, constraint.ids
    for one, other in _equal(constraints):
        if key_of(one) in found and key_of(other) not in found:
            found[key_of(other)] = other.number, found[key_of(one)][1]
    return found


def _sharing(origin: Origin | int, loose: Collection[Attribute]) -> list[Attribute]:
    """Which of several attributes shrink with what a number counts: all terms of a sum, one factor of a product."""
    if isinstance(origin, Attribute):
        return [origin] if origin in loose else []
    if not isinstance(origin, Computed):
        return []
    left, right = _sharing(origin.left, loose), _sharing(origin.right, loose)
    if origin.sign in "+-":
        return left + right
    if origin.sign == "*" and left and right:
        return max(left, right, key=lambda side: max(a.number for a in side))
    return left or right if origin.sign == "*" else left


def _equal(constraints: Sequence[SizeConstraint]) -> Iterator[tuple[Attribute, Attribute]]:
    """Pairs of attributes that the forward found equal, either way round."""
    for constraint in constraints:
        origin = constraint.origin
        if constraint.fixed == 0 and isinstance(origin, Computed) and origin.sign == "-":
            one, other = origin.left, origin.right
            if isinstance(one, Attribute) and isinstance(other, Attribute):
                yield one, other
                yield other, one


def key_of(attribute: Attribute) -> Key:
    """What an attribute is set by."""
    return attribute.module, attribute.name, attribute.steps
