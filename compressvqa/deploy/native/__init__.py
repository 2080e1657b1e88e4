"""RankDVQA in native code: `Kernel` folds a network's weights and scores blocks of planes on one core."""

from compressvqa.deploy.native.build import NativeUnavailableError
from compressvqa.deploy.native.calibration import calibrate
from compressvqa.deploy.native.kernel import Features, Kernel

__all__ = ["Features", "Kernel", "NativeUnavailableError", "calibrate"]
