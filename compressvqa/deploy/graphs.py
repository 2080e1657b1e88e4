"""Runtimes that compile a graph: torch.compile, ONNX Runtime, OpenVINO."""

from __future__ import annotations

import importlib
import io
import logging
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.deploy.eager import EagerBlocks, rows_of
from compressvqa.deploy.runtime import BlockSize, Call, Prepared, Runtime
from compressvqa.deploy.strips import CompiledStrips
from compressvqa.errors import MissingExtraError, RuntimeRefusedError
from compressvqa.registry import runtimes
from compressvqa.torch_private import many_compiled_forms, tree_leaves
from compressvqa.video.block import Frames


class GraphRuntime(Runtime):
    """Base of runtimes that compile a function of tensors of known shapes, on the CPU.

    Each graph is held against PyTorch on the example that it is made for: their tolerance is of every output's largest
    value.
    """

    name: str = ""

    def compile(self, network: nn.Module, inputs: Any) -> Call:
        """As `Runtime.compile`."""
        _refuse_gpu(self.name, network)
        with torch.inference_mode(False), torch.no_grad(), _told(self.name, network):
            call = self._compiled(network, inputs)
            _check(self.name, network, call, inputs)
            return call

    @abstractmethod
    def _compiled(self, network: nn.Module, inputs: Any) -> Call:
        """As `compile`, which says what went wrong."""

    def prepare(self, network: nn.Module, size: BlockSize) -> Prepared:
        """As `Runtime.prepare`."""
        _refuse_gpu(self.name, network)
        rows = rows_of(network, size, whole_steps=True)
        if rows is not None:
            return CompiledStrips(rows, self.compile, self.name)
        return GraphBlocks(network, size, self)


class GraphBlocks(Prepared):
    """A network as one graph for full blocks of whole frames; a short last block is left to PyTorch."""

    def __init__(self, network: nn.Module, size: BlockSize, runtime: GraphRuntime) -> None:
        self.runtime, self._network, self._size, self._compile = runtime.name, network, size, runtime.compile
        self._call: Call | None = None
        self._eager = EagerBlocks(network)

    def partials(self, reference: Frames | None, distorted: Sequence[Frames]) -> list[Tensor]:
        """As `Prepared.partials`."""
        # One that pools its blocks itself hands on more than a number: its own methods know what.
        if len(distorted[0]) != self._size.frames or hasattr(self._network, "partial"):
            return self._eager.partials(reference, distorted)
        inputs = [] if reference is None else [reference.rgb()]
        found = []
        for frames in distorted:
            given = (*inputs, frames.rgb())
            if self._call is None:
                self._call = self._compile(self._network, given)
            (score,) = tree_leaves(self._call(*given))
            found.append(torch.as_tensor(score).reshape(-1)[0])
        return found


@runtimes.register("compile", tolerance=1e-4, slow_to_prepare=True)
class Compile(GraphRuntime):
    """torch.compile: C++ made for this network and this processor, by the machine's compiler."""

    name = "compile"

    def _compiled(self, network: nn.Module, inputs: Any) -> Call:
        compiled: Any = torch.compile(network, dynamic=False)
        # All candidates of a search share one code object, for which torch keeps few compiled forms by default.
        with many_compiled_forms():
            _called(compiled, inputs)

        def call(*arguments: Any, **named: Any) -> Any:
            with torch.inference_mode(False), torch.no_grad():
                return compiled(*arguments, **named)

        return call


@runtimes.register("onnxruntime", tolerance=1e-4, extra="onnx")
class OnnxRuntime(GraphRuntime):
    """ONNX Runtime, in float32."""

    name = "onnxruntime"

    def __init__(self) -> None:
        need(("onnxruntime", "onnx", "onnxscript"), "onnx")

    def _compiled(self, network: nn.Module, inputs: Any) -> Call:
        onnxruntime = importlib.import_module("onnxruntime")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        positional, named = _split(inputs)
        with tempfile.TemporaryDirectory(prefix="compressvqa-") as folder, quietly():
            file = str(Path(folder) / "model.onnx")
            torch.onnx.export(network, positional, file, kwargs=named, dynamo=True, verbose=False)
            session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]

        def call(*arguments: Any, **given: Any) -> list[Tensor]:
            tensors = [_array(one) for one in tree_leaves((arguments, given)) if isinstance(one, Tensor)]
            return [torch.from_numpy(one) for one in session.run(None, dict(zip(names, tensors, strict=True)))]

        return call


