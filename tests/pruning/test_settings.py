"""Settings are declared once: the call, the steps, the stage and the command all know the same ones."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import typer
from pydantic import TypeAdapter, ValidationError
from torch import nn

from compressvqa.cli import app
from compressvqa.errors import PruneError
from compressvqa.pruning import Importance, Schedule, Settings, WrittenSettings, prune
from compressvqa.stages import PruneStage

WRITTEN, ALL = set(WrittenSettings.model_fields), set(Settings.model_fields)


def test_prune_spells_every_setting_with_its_default() -> None:
    """The one place where they are written again; the docstring has what each means."""
    spelled = list(inspect.signature(prune).parameters.values())[2:]
    assert {p.name for p in spelled} == ALL
    defaults = Settings(ratios=0.5).model_dump()
    assert {p.name: p.default for p in spelled} == {**defaults, "ratios": None}
    assert all(p.kind is p.KEYWORD_ONLY for p in spelled)
    said = " ".join((prune.__doc__ or "").split())
    for name, field in Settings.model_fields.items():
        assert f"{name}: {field.description}." in said


def test_every_written_setting_is_a_key_of_the_stage_and_an_option_of_the_command() -> None:
    schema = PruneStage.Config.model_json_schema()["properties"]
    command = typer.main.get_command(app).commands["prune"]  # type: ignore[attr-defined]
    options = {p.name for p in command.params}
    for name, field in WrittenSettings.model_fields.items():
        assert schema[name]["description"] == field.description
        assert name in options
    # A recipe may be written out and read again.
    config = PruneStage.Config.model_validate({"name": "p", "importance": "l2", "protect": ["a.*"]})
    assert config.importance == Importance("l2")
    assert PruneStage.Config.model_validate_json(config.model_dump_json(exclude_unset=True)) == config
    assert schema["importance"]["default"] == "l1"
    for unwritten in ALL - WRITTEN:
        with pytest.raises(ValidationError, match="Extra inputs"):
            PruneStage.Config.model_validate({"name": "p", unwritten: 1})


@pytest.mark.parametrize("settings", [{}, {"importance": "l2", "protect": "a", "round_to": 4, "max_ratio": 0.5}])
def test_a_value_that_is_good_stays(settings: dict[str, Any]) -> None:
    made = Settings.of(ratios=0.5, **settings)
    assert made.but(target_macs=0.5).target_macs == 0.5 and made.target_macs is None
    TypeAdapter(Settings).validate_python(made)


WRONG = {
    "target_macs": (0, 1.5, True, "half"),
    "target_params": (0.0, -1, "0.5"),
    "target_latency": (2, False),
    "runtime": ("tensorrt", 3),
    "importance": (3, None),
    "scope": ("everywhere", None),
    "max_ratio": (-0.1, 1.5, True),
    "attention": ("head", None),
    "protect": (3, [4], None),
    "round_to": (0, 1.5, True, "8"),
    "min_channels": (0, -2, None),
    "ratios": (1.5, "half", {"a": True}, {"a": "0.5"}, float("nan"), [0.5]),
    "also": ("train", 3, None),
    "unobservable": ("drop", None),
    "verify": (1, None),
    "remove_dead": ("no",),
    "seed": (0.5, "x"),
}


def test_every_setting_is_tried_with_wrong_values() -> None:
    assert set(WRONG) == ALL


@pytest.mark.parametrize("name, value", [(n, v) for n, values in WRONG.items() for v in values])
def test_a_wrong_value_is_named_in_one_line_before_the_network_is_run(name: str, value: object) -> None:
    class Untouched(nn.Module):
        def forward(self, x: object) -> object:
            raise AssertionError("ran")

    settings = {"ratios": 0.5, name: value}
    for call in (lambda: prune(Untouched(), (), **settings), lambda: Schedule(Untouched(), (), steps=1, **settings)):  # type: ignore[arg-type]
        with pytest.raises(PruneError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert name == "ratios" or (name in str(caught.value) and str(value).strip("[]") in str(caught.value))


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PruneError, match="prune has no setting 'target_flops'"):
        Schedule(nn.Linear(2, 2), (), steps=1, target_flops=0.5)
