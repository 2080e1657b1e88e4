"""Which modules of a network are residual blocks: network + inputs -> a `Candidate` for each that could be left out.

A block is residual if its input reaches its output through additions: what it adds can then be left out, and the rest
of the network still gets what it is used to. This is seen while the network runs, so no module type is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from compressvqa.errors import PruneError
from compressvqa.module_paths import named, unmatched
from compressvqa.pruning.cutting.removed import Removed
from compressvqa.pruning.depth.residual import BlockCall, watched
from compressvqa.pruning.recording.entries import examples_in
from compressvqa.pruning.recording.modules import modules_of
from compressvqa.pruning.recording.running import copied_inputs, quiet, run

_LISTS = (nn.ModuleList, nn.Sequential)


@dataclass(frozen=True)
class Candidate:
    """A module that takes a tensor and returns one of the same size.

    Args:
        path: its path in the network.
        residual: whether its input reaches its output through additions.
        doubt: why it can't be left out, or None.
    """

    path: str
    residual: bool = False
    doubt: str | None = None


def find_blocks(model: nn.Module, inputs: Any, blocks: str | Sequence[str] | None = None) -> list[Candidate]:
    """The blocks that could be left out, in the order of the network's modules.

    Args:
        model: any network; it is left as it was.
        inputs: what it is called with: a tuple (by position), a dict (by name) or one tensor; a list of tuples or
            dicts is several examples.
        blocks: patterns of module paths (``encoder.layers.*``), or the path of a list of modules, which means its
            elements. None: the elements of every `nn.ModuleList` and `nn.Sequential`
            that are residual and hold no smaller residual block of that kind.

    Raises:
        PruneError: a pattern matches no module, or none that could be left out; or the network has no residual block.
    """
    paths = _elements(model) if blocks is None else _named(model, [blocks] if isinstance(blocks, str) else blocks)
    found = look_at(model, inputs, paths)
    if blocks is not None:
        fit = [block for block in found if block.doubt is None]
        if not fit:
            said = "; ".join(f"{b.path} {b.doubt}" for b in found[:3])
            raise PruneError(f"no block that matches {blocks!r} can be left out: {said}", where="blocks")
        return fit
    residual = [block for block in found if block.residual and block.doubt is None]
    inner = [b for b in residual if not any(other.path.startswith(f"{b.path}.") for other in residual)]
    if not inner:
        odd = next((f"; {b.path} {b.doubt}" for b in found if (b.doubt or "").startswith("returns")), "")
        raise PruneError(
            f"the network has no residual block in an nn.ModuleList or nn.Sequential{odd}",
            where=type(model).__name__,
            hint="name its blocks, for example blocks='encoder.layers.*'",
        )
    return inner


def look_at(model: nn.Module, inputs: Any, paths: Sequence[str]) -> list[Candidate]:
    """Runs the network once for each example and says of each module whether it can be left out, and if not, why."""
    with quiet(model, fused=True), watched({path: model.get_submodule(path) for path in paths}) as calls:
        for example in examples_in(inputs):
            run(model, copied_inputs(example))
    return [_sum_up(path, calls[path]) for path in paths]


def places_of(model: nn.Module, path: str) -> list[str]:
    """Every path of the module at `path`: some networks hold a block in two lists."""
    module = model.get_submodule(path)
    return [other for other, held in model.named_modules(remove_duplicate=False) if held is module]


def unknown_module(model: nn.Module, path: str, where: str) -> PruneError:
    """The error for a path or pattern that names no module, with near ones."""
    return unmatched(path, (name for name, _ in modules_of(model)), PruneError, where=where)


def _elements(model: nn.Module) -> list[str]:
    """Paths of the elements of lists and sequences that hold parameters."""
    found = []
    for path, module in modules_of(model):
        if isinstance(module, _LISTS):
            below = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
            found += [name for name, child in below if next(child.parameters(), None) is not None]
    return found


def _named(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Paths that the patterns name, in the order of the network's modules; one path for each module."""
    modules = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
    chosen: set[str] = set()
    for pattern in patterns:
        asked = f"{pattern}.*" if isinstance(modules.get(pattern), _LISTS) else pattern
        matched = named(asked, modules)
        if not matched:
            raise unknown_module(model, pattern, "blocks")
        chosen.update(matched)
    first: dict[int, str] = {}
    for path in (p for p in modules if p in chosen):
        # What stands where a block was left out before is no block.
        if not isinstance(modules[path], Removed):
            first.setdefault(id(modules[path]), path)
    return list(first.values())


def _sum_up(path: str, calls: Sequence[BlockCall]) -> Candidate:
    """One verdict for a module that may run several times, for example on the reference and on the distorted clip."""
    if not calls:
        return Candidate(path, doubt="did not run")
    doubt = next((call.doubt for call in calls if call.doubt), None)
    return Candidate(path, all(call.residual for call in calls), doubt)
