"""A run on the workers of a real Ray cluster of two nodes on this machine, one of which dies in the middle."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from executors.test_ray_cluster import cluster  # noqa: F401  (a fixture)
from safetensors.torch import load_file

import compressvqa as cv
from compressvqa.errors import CompressVQAError

pytest.importorskip("ray.train", exc_type=ImportError)
from compressvqa.running.on_ray import train_on_ray

STEPS = 12


@pytest.fixture
def recipe(small_recipe: Path, tmp_path: Path) -> str:
    """The teacher's training alone, long enough to be broken off."""
    held = yaml.safe_load(small_recipe.read_text())
    held["stages"] = [stage | {"steps": STEPS, "checkpoint_seconds": 0.01} for stage in held["stages"][:1]]
    held.pop("when", None)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(held))
    return str(tmp_path / "small.yaml")


def test_a_node_that_dies_in_the_middle_of_a_training(
    cluster: Any,  # noqa: F811
    recipe: str,
    small_data: Path,
    tmp_path: Path,
) -> None:
    second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    out, failed = tmp_path / "run", []

    def go() -> None:
        try:
            train_on_ray(recipe, [], out=out, data_folder=small_data, address=cluster.address)
        except BaseException as error:
            failed.append(error)

    running = threading.Thread(target=go)
    running.start()
    metrics = out / "metrics.jsonl"
    while running.is_alive() and not (metrics.exists() and len(metrics.read_text().splitlines()) >= 3):
        time.sleep(0.02)
    cluster.remove_node(second, allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    running.join(timeout=300)
    assert not failed, failed
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps[-1] == STEPS
    assert (out / "log.txt").read_text().count("INFO small: 1 stage, in") == 2  # begun, and begun again
    alone = cv.run(recipe, out=tmp_path / "alone", data_folder=small_data)
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (out, alone.folder))
    # Twelve steps of AdamW at 1e-3 move a weight by up to 1.2e-2; where a gradient is rounding, its steps are too.
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=5e-4)


def test_what_the_user_can_mend_is_said_once(cluster: Any, recipe: str, small_data: Path, tmp_path: Path) -> None:  # noqa: F811
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    with pytest.raises(CompressVQAError, match=r"stages.teacher.* at step \d+; "):
        train_on_ray(
            recipe,
            ["stages.0.optimizer.lr=1.0e+30"],
            out=tmp_path / "run",
            data_folder=small_data,
            address=cluster.address,
        )
    assert not (tmp_path / "run" / ".ray").exists()
    with pytest.raises(CompressVQAError, match=r"stages.teacher.* at step \d+; "):  # also where none is begun again
        train_on_ray(
            recipe, ["stages.0.optimizer.lr=1.0e+30"], out=tmp_path / "once", data_folder=small_data,
            address=cluster.address, restarts=0,
        )  # fmt: skip
    with pytest.raises(CompressVQAError, match=r"--workers 9: the cluster has 2 cores"):
        train_on_ray(recipe, [], out=tmp_path / "run", data_folder=small_data, address=cluster.address, workers=9)
