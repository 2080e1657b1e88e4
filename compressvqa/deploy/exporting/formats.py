"""The three formats: how each is written, with what it says of itself, and how it is read without this package."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from compressvqa.deploy.exporting.graph import ScoringGraph
from compressvqa.errors import RuntimeRefusedError

KEY = "compressvqa"  # under which a file's facts stand
OPSET = 18
SIDES = {0: "batch", 3: "height", 4: "width"}  # dimensions of an input that may be free
ALL, BATCH, NONE = ("batch", "height", "width"), ("batch",), ()
_ONNX_BYTES = 1_900_000_000  # a protobuf ends at 2 GiB

Facts = dict[str, Any]


class Format(ABC):
    """A file format of networks.

    Attributes:
        file: name of the file that is written.
        packages: what writes and reads it.
        extra: the extra of this package that installs them.
        ways: which sizes are left free, the best first; each is tried until one gives PyTorch's scores.
        reads: Python that, given ``path``, defines ``run(inputs) -> outputs`` (a dictionary of arrays, a list of
            arrays) and ``facts``, the JSON that the file holds of itself.
        loads: the two lines of an example: an import, and a model that is loaded from ``path``.
        calls: how that model is called with ``clips``, a dictionary: an expression whose value is the score.
    """

    file: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    ways: ClassVar[tuple[tuple[str, ...], ...]]
    reads: ClassVar[str]
    loads: ClassVar[tuple[str, str]]
    calls: ClassVar[str]

    @abstractmethod
    def write(
        self, graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...], facts: Facts, path: Path
    ) -> None:
        """Writes the graph; raises whatever its exporter raises."""


class Onnx(Format):
    """ONNX. Sizes are left free by tracing the operators that ran, which follows sizes through plain arithmetic;
    torch.export reasons about sizes, which for RankDVQA's (five halvings, rounded up) does not end.
    """

    file = "model.onnx"
    packages, extra = ("onnx", "onnxscript", "onnxruntime"), "onnx"
    ways = (ALL, BATCH, NONE)
    reads = """
import onnxruntime
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map["compressvqa"]
run = lambda clips: session.run(None, clips)
"""
    loads = ("import onnxruntime", "model = onnxruntime.InferenceSession(path)")
    calls = 'model.run(["score"], clips)[0].item()'

    def write(
        self, graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...], facts: Facts, path: Path
    ) -> None:
        """As `Format.write`."""
        if sum(one.numel() * one.element_size() for one in graph.parameters()) > _ONNX_BYTES:
            raise RuntimeRefusedError("a network of more than 1.9 GB does not fit into one ONNX file",
                                      hint="--format openvino or torch-export")  # fmt: skip
        onnx = importlib.import_module("onnx")
        names: dict[str, Any] = {"input_names": list(graph.inputs), "output_names": list(graph.outputs)}
        if free == ALL:
            axes = dict.fromkeys(graph.inputs, SIDES) | {name: {0: "batch"} for name in graph.outputs}
            torch.onnx.export(graph, example, str(path), dynamo=False, dynamic_axes=axes, opset_version=OPSET, **names)
        else:
            program = torch.onnx.export(program_of(graph, example, free), dynamo=True, verbose=False, **names)
            assert program is not None
            program.save(str(path))
        model = onnx.load(str(path))
        onnx.helper.set_model_props(model, {KEY: json.dumps(facts)})
        onnx.save(model, str(path))


class OpenVino(Format):
    """OpenVINO's IR: ``model.xml`` and, beside it, ``model.bin`` with the weights, in float32."""

    file = "model.xml"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    extra = "openvino"
    ways: ClassVar[tuple[tuple[str, ...], ...]] = (ALL, BATCH, NONE)
    reads = """
import openvino
core = openvino.Core()
model = core.read_model(path)
facts = model.get_rt_info(["compressvqa"]).astype(str)
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
run = lambda clips: list(compiled(clips).values())
"""
    loads = ("import openvino", 'model = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})')
    calls = 'model(clips)["score"].item()'

    def write(
        self, graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...], facts: Facts, path: Path
    ) -> None:
        """As `Format.write`."""
        self.save(self.model(graph, example, free), graph, facts, path)

    @staticmethod
    def save(model: Any, graph: ScoringGraph, facts: Facts, path: Path) -> None:
        """Writes OpenVINO's graph with its facts, its inputs and outputs named."""
        openvino = importlib.import_module("openvino")
        for ports, names in ((model.inputs, graph.inputs), (model.outputs, graph.outputs)):
            for port, name in zip(ports, names, strict=True):
                port.get_tensor().set_names({name})
        model.set_rt_info(json.dumps(facts), [KEY])
        openvino.save_model(model, str(path), compress_to_fp16=False)

    @staticmethod
    def model(graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...]) -> Any:
        """The graph as OpenVINO holds it."""
        openvino = importlib.import_module("openvino")
        if free == ALL:
            sizes = [[-1 if place in SIDES else side for place, side in enumerate(clip.shape)] for clip in example]
            return openvino.convert_model(graph, example_input=example, input=[tuple(one) for one in sizes])
        return openvino.convert_model(program_of(graph, example, free))


class TorchExport(Format):
    """torch.export: a ``.pt2`` that PyTorch alone runs, of one picture size."""

    file = "model.pt2"
    ways = (BATCH, NONE)
    reads = """
import torch
extra = {"compressvqa.json": ""}
module = torch.export.load(path, extra_files=extra).module()
facts = extra["compressvqa.json"]
run = lambda clips: [one.detach().numpy() for one in module(*(torch.from_numpy(clip) for clip in clips.values()))]
"""
    loads = ("import torch", "model = torch.export.load(path).module()")
    calls = "model(*map(torch.from_numpy, clips.values()))[0].item()"

    def write(
        self, graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...], facts: Facts, path: Path
    ) -> None:
        """As `Format.write`."""
        torch.export.save(program_of(graph, example, free), path, extra_files={f"{KEY}.json": json.dumps(facts)})


FORMATS: dict[str, Format] = {"onnx": Onnx(), "openvino": OpenVino(), "torch-export": TorchExport()}


def program_of(graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...]) -> Any:
    """The graph as torch.export has it, batch free or not."""
    sizes = {place: torch.export.Dim.DYNAMIC for place, name in SIDES.items() if name in free}
    # One entry for the one argument of the graph's forward: its clips.
    return torch.export.export(graph, example, dynamic_shapes=(tuple(sizes for _ in example),), strict=False)
