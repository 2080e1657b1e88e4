"""What a shell completes beside files and options; nothing here imports PyTorch, as a key press would wait for it."""

from __future__ import annotations

import json
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
# What `score` knows beside networks that ship and files; a test holds it to the registry.
METRICS = (
    "cambi", "cambi_added", "ciede", "dists", "lpips", "lpips-vgg", "ms_ssim", "psnr", "psnr_cb", "psnr_cr", "psnr_hvs",
    "psnr_yuv", "ssim", "st-greed", "vmaf", "vmaf_4k_v0.6.1", "vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h",
    "xpsnr", "xpsnr_cb", "xpsnr_cr",
)  # fmt: skip


def networks_like(incomplete: str) -> list[str]:
    """Networks that ship, and files, whose names begin so."""
    index = json.loads((_PACKAGE / "weights" / "index.json").read_text(encoding="utf-8"))
    return [name for name in sorted(index["networks"]) if name.startswith(incomplete)] + _files(incomplete)


def metrics_like(incomplete: str) -> list[str]:
    """Networks and metrics whose names begin so."""
    return [*networks_like(incomplete), *(name for name in METRICS if name.startswith(incomplete))]


def recipes_like(incomplete: str) -> list[str]:
    """Recipes that ship, and files, whose names begin so."""
    folders = [folder for folder in (_PACKAGE / "_recipes", _PACKAGE.parent / "recipes") if folder.is_dir()]
    names = sorted(file.relative_to(folder).with_suffix("").as_posix() for folder in folders[:1]
                   for file in folder.rglob("*.yaml"))  # fmt: skip
    return [name for name in names if name.startswith(incomplete)] + _files(incomplete)


def _files(incomplete: str) -> list[str]:
    folder, _, begin = incomplete.rpartition("/")
    try:
        found = sorted(Path(folder or ("/" if incomplete.startswith("/") else ".")).iterdir())
    except OSError:
        return []
    before = f"{folder}/" if "/" in incomplete else ""
    return [
        f"{before}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(begin) and (begin.startswith(".") or not path.name.startswith("."))
    ]
