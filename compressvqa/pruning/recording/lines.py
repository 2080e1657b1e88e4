"""Follows a run line by line: which lines of the user's code ran, and which tensors its names held before each."""

from __future__ import annotations

import contextlib
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.pruning.recording.graph import Value
from compressvqa.torch_private import untransformed

# Packages whose lines say nothing about the network: torch, this package and Python's own library.
_LIBRARY = (
    f"{Path(torch.__file__).parent}/",
    f"{Path(__file__).parent.parent}/",
    str(Path(__file__).parent.parent.parent / "torch_private.py"),
    f"{sysconfig.get_path('stdlib')}/",
    "<frozen",
)
_SITE = re.compile(r"[\\/](site|dist)-packages[\\/]")  # other packages, which may lie beneath Python's own library

Held = Mapping[str, tuple[Value, ...]]


@dataclass(eq=False)
class FollowedCall:
    """One call of a function of the user's.

    Args:
        code: the function's.
        globals: names that it sees outside.
        objects: its arguments that are no tensors, by name.
        caller: the call that led to it, and at which line.
        lines: every line that ran, in order, with the values that local names held before it.
        returned: values in what it returned.
        nothing: whether part of what it returned was None.
        listed: for each thing that is looked for, local names that held it, or a list with it, at some line.
    """

    code: CodeType
    globals: Mapping[str, Any]
    objects: dict[str, Any]
    caller: tuple[FollowedCall, int] | None
    lines: list[tuple[int, Held]] = field(default_factory=list)
    returned: tuple[Value, ...] = ()
    nothing: bool = False
    listed: list[set[str]] = field(default_factory=list)

    def ends(self) -> Iterator[Value]:
        """What it took and gave."""
        for _, held in self.lines[:1]:
            for values in held.values():
                yield from values
        yield from self.returned


class LineLog:
    """Keeps a `FollowedCall` for every call of the user's functions while `following` lasts.

    Args:
        holds: for each thing that is looked for, whether an object is it or a list with it.
    """

    def __init__(self, holds: list[Callable[[Any], bool]]) -> None:
        self.calls: list[FollowedCall] = []
        self._holds, self._open = holds, {}  # type: ignore[var-annotated]
        self._read: Callable[[Tensor], Value] | None = None

    @contextlib.contextmanager
    def following(self, read: Callable[[Tensor], Value]) -> Iterator[None]:
        """Follows what runs, with a function that tells a tensor's present value."""
        self._read, before = read, sys.gettrace()
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(before)
            self._open.clear()

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        file = frame.f_code.co_filename
        if event != "call" or (file.startswith(_LIBRARY) and not _SITE.search(file)) or file.startswith(_LIBRARY[0]):
            return None
        objects = {name: held for name, held in frame.f_locals.items() if not isinstance(held, Tensor)}
        call = FollowedCall(frame.f_code, frame.f_globals, objects, self._caller(frame))
        call.listed = [set() for _ in self._holds]
        self.calls.append(call)
        self._open[frame] = call
        return self._step

    def _caller(self, frame: FrameType) -> tuple[FollowedCall, int] | None:
        above = frame.f_back
        while above is not None:
            if above in self._open:
                return self._open[above], above.f_lineno
            above = above.f_back
        return None

    def _step(self, frame: FrameType, event: str, arg: Any) -> Any:
        call = self._open.get(frame)
        if call is None:
            return None
        if event in ("line", "return"):
            held = self._held(frame.f_locals, call)
            call.lines.append((frame.f_lineno if event == "line" else -1, held))
        if event == "return":
            call.returned += self._values(arg)
            call.nothing = call.nothing or _has_none(arg)
            if not frame.f_code.co_flags & 0x20:  # a generator goes on after what it yields
                del self._open[frame]
        return self._step

    def _held(self, names: Mapping[str, Any], call: FollowedCall) -> Held:
        found = {}
        for name, thing in names.items():
            if isinstance(thing, (int, float, str, bool)) or thing is None:
                continue
            values = self._values(thing)
            if values:
                found[name] = values
                continue
            for listed, holds in zip(call.listed, self._holds, strict=True):
                if name not in listed and holds(thing):
                    listed.add(name)
        return found

    def _values(self, thing: Any) -> tuple[Value, ...]:
        assert self._read is not None
        return tuple(self._read(tensor) for tensor in tensors_inside(thing))


class unfollowed:  # noqa: N801
    """Nothing is followed while this lasts."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        """Stops."""
        self._before = sys.gettrace()
        sys.settrace(None)

    def __exit__(self, *error: object) -> None:
        """Goes on."""
        sys.settrace(self._before)


def tensors_inside(thing: Any, depth: int = 3) -> Iterator[Tensor]:
    """Tensors in nested lists, dicts and plain objects; modules are not looked into.

    Of one inside `torch.vmap`, that which it stands for.
    """
    if isinstance(thing, Tensor):
        yield untransformed(thing)
    elif isinstance(thing, (nn.Module, type, str, int, float, bool)) or thing is None or not depth:
        return
    elif isinstance(thing, Mapping):
        for item in list(thing.values()):
            yield from tensors_inside(item, depth - 1)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        for item in list(thing):
            yield from tensors_inside(item, depth - 1)
    elif type(thing).__module__ not in ("builtins", "types", "functools", "torch"):
        for item in list(getattr(thing, "__dict__", {}).values()):
            yield from tensors_inside(item, depth - 1)


def _has_none(thing: Any, depth: int = 3) -> bool:
    if thing is None or not depth:
        return thing is None
    if isinstance(thing, Mapping):
        return any(_has_none(item, depth - 1) for item in thing.values())
    if isinstance(thing, (list, tuple)):
        return any(_has_none(item, depth - 1) for item in thing)
    return not isinstance(thing, Tensor) and any(
        _has_none(item, depth - 1) for item in getattr(thing, "__dict__", {}).values()
    )
