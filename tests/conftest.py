"""What tests share: a recipe small enough to run whole, and its data, prepared once."""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Tests run side by side, one process a core, and small tensors gain nothing from threads. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml
from filelock import FileLock
from hypothesis import settings
from judged import judged as make_judged
from running import command

from compressvqa import registry
from compressvqa.results import Evaluation

# A full collection walks over all that PyTorch made when it was imported, half a second each: seldom is enough.
gc.set_threshold(10_000)
atexit.register(gc.unfreeze)  # bindings count what is left at the end, and print it as leaked

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
  frames: 4
  ladder: [{codec: x264, crf: [24, 36, 48]}]
stages:
  - {kind: train, name: teacher, steps: 8, batch: 2, checkpoint_seconds: 0.001, optimizer: {lr: 1.0e-3}}
  - {kind: sparsify, name: sparse, steps: 8, batch: 2, checkpoint_seconds: 0.001, target_density: 0.4,
     options: {base: adamw}}
  - {kind: prune, name: pruned, target_params: 0.5}
  - {kind: distil, name: distilled, teacher: teacher, steps: 8, batch: 2, checkpoint_seconds: 0.001,
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


@pytest.fixture(scope="module", autouse=True)
def nothing_old_is_collected() -> None:
    """What is there before the tests of a file, PyTorch above all, is not walked over by their collections."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def torch_as_it_was() -> Iterator[None]:
    """Switches of torch that hold for the whole process are after the tests of a file what they were before them."""
    before = _switches()
    yield
    assert not before or _switches() == before, "a test of this file left a switch of torch other than it was"


def _switches() -> dict[str, object]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {"fused transformer layers": torch.backends.mha.get_fastpath_enabled(), "type": torch.get_default_dtype(),
            "gradients": torch.is_grad_enabled(), "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled()}  # fmt: skip


@pytest.fixture(scope="session")
def small_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with every stage that runs in seconds."""
    file = tmp_path_factory.mktemp("recipe") / "small.yaml"
    file.write_text(SMALL)
    assert yaml.safe_load(SMALL)
    return file


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the processes of one session of tests make once and only read."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / f"{name}.lock"):
        if not (shared / f"{name}.made").exists():
            shutil.rmtree(shared / name, ignore_errors=True)
            make(shared / name)
            (shared / f"{name}.made").touch()
    return shared / name


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory, small_recipe: Path) -> Path:
    """The prepared data of `small_recipe`."""

    def prepare(folder: Path) -> None:
        done = command("data", "prepare", str(small_recipe), str(folder))
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "small-data", prepare)


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A small real evaluation, see tests/judged.py; pickled, so that nothing of it depends on how we write and read."""

    def work(folder: Path) -> None:
        folder.mkdir()
        (folder / "judged.pickle").write_bytes(pickle.dumps(make_judged(folder)))

    found: Evaluation = pickle.loads((once(tmp_path_factory, "judged", work) / "judged.pickle").read_bytes())
    return found


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, small_recipe: Path, small_data: Path) -> Path:
    """The folder of a real run of `small_recipe`, by a fresh interpreter, as a user starts it."""

    def work(out: Path) -> None:
        line = ["run", str(small_recipe), "--out", str(out), "--data-folder", str(small_data)]
        seeded = {**os.environ, "PYTHONHASHSEED": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "compressvqa", *line], capture_output=True, text=True, env=seeded, check=False
        )
        assert done.returncode == 0, done.stderr

    return once(tmp_path_factory, "ran", work)
