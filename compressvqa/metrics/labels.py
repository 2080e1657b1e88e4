"""What scores are called: the names of labels and metrics as people write them."""

from __future__ import annotations

LABEL_TITLES = {
    "vmaf_v0.6.1": "VMAF 0.6.1",
    "vmaf_v0.6.1neg": "VMAF 0.6.1 NEG",
    "mos": "MOS",
    "dmos": "DMOS",
    "psnr": "PSNR",
    "psnr_y": "PSNR (luma)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "vmaf_4k_v0.6.1": "VMAF 0.6.1 (4K)",
}


def label_title(label: str) -> str:
    """The name of a label as people write it; an unknown one stays as it is.

    >>> label_title("vmaf_v0.6.1neg"), label_title("vmaf_v1.0.16_3d0h"), label_title("ours")
    ('VMAF 0.6.1 NEG', 'VMAF 1.0.16 (3d0h)', 'ours')
    """
    if label in LABEL_TITLES:
        return LABEL_TITLES[label]
    if label.startswith("vmaf_v"):
        version, _, form = label.removeprefix("vmaf_v").partition("_")
        return f"VMAF {version} ({form})" if form else f"VMAF {version}"
    return label


def is_human(label: str) -> bool:
    """Whether the label is a mean opinion score of people and not another metric's output.

    >>> is_human("mos"), is_human("vmaf_v0.6.1")
    (True, False)
    """
    return label.lower() in ("mos", "dmos", "hodmos")
