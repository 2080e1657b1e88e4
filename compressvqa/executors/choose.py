"""The executor that a user asked for."""

from __future__ import annotations

from compressvqa.errors import CompressVQAError
from compressvqa.executors.processes import Processes
from compressvqa.executors.ray_cluster import RayCluster
from compressvqa.executors.shard import Shard
from compressvqa.executors.unit import Executor


def executor_of(cluster: str | None = None, shard: str | None = None, workers: int | None = None) -> Executor:
    """The executor for what was said on the command line.

    Args:
        cluster: ``local``: processes of this machine; ``auto``: the Ray cluster that this machine belongs to; else the
            address of one. None: this process, or `workers`.
        shard: ``I/N``: this share only.
        workers: processes on this machine; None: one for each core where `cluster` is "local", else one.

    Raises:
        CompressVQAError: the shard is not written so; or it stands beside a cluster, or workers beside a cluster.
        MissingExtraError: Ray is not installed.
    """
    if cluster is None or cluster == "local":
        inner = Processes(workers or (1 if cluster is None else None))
        return inner if shard is None else Shard.parse(shard, inner)
    if shard is not None:
        raise CompressVQAError("a cluster shares out the work itself", where=f"--shard {shard}", hint="without --shard")
    if workers is not None:
        raise CompressVQAError("a cluster has its own workers", where=f"--workers {workers}", hint="without --workers")
    return RayCluster(cluster)
