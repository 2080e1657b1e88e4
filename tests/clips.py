"""Small real videos, made by ffmpeg itself, and readers of them that share nothing with ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def ffmpeg(*arguments: str) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def make(
    path: Path, *options: str, size: str = "128x96", frames: int = 8, source: str = "testsrc2", rate: int = 25
) -> Path:
    """A video of a moving test picture."""
    ffmpeg("-f", "lavfi", "-i", f"{source}=size={size}:rate={rate}", "-frames:v", str(frames), *options, str(path))
    return path


def raw_bytes(path: Path, pixel_format: str, *options: str) -> bytes:
    """All samples of a video as ffmpeg decodes them."""
    return ffmpeg(
        "-i", str(path), *options, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixel_format, "-"
    )


def naive_rgb(y: float, u: float, v: float, bitdepth: int, kr: float, kb: float, full: bool) -> np.ndarray:
    """One pixel, from the definition of Y'CbCr: Y' = Kr R + Kg G + Kb B, Cb = (B - Y') / (2 (1 - Kb)), Cr likewise."""
    scale = 2 ** (bitdepth - 8)
    if full:
        luma, cb, cr = (
            y / (256 * scale - 1),
            (u - 128 * scale) / (256 * scale - 1),
            (v - 128 * scale) / (256 * scale - 1),
        )
    else:
        luma, cb, cr = (y / scale - 16) / 219, (u / scale - 128) / 224, (v / scale - 128) / 224
    # Solve the three defining equations rather than write down their inverse.
    matrix = np.array([[kr, 1 - kr - kb, kb],
                       [-kr / (2 * (1 - kb)), -(1 - kr - kb) / (2 * (1 - kb)), 0.5],
                       [0.5, -(1 - kr - kb) / (2 * (1 - kr)), -kb / (2 * (1 - kr))]])  # fmt: skip
    return np.clip(np.linalg.solve(matrix, [luma, cb, cr]), 0, 1)
