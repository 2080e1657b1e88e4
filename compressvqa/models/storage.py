"""A network as a folder: ``model.safetensors``, ``config.json`` and ``README.md``; no pickle anywhere.

``config.json`` holds the constructor's name and arguments, and what has changed since construction (`changes.py`), so a
pruned network comes back in a new process with nothing but the package that registered it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from compressvqa.errors import DataError, WeightsError
from compressvqa.files import exchange, finite, owned, set_aside
from compressvqa.metrics.score_scale import ScoreScale
from compressvqa.models.bounds import LARGEST_VALUE, built, check_kinds, check_layers, most_bytes
from compressvqa.models.changes import Changes, apply_changes, find_changes, stored_tensors
from compressvqa.models.checkpoints import load_into, read_tensors
from compressvqa.models.factory import build, entry_of, spec_of
from compressvqa.models.plain import is_plain, pack, unpack
from compressvqa.models.scales import scale_of, set_scale
from compressvqa.models.stored_config import MAX_WORD, check_kwargs, check_spec, read_stored
from compressvqa.random_weights import are_random, note
from compressvqa.untrusted import not_a_file

MAX_KNOTS = 1_000  # of a scale; those that are fitted have 6
FORMAT = 2  # since 2 the constructor's arguments are packed, as attributes are
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_RANDOM = "**Its weights are random: it was never trained, and its scores mean nothing.**"


def save(
    model: nn.Module, folder: str | Path, *, card: str | None = None, facts: Mapping[str, Any] | None = None
) -> Path:
    """Writes a network as a folder that `load` reads, whole or not at all; an older model in the folder is replaced.

    Args:
        model: a network made by `create_model` or `load`, also after pruning; weights keep their dtype. The scale of
            its scores, where it has one, is kept with it.
        folder: where to; other files that a model folder holds stay.
        card: text of the model card; a minimal one is written without it.
        facts: what to remember with the network (training facts, metrics), as JSON can hold it.

    Returns:
        The folder.

    Raises:
        DataError: the network was not made by `create_model`.
        WeightsError: the network changed in a way that can't be stored, or the folder holds something else.
    """
    folder = Path(folder).absolute()
    _refuse_foreign(folder)
    spec = spec_of(model)
    for key, value in spec.kwargs.items():
        if not is_plain(value):
            raise WeightsError(
                f"can't be saved: the setting {key!r} is a {type(value).__name__}, not a number, word or list of them",
                where=spec.name,
                hint="register a function that sets it, and build the network by its name",
            )
    changes = find_changes(_fresh(spec.name, spec.kwargs), model)
    tensors, scale = stored_tensors(model, changes), scale_of(model)
    # One key only: several are written in random order, and equal networks should give equal files.
    payload = safetensors.torch.save(tensors, metadata={"format": "pt"})
    config = {
        "format": FORMAT,
        "library": "compressvqa",
        "model": spec.name,
        "kwargs": {key: pack(value) for key, value in spec.kwargs.items()},
        "spec": {key: value for key, value in spec.to_dict().items() if key not in ("name", "kwargs")},
        "changes": changes.as_dict(),
        "scale": None if scale is None else scale.to_dict(),
        "facts": dict(facts or {}),
        "random_weights": are_random(model),
        "sha256": hashlib.sha256(payload).hexdigest(),
        "versions": _versions(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with owned(folder) as temporary:
        temporary.mkdir()
        (temporary / WEIGHTS).write_bytes(payload)
        (temporary / CONFIG).write_text(_json(config), encoding="utf-8")
        (temporary / CARD).write_text(card or _minimal_card(model, tensors), encoding="utf-8")
        _swap(temporary, folder)
    return folder


def load(folder: str | Path, *, dtype: torch.dtype | None = None) -> nn.Module:
    """The network of a folder that `save` wrote, in evaluation mode and on the CPU.

    Args:
        folder: the model folder.
        dtype: of the floating-point weights; by default those of half-precision files become float32, except where
            the network was built in half precision, and others stay.

    Raises:
        WeightsError: missing, damaged, of a newer format, or of another network than it says.
        RegistryError: the network's name is not registered (a plugin is missing).
    """
    return restore(folder, dtype=dtype)


def restore(
    folder: str | Path,
    *,
    expect: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    fresh: bool = False,
) -> nn.Module:
    """`load`, with constructor arguments that differ from the stored ones and a name that the network must have.

    Args:
        folder: the model folder.
        expect: the registered name that it must hold.
        kwargs: constructor arguments that come before the stored ones.
        dtype: of the floating-point weights.
        fresh: only the widths are those of the folder, the weights are drawn anew.
    """
    folder = Path(folder)
    config = read_config(folder)
    name = config["model"]
    if expect is not None and name != expect:
        raise WeightsError(f"holds a {name!r}, not a {expect!r}", where=folder, hint=f"create_model({name!r}, ...)")
    if _sha256(folder / WEIGHTS) != config["sha256"]:
        raise WeightsError("the weights are damaged: their SHA-256 differs from config.json", where=folder / WEIGHTS)
    entry, settings = entry_of(name), _kwargs(config, folder)
    check_spec(entry, config.get("spec") or {}, folder / CONFIG)
    check_kwargs(entry, settings, folder / CONFIG)
    tensors = read_tensors(folder / WEIGHTS)
    limit = most_bytes((folder / WEIGHTS).stat().st_size)
    model = built(lambda: build(entry, {**settings, **(kwargs or {})}), limit, folder / CONFIG)
    check_kinds(model, tensors, folder / WEIGHTS)
    on_purpose = {key for key, tensor in model.state_dict().items() if _is_half(tensor)}  # its forward counts on that
    tensors = {key: tensor if key in on_purpose and dtype is None else _cast(tensor, dtype)
               for key, tensor in tensors.items()}  # fmt: skip
    changes = Changes.from_dict(config["changes"], where=folder / CONFIG)
    if fresh:
        tensors |= _drawn(model, tensors)
    state = _changed(model, changes, tensors, folder / CONFIG)
    load_into(model, state, name=name, where=folder / WEIGHTS)
    check_layers(model, folder / CONFIG)
    if fresh and callable(redraw := getattr(model, "reset_parameters", None)):
        redraw()
    if fresh or config.get("random_weights"):
        note(model)
    if not fresh and config.get("scale") is not None:
        set_scale(model, _scale(config["scale"], folder))
    return model.eval()


def read_config(folder: str | Path) -> dict[str, Any]:
    """The checked ``config.json`` of a model folder.

    Raises:
        WeightsError: not a model folder, damaged, or of a newer format.
    """
    folder = Path(folder)
    _come_back(folder)
    for file in (CONFIG, WEIGHTS):
        fault = not_a_file(folder / file, missing="")
        if fault == "":
            raise WeightsError(f"not a model folder: it has no {file}", where=folder)
        if fault is not None:
            raise WeightsError(fault, where=folder / file)
    return read_stored(folder / CONFIG, FORMAT)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _changed(model: nn.Module, changes: Changes, tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """`apply_changes`, whatever a stranger's config makes it raise."""
    try:
        return apply_changes(model, changes, tensors, where=where)
    except WeightsError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise WeightsError(f"config.json does not fit its network ({said})", where=where) from error


