"""What a student learns from its teacher: losses, taps into both networks, and a memory of what the teacher said."""

from compressvqa.distillation import features, losses, scores
from compressvqa.distillation.combine import DistillationLoss, Outputs
from compressvqa.distillation.losses import batch, class_, instance
from compressvqa.distillation.margins import to_probabilities
from compressvqa.distillation.taps import FeatureTaps
from compressvqa.distillation.teacher import Teacher
from compressvqa.distillation.teacher_cache import TeacherCache, fingerprint

__all__ = [
    "DistillationLoss",
    "FeatureTaps",
    "Outputs",
    "Teacher",
    "TeacherCache",
    "batch",
    "class_",
    "features",
    "fingerprint",
    "instance",
    "losses",
    "scores",
    "to_probabilities",
]
