"""What can be found out about a recipe before any work: whether its networks, data and stages fit one another.

A mistake costs a second here, and an hour of training where the last stage finds it.
"""

from __future__ import annotations

import torch
from torch import nn

from compressvqa import registry
from compressvqa.errors import RecipeError
from compressvqa.models import example_inputs
from compressvqa.models.factory import entry_of
from compressvqa.running.networks import Networks, is_large, try_network
from compressvqa.running.precision import fabric_of
from compressvqa.running.recipe import INITIAL, Recipe, RuntimeChoice, kind_of, start_of, teachers_of
from compressvqa.running.recipe_file import blamed, located


def preflight(recipe: Recipe, *, weights: bool = True) -> Networks:
    """Makes the networks of a recipe and checks everything against them, as far as that goes without the data.

    Args:
        recipe: the recipe.
        weights: False builds large networks on the meta device, to look at only.

    Returns:
        The networks, for the run.

    Raises:
        CompressVQAError: a network can't be made or called, a data set lacks files, a network does not take what the
            data hand out, or a stage asks for something that there is not; with file, line and stage.
    """
    for part in ("data", "unlabelled"):
        config = getattr(recipe, part)
        if config is not None:
            with located(recipe, part):
                dataset = registry.datasets[kind_of(config)].value(config)
                if hasattr(dataset, "check"):
                    dataset.check()
            with located(recipe, *blamed(recipe, (part,), ("objective",))):
                _feeds(kind_of(config), kind_of(recipe.objective))
    if weights:
        with located(recipe, "runtime", "device"):
            _is_there(recipe.runtime)
    networks = Networks(recipe, weights=weights)
    for which, choice in recipe.networks().items():
        with located(recipe, "data"):
            _fits(networks.look(which), choice.registered, recipe)
        with located(recipe, "runtime", "recompute"):
            _can_recompute(networks.look(which), choice.registered, recipe)
    works_on = {config.name: config.network for config in recipe.stages}
    rehearsal = _Rehearsal(recipe, networks)
    for position, config in enumerate(recipe.stages):
        with located(recipe, "stages", position):
            stage = registry.stages[kind_of(config)].value(config)
            wanted = getattr(stage, "data_kinds", None)
            if wanted is not None and kind_of(recipe.data) not in wanted:
                asked = f"{kind_of(config)!r} learns from {' or '.join(wanted)}"
                raise RecipeError(f"{asked}, not from {kind_of(recipe.data)}")
            if hasattr(stage, "check"):
                # The first of several teachers: it is the one whose features are compared.
                first = next(iter(teachers_of(config)), None)
                teacher = config.network if first is None else works_on.get(first, first)
                stage.check(rehearsal.given(position) or networks.look(config.network), networks.look(teacher))
            rehearsal.play(position, stage)
    return networks


class _Rehearsal:
    """The networks that stages will be given, with whatever weights, as far as their structure is known before it.

    A stage that has ``rehearse(network, inputs)`` is shown the network that it will be given: it refuses what no
    weights make possible, and returns one of the structure that it will leave, or None where that is not known.
    """

    def __init__(self, recipe: Recipe, networks: Networks) -> None:
        self._recipe, self._networks = recipe, networks
        self._left: dict[str, nn.Module | None] = {}

    def given(self, position: int) -> nn.Module | None:
        """What a stage begins with; None where that is not known, or too large to be run."""
        start = start_of(self._recipe, position)
        given = self._networks.look(self._recipe.stages[position].network) if start == INITIAL else self._left[start]
        return None if given is None or is_large(given) else given

    def play(self, position: int, stage: object) -> None:
        """Lets a stage look at what it will be given."""
        config, given = self._recipe.stages[position], self.given(position)
        left = given if registry.stages[kind_of(config)].facts.get("keeps_structure") else None
        if given is not None and hasattr(stage, "rehearse"):
            # Whatever is drawn at random here changes nothing that comes later.
            with torch.random.fork_rng(devices=[]):
                left = stage.rehearse(given, self._networks.inputs)
        self._left[config.name] = left


def _feeds(data: str, objective: str) -> None:
    """Refuses batches of another kind than the objective takes, where both were registered with theirs."""
    gives, takes = registry.datasets[data].facts.get("gives"), registry.objectives[objective].facts.get("takes")
    if gives and takes and gives != takes:
        fit = [name for name in registry.objectives if registry.objectives[name].facts.get("takes") == gives]
        raise RecipeError(f"{data} hands out {gives}, the objective {objective!r} takes {takes}",
                          hint="objective: " + " or ".join(fit))  # fmt: skip


def _is_there(runtime: RuntimeChoice) -> None:
    try:
        fabric_of(runtime)
    except Exception as error:  # Lightning's own, which is no public name
        said = " ".join(str(error).split())
        raise RecipeError(f"{runtime.device!r} is not to be had here: {said}", hint="auto or cpu") from error


def _fits(network: nn.Module, name: str, recipe: Recipe) -> None:
    """Refuses clips that a network can't be shown, where the data say how large theirs are."""
    sides, frames = _sides(recipe.data), getattr(recipe.data, "frames", None)
    if not sides or not isinstance(frames, int):
        return
    least = entry_of(name).facts.get("smallest_side")
    if isinstance(least, int) and min(sides) < least:
        raise RecipeError(f"{name} takes clips of {least} pixels or more, the data hand out {min(sides)}")
    with torch.random.fork_rng(devices=[]):
        inputs = example_inputs(network, size=min(sides), frames=frames)
    try_network(network, name, inputs, hint="the data say how large clips are")


def _sides(data: object) -> list[int]:
    """The sides of the squares that a network is shown, as data sets of ours name them."""
    for setting in ("sizes", "crop"):
        found = getattr(data, setting, None)
        if isinstance(found, int):
            return [found]
        if isinstance(found, list) and found and all(isinstance(side, int) for side in found):
            return found
    return []


def _can_recompute(network: nn.Module, name: str, recipe: Recipe) -> None:
    if recipe.runtime.recompute and not callable(getattr(network, "set_grad_checkpointing", None)):
        raise RecipeError(f"{name} can't recompute its activations", hint="runtime.recompute: false")
