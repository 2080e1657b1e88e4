"""What libvmaf and ffmpeg's `xpsnr` filter measure: how each score is asked for, where it stands, how it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from compressvqa.labels import VMAF_MODELS
from compressvqa.scoring.scorer import Scale

# XPSNR, PSNR-HVS and CIEDE2000 of equal pictures are infinite; no real pair of 8-bit pictures reaches 100 dB.
CAP = 100.0


@dataclass(frozen=True)
class Feature:
    """One score of a frame.

    Args:
        ask: whom to ask: libvmaf for a "feature" or a "model", or the filter "xpsnr".
        value: what to ask libvmaf for.
        keys: the log's names of it, several where it is a weighted mean.
        scale: how it is read.
        summary: what it is, in a line.
        weights: of the keys.
        grey: its names where pictures hold no chroma; none where it has no meaning there.
        smallest_side: the smallest height or width that is measured right.
        smallest_width: the least of the larger side.
        deepest: bits above which it is measured wrong or not at all; deeper pictures are brought to so many.
        no_number: what stands for a number that is not finite; None: an error.
    """

    ask: Literal["feature", "model", "xpsnr"]
    value: str
    keys: tuple[str, ...]
    scale: Scale
    summary: str
    weights: tuple[float, ...] = (1.0,)
    grey: tuple[str, ...] = ()
    smallest_side: int = 16
    smallest_width: int = 16
    deepest: int = 16
    no_number: float | None = None

    def of(self, row: Mapping[str, Any], *, is_grey: bool = False, ceiling: float = math.inf) -> float:
        """The score of one frame; not a number where the log holds none.

        Args:
            row: what the log holds of the frame.
            is_grey: whether the pictures have no chroma.
            ceiling: no value of a channel counts as more.
        """
        keys, weights = (self.grey, (1.0,)) if is_grey else (self.keys, self.weights)
        values = [min(self._number(row.get(key)), ceiling) for key in keys]
        return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)

    def pool(self, values: Sequence[float]) -> float:
        """The score of a file out of those of its frames: their mean, but of XPSNR.

        XPSNR's own pooling takes the mean of the frames' weighted root-mean-square errors, and then decibels (Helmrich
        et al., "A Study of the Extended Perceptually Weighted Peak Signal-to-Noise Ratio", 2021; ffmpeg's vf_xpsnr.c).
        A frame without an error counts as none.
        """
        if self.ask != "xpsnr":
            return math.fsum(values) / len(values)
        error = math.fsum(0.0 if value >= CAP else 10 ** (-value / 20) for value in values) / len(values)
        return CAP if error == 0 else min(CAP, -20 * math.log10(error))

    def _number(self, value: Any) -> float:
        if value is None or not math.isfinite(value):
            return math.nan if self.no_number is None else self.no_number
        return float(value) if self.no_number is None else min(float(value), self.no_number)


_CAPPED = "60 dB for a reference of 8 bit, 72 of 10, 84 of 12, 108 of 16 and of RGB, where libvmaf caps it"
_INFINITE = f"{CAP:g} dB (infinite, and capped there)"
_PSNR = Scale(unit="dB", score_range=(0.0, None), identical=_CAPPED)
_XPSNR = Scale(
    unit="dB",
    identical=_INFINITE,
    pooling="root-mean-square error of frames averaged, then dB, as ffmpeg's filter does",
    note="depends on the frame rate: from 32 frames a second on it weighs motion by the second difference of frames",
)
_VMAF = Scale(
    score_range=(0.0, 100.0),
    identical="97.43 where nothing moves (also the first frame), up to 100 where much moves: this is normal",
)
_VMAF_FULL = replace(_VMAF, identical="100")


def _vmaf(name: str, scale: Scale, summary: str) -> Feature:
    """One of libvmaf's built-in models."""
    label = VMAF_MODELS[name]
    return Feature("model", label.ask, (label.key,), scale, summary, smallest_side=label.smallest_side)


def _psnr(summary: str, *keys: str, grey: str = "") -> Feature:
    weights = (6.0, 1.0, 1.0) if len(keys) == 3 else (1.0,)
    return Feature("feature", "name=psnr", keys, _PSNR, summary, weights, (grey,) if grey else ())


def _xpsnr(summary: str, key: str, grey: str = "") -> Feature:
    # Above 14 bits the filter's samples overflow, without an error.
    return Feature("xpsnr", "", (key,), _XPSNR, summary, grey=(grey,) if grey else (), deepest=12, no_number=CAP)


def _ssim(name: str, summary: str, smallest_side: int, lowest: float) -> Feature:
    scale = Scale(score_range=(lowest, 1.0), identical="1")
    return Feature("feature", f"name={name}", (name,), scale, summary, grey=(name,), smallest_side=smallest_side)


_CAMBI = Scale(
    higher_is_better=False,
    score_range=(0.0, None),
    identical="what the reference itself shows of banding",
    note="0: no banding; from about 5 on it annoys; about 24 was the most that its authors saw",
)

# No-reference: the reference is not looked at.
CAMBI = Feature(
    "feature", "name=cambi", ("cambi",), _CAMBI, "banding of the distorted file, by libvmaf's CAMBI", grey=("cambi",),
    smallest_width=216,
)  # fmt: skip

FEATURES: dict[str, Feature] = {
    "psnr": _psnr("PSNR of luma", "psnr_y", grey="psnr_y"),
    "psnr_cb": _psnr("PSNR of the blue-difference channel Cb (U)", "psnr_cb"),
    "psnr_cr": _psnr("PSNR of the red-difference channel Cr (V)", "psnr_cr"),
    "psnr_yuv": _psnr("PSNR of luma, Cb and Cr, averaged 6:1:1 in dB as JVET does", "psnr_y", "psnr_cb", "psnr_cr"),
    "psnr_hvs": Feature(
        "feature", "name=psnr_hvs", ("psnr_hvs",), Scale(unit="dB", identical=_INFINITE),
        "PSNR-HVS: DCT errors weighted by contrast sensitivity and masking; Y .8, Cb .1, Cr .1", grey=("psnr_hvs_y",),
        deepest=12, no_number=CAP,
    ),
    "xpsnr": _xpsnr("XPSNR of luma: errors weighted by activity in space and time", "y", grey="y"),
    "xpsnr_cb": _xpsnr("XPSNR of the blue-difference channel Cb (U)", "u"),
    "xpsnr_cr": _xpsnr("XPSNR of the red-difference channel Cr (V)", "v"),
    "ssim": _ssim("float_ssim", "SSIM of luma", 16, -1.0),
    "ms_ssim": _ssim("float_ms_ssim", "MS-SSIM of luma, five scales", 176, 0.0),
    "ciede": Feature(
        "feature", "name=ciede", ("ciede2000",),
        Scale(
            unit="dB",
            identical=_INFINITE,
            note="45 - 20 log10(mean CIEDE2000 difference), unlike the difference itself; samples are taken as BT.709",
        ),
        "CIEDE2000 colour difference, in libvmaf's decibels", grey=("ciede2000",), no_number=CAP,
    ),
    "cambi_added": Feature(
        "feature", r"name=cambi\:full_ref=true", ("cambi_full_reference",),
        replace(_CAMBI, identical="0"), "banding that the reference does not have: CAMBI less its own, at least 0",
        grey=("cambi_full_reference",), smallest_width=216,
    ),
    "vmaf_v0.6.1": _vmaf("vmaf_v0.6.1", _VMAF, "VMAF for a 1080p screen"),
    "vmaf_v0.6.1neg": _vmaf("vmaf_v0.6.1neg", _VMAF, "VMAF that does not reward sharpening"),
    "vmaf_4k_v0.6.1": _vmaf("vmaf_4k_v0.6.1", _VMAF_FULL, "VMAF for a 4K screen"),
    "vmaf_v1.0.16_3d0h": _vmaf("vmaf_v1.0.16_3d0h", _VMAF_FULL, "VMAF version 1, seen from three picture heights"),
}  # fmt: skip

# Grey pictures are given neutral chroma, which VMAF does not look at.
FEATURES |= {name: replace(one, grey=one.keys) for name, one in FEATURES.items() if one.ask == "model"}
