"""A real cluster of two nodes on this machine, one of which dies in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executors import work
from executors.test_executors import files, ran, units

from compressvqa.errors import CompressVQAError
from compressvqa.executors import Processes, RayCluster, Results

ray = pytest.importorskip("ray")
# A program of its own: Ray ends the process whose head is gone.
DRIVER = """
import sys
from pathlib import Path
from executors import work
from executors.test_executors import units
from compressvqa.executors import RayCluster, Results
folder = Path(sys.argv[2])
executor = RayCluster(sys.argv[1], memory=100 * 2**20)
for _ in executor.run(work.note, units(folder, 16, seconds=0.3), Results(folder / "results")):
    print(flush=True)
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # Nodes are programs of their own: they import the tests' functions too.
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def test_a_node_that_dies_in_the_middle_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    executor = RayCluster(cluster.address, memory=100 * 2**20)
    results, found, todo = Results(tmp_path / "results"), set(), units(tmp_path, 10, seconds=0.3)
    for unit, _ in executor.run(work.note, todo, results):
        found.add(unit.name)
        if len(found) == 3:
            cluster.remove_node(second, allow_graceful=False)
    assert found == {unit.name for unit in todo}
    # What was running on the node that died was begun again, nothing else.
    assert len(ran(tmp_path)) - len(todo) in (0, 1)
    one = Results(tmp_path / "one")
    list(Processes(1).run(work.note, units(tmp_path, 10), one))
    assert whole(results.folder) == files(one.folder)


def test_a_head_that_dies_leaves_a_run_that_goes_on(cluster: Any, tmp_path: Path) -> None:
    todo, results = units(tmp_path, 16, seconds=0.3), Results(tmp_path / "results")
    line = [sys.executable, "-c", DRIVER, cluster.address, str(tmp_path)]
    environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "2"}
    driver = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert driver.stdout is not None
    for _ in range(2):
        assert driver.stdout.readline()
    cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
    driver.communicate(timeout=120)
    assert driver.returncode != 0
    assert 2 <= 16 - len(results.missing(unit.name for unit in todo)) < 16
    before = whole(results.folder)
    list(Processes(1).run(work.note, units(tmp_path, 16), results))
    assert results.missing(unit.name for unit in todo) == []
    assert whole(results.folder).items() >= before.items()


def whole(folder: Path) -> dict[str, bytes]:
    """Files that were written to their end."""
    return {name: held for name, held in files(folder).items() if not name.endswith(".tmp")}


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(CompressVQAError, match="no Ray cluster answers"):
        RayCluster("127.0.0.1:1")