@runtimes.register("openvino", tolerance=1e-4, extra="openvino")
class OpenVino(GraphRuntime):
    """OpenVINO, in float32."""

    name = "openvino"

    def __init__(self) -> None:
        need(("openvino",), "openvino")

    def _compiled(self, network: nn.Module, inputs: Any) -> Call:
        openvino = importlib.import_module("openvino")
        positional, named = _split(inputs)
        with quietly():
            program = torch.export.export(network, positional, named or None, strict=False)
            graph = openvino.convert_model(program)
            settings = {
                "INFERENCE_PRECISION_HINT": "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            }
            compiled = openvino.Core().compile_model(graph, "CPU", settings)
        request = compiled.create_infer_request()
        count = len(compiled.outputs)

        def call(*arguments: Any, **given: Any) -> list[Tensor]:
            tensors = [_array(one) for one in tree_leaves((arguments, given)) if isinstance(one, Tensor)]
            request.infer(tensors, share_inputs=True, share_outputs=True)
            # Copied: the runtime writes to the same memory at the next call.
            return [torch.from_numpy(np.array(request.get_output_tensor(place).data)) for place in range(count)]

        return call


def _check(name: str, network: nn.Module, call: Call, inputs: Any) -> None:
    """Holds what a graph gives for the example against what PyTorch gives.

    Raises:
        RuntimeRefusedError: an output differs by more than the runtime's tolerance, a share of its largest value.
    """
    positional, named = _split(inputs)
    wanted = [one for one in tree_leaves(network(*positional, **named)) if isinstance(one, Tensor)]
    found = [torch.as_tensor(one) for one in tree_leaves(call(*positional, **named))]
    most = float(runtimes[name].facts["tolerance"])
    if len(wanted) != len(found):
        raise RuntimeRefusedError(f"the runtime {name!r} returns {len(found)} tensors, PyTorch {len(wanted)}")
    for one, other in zip(wanted, found, strict=True):
        if one.numel() == 0:
            continue
        error = float((one.double() - other.reshape(one.shape).double()).abs().max())
        scale = max(float(one.double().abs().max()), 1e-6)
        if not error <= most * scale:  # also where it is not a number
            raise RuntimeRefusedError(
                f"the runtime {name!r} differs from PyTorch by {error / scale:.2g} of what {type(network).__name__} "
                f"puts out, {most:g} is allowed",
                hint="runtime eager",
            )


def need(packages: Sequence[str], extra: str) -> None:
    """Raises MissingExtraError for the first package that is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra)


def _refuse_gpu(name: str, network: nn.Module) -> None:
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    if name != "compile" and device.type != "cpu":
        raise RuntimeRefusedError(f"the runtime {name!r} works on the CPU, and the network is on {device}",
                                  hint="device cpu, or runtime eager")  # fmt: skip


@contextmanager
def _told(name: str, network: nn.Module) -> Iterator[None]:
    """What a compiler says of a graph that it does not take, in one line."""
    try:
        yield
    except (MissingExtraError, RuntimeRefusedError):
        raise
    except Exception as error:  # each compiler has errors of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = (lines or [type(error).__name__])[0][:200]
        what = f"the runtime {name!r} can't run {type(network).__name__} ({said})"
        raise RuntimeRefusedError(what, hint="runtime eager") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without what exporters print of their progress."""
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        quiet.setLevel(level)


def _split(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named arguments; tensors made under inference mode are copied, as exporters can't take them."""

    def plain(one: Any) -> Any:
        return one.clone() if isinstance(one, Tensor) and one.is_inference() else one

    if isinstance(inputs, dict):
        return (), {name: plain(one) for name, one in inputs.items()}
    given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    return tuple(plain(one) for one in given), {}


def _called(network: Any, inputs: Any) -> Any:
    positional, named = _split(inputs)
    return network(*positional, **named)


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().numpy()
