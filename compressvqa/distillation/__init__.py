"""What a student learns from its teacher: losses, taps into both networks, and a memory of what the teacher said."""

from compressvqa.distillation import (
    correlation,
    features,
    logits,
    losses,
    ranking,
    relations,
    scores,
    similarity,
)
from compressvqa.distillation.combine import DistillationLoss, Outputs
from compressvqa.distillation.losses import batch, class_, instance
from compressvqa.distillation.margins import to_probabilities
from compressvqa.distillation.pairs import pair_taps
from compressvqa.distillation.ranks import soft_rank
from compressvqa.distillation.several import Teachers
from compressvqa.distillation.taps import FeatureTaps
from compressvqa.distillation.teacher import Teacher
from compressvqa.distillation.teacher_cache import TeacherCache
from compressvqa.fingerprint import weights_digest as fingerprint

__all__ = [
    "DistillationLoss",
    "FeatureTaps",
    "Outputs",
    "Teacher",
    "TeacherCache",
    "Teachers",
    "batch",
    "class_",
    "correlation",
    "features",
    "fingerprint",
    "instance",
    "logits",
    "losses",
    "pair_taps",
    "ranking",
    "relations",
    "scores",
    "similarity",
    "soft_rank",
    "to_probabilities",
]
