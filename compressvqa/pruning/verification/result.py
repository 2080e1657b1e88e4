"""What a verification found, to read and to print."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from compressvqa.pruning.dependency.names import compact


@dataclass(frozen=True)
class Verification:
    """Whether a network is another one with channels zeroed, and which.

    Args:
        passed: whether it is.
        status: "passed", or in one line why not: "no correspondence: conv1.weight (...)", "does not run: ...",
            "off by 3.1e-01 on ...", "proves nothing: ...".
        max_error: largest difference of any output over all that was tried, relative to how far that output moves
            between inputs; infinite where the smaller network does not run, None where it was not run.
        removed: output channels that went, by path of the layer that makes them, or by name of a parameter that stands
            alone.
        kept: for each parameter or buffer that lost something, the kept positions of every dimension, in the order in
            which the smaller network holds them.
        unmatched: tensors without a counterpart, by name, with what is known of them: of the smaller network those
            that are no block of the original's, of the original those of which nothing is left.
        unobservable: tensors that lost something, of which nothing would show if others had gone in their place.
        notes: what else is worth knowing.
        tried: the inputs that both networks were run on, in words.
        bits: how wide numbers were; 32 where the networks do not run in 64.
    """

    passed: bool
    status: str
    max_error: float | None
    removed: dict[str, tuple[int, ...]]
    kept: dict[str, tuple[tuple[int, ...], ...]] = field(repr=False)
    unmatched: dict[str, str] = field(default_factory=dict)
    unobservable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    bits: int = 64

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return asdict(self)

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        head = "it is the original with channels zeroed" if self.passed else f"not proven: {self.status}"
        lines = [head]
        if self.max_error is not None:
            lines.append(f"largest error {self.max_error:.1e} of the output's movement, in {self.bits} bits")
        if self.tried:
            lines.append(f"tried on {', '.join(self.tried)}")
        if self.removed:
            count = sum(len(gone) for gone in self.removed.values())
            lines.append(f"{count} output channels went:")
            lines += [f"  {path}: {len(gone)} ({_shown(gone)})" for path, gone in self.removed.items()]
        elif self.passed:
            lines.append("nothing went")
        lines += [f"unmatched: {name}: {why}" for name, why in list(self.unmatched.items())[:8]]
        if len(self.unmatched) > 8:
            lines.append(f"and {len(self.unmatched) - 8} more unmatched")
        if self.unobservable:
            lines.append(f"unobservable, so not proven: {', '.join(compact(self.unobservable))}")
        return "\n".join([*lines, *self.notes])


def joined(before: Verification, now: Verification, number: int) -> Verification:
    """What was found on all examples so far, and on one more.

    Args:
        before: of the examples so far, on which it passed.
        now: of one more.
        number: which one this is, from 1 on.
    """
    status = now.status if now.passed else f"{now.status} (example {number})"
    apart = sorted(name for name in before.kept.keys() | now.kept.keys() if before.kept.get(name) != now.kept.get(name))
    if now.passed and apart:
        status = f"no correspondence: example {number} shows other channels of {apart[0]} kept than those before it do"
    return replace(
        now,
        passed=now.passed and not apart,
        status=status,
        max_error=None if now.max_error is None else max(before.max_error or 0.0, now.max_error),
        unobservable=tuple(name for name in before.unobservable if name in now.unobservable),
        notes=tuple(dict.fromkeys((*before.notes, *now.notes))),
        tried=(*before.tried, *(f"{name} (example {number})" for name in now.tried)),
        bits=min(before.bits, now.bits),
    )


def _shown(numbers: tuple[int, ...]) -> str:
    few = ", ".join(str(n) for n in numbers[:12])
    return few if len(numbers) <= 12 else f"{few}, ..."
