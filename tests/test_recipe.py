"""Every fault of a recipe is said with its file and line; what ships is without fault."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import Field

from compressvqa.errors import RecipeError
from compressvqa.registry import stages
from compressvqa.running.recipe import Recipe, schema, shipped
from compressvqa.stages import StageConfig

GOOD = """\
version: 1
name: small
seed: 3
model:
  name: rankdvqa
objective:
  kind: rank-pairs
data:
  kind: rank-pairs
  sources: builtin
stages:
  - kind: train
    name: teacher
    steps: 5
  - kind: distil
    name: distilled
    teacher: teacher
    steps: 5
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return file


def faults(tmp_path: Path, text: str, overrides: list[str] | None = None) -> str:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(write(tmp_path, text), overrides or [])
    return str(caught.value)


def test_every_recipe_that_ships_is_without_fault() -> None:
    folder = Path(__file__).parent.parent / "recipes"
    assert {path.name for path in folder.rglob("*.yaml")} == {path.name for path in shipped().values()} != set()
    for name in shipped():
        assert Recipe.load(name).stages


@pytest.mark.parametrize("name", shipped())
def test_the_recipe_that_a_run_of_a_shipped_one_writes_reads_back_as_itself(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name)
    again = Recipe.load(write(tmp_path, recipe.to_yaml()))
    assert again.key(len(again.stages)) == recipe.key(len(recipe.stages))


def test_the_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, GOOD))
    again = Recipe.load(write(tmp_path, recipe.to_yaml()))
    assert again.to_yaml() == recipe.to_yaml()
    assert again.key(2) == recipe.key(2)


def test_all_faults_are_said_at_once_with_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("seed: 3", "sed: 3").replace("    steps: 5\n  - kind", "    stepps: 5\n  - kind")
    said = faults(tmp_path, text)
    assert "recipe.yaml:3: sed: unknown key (did you mean 'seed'?)" in said
    assert "seed: is missing" in said
    assert "recipe.yaml:14: stages.teacher.stepps: unknown key (did you mean 'steps'?)" in said
    assert "stages.teacher.steps: is missing" in said
    assert said.startswith("4 faults")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: distil", "kind: distill", ":15: stages.distilled: unknown kind 'distill' (known: distil)"),
        ("    steps: 5\n  - ", "    steps: many\n  - ", ":14: stages.teacher.steps: input should be a valid integer"),
        ("teacher: teacher", "teacher: teecher", "'teecher', which is no earlier stage"),
        ("name: distilled", "name: teacher", "two stages are named 'teacher'"),
        ("version: 1", "version: 2", ":1: version: input should be 1, not 2"),
        ("seed: 3", "seed: [3", "not valid YAML"),
        ("seed: 3", "seed: 3\nseed: 4", ":4: the key 'seed' stands twice"),
    ],
)
def test_a_fault_is_said_where_it_stands(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in faults(tmp_path, GOOD.replace(old, new, 1))


def test_settings_from_outside(tmp_path: Path) -> None:
    overrides = ["stages.teacher.steps=7", "stages.1.steps=8", "data.sources=a folder", "model.weights=null"]
    recipe = Recipe.load(write(tmp_path, GOOD), overrides)
    assert (recipe.stages[0].steps, recipe.stages[1].steps, recipe.data.sources) == (7, 8, "a folder")


def test_a_wrong_setting_from_outside_is_said_as_such(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD, ["stages.teacher.steps=few"]).startswith("--set stages.teacher.steps: ")
    assert "nothing is named 'student' there (try: teacher, distilled)" in faults(
        tmp_path, GOOD, ["stages.student.steps=1"]
    )
    assert "not of the form key=value" in faults(tmp_path, GOOD, ["steps"])


def test_a_missing_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match=r"no such recipe .*rankdvqa_mini"):
        Recipe.load("rankdvqa_min")


def test_yaml_can_not_name_a_callable(tmp_path: Path) -> None:
    assert "not valid YAML" in faults(tmp_path, GOOD.replace("seed: 3", "seed: !!python/object/apply:os.getpid []"))


def test_the_key_changes_with_what_a_stage_depends_on(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    one, later, earlier = (Recipe.load(file, o) for o in ([], ["stages.1.steps=9"], ["stages.0.steps=9"]))
    assert one.key(1) == later.key(1) and one.key(2) != later.key(2)
    assert one.key(1) != earlier.key(1) and one.key(2) != earlier.key(2)


def test_the_schema_describes_every_setting() -> None:
    made = schema().model_json_schema()
    json.dumps(made)
    for name, definition in made["$defs"].items():
        for key, info in definition.get("properties", {}).items():
            assert "description" in info or "$ref" in info, f"{name}.{key}"


def test_editors_and_we_agree(tmp_path: Path) -> None:
    """The JSON Schema accepts the recipe and refuses a misspelt key, judged by another library where it is there."""
    jsonschema = pytest.importorskip("jsonschema")
    made = schema().model_json_schema()
    jsonschema.validate(yaml.safe_load(GOOD), made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD.replace("seed", "sed")), made)


