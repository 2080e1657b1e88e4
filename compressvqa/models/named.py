"""A network by what people call it on a command line: a run folder, a model folder, a name, a name and its weights."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from compressvqa.errors import RegistryError, WeightsError
from compressvqa.models.adapters import adapted
from compressvqa.models.create import create_model
from compressvqa.models.factory import entry_of, list_models
from compressvqa.models.from_code import is_code
from compressvqa.models.packaged_weights import PREFIX
from compressvqa.models.shipped import not_shipped, shipped, shipped_folder
from compressvqa.models.storage import CONFIG, WEIGHTS, load
from compressvqa.registry import models
from compressvqa.untrusted import is_folder, not_a_file

WEIGHTS_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors", "")
SHIPS = "ships with compressvqa"
FRESH = "made by its name, with random weights"
PRETRAINED = "pretrained"
# What a user can do where there is no trained network of a kind that the recipes make.
MAKE = "make one with `compressvqa run recipes/rankdvqa_mini.yaml` and give its model folder"
REGISTER = "register_model in that file, and --plugin FILE.py: then the registered name is one"
ALL_NAMES = "list_models() has all names"
FORMS = "a run folder, a model folder, NAME, NAME=FILE or NAME=pretrained"


@dataclass(frozen=True)
class Named:
    """A network that was found.

    Args:
        network: in evaluation mode and on the CPU where its weights were read, in training mode where they are random.
        source: where its weights came from: a folder, a file, `SHIPS`, `FRESH`, or NAME=pretrained.
        name: what it is called, where it ships under a name of its own.
    """

    network: nn.Module
    source: str
    name: str | None = None


def find_network(text: str | Path, *, random: bool = False, others: Iterable[str] = ()) -> Named:
    """The network that a user means.

    Args:
        text: one of

            - a model folder, as `save` writes it, or its model.safetensors;
            - a run folder or the folder of a stage, which hold one;
            - NAME: a network whose trained weights ship; with `random` any name of `create_model`, whose weights are
              then drawn at random where none ship;
            - NAME=FILE: a checkpoint, or a folder of the first two kinds; NAME=pretrained: the weights that ship, or
              that the library behind the name fetches.

            What is a file or folder is never taken for a name, but for a folder that holds no model and is called like
            a network.
        random: take networks that have random weights.
        others: names that mean something else where this is called (metrics), for the hint to a misspelt one.

    Raises:
        RegistryError: nothing has this name.
        WeightsError: the folder or file is missing or holds no network, or nothing ships under this name.
    """
    text = str(text)
    path = Path(text)
    name, equals, weights = text.partition("=")
    if path.exists() and not (path.is_dir() and _is_name(text) and _model_in(path) is None):
        folder = model_folder(path)
        return Named(load(folder), str(folder))
    if equals and name and weights:
        entry_of(name)  # an unknown name is said to be one before its file is looked for
        return _with_weights(name, weights)
    if text in shipped():
        return Named(load(shipped_folder(text)), SHIPS, text)
    if not _is_name(text):
        raise _unknown(text, others)
    if not random:
        raise untrained(text)
    return Named(create_model(text), FRESH)


def model_folder(path: str | Path) -> Path:
    """The folder of a network's weights: `path` itself, the model of a run folder or of a stage, or what ships so.

    Raises:
        WeightsError: there is no such folder, it holds no model, or nothing ships under this name; or it is a file
            that does not say which network it is of.
        RegistryError: no network has this name.
    """
    path = Path(path)
    if path.name == WEIGHTS and path.is_file() and (path.parent / CONFIG).is_file():
        return path.parent
    odd = not_a_file(path, missing="")
    if odd and not is_folder(path):  # a pipe, a device, a link that leads nowhere: said before anything is opened
        raise WeightsError(odd, where=path)
    if path.is_file():
        if path.suffix == ".py":
            raise WeightsError("is code, and no network yet", where=path, hint=f"{path}:FUNCTION, which returns it")
        if path.suffix not in WEIGHTS_SUFFIXES:
            raise WeightsError("is neither a model folder nor a file of weights", where=path, hint=FORMS)
        raise WeightsError("a file of weights does not say which network it is", where=path,
                           hint=f"NAME={path}, where NAME is the network's")  # fmt: skip
    if not is_folder(path):
        name = str(path)
        if name in shipped():
            return shipped_folder(name)
        raise untrained(name) if _is_name(name) else _unknown(name, ())
    found = _model_in(path)
    if found is not None:
        return found
    if (path / "recipe.yaml").is_file():
        done = sorted(str(stage.parent) for stage in path.glob("stages/*/model") if (stage / CONFIG).is_file())
        raise WeightsError("the run has not come to its end: it holds no model yet", where=path,
                           hint=f"go on with `compressvqa run`{', or ' if done else ''}{', '.join(done)}")  # fmt: skip
    raise WeightsError(f"is no model folder: it holds no {CONFIG}", where=path, hint=FORMS)


def untrained(name: str) -> WeightsError:
    """The error that a registered network has no trained weights by its name alone."""
    if adapted(name) is not None or entry_of(name).facts.get("fetches"):
        return not_shipped(name, f"{name}=pretrained, or {name}=FILE with its weights")
    return not_shipped(name, MAKE if name.startswith("rankdvqa") else f"{name}=FILE with its weights")


def _model_in(folder: Path) -> Path | None:
    inside = folder / "model"
    found = [place for place in (folder, inside) if (place / CONFIG).is_file()]
    return found[0] if found else None


def _with_weights(name: str, weights: str) -> Named:
    if weights == PRETRAINED:
        ships = name in shipped()
        return Named(create_model(name, weights=weights).eval(), SHIPS if ships else f"{name}={weights}",
                     name if ships else None)  # fmt: skip
    if not weights.startswith(PREFIX):
        if not Path(weights).exists():
            raise WeightsError("there is no such file or folder", where=weights,
                               hint=f"{name}=FILE with the weights of {name}")  # fmt: skip
        if Path(weights).is_dir():
            weights = str(model_folder(weights))
    return Named(create_model(name, weights=weights).eval(), weights)


def _is_name(text: str) -> bool:
    return text in shipped() or text in models or (not Path(text).exists() and adapted(text) is not None)


def _unknown(text: str, others: Iterable[str]) -> RegistryError | WeightsError:
    if is_code(text):
        return RegistryError(f"{text!r} is code of your own, which is no network by its name", hint=REGISTER)
    if Path(text).name != text:  # it has a folder's separators: a path that is not there
        return WeightsError("there is no such model folder", where=text, hint=MAKE)
    known = list_models()
    others = list(others)
    near = difflib.get_close_matches(text, [*others, *known], n=3, cutoff=0.5)
    what = " nor a metric" if others else ""
    return RegistryError(f"{text!r} is neither a model folder nor a network{what}",
                         hint=", ".join(near) or f"{ALL_NAMES}{' and metrics' if others else ''}")  # fmt: skip
