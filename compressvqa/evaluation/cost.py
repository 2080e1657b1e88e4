"""What the models of an evaluation cost: parameters, MACs, and time where it was asked for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.cost import compare_latency, profile
from compressvqa.errors import DataError
from compressvqa.models import example_inputs
from compressvqa.results import Model
from compressvqa.scoring.image_metrics import FrameScorer
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.scorer import Facts, Scorer

log = logging.getLogger(__name__)
SIZE, FRAMES = 256, 12
INPUTS = f"{FRAMES} frames of {SIZE}x{SIZE}"


def costs(scorers: Sequence[Scorer], facts: Sequence[Facts], *, latency: bool) -> tuple[Model, ...]:
    """For each score what is known of it, and its cost where it is a network's.

    Complexity is counted on 12 frames of 256x256 (reference and distorted, for a full-reference network), as in
    RankDVQA-mini's Table I; time is the median of calls that go through all networks in turn.
    """
    networks = {scorer.facts[0].name: network for scorer in scorers if (network := _network(scorer)) is not None}
    modes = {fact.name: fact.mode for fact in facts}
    with _evaluating(networks.values()):
        counted = {fact.name: _counted(networks[fact.name], fact.mode) for fact in facts if fact.name in networks}
        for name, found in counted.items():
            if "uncounted" in found:  # said now, and not after hours of scoring
                log.warning("the cost of %s can't be counted: %s", name, found["uncounted"])
        timed = {name: network for name, network in networks.items() if "macs" in counted[name]}
        times = _latencies(timed, modes) if latency else {}
    return tuple(
        Model(
            **{
                "name": fact.name,
                "mode": fact.mode,
                "higher_is_better": fact.higher_is_better,
                "meaning": fact.meaning,
                "note": fact.note or None,
                "source": fact.source,
                "params": fact.params or None,  # a metric without weights is no network
            }
            | counted.get(fact.name, {})
            | times.get(fact.name, {})
        )
        for fact in facts
    )


@contextmanager
def _evaluating(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Evaluation mode for the time of a block; then each module has the mode back that it was given in."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training


def _counted(network: nn.Module, mode: str) -> dict[str, Any]:
    """Complexity of a network, or why it could not be counted."""
    try:
        found = profile(network, _inputs(network, mode))
    except Exception as error:  # another library's network may fail in any way; its scores still count
        said = " ".join(str(error).split()) or type(error).__name__
        return {"uncounted": said[:300]}
    return {
        "params": found.params,
        "macs": found.macs,
        "macs_conv_linear": found.macs_conv_linear,
        "inputs": INPUTS,
        "convention": found.convention,
        "unsupported": tuple(found.unsupported),
    }


def _latencies(networks: Mapping[str, nn.Module], modes: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Full-reference and no-reference networks take other inputs: each kind is measured in turn among its own."""
    found = {}
    for mode in ("FR", "NR"):
        some = {name: network for name, network in networks.items() if modes[name] == mode}
        if some:
            for name, measured in compare_latency(some, _inputs(next(iter(some.values())), mode)).items():
                found[name] = {"latency_ms": measured.median_ms, "latency_p90_ms": measured.p90_ms}
    return found


class _FrameByFrame(nn.Module):
    """An image metric's network over the frames of a clip, called as a network of video is."""

    def __init__(self, scorer: FrameScorer) -> None:
        super().__init__()
        self.network = scorer.network
        self._scorer = [scorer]  # in a list: it is no part of the network

    def forward(self, *clips: Tensor) -> Tensor:
        """Two clips (1, T, 3, H, W), or the distorted one, to (T,)."""
        (scorer,) = self._scorer
        scores = []
        for number in range(clips[-1].shape[1]):
            frames = [clip[:, number : number + 1] for clip in clips]
            prepared = scorer.prepare(frames[0]) if len(frames) == 2 else None
            scores.append(scorer.measure(prepared, frames[-1]).reshape(-1))
        return torch.cat(scores)


def _network(scorer: Scorer) -> nn.Module | None:
    """The network behind a scorer; None for one without, or without a single weight."""
    if isinstance(scorer, NetworkScorer):
        return scorer.network
    if isinstance(scorer, FrameScorer) and any(True for _ in scorer.network.parameters()):
        return _FrameByFrame(scorer)
    return None


def _inputs(network: nn.Module, mode: str) -> tuple[Tensor, ...]:
    if not isinstance(network, _FrameByFrame):
        # A network in memory that no registered name stands for is called like every other.
        with contextlib.suppress(DataError):
            return example_inputs(network, size=SIZE, frames=FRAMES)
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(1, FRAMES, 3, SIZE, SIZE, generator=generator) for _ in range(2 if mode == "FR" else 1))
