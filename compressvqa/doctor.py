"""What `compressvqa doctor` finds: versions, the processor, and what is missing."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import Any

from compressvqa.environment import environment, versions

EXTRAS = {"skimage": "demo"}
"""Optional modules, and the extra that brings each."""


def examine() -> dict[str, Any]:
    """Versions, processor and video encoders, as plain JSON values."""
    from compressvqa.video import ffmpeg

    found = environment()
    packages = found.pop("packages")
    return {
        **found,
        **packages,
        "ffmpeg": ffmpeg.version(),
        "encoders": ", ".join(sorted(_encoders() & ffmpeg.encoders())),
        "optional": ", ".join(
            f"{name} {'yes' if importlib.util.find_spec(name) else 'no'} [{extra}]" for name, extra in EXTRAS.items()
        ),
    }


def missing() -> list[str]:
    """One line for each thing that a user would miss; empty when all is well."""
    from compressvqa.video import ffmpeg

    faults = [f"the package {name}" for name, version in versions().items() if version is None]
    faults += [f"ffmpeg has no encoder {name}" for name in sorted(_encoders() - ffmpeg.encoders())]
    if "libvmaf" not in ffmpeg.filters():
        faults.append("ffmpeg has no libvmaf")
    if _number(versions()["torch"]) < (2, 10):
        faults.append("torch 2.10 or newer: older ones let weights_only loading be broken (CVE-2026-24747)")
    if _number(versions()["av"]) < (18,):
        newer = "" if sys.version_info >= (3, 11) else "; it needs Python 3.11, so decode only videos that you trust"
        faults.append(f"av 18 or newer: FFmpeg 8.1.2 mends CVE-2026-8461{newer}")
    return faults


def _encoders() -> set[str]:
    from compressvqa.data.ladder import CODECS

    return {codec.encoder for codec in CODECS.values()}


def _number(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version or "0")[:2])
