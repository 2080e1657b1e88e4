"""Distortions that are made on the fly: what capture, scaling and compression do to pictures, at five levels.

Each is a pure function ``(picture (3, H, W) in [0, 1], level 1..5, generator) -> picture``. The kinds follow those of
the synthetic IQA data sets (LIVE, TID2013, CSIQ, KADID-10k: H. Lin et al., QoMEX 2019). The levels are our own.
"""

from compressvqa.data.distortions import capture, compression
from compressvqa.data.distortions.base import DISTORTIONS, LEVELS, Distortion, distortion_named

__all__ = ["DISTORTIONS", "LEVELS", "Distortion", "capture", "compression", "distortion_named"]