TWO = GOOD.replace(
    "objective:",
    """\
teacher:
  name: rankdvqa
  options: {dropout: 0.1}
when:
  teacher.name=c3dvqa:
    - stages.teacher.steps=0
    - teacher.options={}
objective:""",
).replace("    steps: 5\n  - kind: distil", "    steps: 5\n    network: teacher\n  - kind: distil")


def test_settings_come_along_when_another_says_so_and_what_is_set_by_hand_stays(tmp_path: Path) -> None:
    file = write(tmp_path, TWO)

    def steps(*overrides: str) -> tuple[int, dict[str, float]]:
        recipe = Recipe.load(file, overrides)
        assert recipe.teacher is not None
        return recipe.stages[0].steps, recipe.teacher.options

    assert steps() == (5, {"dropout": 0.1})
    assert steps("teacher.name=c3dvqa") == (0, {})
    assert steps("teacher.name=c3dvqa", "stages.teacher.steps=7") == (7, {})
    assert steps("teacher.name=c3dvqa", "stages.0.steps=7") == (7, {})
    assert steps("teacher.name=c3dvqa", "teacher.options.dropout=0.2") == (0, {})


def test_what_came_along_is_in_the_resolved_recipe_and_not_asked_again(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, TWO), ["teacher.name=c3dvqa", "stages.teacher.steps=7"])
    text = recipe.to_yaml()
    assert "when" not in yaml.safe_load(text)
    assert Recipe.load(write(tmp_path, text)).stages[0].steps == 7


def test_a_fault_that_came_along_is_said(tmp_path: Path) -> None:
    wrong = TWO.replace("stages.teacher.steps=0", "stages.teacher.stepz=0")
    assert "stages.teacher.stepz" in faults(tmp_path, wrong, ["teacher.name=c3dvqa"])
    assert "nothing is named 'techer'" in faults(
        tmp_path, TWO.replace("stages.teacher.steps=0", "stages.techer.steps=0"), ["teacher.name=c3dvqa"]
    )
    assert "put it in quotes" in faults(tmp_path, TWO.replace("teacher.options={}", "teacher.options={dropout: 0.2}"))
    assert "lists of settings" in faults(tmp_path, TWO.replace("    - stages.teacher.steps=0\n    - t", "    t"))


