"""Nothing fails late: what a recipe asks for in vain is told before any work, with file, line and stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from running import command

from compressvqa.errors import CompressVQAError
from compressvqa.running.pipeline import run
from compressvqa.running.preflight import preflight
from compressvqa.running.recipe import Recipe

SMALL = """\
version: 1
name: small
seed: 1
model:
  name: rankdvqa
  options: {widths: [2, 2, 2, 2, 2, 2], merge_width: 2, mlp_width: 2}
clip: {size: 96}
objective: {kind: rank-pairs}
data:
  kind: rank-pairs
  sources: SOURCES
  validation: 0.5
  size: 96
  ladder: [{codec: x264, crf: [24, 48]}]
stages:
  - {kind: train, name: teacher, steps: 3, batch: 2}
  - kind: sparsify
    name: sparse
    steps: 3
  - kind: prune
    name: pruned
    target_params: 0.5
  - {kind: distil, name: distilled, teacher: teacher, steps: 3, losses: {instance: 1.0}}
"""

MISTAKES = {
    "unknown rule": ("stages.pruned.rule=inn", "stages.pruned", "unknown ratio rule 'inn'|no ratio rule.*'inn'"),
    "unknown importance": ("stages.pruned.importance=l3", "stages.pruned", "'l3'"),
    "protect pattern": ("stages.pruned.protect=[hed]", "stages.pruned", "protect: 'hed' matches no module"),
    "blocks": (
        "stages.pruned={kind: prune, name: pruned, depth: 0.5, blocks: blockz}", "stages.pruned", "blocks: 'blockz'"),
    "sparsifier option": ("stages.sparse.options={bass: adamw}", "stages.sparse", "no option 'bass' .try: base"),
    "value of an option": ("stages.sparse.options={base: adamm}", "stages.sparse", "adamm"),
    "option of channels": (
        "stages.sparse={kind: sparsify, name: sparse, steps: 3, sparsifier: half-space, target_channels: 0.5, "
        "options: {eps: 2}}", "stages.sparse", "eps in .0, 1."),
    "option that channels don't know": (
        "stages.sparse={kind: sparsify, name: sparse, steps: 3, sparsifier: progressive, target_channels: 0.5, "
        "options: {period: 2}}", "stages.sparse", "no option 'period' .try: periods"),
    "feature path": (
        "stages.distilled={kind: distil, name: distilled, teacher: teacher, steps: 3, losses: {feature-mse: 1.0}, "
        "features: {scales.9: scales.9}}", "stages.distilled", "scales.9"),
    "unknown model": ("model.name=rankdvqua", "model", "rankdvqa"),
    "unknown option of a model": ("model.options.witdhs=[2]", "model", "witdhs"),
    "a network that no machine holds": (
        "model.options.widths=[2, 2, 2, 2, 2, 4000000000]", "model", "too large for this machine"),
    "missing weights": ("model.weights=nowhere/weights.pth", "model", "nowhere"),
    "missing data": ("data.sources=nowhere", "data", "nowhere"),
    "optimiser": ("stages.teacher.optimizer.betas=[1.5, 0.9]", "stages.teacher.optimizer", "beta"),
    "clips that are too small": ("data={kind: rank-pairs, sources: SOURCES, sizes: [32]}", "data", "32"),
    "patches too small to be coded": (
        "data={kind: rank-pairs, sources: SOURCES, size: 96}", "data", "would code 48x48 pixels"),
    "name of a device": ("runtime.device=cuda:0", "runtime.device", "'auto', 'cpu'"),
    "no references": (
        "model={name: image-backbone, options: {backbone: resnet18}}", "(model|data)", "a no-reference network, but"),
    "objective": ("objective.kind=mos", "(objective|data)", "ranked pairs, the objective 'mos' takes scored"),
    "recompute": ("runtime.recompute=true", "runtime.recompute", "can't recompute"),
    "target that no cut reaches": ("stages.pruned.target_macs=0.0001", "stages.pruned.target_macs", "the least is 0."),
    "rounding that keeps all": (
        "stages.pruned={kind: prune, name: pruned, target_params: 0.5, round_to: 16}", "stages.pruned.target_params",
        "can't reach target_params=0.5"),
    "everything is protected": (
        "stages.pruned={kind: prune, name: pruned, target_macs: 0.5, protect: ['*']}", "stages.pruned.target_macs",
        "can't reach.*protected by"),
    "share that no layer may lose": ("stages.pruned.max_ratio=0.01", "stages.pruned.", "can't reach"),
    "target of a stage that starts elsewhere": (
        "stages.distilled={kind: prune, name: distilled, start: sparse, target_params: 0.01}",
        "stages.distilled.target_params", "can't reach"),
    "depth of a network without blocks": (
        "stages.pruned={kind: prune, name: pruned, depth: 0.5}", "stages.pruned", "no residual block"),
    "nothing to prune": (
        "stages.pruned={kind: prune, name: pruned, rule: null}", "stages.pruned", "nothing is asked for"),
    "kind of data": ("stages.teacher={kind: pool, name: teacher, steps: 3}", "stages.teacher", "mos-pairs"),
}  # fmt: skip


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Two files that are called videos: nothing may look inside before the work begins."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(f"{name} is no video".encode())
    return folder


@pytest.fixture
def recipe(tmp_path: Path, sources: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(SMALL.replace("SOURCES", str(sources)))
    return file


def merged(file: Path, override: str, into: Path) -> Path:
    """The recipe as a file of its own with the setting written in."""
    key, _, value = override.partition("=")
    data = yaml.safe_load(file.read_text())
    node = data
    *path, last = key.split(".")
    for step in path:
        node = (
            next(item for item in node if item["name"] == step) if isinstance(node, list) else node.setdefault(step, {})
        )
    if isinstance(node, list):
        node[next(n for n, item in enumerate(node) if item["name"] == last)] = yaml.safe_load(value)
    else:
        node[last] = yaml.safe_load(value)
    into.write_text(yaml.safe_dump(data, sort_keys=False))
    return into


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_with_its_line_before_any_work(
    what: str, recipe: Path, sources: Path, tmp_path: Path
) -> None:
    override, place, said = MISTAKES[what]
    override = override.replace("SOURCES", str(sources))
    file = merged(recipe, override, tmp_path / "wrong.yaml")
    with pytest.raises(CompressVQAError, match=rf"(?s)wrong\.yaml:\d+: {place}.*({said})") as found:
        run(Recipe.load(file), out=tmp_path / "run")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "run" / "data").exists() and not (tmp_path / "run" / "stages").exists()
    with pytest.raises(CompressVQAError, match=rf"(?s)--set {place}.*({said})"):
        preflight(Recipe.load(recipe, [override]), weights=False)


def test_a_second_pruning_is_held_against_what_the_first_leaves(recipe: Path) -> None:
    second = "stages.distilled={kind: prune, name: distilled, rule: null, target_params: 0.3}"
    options = "model.options={widths: [4, 4, 4, 4, 4, 4], merge_width: 4, mlp_width: 4}"
    preflight(Recipe.load(recipe, [options, "stages.pruned.rule=null", second]))
    with pytest.raises(CompressVQAError, match=r"distilled.target_params: can't reach target_params=0.3 "):
        preflight(Recipe.load(recipe, [options, "stages.pruned.rule=null", "stages.pruned.target_params=0.2", second]))
    # With a rule the widths hang on zeros that training makes: it is the stage that says so, if it must.
    preflight(Recipe.load(recipe, [options, "stages.pruned.target_params=0.2", second]))


def test_a_stage_that_fails_in_its_work_says_which_line_of_the_recipe_it_is(
    small_recipe: Path, small_data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.yaml"
    stages = "  - {kind: train, name: teacher, steps: 1, batch: 2}\n  - {kind: prune, name: empty, rule: zeros}\n"
    file.write_text(small_recipe.read_text().partition("  - {kind: train")[0] + stages)
    line = len(file.read_text().splitlines())
    with pytest.raises(CompressVQAError, match=rf"recipe\.yaml:{line}: stages\.empty: .*exactly zero"):
        run(Recipe.load(file), out=tmp_path / "run", data_folder=small_data)


def test_a_recipe_without_mistakes_passes_and_nothing_is_read(recipe: Path) -> None:
    assert preflight(Recipe.load(recipe)).inputs[0].shape == (1, 12, 3, 96, 96)


def test_check_and_dry_run_tell_the_same(recipe: Path, tmp_path: Path) -> None:
    wrong = ["--set", "stages.pruned.protect=[hed]"]
    for line in (["recipes", "check", str(recipe), *wrong], ["run", str(recipe), "--dry-run", *wrong]):
        done = command(*line)
        assert done.returncode == 2 and "'hed' matches no module" in done.stderr, done.stderr
        assert done.stderr.startswith("error: --set stages.pruned.protect: ") and done.stderr.count("\n") == 1
    assert command("recipes", "check", str(recipe), "--text-only", *wrong).returncode == 0


def test_faults_between_stages_cite_their_own_lines(recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace("teacher: teacher", "teacher: teachr"))
    line = next(n for n, text in enumerate(recipe.read_text().splitlines(), 1) if "teachr" in text)
    with pytest.raises(CompressVQAError, match=rf"recipe\.yaml:{line}: stages\.distilled: .*'teachr', which is no"):
        Recipe.load(recipe)
