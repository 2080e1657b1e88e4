"""What a network's channels are tied to, found by running it once: network + inputs -> `Trace`.

    trace = trace(model, inputs)
    print(trace)            # unknown operators, dead modules
    for group in find_groups(trace): ...

A trace decides nothing: it holds facts, and whatever is in doubt is frozen with a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from compressvqa.errors import PruneError
from compressvqa.pruning.dependency.dependencies import Dependencies
from compressvqa.pruning.dependency.propagation import Propagation
from compressvqa.pruning.dependency.rules import known
from compressvqa.pruning.recording.doors import enter
from compressvqa.pruning.recording.entries import Entry, entries_of
from compressvqa.pruning.recording.graph import Graph
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.record import record
from compressvqa.pruning.recording.running import leaves_of
from compressvqa.pruning.recording.unexplored import follow
from compressvqa.pruning.recording.unreached import Unreached, touched, unreached
from compressvqa.torch_private import tables

ATTENTION = ("keep", "heads", "width")


@dataclass(frozen=True)
class Unknown:
    """An operator without a rule: the channels that it touched are frozen."""

    operator: str
    module: str
    place: str

    def __str__(self) -> str:
        return f"{self.operator} in {self.module or 'the network'} ({self.place})"


@dataclass(frozen=True)
class Trace:
    """The facts of one run, or of several that are joined.

    Args:
        entries: the ways in which the network was called; the work of the first is what counts as its MACs.
        graph: the operators that ran.
        dependencies: which channels are tied and which are frozen.
        parameters: number of elements of every parameter, by name.
        owners: path of the module that every leaf belongs to.
        dead: paths of the modules that ran and whose result reaches no output, with their parameter counts.
        dead_parameters: names of all parameters that were read and reach no output, also those outside dead modules.
        unreached: what no run read: the largest such modules, and single parameters of modules that ran.
        uncalled: paths of modules with parameters that were never called.
        unknown_ops: operators without a rule that touched channels.
    """

    entries: tuple[Entry, ...]
    graph: Graph
    dependencies: Dependencies = field(repr=False)
    parameters: dict[str, int]
    owners: dict[str, str]
    dead: dict[str, int]
    dead_parameters: tuple[str, ...]
    unreached: tuple[Unreached, ...]
    uncalled: tuple[str, ...]
    unknown_ops: tuple[Unknown, ...]

    def with_attention(self, attention: str) -> Trace:
        """The same run under a choice of what may go of attention's heads; the network is not run again."""
        if attention == self.dependencies.attention:
            return self
        found = Propagation(self.graph, attention=attention).run()
        return replace(self, dependencies=found, unknown_ops=_unknown(found))

    @property
    def probed_ops(self) -> tuple[Unknown, ...]:
        """Operators without a rule that pass channels, as trials on random numbers showed."""
        return tuple(Unknown(node.op, node.module, node.place) for node in self.dependencies.probed)

    def is_dead(self, paths: Iterable[str]) -> bool:
        """Whether all these layers lie in dead modules."""
        return all(any(path == d or path.startswith(f"{d}.") for d in self.dead) for path in paths)

    def __str__(self) -> str:
        total = sum(self.parameters.values())
        lines = [f"{len(self.graph.nodes)} operators, {total:,} parameters"]
        lines += [f"unknown operator, channels kept: {u}" for u in self.unknown_ops]
        lines += [f"probed operator, channels pass: {u}" for u in self.probed_ops]
        lines += [f"dead: {path} ({count:,} parameters, {count / total:.1%})" for path, count in self.dead.items()]
        lines += [f"did not run: {thing} ({thing.elements:,} parameters)" for thing in self.unreached if thing.elements]
        return "\n".join(lines)


def trace(model: nn.Module, inputs: Any, *, also: Sequence[Any] = (), attention: str = "keep") -> Trace:
    """Runs a network once, without gradients and in eval mode, and finds which channels are tied.

    Args:
        model: any network; of one that is wrapped or compiled, paths are those of the network inside. Its mode, hooks,
            gradients and buffers are left as they were, also after an error.
        inputs: a tuple or list (given by position), a dict (by name) or one tensor. Tensors may be nested. A list of
            tuples or dicts is several examples, each of which is run.
        also: other ways to call it, as in `prune`: each is run, and the traces are joined.
        attention: what may go of attention's heads: "keep" nothing, "heads" whole heads, "width" the same channels of
            every head.

    Raises:
        PruneError: the network or its inputs are not accepted, it raises an error or returns no tensor, `attention` is
            another word, or an item of `also` is no way to call the network.
    """
    model, inputs, _ = enter(model, inputs)
    return trace_open(model, inputs, also=also, attention=attention)


def trace_open(model: nn.Module, inputs: Any, *, also: Sequence[Any] = (), attention: str = "keep") -> Trace:
    """`trace` of what was let in already (recording/doors.py)."""
    if attention not in ATTENTION:
        raise PruneError(f"attention is {attention!r}", hint=", ".join(ATTENTION))
    entries = entries_of(model, inputs, also)
    with torch.inference_mode(False):
        graph = record(model, entries, known=known)
        missed = unreached(model, graph)
        graph = follow(
            model,
            graph,
            lambda log, ends: record(model, entries, known=known, log=log, boundaries=ends),
            missed,
            entries,
        )
    owners = {name: name.rpartition(".")[0].split(".parametrizations.")[0] for name in graph.leaves}
    found = Propagation(graph, attention=attention).run()
    parameters = {name: p.numel() for name, p in model.named_parameters()}
    live_nodes, live_values = graph.live()
    read = touched(graph)
    dead = tuple(name for name in parameters if name in read and graph.leaves[name].index not in live_values)
    return Trace(
        entries=entries,
        graph=graph,
        dependencies=found,
        parameters=parameters,
        owners=owners,
        dead=_dead_modules(model, graph, live_nodes, set(dead)) if dead else {},
        dead_parameters=dead,
        unreached=tuple(missed),
        uncalled=_uncalled(model, graph),
        unknown_ops=_unknown(found),
    )


def _unknown(dependencies: Dependencies) -> tuple[Unknown, ...]:
    return tuple(Unknown(node.op, node.module, node.place) for node in dependencies.unknown)


def _dead_modules(
    model: nn.Module, graph: Graph, live_nodes: Collection[int], dead_parameters: set[str]
) -> dict[str, int]:
    """The largest modules that could be left out, with their parameter counts."""
    busy = {""}
    for running in {graph.nodes[number].module for number in live_nodes}:
        above = running
        while above not in busy:
            busy.add(above)
            above = above.rpartition(".")[0]
    dead_tensors = {id(leaf) for name, leaf in leaves_of(model).items() if name in dead_parameters}
    dead: dict[str, int] = {}
    for path, module in modules_of(model):
        if path in busy or any(path.startswith(f"{gone}.") for gone in dead):
            continue
        # Lists are walked over and an uncalled sequence may be: their members are left out one by one.
        walked = isinstance(module, (nn.ModuleList, nn.ModuleDict)) or (
            isinstance(module, nn.Sequential) and path not in graph.called
        )
        parameters = list(module.parameters())
        if parameters and not walked and all(id(p) in dead_tensors for p in parameters):
            dead[path] = sum(p.numel() for p in parameters)
    return dead


def _uncalled(model: nn.Module, graph: Graph) -> tuple[str, ...]:
    return tuple(
        path
        for path, module in modules_of(model)
        if path and path not in graph.called and any(p is not None for p in tables(module)[0].values())
    )
