"""The stages of a recipe: a stage takes a network and returns a network plus figures."""

from compressvqa.stages.base import Stage, StageConfig, StageContext, StageResult
from compressvqa.stages.distil import DistilStage
from compressvqa.stages.pool import PoolStage
from compressvqa.stages.prune import PruneStage
from compressvqa.stages.quantise import QuantiseStage
from compressvqa.stages.sparsify import SparsifyStage
from compressvqa.stages.train import TrainStage

__all__ = [
    "DistilStage",
    "PoolStage",
    "PruneStage",
    "QuantiseStage",
    "SparsifyStage",
    "Stage",
    "StageConfig",
    "StageContext",
    "StageResult",
    "TrainStage",
]
