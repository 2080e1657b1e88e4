"""What the models of an evaluation cost: parameters, MACs, and time where it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from compressvqa.metrics import compare_latency, profile
from compressvqa.models import example_inputs
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.scorer import Facts, Scorer

SIZE, FRAMES = 256, 12
INPUTS = f"{FRAMES} frames of {SIZE}x{SIZE}"


def costs(scorers: Sequence[Scorer], facts: Sequence[Facts], *, latency: bool) -> list[dict[str, Any]]:
    """A row for each score: what is known of it, and its cost where it is a network's.

    Complexity is counted on 12 frames of 256x256 (reference and distorted, for a full-reference network), as in
    RankDVQA-mini's Table I; time is the median of calls that go through all networks in turn.
    """
    networks: dict[str, nn.Module] = {
        scorer.facts[0].name: scorer.network for scorer in scorers if isinstance(scorer, NetworkScorer)
    }
    rows = []
    for fact in facts:
        row: dict[str, Any] = {
            "name": fact.name,
            "mode": fact.mode,
            "higher_is_better": fact.higher_is_better,
            "source": fact.source,
            "params": fact.params,
        }
        if fact.name in networks:
            network = networks[fact.name].eval()
            counted = profile(network, example_inputs(network, size=SIZE, frames=FRAMES))
            row |= {"params": counted.params, "macs": counted.macs, "macs_conv_linear": counted.macs_conv_linear}
            row |= {"inputs": INPUTS, "convention": counted.convention, "unsupported": list(counted.unsupported)}
        rows.append(row)
    if latency and networks:
        _add_latency(rows, networks)
    return rows


def _add_latency(rows: Sequence[dict[str, Any]], networks: dict[str, nn.Module]) -> None:
    """Full-reference and no-reference networks take other inputs: each kind is measured in turn among its own."""
    by_name = {row["name"]: row for row in rows}
    for mode in ("FR", "NR"):
        some = {name: network for name, network in networks.items() if by_name[name]["mode"] == mode}
        if not some:
            continue
        inputs = example_inputs(next(iter(some.values())), size=SIZE, frames=FRAMES)
        for name, measured in compare_latency(some, inputs).items():
            by_name[name] |= {"latency_ms": measured.median_ms, "latency_p90_ms": measured.p90_ms}
