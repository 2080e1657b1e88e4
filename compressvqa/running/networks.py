"""The networks that a recipe begins with: the one to compress, and those that teach where they are others."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn

from compressvqa.errors import CompressVQAError, RecipeError
from compressvqa.models import create_model, example_inputs, spec_of
from compressvqa.running.recipe import Recipe

TOO_LARGE_TO_TRY = 200_000_000  # parameters; a call of a larger network may take a minute


class Networks:
    """Makes the networks of a recipe; each is the same whenever it is made again.

    Args:
        recipe: the recipe.

    Attributes:
        inputs: what all networks are called with when complexity and latency are counted.

    Raises:
        RecipeError: two of them are called with different inputs.
        CompressVQAError: a network can't be made.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._choices = recipe.networks()
        self._seeds = {name: zlib.crc32(f"{recipe.seed}/{name}".encode()) for name in self._choices}
        self._seeds["model"] = recipe.seed
        # One that was made for a look is handed out to the first stage that begins with it.
        self._made: dict[str, nn.Module] = {}
        clip = recipe.clip
        found: dict[str, tuple[Tensor, ...]] = {}
        for which, choice in self._choices.items():
            _refuse_adapter(choice.registered)
            self._made[which] = self._make(which)
            found[which] = example_inputs(self._made[which], size=clip.size, frames=clip.frames)
            _try(self._made[which], choice.registered, found[which])
        _check_references(recipe, {which: spec_of(network).mode for which, network in self._made.items()})
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
        torch.manual_seed(self._seeds[which])
        return create_model(choice.registered, weights=choice.weights, **choice.options)


def _check_references(recipe: Recipe, modes: dict[str, str]) -> None:
    """Refuses data with references for a network that takes none, and the other way round."""
    given = getattr(recipe.data, "reference", None)
    for which, mode in modes.items():
        choice = recipe.networks()[which]
        if given is not None and given != (mode == "FR"):
            has = "a full-reference network" if mode == "FR" else "a no-reference network"
            data = f"{recipe.data.kind} hands out {'references too' if given else 'no references'}"
            other = f"`data.reference: {str(not given).lower()}`"
            hint = (
                other if "reference" in type(recipe.data).model_fields else "data of another kind, or another network"
            )
            raise RecipeError(f"{which} {choice.registered} is {has}, but {data}", hint=hint)


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
def _try(network: nn.Module, name: str, inputs: tuple[Tensor, ...]) -> None:
    """Calls a network once, so that one that can't be called, or gives no score a clip, is known before any work."""
    if sum(parameter.numel() for parameter in network.parameters()) > TOO_LARGE_TO_TRY:
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
                          hint="`clip` says what it is tried with") from error  # fmt: skip
    finally:
        network.train(training)
    if not isinstance(scores, Tensor) or scores.shape != (1,):
        found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise RecipeError(f"{name} gives {found} for one clip, not a score, (1,)", hint="docs/own_model.md")
