"""What tests share: a recipe small enough to run whole, and its data, prepared once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Tests run side by side, one process a core, and small tensors gain nothing from threads. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml
from hypothesis import settings
from judged import judged as make_judged
from running import command

from compressvqa import registry
from compressvqa.results import Evaluation

# A busy machine is no fault of a test; examples are the same on every run.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

SMALL = """\
version: 1
name: small
seed: 1
model:
  name: rankdvqa
  options: {widths: [4, 6, 8, 10, 12, 14], merge_width: 8, mlp_width: 8}
clip: {size: 96}
runtime: {precision: "32", threads: 1}
objective: {kind: rank-pairs}
data:
  kind: rank-pairs
  size: 96
  patches_per_clip: 1
  ladder: [{codec: x264, crf: [24, 36, 48]}]
stages:
  - {kind: train, name: teacher, steps: 12, batch: 2, checkpoint_seconds: 0.001, optimizer: {lr: 1.0e-3}}
  - {kind: sparsify, name: sparse, steps: 12, batch: 2, checkpoint_seconds: 0.001, target_density: 0.4,
     options: {base: adamw}}
  - {kind: prune, name: pruned, target_params: 0.5}
  - {kind: distil, name: distilled, teacher: teacher, steps: 12, batch: 2, checkpoint_seconds: 0.001,
     losses: {instance: 1.0, batch: 1.0, class: 1.0, feature-mse: 0.1},
     features: {scales.4.conv_out: scales.4.conv_out}}
"""


@pytest.fixture(scope="module", autouse=True)
def registries_as_they_were() -> Iterator[None]:
    """What was registered before the tests of a file is what is registered after them, whichever file comes next."""
    kinds = [kind for kind in vars(registry).values() if isinstance(kind, registry.Registry)]
    before = [(kind, {name: kind[name] for name in kind}) for kind in kinds]
    yield
    for kind, entries in before:
        kind._entries.clear()
        kind._entries.update(entries)


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with every stage that runs in seconds."""
    file = tmp_path_factory.mktemp("recipe") / "small.yaml"
    file.write_text(SMALL)
    assert yaml.safe_load(SMALL)
    return file


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory, small_recipe: Path) -> Path:
    """The prepared data of `small_recipe`."""
    folder = tmp_path_factory.mktemp("data")
    done = command("data", "prepare", str(small_recipe), str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A small real evaluation, see tests/judged.py."""
    return make_judged(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, small_recipe: Path, small_data: Path) -> Path:
    """The folder of a real run of `small_recipe`."""
    out = tmp_path_factory.mktemp("ran") / "run"
    done = command("run", str(small_recipe), "--out", str(out), "--data-folder", str(small_data))
    assert done.returncode == 0, done.stderr
    return out
