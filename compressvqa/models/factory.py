"""Making a registered network by name, what it promises (`ModelSpec`), and inputs to try it with."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.errors import DataError, WeightsError
from compressvqa.models.adapters import adapted, adapted_names
from compressvqa.models.checkpoints import load_into, read_tensors
from compressvqa.models.fetching import fetching
from compressvqa.registry import Entry, models

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


def list_models(pattern: str = "*") -> list[str]:
    """Sorted names of the registered networks that match a shell pattern.

    Networks of other libraries are listed only when asked for by their prefix: "timm/*", "torchvision/*", "pyiqa/*".

    >>> list_models("rankdvqa")
    ['rankdvqa']
    >>> list_models("torchvision/r?d_18")
    ['torchvision/r3d_18']
    """
    return models.names(pattern) or adapted_names(pattern)


def entry_of(name: str) -> Entry:
    """What is registered under a name, or stands for it in an adapter.

    Raises:
        RegistryError: unknown name.
        MissingExtraError: the library behind a prefixed name is not installed.
    """
    return adapted(name) or models[name]


def create_model(name: str, *, weights: str | Path | None = None, **kwargs: Any) -> nn.Module:
    """Builds a registered network.

    Args:
        name: a name of `list_models`, also one of another library: "timm/resnet18", "torchvision/r3d_18",
            "pyiqa/cnniqa".
        weights: None for fresh random weights; a checkpoint (``.pth``, read without pickled code, also as published by
            the network's authors), a ``.safetensors`` file, or a folder that `save` wrote (a pruned network comes back
            with its pruned widths); "pretrained" for weights that ship with the package or that the other library
            fetches.
        **kwargs: the network's own settings.

    Returns:
        The network, in training mode and on the CPU.

    Raises:
        RegistryError: unknown name.
        WeightsError: the weights are missing, damaged or of another network.

    >>> sum(p.numel() for p in create_model("rankdvqa").parameters())
    4594938
    """
    entry = entry_of(name)
    if "pretrained" in kwargs:
        raise DataError(f"{name} has no setting 'pretrained'", hint='weights="pretrained"')
    if weights == "pretrained":
        if entry.facts.get("adapter") or entry.facts.get("fetches"):
            with fetching(name):
                return build(entry, kwargs, pretrained=True)
        raise WeightsError(f"no trained weights of {name!r} ship with the package", hint="weights=PATH")
    if weights is not None and Path(weights).is_dir():
        from compressvqa.models.storage import restore

        return restore(weights, expect=name, kwargs=kwargs).train()
    model = build(entry, kwargs)
    if weights is not None:
        load_into(model, _converted(entry, read_tensors(Path(weights)), model), name=name, where=weights)
    return model


def _converted(entry: Entry, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A checkpoint under the network's own names.

    The fact `convert` is a function of the state, or of the state and the network: that one can add what no file holds
    (a new head) and bring tensors to the network's settings (a position embedding).
    """
    convert = entry.facts.get("convert")
    if convert is None:
        return state
    sees_model = len(inspect.signature(convert).parameters) > 1
    converted: dict[str, Tensor] = convert(state, model) if sees_model else convert(state)
    return converted


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

    >>> [tuple(t.shape) for t in example_inputs("rankdvqa", size=96)]
    [(1, 12, 3, 96, 96), (1, 12, 3, 96, 96)]
    """
    given = {} if isinstance(name_or_model, str) else spec_of(name_or_model).kwargs
    entry = entry_of(name_or_model if isinstance(name_or_model, str) else spec_of(name_or_model).name)
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
