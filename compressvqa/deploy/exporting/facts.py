"""What an exported file says of itself: all that has to be known to score by it."""

from __future__ import annotations

from typing import Any

from torch import nn

from compressvqa.fingerprint import weights_digest
from compressvqa.models import spec_of
from compressvqa.models.factory import entry_of, is_untrained
from compressvqa.models.scales import scale_of

BLOCK = 12  # frames, where a network does not say its own
VERSION = 1


def block_of(network: nn.Module) -> int:
    """Frames of a block."""
    return int(entry_of(spec_of(network).name).facts.get("frames", BLOCK))


def smallest_side_of(network: nn.Module) -> int:
    """The smallest height and width, in pixels, that a network takes."""
    return int(entry_of(spec_of(network).name).facts.get("smallest_side", 1))


def facts_of(network: nn.Module, frames: int, *, name: str, licence: str | None) -> dict[str, Any]:
    """Input, colour, block, pooling, scale, licence, as JSON holds them.

    Args:
        network: made by `create_model` or `load`.
        frames: of a block.
        name: what the network is called.
        licence: of the weights; None: nobody stated one.
    """
    spec, scale = spec_of(network), scale_of(network)
    pooled = hasattr(network, "pool") and getattr(network, "cuts_patches", False)
    return {
        "version": VERSION,
        "name": name,
        "model": spec.name,
        "mode": spec.mode,
        "input": {
            "names": ["reference", "distorted"] if spec.mode == "FR" else ["distorted"],
            "shape": ["batch", frames, 3, "height", "width"],
            "type": "float32",
            "range": [0, 1],
            "smallest_side": smallest_side_of(network),
        },
        "colour": "R'G'B' as coded (no linear light), of the file's own matrix and range; where a file does not say: "
        "limited range, BT.709 from 720 rows on and BT.601 below. Each chroma sample serves its whole block of luma "
        "samples, without interpolation",
        "block": f"{frames} consecutive frames; a last block that is shorter repeats its last frame",
        "pooling": "the network's own over the frames of one call; of several calls the mean" if pooled
        else "the score of a file is the mean of its blocks' scores",
        "output": {
            "score": "read as `scale` says; blocks that are their own reference: 100" if scale is not None
            else "raw, of its training",
            **({} if scale is None else {"raw_score": "what the network gave"}),
            "range": [0, 100] if scale is not None else spec.score_range,
            "higher_is_better": True if scale is not None else spec.higher_is_better,
        },
        "scale": None if scale is None else scale.to_dict(),
        "trained": not is_untrained(network),
        "weights": weights_digest(network),
        "licence": licence,
    }  # fmt: skip
