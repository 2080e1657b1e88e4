"""A network as a file that runs without this package: ONNX, OpenVINO, torch.export."""

from compressvqa.deploy.exporting.export import Exported, export
from compressvqa.deploy.exporting.formats import FORMATS

__all__ = ["FORMATS", "Exported", "export"]
