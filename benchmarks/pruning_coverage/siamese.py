"""Every no-reference network once more as a full-reference one: reference and distorted through it, and a distance.

The forms of distances (`distances.py`) are dealt out in turn, so that each meets many networks.
"""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from compressvqa.models import create_model, example_inputs
from pruning_coverage.case import Case
from pruning_coverage.distances import FORMS, VECTOR_FORMS, ScoreDifference


class Siamese(nn.Module):
    """Called with what the network takes, twice: reference, distorted; gives (B,) scores.

    Args:
        backbone: the network.
        read: how its features are read: "map" (`forward_features`) or "whole" (what it returns).
        channels_last: whether its maps are (B, H, W, C).
        distance: what makes a score of two maps.
    """

    def __init__(self, backbone: nn.Module, read: str, channels_last: bool, distance: nn.Module) -> None:
        super().__init__()
        self.backbone, self.read, self.channels_last, self.distance = backbone, read, channels_last, distance

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        return self.distance(self.features(reference), self.features(distorted))

    def features(self, x: Tensor) -> Tensor:
        """A map (B, C, H, W), with one place for a vector."""
        y = self.backbone.forward_features(x) if self.read == "map" else self.backbone(x)
        return as_map(y["out"] if isinstance(y, dict) else y, self.channels_last)


def as_map(y: Tensor, channels_last: bool) -> Tensor:
    """Tokens, vectors and maps of clips as maps (B, C, H, W)."""
    if y.ndim == 3:  # tokens
        return y.transpose(1, 2).unsqueeze(3)
    if y.ndim == 5:  # a map of a clip
        return y.flatten(2).unsqueeze(3)
    if y.ndim < 3:
        return y.reshape(len(y), -1, 1, 1)
    return y.permute(0, 3, 1, 2) if channels_last else y


def siamese(case: Case, number: int) -> SiameseCase:
    """The full-reference network of a no-reference one.

    Args:
        case: the no-reference one.
        number: of the network, which chooses the form of its distance.
    """
    return SiameseCase(
        f"siamese/{case.name}", case.size, case.frames, case.settings, "siamese", single=case, number=number
    )


@dataclass(frozen=True)
class SiameseCase(Case):
    """A no-reference network in two branches.

    Args:
        single: the network.
        number: chooses the form.
    """

    single: Case = field(default_factory=lambda: Case(""))
    number: int = 0

    def build(self) -> nn.Module:
        """The same at every call."""
        torch.manual_seed(zlib.crc32(self.name.encode()) % 1000)
        backbone, read = _backbone(self.single)
        examples = self.single.inputs(backbone)
        with torch.no_grad():
            y = backbone.forward_features(*examples) if read == "map" and _all_run(backbone, examples) else None
            if y is None or isinstance(y, (tuple, list)):  # a pyramid, or tokens of two kinds, or layers left out
                read, y = "whole", backbone(*examples)
        y = y["out"] if isinstance(y, dict) else y
        if not isinstance(y, Tensor):
            y = next(t for t in tree_flatten(y)[0] if isinstance(t, Tensor))
        if y.ndim < 2 or y.shape[1] == 1:
            return Siamese(backbone, "whole", False, ScoreDifference(1)).eval()
        wide = getattr(backbone, "num_features", None)
        last = y.ndim == 4 and y.shape[-1] == wide and y.shape[1] != wide
        channels = y.shape[-1] if y.ndim == 3 or last else y.shape[1]
        forms = VECTOR_FORMS if y.ndim == 2 or y[0, 0].numel() == 1 else FORMS
        return Siamese(backbone, read, last, forms[self.number % len(forms)](channels)).eval()

    def inputs(self, model: nn.Module) -> Any:
        """Two different inputs of the network."""
        from pruning_coverage.case import redrawn

        (one,) = self.single.inputs(model.backbone)
        return one, redrawn(one, 77)

    def _example(self, model: nn.Module, size: int, batch: int) -> Any:
        (one,) = example_inputs(model.backbone, size=size, frames=self.frames, batch=batch)
        return one, one


def _all_run(backbone: nn.Module, examples: Any) -> bool:
    """Whether `forward_features` leaves no layer with weights out; where it does, people call the whole network."""
    ran: set[nn.Module] = set()
    leaves = [m for m in backbone.modules() if next(m.parameters(recurse=False), None) is not None]
    hooks = [m.register_forward_hook(lambda module, *_: ran.add(module)) for m in leaves]
    backbone.forward_features(*examples)
    for hook in hooks:
        hook.remove()
    return all(m in ran for m in leaves if not list(m.children()))


def _backbone(case: Case) -> tuple[nn.Module, str]:
    """The network without its classifier, and how its features are read."""
    library = case.name.partition("/")[0]
    settings = dict(case.settings)
    if library == "timm":
        return create_model(case.name, **{**settings, "num_classes": 0}).eval(), "map"
    model = create_model(case.name, **settings).eval()
    if library == "torchvision":
        _without_classifier(model)
    elif library == "pattern":
        model.head = nn.Identity()
    return model, "whole"


def _without_classifier(model: nn.Module) -> None:
    """Takes the last linear layer out."""
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        return
    path, _, last = linear[-1].rpartition(".")
    owner = model.get_submodule(path)
    if model is owner or len(path.split(".")) == 1:
        setattr(owner, last, nn.Identity())
