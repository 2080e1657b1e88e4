"""Int8 after training, by nncf: calibrated on clips, held against PyTorch on others, layers that hurt left in float."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressvqa.deploy.exporting.formats import ALL, Facts, OpenVino
from compressvqa.deploy.exporting.graph import ScoringGraph
from compressvqa.deploy.graphs import quietly
from compressvqa.errors import DataError, RuntimeRefusedError
from compressvqa.metrics import correlation

LOST = 0.005  # of SROCC, at most
FEWEST = 32  # clips, half of them to calibrate: among 16 two neighbours that swap cost .003 of SROCC, among 8 .024
HEAVY = ("Convolution", "GroupConvolution", "MatMul")
# What stands around the network in the graph (the comparison of both clips, the curve) is no layer of its own module.
_AROUND = "^aten::"

Clips = tuple[Tensor, ...]


class OrderLostError(RuntimeRefusedError):
    """Scores are in another order in int8; no other way of writing the file changes that."""


class OpenVinoInt8(OpenVino):
    """OpenVINO's IR with int8 convolutions and products, where these keep the order of scores.

    nncf's scheme for transformers is taken for every network: it leaves what normalises and what has long tails in
    float. Where the order still suffers, nncf's accuracy control leaves further layers in float, those first whose
    rounding costs most.

    Args:
        clips: what the network is called with, one clip (or pair) at a time; every second one calibrates, the others
            judge.
        lost: 1 - SROCC between int8 and PyTorch that is allowed.

    Raises:
        DataError: fewer than 32 clips.
    """

    packages, extra = ("openvino", "nncf"), "deploy"
    ways = (ALL, ("batch",))

    def __init__(self, clips: Iterable[Clips], *, lost: float = LOST) -> None:
        found = [tuple(part.float() for part in clip) for clip in clips]
        if len(found) < FEWEST:
            raise DataError(f"{len(found)} clips don't say how int8 may round", hint=f"{FEWEST} or more")
        self.calibration, self.held_out, self.lost = found[::2], found[1::2], lost

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the clips."""
        height, width = self.held_out[0][0].shape[-2:]
        return int(height), int(width)

    def write(
        self, graph: ScoringGraph, example: tuple[Tensor, ...], free: tuple[str, ...], facts: Facts, path: Path
    ) -> None:
        """As `Format.write`."""
        nncf = importlib.import_module("nncf")
        place = len(graph.outputs) - 1  # the raw score
        with torch.no_grad():
            eager = [float(graph(*clip)[place]) for clip in self.held_out]
        model = self.model(graph, example, free)

        def order(compiled: Any, clips: Iterable[Any]) -> tuple[float, None]:
            scores = [float(next(iter(list(compiled(clip).values())[place:])).item()) for clip in clips]
            return (correlation(scores, eager, "none").srocc if np.ptp(scores) > 0 else 0.0), None

        with _silent():
            small = nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset([_arrays(clip) for clip in self.calibration]),
                nncf.Dataset([_arrays(clip) for clip in self.held_out]),
                order,
                max_drop=self.lost,
                subset_size=len(self.calibration),
                preset=nncf.QuantizationPreset.MIXED,
                model_type=nncf.ModelType.TRANSFORMER,
                ignored_scope=nncf.IgnoredScope(patterns=[_AROUND], validate=False),
            )
        kept, rounded = layers_of(small)
        facts["int8"] = {
            "layers": rounded, "layers_in_float": list(kept), "calibrated_on": len(self.calibration),
            "judged_on": len(self.held_out),
        }  # fmt: skip
        self.save(small, graph, facts, path)

    def lost_by(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> float:
        """1 - SROCC between PyTorch's scores of the judging clips and the file's.

        Raises:
            OrderLostError: it is more than is allowed.
        """
        eager, other = (torch.cat(list(some)).double().numpy() for some in (wanted, found))
        lost = 1 - (correlation(other, eager, "none").srocc if np.ptp(other) > 0 else 0.0)
        if not lost <= self.lost:
            raise OrderLostError(
                f"in int8 the order of scores differs: 1 - SROCC is {lost:.2g} on {len(eager)} clips, {self.lost:g} is "
                "allowed", hint="more clips, or float32",
            )  # fmt: skip
        return float(lost)


def layers_of(model: Any) -> tuple[tuple[str, ...], int]:
    """Paths of the layers (convolutions and products) that stayed in float in a call; how many are int8."""
    kept, rounded = set[str](), set[str]()
    for op in model.get_ops():
        if op.get_type_name() not in HEAVY:
            continue
        weights = op.input_value(1).get_node()
        while weights.get_type_name() in ("Reshape", "Convert", "Multiply", "Subtract", "Transpose"):
            weights = weights.input_value(0).get_node()
        sides = {op.input_value(0).get_node().get_type_name(), op.input_value(1).get_node().get_type_name()}
        is_int8 = "FakeQuantize" in sides or weights.get_element_type().get_type_name() in ("i8", "u8")
        (rounded if is_int8 else kept).add(_path(op.get_friendly_name()))
    return tuple(sorted(kept)), len(rounded - kept)


def _path(name: str) -> str:
    """A module path out of OpenVINO's name of an operator."""
    return name.partition("/")[0].removeprefix("__module.").removeprefix("network.") or name


def _arrays(clip: Clips) -> list[Any]:
    return [part.numpy() for part in clip]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without nncf's bars and notes."""
    log = logging.getLogger("nncf")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quietly(), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def single(clips: Sequence[Tensor]) -> Iterator[Clips]:
    """A batch of clips one at a time: (B, T, 3, H, W) each to (1, T, 3, H, W) each."""
    for number in range(len(clips[0])):
        yield tuple(part[number : number + 1].contiguous() for part in clips)
