"""Which network scores: the folder of a saved one, one whose weights ship, or a network in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from compressvqa.errors import DataError, RegistryError, WeightsError
from compressvqa.models import ModelSpec, load, spec_of
from compressvqa.registry import models

BLOCK = 12  # frames, where a network does not say its own
WEIGHTS_FOLDER = Path(__file__).parent.parent / "weights"


def find_network(model: str | Path | nn.Module) -> tuple[nn.Module, dict[str, Any], ModelSpec]:
    """The network, what the log says of it, and its promises."""
    if isinstance(model, nn.Module):
        network, source = model, "memory"
    else:
        folder = model_folder(model)
        network, source = load(folder), str(folder)
    try:
        spec = spec_of(network)
    except DataError:  # a network of the user's own, in memory: taken for a full-reference one
        spec = ModelSpec(type(network).__name__)
    facts = {
        "name": spec.name,
        "mode": spec.mode,
        "higher_is_better": spec.higher_is_better,
        "score_range": None if spec.score_range is None else list(spec.score_range),
        "source": source,
        "params": sum(parameter.numel() for parameter in network.parameters()),
    }
    return network, facts, spec


def model_folder(model: str | Path) -> Path:
    """The folder of a network's weights: `model` itself, the model of a run folder, or what ships under that name.

    Raises:
        WeightsError: there is no such folder, or nothing ships under that name.
        RegistryError: no network has that name.
    """
    path = Path(model)
    if path.is_dir():
        inside = path / "model"
        return inside if (inside / "config.json").is_file() and not (path / "config.json").is_file() else path
    if path.is_file():
        raise WeightsError("a file of weights does not say which network it is", where=path,
                           hint="create_model(NAME, weights=FILE), then save it and give the folder")  # fmt: skip
    name = str(model)
    shipped = WEIGHTS_FOLDER / name
    if path.name == name and (shipped / "config.json").is_file():
        return shipped
    make = "make one with `compressvqa run recipes/rankdvqa_mini.yaml` and give its model folder"
    if path.name != name:
        raise WeightsError("there is no such model folder", where=path, hint=make)
    if name != "rankdvqa-mini" and name not in models:
        raise RegistryError(f"{name!r} is neither a model folder nor a network", hint=", ".join(models))
    raise WeightsError(f"no trained weights of {name} ship with this version", hint=make)


def block_of(spec: ModelSpec) -> int:
    """How many frames the network looks at together: the fact ``frames`` that it was registered with."""
    return int(models[spec.name].facts.get("frames", BLOCK)) if spec.name in models else BLOCK
