"""The networks that a recipe begins with: the one to compress, and those that teach where they are others."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from compressvqa import registry
from compressvqa.environment import physical_memory
from compressvqa.errors import CompressVQAError, RecipeError, WeightsError
from compressvqa.fingerprint import weights_digest
from compressvqa.models import create_model, example_inputs, spec_of
from compressvqa.models.bounds import within
from compressvqa.models.factory import entry_of
from compressvqa.running.recipe import Recipe, kind_of
from compressvqa.running.recipe_file import blamed, located
from compressvqa.untrusted.yaml_text import Place

TOO_LARGE_TO_TRY = 200_000_000  # parameters; a call of a larger network may take a minute


class Networks:
    """Makes the networks of a recipe; each is the same whenever it is made again.

    Args:
        recipe: the recipe.
        weights: False makes large networks on the meta device, without their weights: to look at only.

    Attributes:
        inputs: what all networks are called with when complexity and latency are counted.
        identity: digests of the weights that come from a file, by the network's place in the recipe.

    Raises:
        RecipeError: two of them are called with different inputs.
        CompressVQAError: a network can't be made.
    """

    def __init__(self, recipe: Recipe, *, weights: bool = True) -> None:
        self._weights = weights
        self._choices = recipe.networks()
        self._seeds = {name: zlib.crc32(f"{recipe.seed}/{name}".encode()) for name in self._choices}
        self._seeds["model"] = recipe.seed
        # One that was made for a look is handed out to the first stage that begins with it.
        self._made: dict[str, nn.Module] = {}
        clip = recipe.clip
        self.identity: dict[str, str] = {}
        found: dict[str, tuple[Tensor, ...]] = {}
        for which, choice in self._choices.items():
            with located(recipe, *_place(recipe, which)):
                _refuse_adapter(choice.registered)
                self._made[which] = self._make(which)
                found[which] = example_inputs(self._made[which], size=clip.size, frames=clip.frames)
                try_network(self._made[which], choice.registered, found[which])
                if choice.weights is not None and weights:
                    self.identity[which] = weights_digest(self._made[which])
        modes = {which: spec_of(network).mode for which, network in self._made.items()}
        for part in ("data", "unlabelled") if recipe.unlabelled is not None else ("data",):
            for which, mode in modes.items():
                with located(recipe, *blamed(recipe, (part,), _place(recipe, which))):
                    _check_references(getattr(recipe, part), which, self._choices[which].registered, mode)
        self.inputs: tuple[Tensor, ...] = found["model"]
        shapes = {which: [tuple(tensor.shape) for tensor in inputs] for which, inputs in found.items()}
        for which, shape in shapes.items():
            if shape != shapes["model"]:
                raise RecipeError(
                    f"the model is called with {shapes['model']}, {_named(which)} with {shape}",
                    hint="networks of the same inputs",
                )

    def look(self, which: str) -> nn.Module:
        """A network as it is built, to look at; not to be changed."""
        if which not in self._made:
            self._made[which] = self._make(which)
        return self._made[which]

    def initial(self, which: str) -> nn.Module:
        """A network as it is built, to be trained in place."""
        return self._made.pop(which, None) or self._make(which)

    def _make(self, which: str) -> nn.Module:
        choice = self._choices[which]
        if not self._weights and entry_of(choice.registered).facts.get("large"):
            if choice.weights not in (None, "pretrained") and not Path(choice.weights).exists():
                raise WeightsError("no such checkpoint", where=choice.weights)
            with torch.device("meta"):
                return create_model(choice.registered, **choice.options)
        torch.manual_seed(self._seeds[which])
        if choice.weights is None:  # a digit too many in `options` must not take the machine down
            with within((physical_memory() or 1 << 38) // 2):
                return create_model(choice.registered, **choice.options)
        return create_model(choice.registered, weights=choice.weights, **choice.options)


def is_large(network: nn.Module) -> bool:
    """Whether a network is not called before the work: a very large one, or one without weights."""
    parameters = list(network.parameters())
    return any(p.is_meta for p in parameters) or sum(p.numel() for p in parameters) > TOO_LARGE_TO_TRY


def _place(recipe: Recipe, which: str) -> Place:
    return ("teachers", which) if which in recipe.teachers else (which,)


def _check_references(data: BaseModel, which: str, name: str, mode: str) -> None:
    """Refuses data with references for a network that takes none, and the other way round."""
    dataset = registry.datasets[kind_of(data)].value(data)
    given = getattr(data, "reference", getattr(dataset, "references", None))
    if given is None or given == (mode == "FR"):  # None: it does not say
        return
    has = "a full-reference network" if mode == "FR" else "a no-reference network"
    said = f"{kind_of(data)} hands out {'references too' if given else 'no references'}"
    hint = "data of another kind, or another network"
    if "reference" in type(data).model_fields:
        hint = f"`data.reference: {str(not given).lower()}`"
    raise RecipeError(f"{which} {name} is {has}, but {said}", hint=hint)


def _named(which: str) -> str:
    return "the teacher" if which == "teacher" else f"the teacher {which!r}"


def _refuse_adapter(name: str) -> None:
    """A network of another library is called as that library calls it, not with clips."""
    library, _, network = name.partition("/")
    hints = {
        "timm": f"name: image-backbone, options: {{backbone: {network}}}",
        "torchvision": f"name: video-backbone, options: {{backbone: {network}}}",
        "pyiqa": "a registration function with compressvqa.models.PerFrame, see docs/own_model.md",
    }
    if network and library in hints:
        raise RecipeError(f"{name} is not called with clips (batch, frames, 3, height, width)", hint=hints[library])


@torch.inference_mode()
def try_network(
    network: nn.Module, name: str, inputs: tuple[Tensor, ...], *, hint: str = "`clip` says what it is tried with"
) -> None:
    """Calls a network once, so that one that can't be called, or gives no score a clip, is known before any work.

    Args:
        network: the network; a very large one, or one without weights, is not called.
        name: what to call it.
        inputs: of one clip.
        hint: where the size of the inputs comes from.

    Raises:
        RecipeError: it raises an error, or gives something else than (1,).
    """
    if is_large(network):
        return
    training = network.training
    try:
        scores = network.eval()(*inputs)
    except CompressVQAError:
        raise
    except Exception as error:  # a network of the user's own may fail in any way
        said = " ".join(str(error).split())
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in inputs)
        raise RecipeError(f"{name} fails on {shapes} with {type(error).__name__}: {said}",
                          hint=hint) from error  # fmt: skip
    finally:
        network.train(training)
    if not isinstance(scores, Tensor) or scores.shape != (1,):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise RecipeError(f"{name} gives {found} for one clip, not a score, (1,)", hint="docs/own_model.md")
