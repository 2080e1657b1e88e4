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


def test_a_node_that_dies_loses_nothing_and_a_head_that_dies_leaves_a_run_that_goes_on(
    cluster: Any, tmp_path: Path
) -> None:
    second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    executor = RayCluster(cluster.address, memory=100 * 2**20)
    results, count = Results(tmp_path / "results"), 10
    found = {}
    for unit, result in executor.run(work.note, units(tmp_path, count, seconds=0.3), results):
        found[unit.name] = result
        if len(found) == 3:
            cluster.remove_node(second, allow_graceful=False)
    assert len(found) == count
    # What was running on the node that died was begun again, nothing else.
    assert len(ran(tmp_path)) - count in (0, 1)
    one = Results(tmp_path / "one")
    list(Processes(1).run(work.note, units(tmp_path, count), one))
    ray.shutdown()
    assert {name: held for name, held in files(results.folder).items() if not name.endswith(".tmp")} == files(
        one.folder
    )

    # The head: the program that waits for it ends, with what was done kept.
    more = units(tmp_path, 16, seconds=0.3)
    code = (
        "import sys; from pathlib import Path; from executors import work; from executors.test_executors import units\n"
        "from compressvqa.executors import RayCluster, Results\n"
        "folder = Path(sys.argv[2])\n"
        "executor = RayCluster(sys.argv[1], memory=100 * 2**20)\n"
        "for _ in executor.run(work.note, units(folder, 16, seconds=0.3), Results(folder / 'results')): print(flush=True)"
    )
    environment = os.environ | {"RAY_gcs_rpc_server_reconnect_timeout_s": "2"}
    driver = subprocess.Popen(
        [sys.executable, "-c", code, cluster.address, str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    assert driver.stdout is not None
    for _ in range(count + 2):
        assert driver.stdout.readline()
    cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
    assert driver.wait(timeout=120) != 0
    driver.stdout.close()
    kept = 16 - len(results.missing(unit.name for unit in more))
    assert count + 2 <= kept < 16
    list(Processes(1).run(work.note, units(tmp_path, 16), results))
    assert results.missing(unit.name for unit in more) == []


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(CompressVQAError, match="no Ray cluster answers"):
        RayCluster("127.0.0.1:1")
