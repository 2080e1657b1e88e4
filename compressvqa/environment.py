"""What the figures were measured on: versions, processor, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "compressvqa", "torch", "torchvision", "timm", "torch-pruning", "fvcore", "numpy", "scipy", "pydantic",
    "safetensors", "lightning-fabric", "av", "imageio-ffmpeg", "matplotlib",
)  # fmt: skip


def versions() -> dict[str, str | None]:
    """Versions of the packages that figures depend on; None for one that is not installed."""

    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {name: own_version() if name == "compressvqa" else version(name) for name in PACKAGES}


def own_version() -> str:
    """The version of the code that runs: of a tree that is installed for editing, an installer's note may be older."""
    return str(sys.modules[__name__.partition(".")[0]].__version__)


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def physical_memory() -> int | None:
    """Bytes of memory that this machine has, or that its container may take; None where the system does not say."""
    try:
        there: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        there = None
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            allowed = int(Path(file).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        there = allowed if there is None else min(there, allowed)
    return there


def in_bytes(count: float) -> str:
    """A number of bytes as people read it.

    >>> in_bytes(2_880_000_000_000), in_bytes(512)
    ('2.88 TB', '512 B')
    """
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} EB"


def fast_bf16() -> bool:
    """Whether the processor has instructions for bfloat16 products; without them bf16 is slower than fp32."""
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)


def environment() -> dict[str, Any]:
    """Everything a reader needs to judge a figure, as plain JSON values."""
    import torch

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16_instructions": fast_bf16(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": versions(),
    }
