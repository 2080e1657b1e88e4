"""Making a registered network by name, what it promises (`ModelSpec`), and inputs to try it with."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.environment import in_bytes, physical_memory
from compressvqa.errors import DataError
from compressvqa.models.adapters import adapted, adapted_names
from compressvqa.models.shipped import shipped
from compressvqa.pruning.recording.examples import finders
from compressvqa.random_weights import are_random, note
from compressvqa.registry import Entry, models

TOO_LARGE_TO_BUILD_AGAIN = 200_000_000  # parameters: it would take a minute and the memory twice
_SPEC = "compressvqa_spec"  # attribute on the instance, so that it survives deepcopy and pruning


@dataclass(frozen=True)
class ModelSpec:
    """What a network promises to its users.

    Attributes:
        name: the registered name.
        kwargs: the constructor's arguments that were given.
        mode: "FR" (called with reference and distorted) or "NR" (distorted only).
        score_range: (lowest, highest) possible score, or None when it has no fixed range.
        higher_is_better: whether a higher score means better quality.
        inputs: "video" for (B, T, 3, H, W) clips in [0, 1]; another word for a network that reads something else.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    mode: str = "FR"
    score_range: tuple[float, float] | None = None
    higher_is_better: bool = True
    inputs: str = "video"

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return dataclasses.asdict(self)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Sorted names that `create_model` takes and that match a shell pattern: registered networks and those that ship.

    Networks of other libraries are listed only when asked for by their prefix: "timm/*", "torchvision/*", "pyiqa/*".

    Args:
        pattern: shell pattern of the names.
        pretrained: only networks whose trained weights ship with the package: ``create_model(name,
            weights="pretrained")`` needs nothing else. What other libraries would fetch is not among them.

    >>> list_models("rankdvqa")
    ['rankdvqa']
    >>> list_models("torchvision/r?d_18")
    ['torchvision/r3d_18']
    """
    if pretrained:
        return list(shipped(pattern))
    return sorted({*models.names(pattern), *shipped(pattern)}) or adapted_names(pattern)


def entry_of(name: str) -> Entry:
    """What is registered under a name, or stands for it in an adapter; of a network that ships what it was made from.

    Raises:
        RegistryError: unknown name.
        MissingExtraError: the library behind a prefixed name is not installed.
    """
    other = adapted(name)
    if other is not None:
        return other
    ships = shipped().get(name)
    is_known = ships is None or ships.model == name or name in models
    return models[name if is_known or ships is None else ships.model]


def build(entry: Entry, kwargs: dict[str, Any], **once: Any) -> nn.Module:
    """The registered network with fresh weights, its `ModelSpec` attached.

    Args:
        entry: what was registered.
        kwargs: the constructor's arguments, remembered in the spec.
        **once: further arguments that are not remembered.

    Raises:
        DataError: a setting that the network does not have.
    """
    parameters = inspect.signature(entry.value).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        unknown = sorted(set(kwargs) - set(parameters))
        if unknown:
            hint = ", ".join(name for name in parameters if name != "pretrained")
            raise DataError(f"{entry.name} has no setting {unknown[0]!r}", hint=hint)
    model = entry.value(**kwargs, **once)
    if not isinstance(model, nn.Module):
        raise DataError(f"{entry.home} returned {type(model).__name__}, not a torch.nn.Module")
    facts = {key: entry.facts[key] for key in ("score_range", "higher_is_better", "inputs") if key in entry.facts}
    setattr(model, _SPEC, ModelSpec(entry.name, dict(kwargs), entry.facts["mode"], **facts))
    if not once.get("pretrained"):
        note(model)
    return model


def spec_of(model: nn.Module) -> ModelSpec:
    """The promises of a network that `create_model` or `load` made, also after deepcopy and pruning.

    Raises:
        DataError: the network came from elsewhere.
    """
    spec = getattr(model, _SPEC, None)
    if not isinstance(spec, ModelSpec):
        raise DataError(
            f"{type(model).__name__} was not made by create_model, so how to build it again is not known",
            hint='put @compressvqa.register_model("my-net", mode="NR") on its class, or on a function that builds it, '
            'and make it by compressvqa.create_model("my-net")',
        )
    return spec


def is_untrained(model: nn.Module) -> bool:
    """Whether a network's weights are as its constructor drew them, so that its scores mean nothing.

    A constructor that makes the same weights at every call has read them from somewhere: such a network is trained.
    """
    spec = getattr(model, _SPEC, None)
    if not are_random(model) or not isinstance(spec, ModelSpec):
        return are_random(model)
    if sum(parameter.numel() for parameter in model.parameters()) > TOO_LARGE_TO_BUILD_AGAIN:
        return True
    with torch.random.fork_rng(devices=[]):
        first, second = (build(entry_of(spec.name), spec.kwargs) for _ in range(2))
    drawn = (not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    return any(drawn)


def also_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any]:
    """The further ways in which a registered network is called, so that one example need not reach all of it.

    Its author states them once, as the fact `also`: a function ``(model, inputs)`` of the network and its example
    inputs, which returns them as `prune(also=...)` takes them. The stages of a recipe and the command use them.

    Args:
        model: a network; one that was not made by `create_model` or `load` has none.
        inputs: its example inputs.

    Raises:
        DataError: the fact is no such function.
    """
    spec = getattr(model, _SPEC, None)
    if not isinstance(spec, ModelSpec):
        return []
    stated = entry_of(spec.name).facts.get("also", [])
    ways = stated(model, inputs) if callable(stated) else stated
    if not isinstance(ways, (list, tuple)):
        raise DataError(f"the fact `also` of {spec.name!r} gave {ways!r}", hint="a list of ways to call the network")
    return list(ways)


def example_inputs(
    name_or_model: str | nn.Module, *, size: int = 256, frames: int = 12, batch: int = 1
) -> tuple[Tensor, ...]:
    """Inputs to run a network with once, the same at every call: noise in [0, 1], not a picture.

    Args:
        name_or_model: a registered name, or a network made by `create_model`.
        size: height and width in pixels.
        frames: frames of a clip.
        batch: clips.

    Returns:
        What to call the network with: ``model(*example_inputs(model))``, on the CPU.

    Raises:
        DataError: they alone would take more than a quarter of this machine's memory; it says how much.

    >>> [tuple(t.shape) for t in example_inputs("rankdvqa", size=96)]
    [(1, 12, 3, 96, 96), (1, 12, 3, 96, 96)]
    """
    given = {} if isinstance(name_or_model, str) else spec_of(name_or_model).kwargs
    entry = entry_of(name_or_model if isinstance(name_or_model, str) else spec_of(name_or_model).name)
    _check_memory(entry, size, frames, batch)
    generator = torch.Generator().manual_seed(0)
    example = entry.facts.get("example")
    if example is not None:
        settings = given if entry.facts.get("adapter") else {}
        made: tuple[Tensor, ...] = example(size=size, frames=frames, batch=batch, generator=generator, **settings)
        return made
    distorted = torch.rand(batch, frames, 3, size, size, generator=generator)
    if entry.facts["mode"] == "NR":
        return (distorted,)
    noise = torch.rand(distorted.shape, generator=generator) - 0.5
    return (distorted + 0.2 * noise).clamp(0, 1), distorted


def _check_memory(entry: Entry, size: int, frames: int, batch: int) -> None:
    """Says what inputs of a size would take, before the memory is taken."""
    pictures = batch * (1 if entry.facts.get("inputs") == "images" else frames)
    needed = pictures * 3 * size * size * 4 * (2 if entry.facts["mode"] == "FR" else 1)
    there = physical_memory()
    # What a network makes of its input takes several times as much.
    if there is not None and needed > there / 4:
        what = f"{pictures} frames of {size}x{size}" + (", twice" if entry.facts["mode"] == "FR" else "")
        raise DataError(
            f"{what}, take {in_bytes(needed)} before the network makes anything of them; this machine has "
            f"{in_bytes(there)}",
            hint="a smaller size, or fewer frames",
        )


finders.append(example_inputs)