def test_a_member_of_a_family_has_its_own_name(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, TWO), ["model.name=rankdvqa", "model.size=stanet"])
    assert recipe.model.registered == "rankdvqa-stanet"
    assert Recipe.load(write(tmp_path, TWO)).model.registered == "rankdvqa"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    teacher: teacher\n", "    teacher: teacher\n    start: nobody\n", "starts from 'nobody'"),
        ("    teacher: teacher\n", "    teacher: teacher\n    start: teacher\n", "works on the other network"),
        (
            "    teacher: teacher\n",
            "    teacher: teacher\n    task_weight: 0\n    data: unlabelled\n",
            "has no `unlabelled`",
        ),
        (
            "stages:\n",
            "unlabelled: {kind: distorted-images}\nstages:\n  - {kind: train, name: a, steps: 1, data: unlabelled}\n",
            "'a' (train) needs labels",
        ),
        ("    name: distilled\n", "    name: initial\n", "can't be named 'initial'"),
        ("  options: {dropout: 0.1}\n", "  options: {dropout: 0.1}\n  sise: tiny\n", "did you mean 'size'"),
    ],
)
def test_faults_of_two_networks_are_said(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in TWO
    assert said in faults(tmp_path, TWO.replace(before, after))


SEVERAL = TWO.replace(
    "when:",
    "teachers:\n  other: {name: rankdvqa, weights: some/folder}\n  fresh: {name: rankdvqa}\nwhen:",
).replace("    teacher: teacher\n", "    teachers: {teacher: 1.0, other: 0.5}\n")


def test_several_teachers_are_stages_or_networks_that_begin_with_weights(tmp_path: Path) -> None:
    recipe = Recipe.load(write(tmp_path, SEVERAL))
    assert list(recipe.networks()) == ["model", "teacher", "other", "fresh"]
    assert recipe.stages[1].teaching == {"teacher": 1.0, "other": 0.5}
    assert Recipe.load(write(tmp_path, SEVERAL), ["stages.1.teachers=[teacher, other]"]).stages[1].teaching == {
        "teacher": 1.0, "other": 1.0,
    }  # fmt: skip
    assert Recipe.load(write(tmp_path, TWO)).stages[1].teaching == {"teacher": 1.0}
    trained = Recipe.load(write(tmp_path, SEVERAL), ["stages.0.network=fresh", "stages.0.start=initial"])
    assert trained.stages[0].network == "fresh"
    # A single teacher may be a network as it is built, too.
    assert Recipe.load(write(tmp_path, TWO.replace("teacher: teacher\n", "teacher: other\n").replace(
        "when:", "teachers: {other: {name: rankdvqa, weights: some/folder}}\nwhen:"
    ))).stages[1].teaching == {"other": 1.0}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("other: 0.5}", "fresh: 0.5}", "from 'fresh' as it is built, with random weights"),
        ("other: 0.5}", "anybody: 0.5}", "'anybody', which is no earlier stage"),
        ("other: 0.5}", "model: 0.5}", "'model', which is no earlier stage"),
        ("other: 0.5}", "distilled: 0.5}", "'distilled', which is no earlier stage"),
        ("  fresh:", "  model:", "can't be named 'model'"),
        ("  fresh:", "  a b:", "should match pattern"),
        ("    network: teacher\n", "    network: techer\n", "works on 'techer', which is no network here: model, t"),
        ("    teachers: {", "    teacher: teacher\n    teachers: {", "one of the two"),
    ],
)
def test_faults_of_several_teachers_are_said(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in SEVERAL
    assert said in faults(tmp_path, SEVERAL.replace(before, after))


def test_a_run_that_began_before_there_were_several_teachers_goes_on(tmp_path: Path) -> None:
    key = Recipe.load(write(tmp_path, TWO)).key(2)
    assert "teachers" not in key and '"teacher": "teacher"' in key
    assert '"teachers": {"other"' in Recipe.load(write(tmp_path, SEVERAL)).key(2)


def test_a_stage_on_a_teacher_needs_one(tmp_path: Path) -> None:
    text = GOOD.replace("    steps: 5\n  - kind: distil", "    steps: 5\n    network: teacher\n  - kind: distil")
    assert "the recipe has no `teacher`" in faults(tmp_path, text)


def test_networks_and_data_must_agree_on_references_and_inputs(tmp_path: Path) -> None:
    from compressvqa.running.networks import Networks

    clips = ["data={kind: mos-clips, source: builtin}", "objective.kind=mos"]
    cases = {
        ("model.name=video-backbone",): "no-reference network, but rank-pairs hands out references",
        (*clips,): r"rankdvqa is a full-reference network.*data.reference: true",
        (*clips, "data.reference=true", "model.name=video-backbone"): "data.reference: false",
        ("model.name=timm/resnet18",): r"not called with clips.*image-backbone, options: {backbone: resnet18}",
        (*clips, "model={name: stanet}"): "full-reference",
    }
    for overrides, said in cases.items():
        with pytest.raises(RecipeError, match=said):
            Networks(Recipe.load(write(tmp_path, GOOD), overrides))


def test_a_network_that_cannot_be_called_is_one_line(tmp_path: Path) -> None:
    import torch

    from compressvqa.registry import models
    from compressvqa.running.networks import Networks

    class OneScore(torch.nn.Module):
        """Averages over the batch too."""

        def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
            return (reference - distorted).mean()

    class OneSize(torch.nn.Module):
        """Takes pictures of 8 pixels."""

        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(8, 1)

        def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
            return self.line(reference - distorted).mean(dim=(1, 2, 3, 4))

    models.register("test-one-score", mode="FR")(OneScore)
    models.register("test-one-size", mode="FR")(OneSize)
    try:
        cases = (("one-score", r"gives \(\) for one clip"), ("one-size", r"RuntimeError: .*mat1.*`clip` says"))
        for name, said in cases:
            with pytest.raises(RecipeError, match=said):
                Networks(Recipe.load(write(tmp_path, GOOD), [f"model.name=test-{name}", "clip={size: 32, frames: 2}"]))
    finally:
        for name in ("one-score", "one-size"):
            del models._entries[f"test-{name}"]


def test_precision_is_a_number_for_yaml(tmp_path: Path) -> None:
    for given in ("32", "'32'"):
        assert Recipe.load(write(tmp_path, GOOD), [f"runtime.precision={given}"]).runtime.precision == "32"
    assert "should be 'auto', '32' or 'bf16'" in faults(tmp_path, GOOD, ["runtime.precision=16"])


def test_what_a_stage_is_registered_with_is_asked_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage of somebody else's that needs labels, or a teacher, is held to it as ours are."""
    monkeypatch.setattr(stages, "_entries", dict(stages._entries))

    @stages.register("copy-teacher", needs_labels=True, two_networks=True)
    class CopyTeacher:
        """A stage."""

        class Config(StageConfig):
            """Settings."""

            teacher: str = Field(description="who teaches")

        def __init__(self, config: object) -> None: ...

        def run(self, network: object, context: object) -> None: ...

    text = TWO.replace("stages:\n", "unlabelled: {kind: distorted-images}\nstages:\n", 1)
    copied = text + "  - {kind: copy-teacher, name: copied, teacher: WHO}\n"
    assert "copied' names the teacher 'nobody', which is no earlier stage" in faults(
        tmp_path, copied.replace("WHO", "nobody")
    )
    assert Recipe.load(write(tmp_path, copied.replace("WHO", "distilled"))).stages[-1].name == "copied"
    assert "(copy-teacher) needs labels" in faults(tmp_path, copied.replace("WHO", "distilled, data: unlabelled"))
