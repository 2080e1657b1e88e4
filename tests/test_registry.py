"""The registry refuses what would surprise a user later."""

import pytest
import torch
from pydantic import BaseModel, ConfigDict, Field

from compressvqa.errors import RegistryError
from compressvqa.registry import Registry, importances, losses, models, objectives, ratio_rules, sparsifiers, stages

BUILT_IN = [
    (models, {"rankdvqa", "stanet"}),
    (losses, {"instance", "batch", "class"}),
    (sparsifiers, {"obprox-sg", "half-space", "progressive"}),
    (importances, {"l1", "l2", "taylor", "random"}),
    (ratio_rules, {"in", "sqrt", "max", "uniform", "budget"}),
    (objectives, {"rank-pairs"}),
    (stages, {"train", "sparsify", "prune", "distil"}),
]


@pytest.fixture
def names() -> Registry:
    return Registry("thing", "compressvqa.errors", lambda name, value, facts: None)


@pytest.mark.parametrize(("registry", "expected"), BUILT_IN, ids=lambda value: getattr(value, "kind", ""))
def test_the_built_in_names_are_there(registry: Registry, expected: set[str]) -> None:
    assert expected <= set(registry)


def test_a_miss_suggests_the_near_name(names: Registry) -> None:
    @names.register("rankdvqa")
    def first() -> None:
        """First."""

    with pytest.raises(RegistryError, match=r"unknown thing 'rankdvq' \(try: rankdvqa\)"):
        names["rankdvq"]


def test_a_clash_names_both_homes(names: Registry) -> None:
    @names.register("x")
    def first() -> None:
        """First."""

    with pytest.raises(RegistryError, match=r"twice: by .*first and .*second"):

        @names.register("x")
        def second() -> None:
            """Second."""

    assert names["x"].value is first


def test_a_cell_that_runs_again_may_register_again(names: Registry) -> None:
    def make():
        def again() -> None:
            """Again."""

        return again

    names.register("x")(make())
    newest = make()
    names.register("x")(newest)
    assert names["x"].value is newest


def test_a_thing_without_docstring_is_refused(names: Registry) -> None:
    with pytest.raises(RegistryError, match="has no docstring"):
        names.register("x")(lambda: None)


class TestPromises:
    def refused(self, registry: Registry, value: object, match: str, **facts: object) -> None:
        with pytest.raises(RegistryError, match=match):
            registry.register("refused-by-test", **facts)(value)
        assert "refused-by-test" not in registry

    def test_model_says_its_mode(self) -> None:
        def net() -> torch.nn.Module:
            """A net."""
            return torch.nn.Identity()

        self.refused(models, net, 'mode="FR"')

    def test_model_builds_without_arguments(self) -> None:
        def net(width: int) -> torch.nn.Module:
            """A net."""
            return torch.nn.Linear(width, 1)

        self.refused(models, net, "without positional arguments", mode="NR")

    def test_loss_takes_teacher_and_student(self) -> None:
        def loss(student: torch.Tensor) -> torch.Tensor:
            """A loss."""
            return student

        self.refused(losses, loss, r"\(teacher, student\)", on="score")

    def test_loss_says_what_it_compares(self) -> None:
        def loss(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
            """A loss."""
            return (teacher - student).abs().mean()

        self.refused(losses, loss, "what it compares")

    def test_sparsifier_is_an_optimizer(self) -> None:
        class Sparsifier:
            """No optimiser."""

        self.refused(sparsifiers, Sparsifier, "subclass of torch.optim.Optimizer")

    def test_stage_refuses_unknown_settings(self) -> None:
        class Stage:
            """A stage."""

            class Config(BaseModel):
                steps: int = Field(description="steps")

            def run(self, network: object, context: object) -> None: ...

        self.refused(stages, Stage, "refuse unknown settings")

    def test_stage_describes_its_settings(self) -> None:
        class Stage:
            """A stage."""

            class Config(BaseModel):
                model_config = ConfigDict(extra="forbid")
                steps: int

            def run(self, network: object, context: object) -> None: ...

        self.refused(stages, Stage, "describe its setting 'steps'")

    def test_stage_has_a_run(self) -> None:
        class Stage:
            """A stage."""

            class Config(BaseModel):
                model_config = ConfigDict(extra="forbid")

        self.refused(stages, Stage, "method `run`")

    @pytest.mark.parametrize(
        ("facts", "promise"),
        [
            ({"two_networks": True}, "who teaches: `teacher`, or"),
            ({"need_labels": True}, "no fact 'need_labels': needs_"),
        ],
    )
    def test_stage_s_facts_are_known_and_kept(self, facts: dict[str, bool], promise: str) -> None:
        class Stage:
            """A stage."""

            class Config(BaseModel):
                model_config = ConfigDict(extra="forbid")

            def run(self, network: object, context: object) -> None: ...

        self.refused(stages, Stage, promise, **facts)
