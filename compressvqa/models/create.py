"""`create_model`: a registered network by name, with fresh weights, those of a checkpoint or those of a folder."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from compressvqa.errors import DataError
from compressvqa.models.checkpoints import load_into, read_tensors
from compressvqa.models.factory import build, entry_of
from compressvqa.models.fetching import fetching
from compressvqa.models.packaged_weights import PREFIX, load_packaged
from compressvqa.models.shipped import not_shipped, shipped, shipped_folder
from compressvqa.models.storage import restore
from compressvqa.registry import Entry
from compressvqa.untrusted import is_folder


def create_model(name: str, *, weights: str | Path | None = None, **kwargs: Any) -> nn.Module:
    """Builds a registered network.

    Args:
        name: a name of `list_models`, also one of another library: "timm/resnet18", "torchvision/r3d_18",
            "pyiqa/cnniqa". A name that only ships ("rankdvqa-mini": a pruned network) stands for the widths that it
            ships with, whatever the weights.
        weights: None for fresh random weights; a checkpoint (``.pth``, read without pickled code, also as published by
            the network's authors), a ``.safetensors`` file, or a folder that `save` wrote (a pruned network comes back
            with its pruned widths); "pretrained" for weights that ship with the package
            (``list_models(pretrained=True)``; stored in half precision, float32 once loaded) or that the other
            library fetches.
        **kwargs: the network's own settings.

    Returns:
        The network, in training mode and on the CPU.

    Raises:
        RegistryError: unknown name.
        WeightsError: the weights are missing, damaged or of another network.
        MissingExtraError: the package that holds the weights is not installed.

    >>> sum(p.numel() for p in create_model("rankdvqa").parameters())
    4594938
    """
    entry = entry_of(name)
    if "pretrained" in kwargs:
        raise DataError(f"{name} has no setting 'pretrained'", hint='weights="pretrained"')
    if weights == "pretrained":
        if name in shipped() and entry.name == shipped()[name].model:
            return restore(shipped_folder(name), kwargs=kwargs).train()
        if entry.facts.get("adapter") or entry.facts.get("fetches"):
            with fetching(name):
                return build(entry, kwargs, pretrained=True)
        raise not_shipped(name)
    if weights is not None and is_folder(weights):
        return restore(weights, expect=entry.name, kwargs=kwargs).train()
    only_ships = entry.name != name
    model = restore(shipped_folder(name), kwargs=kwargs, fresh=True).train() if only_ships else build(entry, kwargs)
    if isinstance(weights, str) and weights.startswith(PREFIX):
        load_packaged(model, weights)
    elif weights is not None:
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
