"""What a network costs: operations and parameters as fvcore counts them, and time."""

from compressvqa.cost.complexity import Complexity, profile
from compressvqa.cost.latency import Latency, compare_latency, is_noisy, latency

__all__ = ["Complexity", "Latency", "compare_latency", "is_noisy", "latency", "profile"]
