"""Runs a network once for each of its entries and writes down every operator: network + entries -> `Graph`.

The operators are seen below autograd, so shared, frozen and no_grad modules, functional calls on another module's
weight and data-dependent Python all look alike. Parameters and buffers are recognised by identity.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from compressvqa.errors import CompressVQAError, PruneError
from compressvqa.pruning.recording.boundaries import Boundaries
from compressvqa.pruning.recording.calls import Calls, UnfollowedCalls
from compressvqa.pruning.recording.entries import Entry
from compressvqa.pruning.recording.failures import explained, said
from compressvqa.pruning.recording.graph import Graph
from compressvqa.pruning.recording.integers import Remark, watched
from compressvqa.pruning.recording.lines import LineLog, tensors_inside
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.places import tagged
from compressvqa.pruning.recording.recorder import Recorder, UnfollowedRecorder
from compressvqa.pruning.recording.running import quiet, tensors_of
from compressvqa.pruning.recording.untouched import seed_all
from compressvqa.torch_private import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)


def record(
    model: nn.Module,
    entries: Sequence[Entry],
    *,
    known: Callable[[str], bool],
    log: LineLog | None = None,
    boundaries: Boundaries | None = None,
) -> Graph:
    """Runs `model` once in each way and returns what happened. The model is left as it was, also after an error.

    Args:
        model: any network.
        entries: the ways to call it, with examples.
        known: tells whether an operator has a rule; one without is taken apart into smaller ones where torch can.
        log: follows the runs line by line.
        boundaries: is filled with the values that each module took and gave.

    Raises:
        PruneError: the network raised an error, or returned no tensor.
    """
    try:
        return _record(model, entries, known, log, boundaries, origins=True)
    except PruneError:
        raise
    except Exception:
        # Numbers with an origin are a kind of int, which not everything outside torch takes for one.
        return _record(model, entries, known, log, boundaries, origins=False)


def _record(
    model: nn.Module,
    entries: Sequence[Entry],
    known: Callable[[str], bool],
    log: LineLog | None,
    boundaries: Boundaries | None,
    *,
    origins: bool,
) -> Graph:
    # What torch does inside a call says nothing about the forward, and takes long to follow.
    recorder = Recorder(model, known) if log is None else UnfollowedRecorder(model, known)
    calls = (Calls if log is None else UnfollowedCalls)(recorder, origins=origins)
    known_remarks: set[Remark] = set()
    for entry in entries:
        example = entry.copied().inputs
        recorder.begin(example)
        with (
            quiet(model, train=entry.train),
            tagged(model, recorder.leaf_values()) if origins else contextlib.nullcontext(),
            _module_paths(model, recorder, boundaries),
            recorder.undo_writes(),
        ):
            followed = contextlib.nullcontext() if log is None else log.following(recorder.read)
            told = contextlib.nullcontext() if origins else _explained(model, entry, first=entry is entries[0])
            with told, watched() as remarks, followed, recorder, calls:
                seed_all(0)
                outputs = entry.call(model, example)
            recorder.graph.remarks += [remark for remark in dict.fromkeys(remarks) if remark not in known_remarks]
            known_remarks.update(remarks)
            returned = tensors_of(outputs)
            if not returned:
                who = "the network" if entry is entries[0] else entry
                hint = "return it in a tuple, list, dict or dataclass"
                raise PruneError(f"{who} returned no tensor (but {_kind_of(outputs)})", hint=hint)
            recorder.graph.outputs += [recorder.read(t) for t in returned]
    return recorder.graph


@contextlib.contextmanager
def _explained(model: nn.Module, entry: Entry, *, first: bool) -> Iterator[None]:
    """Turns what a way to call the network raises into one line."""
    if first:
        with explained(model, entry.inputs):
            yield
        return
    try:
        yield
    except CompressVQAError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise PruneError(f"{entry} can't be run on its example ({said(error)})", where="also") from error


def _kind_of(outputs: Any) -> str:
    return "None" if outputs is None else f"a {type(outputs).__name__}"


@contextlib.contextmanager
def _module_paths(model: nn.Module, recorder: Recorder, boundaries: Boundaries | None) -> Iterator[None]:
    """Keeps the recorder's stack of running modules by global hooks, so that the model's own hooks stay untouched."""
    paths = {id(m): name for name, m in modules_of(model)}

    def enter(module: nn.Module, args: Any) -> None:
        recorder.stack.append(paths.get(id(module), recorder.stack[-1]))
        recorder.graph.called.add(recorder.stack[-1])

    def leave(module: nn.Module, arguments: Any, named: Any, gave: Any = None) -> None:  # None where it failed
        path = recorder.stack.pop()
        if boundaries is not None:
            ends = ([recorder.read(t) for t in tensors_inside(side)] for side in ((arguments, named), gave))
            boundaries.note(path, *ends)

    handles = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, with_kwargs=True, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