def _scale(found: object, folder: Path) -> ScoreScale:
    try:
        scale = ScoreScale.from_dict(found)  # type: ignore[arg-type]  # whatever it is, it is checked there
    except DataError as error:
        raise WeightsError(str(error), where=folder / CONFIG) from error
    if len(scale.raw) > MAX_KNOTS or len(scale.fitted_to) > MAX_WORD or max(map(abs, scale.raw)) > LARGEST_VALUE:
        raise WeightsError("the scale is damaged: no scale is that large", where=folder / CONFIG)
    return scale


def _kwargs(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    if config["format"] == 1:
        return dict(config["kwargs"])
    try:
        return {key: unpack(value) for key, value in config["kwargs"].items()}
    except ValueError as error:
        raise WeightsError(f"config.json is damaged: kwargs hold {error}", where=folder / CONFIG) from error


def _fresh(name: str, kwargs: dict[str, Any]) -> nn.Module:
    """A network as constructed, without disturbing anybody's random numbers."""
    with torch.random.fork_rng(devices=[]):
        return build(entry_of(name), kwargs)


def _drawn(model: nn.Module, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a fresh network holds under the stored names: the first of its channels, as many as are stored."""
    found = {}
    for name, tensor in model.state_dict().items():
        if name in stored and tensor.is_floating_point():  # whole numbers are places in a table, not weights
            found[name] = tensor[tuple(slice(size) for size in stored[name].shape)].clone()
    return found


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    if dtype is None:
        return tensor.float() if _is_half(tensor) else tensor
    return tensor.to(dtype)


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.element_size() < 4


def _json(config: dict[str, Any]) -> str:
    try:
        return json.dumps(finite(config), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except TypeError as error:
        raise WeightsError(f"kwargs or facts hold something that JSON can't: {error}") from error


def _refuse_foreign(folder: Path) -> None:
    """A typo must not replace somebody's folder: only an empty folder or a model folder is written to."""
    if folder.is_file():
        raise WeightsError("is a file, not a folder", where=folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        read_config(folder)
    except WeightsError as error:
        known = {WEIGHTS, CONFIG, CARD}
        # A damaged model folder may be written again; anything else is not ours.
        if not {path.name for path in folder.iterdir()} <= known:
            raise WeightsError("the folder holds something else than a model", where=folder) from error


def _swap(new: Path, folder: Path) -> None:
    """Puts the finished folder in its place; at every moment the old or the new model can be loaded whole."""
    _come_back(folder)
    if not folder.exists():
        new.rename(folder)
        return
    for (
        path
    ) in folder.iterdir():  # what is not ours stays: it is in the new folder before that takes the old one's place
        if not (new / path.name).exists():
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, new / path.name, copy_function=_linked, symlinks=True)
            else:
                _linked(path, new / path.name)
    exchange(new, folder)


def _linked(source: str | Path, target: str | Path) -> None:
    """A file under a second name, or a copy of it where the file system has no such names."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _come_back(folder: Path) -> None:
    """Puts back a model that a kill left aside."""
    aside = set_aside(folder)
    if aside.is_dir() and not folder.exists():
        with contextlib.suppress(OSError):  # another process was quicker
            aside.rename(folder)


def _versions() -> dict[str, str]:
    found = {}
    for package in ("compressvqa", "torch", "safetensors"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a source tree without installing
            found[package] = "not installed"
    return found


def _minimal_card(model: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    spec = spec_of(model)
    count = sum(parameter.numel() for parameter in model.parameters())
    better = "higher" if spec.higher_is_better else "lower"
    return (
        f"---\nlibrary_name: compressvqa\ntags:\n- video-quality-assessment\n---\n\n# {spec.name}\n\n"
        f"A quality network ({spec.mode}) of {count:,} parameters in {len(tensors)} tensors; "
        f"{better} scores are better.\n"
        f"{_RANDOM if are_random(model) else 'Its training data and metrics were not recorded.'}\n\n"
        "```python\nimport compressvqa as cv\n\nmodel = cv.load(FOLDER)\n```\n"
    )
