"""Running many units of work: on processes of this machine, as one share of several, or on a Ray cluster.

A unit is named by the hash of all that its result depends on and writes that result whole or not at all, so whatever
runs it, wherever it is killed, the results are the same bytes and what is there is not done again. What does the work
is a plain function and knows nothing of this room.
"""

from compressvqa.executors.choose import executor_of
from compressvqa.executors.processes import Processes
from compressvqa.executors.ray_cluster import RayCluster
from compressvqa.executors.results import Results
from compressvqa.executors.shard import Shard
from compressvqa.executors.together import Together
from compressvqa.executors.unit import Executor, Unit, Work

__all__ = ["Executor", "Processes", "RayCluster", "Results", "Shard", "Together", "Unit", "Work", "executor_of"]
