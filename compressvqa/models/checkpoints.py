"""Tensors out of checkpoint files that nobody has to trust, and into a network with clear words when they don't fit."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from compressvqa.errors import WeightsError
from compressvqa.models.bounds import check_kinds, check_value
from compressvqa.untrusted import local_file

_WRAPPERS = (
    "model_state_dict",
    "state_dict",
    "model",
    "module",
    "params",
)  # keys that trainers put their weights under


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a ``.safetensors`` file or of a PyTorch checkpoint (never running code from it).

    A checkpoint may hold the tensors at top level or under ``model_state_dict``, ``state_dict``, ``model``, ``module``
    or ``params``; a ``module.`` before every name (DataParallel) is taken off.

    Raises:
        WeightsError: no such file, damaged, or no weights in it.
    """
    local_file(path, WeightsError, missing="no such checkpoint")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"not a readable safetensors file: {_first_line(error)}", where=path) from error
    return _named_tensors(read_checkpoint(path), path)


def read_checkpoint(path: Path) -> Any:
    """What a PyTorch checkpoint holds: tensors, numbers and texts in lists and dictionaries, and nothing that is code.

    Raises:
        WeightsError: damaged, compressed, or it holds other objects.
    """
    try:
        _refuse_compressed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickles, which are read or refused all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    # A damaged pickle makes torch raise anything.
    except Exception as error:
        raise WeightsError(
            f"not a checkpoint of plain tensors: {why_no_tensors(error)}",
            where=path,
            hint="a .safetensors file, or torch.save(model.state_dict(), path) by whoever made it",
        ) from error


def _refuse_compressed(path: Path) -> None:
    """PyTorch stores what it saves as it is; a small file that unpacks to a large one is somebody's trap."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(
                    f"its part {member.filename[:80]!r} is compressed, which PyTorch never does", where=path
                )


_OBJECT = re.compile(r"(?:GLOBAL|global|class|function)\s+[\"'`]?(?P<name>[A-Za-z_][\w.]*)")


def why_no_tensors(error: Exception) -> str:
    """What is wrong with a checkpoint, in our own words: PyTorch's advise to switch its safety off."""
    said = str(error)
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in said:
        found = _OBJECT.search(said.partition("Unsupported")[2] or said.partition("WeightsUnpickler error")[2])
        named = f" ({found['name'][:80]})" if found else ""
        return f"it is damaged, or holds objects beside tensors{named}, which could run code"
    return _first_line(error)[:200]


def _named_tensors(content: object, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError("holds no state dict (names to tensors)", where=path)
    if all(str(name).startswith("module.") for name in content):
        return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    return {str(name): tensor for name, tensor in content.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]


def load_into(model: nn.Module, state: Mapping[str, Tensor], *, name: str, where: object) -> None:
    """Copies `state` into `model`, strictly: every name and every shape must fit, and every value must be a number.

    Raises:
        WeightsError: names a few of the tensors that don't fit, and which network the file seems to hold.
    """
    wanted, weights = model.state_dict(), {key for key, _ in model.named_parameters(remove_duplicate=False)}
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or extra:
        faults = [_few("lacks", missing), _few("has unknown", extra)]
        raise WeightsError(
            f"these are not the weights of {name!r}: the file {' and '.join(f for f in faults if f)}",
            where=where,
            hint=_seems_to_hold(state),
        )
    check_kinds(model, state, where)
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise WeightsError(
                f"these are not the weights of this {name!r}: {key} is {tuple(tensor.shape)}, "
                f"the network's {tuple(wanted[key].shape)}",
                where=where,
                hint="the settings that the weights were trained with, or the folder that save() wrote",
            )
        check_value(key, tensor, is_weight=key in weights, where=where)
    versioned = OrderedDict(state)
    # Modules that have changed their format ask for the version; what is loaded is of the version that runs.
    versioned._metadata = wanted._metadata  # type: ignore[attr-defined]
    model.load_state_dict(versioned, strict=True)


def _few(verb: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{verb} {', '.join(names[:3])}{more}"


# First part of a tensor's name in checkpoints that users are likely to hold.
_SIGNS = {
    "net.moduleExtractor.": "an official RankDVQA checkpoint: create_model('rankdvqa', weights=...)",
    "extractor.stages.": "our 'rankdvqa'",
    "conv3d_block": "an official STANet checkpoint: create_model('stanet', weights=...)",
    "weigh.": "our 'stanet'",
    "clip_projector.": "an InternVideo2: create_model('internvideo2-b14', weights=...), or another size of it",
    "vision_encoder.clip_projector.": "an InternVideo2: create_model('internvideo2-1b14', weights=...)",
    "optimizer": "an optimiser's state",
}


def _seems_to_hold(state: Mapping[str, Tensor]) -> str | None:
    for sign, network in _SIGNS.items():
        if any(name.startswith(sign) for name in state):
            return f"the file seems to hold {network}"
    return None
