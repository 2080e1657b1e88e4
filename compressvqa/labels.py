"""The one table of scores that are known by name: what they are called in files, logs and titles, and VMAF's models.

A score may be a label (what a data set takes for the truth) and a metric (what is judged) under different names:
"PSNR-Y" of a manifest and ``psnr`` of the command line are one thing, and a metric judged by itself always wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """A score that is known by name.

    Args:
        name: in files, recipes and on the command line.
        title: as people write it.
        score_range: its least and largest value, None where there is none.
        logs: what logs call it, the name that libvmaf uses when we ask for it first.
        also: other spellings of its name and title; case, spaces, dashes, underscores, dots and brackets do not matter.
        same_as: the name of the label that it is another name of.
        model: libvmaf's name of a model, for VMAF.
        smallest_side: below so many pixels a side it can't be measured.
        human: whether it is an opinion of people.
    """

    name: str
    title: str
    score_range: tuple[float, float] | None = None
    logs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    same_as: str | None = None
    model: str | None = None
    smallest_side: int = 16
    human: bool = False

    @property
    def key(self) -> str:
        """The name in the log when we ask."""
        return self.logs[0]

    @property
    def ask(self) -> str:
        """How libvmaf is asked for a model of VMAF; in a log's names only letters, digits and underscores are safe."""
        return rf"version={self.model}\:name={self.key}"


def _vmaf(version: str, title: str, *also: str, smallest_side: int = 16, stored: tuple[str, ...] = ()) -> Label:
    key = version.replace(".", "_")
    # Asked for by itself, libvmaf and others call their score "vmaf" whatever the model.
    logs = (key, *stored, "vmaf", "VMAF_score", "VMAF score")
    return Label(version, title, (0.0, 100.0), logs, also, model=version, smallest_side=smallest_side)


_TABLE = (
    _vmaf("vmaf_v0.6.1", "VMAF 0.6.1", "vmaf", "vmaf 061"),
    _vmaf("vmaf_v0.6.1neg", "VMAF 0.6.1 NEG", "vmaf_neg", "vmaf-neg 0.6.1", stored=("vmaf_neg", "neg")),
    _vmaf("vmaf_4k_v0.6.1", "VMAF 0.6.1 (4K)", "vmaf_4k", "vmaf 4k 0.6.1", stored=("vmaf_4k",)),
    # Below 256 pixels a side version 1 prints 0.0 for everything, without an error.
    _vmaf("vmaf_v1.0.16_3d0h", "VMAF 1.0.16 (3d0h)", "vmaf_v1.0.16", smallest_side=256, stored=("v1",)),
    Label("psnr", "PSNR", None, ("psnr_y", "psnr", "PSNR_score", "PSNR score"), ("psnr luma", "luma psnr", "y-psnr")),
    Label("psnr_y", "PSNR-Y", None, ("psnr_y", "psnr"), same_as="psnr"),
    Label("psnr_cb", "PSNR-Cb", None, ("psnr_cb",), ("psnr_u",)),
    Label("psnr_cr", "PSNR-Cr", None, ("psnr_cr",), ("psnr_v",)),
    Label("psnr_yuv", "PSNR-YUV", None, ("psnr_yuv",)),
    Label("psnr_hvs", "PSNR-HVS", None, ("psnr_hvs",)),
    Label("xpsnr", "XPSNR", None, ("xpsnr", "xpsnr_y"), ("xpsnr_y",)),
    Label("ssim", "SSIM", (0.0, 1.0), ("float_ssim", "ssim", "SSIM_score", "SSIM score"), ("float_ssim", "ssim_y")),
    Label("ms_ssim", "MS-SSIM", (0.0, 1.0), ("float_ms_ssim", "ms_ssim", "MS_SSIM_score", "MS-SSIM score"),
          ("float_ms_ssim",)),
    Label("xpsnr_cb", "XPSNR-Cb", None, ("xpsnr_cb", "xpsnr_u"), ("xpsnr_u",)),
    Label("xpsnr_cr", "XPSNR-Cr", None, ("xpsnr_cr", "xpsnr_v"), ("xpsnr_v",)),
    Label("ciede", "CIEDE2000", None, ("ciede2000", "ciede")),
    Label("cambi", "CAMBI", None, ("cambi",)),
    Label("cambi_added", "CAMBI added", None, ("cambi_added", "cambi_full_reference"), ("cambi_full_reference",)),
    Label("lpips", "LPIPS", None, ("lpips",)),
    Label("lpips-vgg", "LPIPS (VGG)", None, ("lpips-vgg",)),
    Label("dists", "DISTS", None, ("dists",)),
    Label("mos", "MOS", human=True),
    Label("dmos", "DMOS", human=True),
    Label("hodmos", "HODMOS", human=True),
)  # fmt: skip

LABELS: dict[str, Label] = {label.name: label for label in _TABLE}
VMAF_MODELS: dict[str, Label] = {label.name: label for label in _TABLE if label.model is not None}


def _folded(text: str) -> str:
    return re.sub(r"[\s_.()-]+", "", text).casefold()


_SPELLINGS = {
    _folded(text): label.same_as or label.name for label in _TABLE for text in (label.name, label.title, *label.also)
}


def canonical_label(text: str) -> str | None:
    """The one name of a score, however it is spelled; None for one that is not in the table.

    >>> canonical_label("PSNR-Y"), canonical_label("VMAF 1.0.16 3d0h"), canonical_label("ours")
    ('psnr', 'vmaf_v1.0.16_3d0h', None)
    """
    return _SPELLINGS.get(_folded(text))


def same_label(one: str, other: str) -> bool:
    """Whether two names mean one score.

    >>> same_label("psnr", "PSNR-Y"), same_label("vmaf_v0.6.1", "VMAF 0.6.1 NEG"), same_label("Ours", "ours")
    (True, False, True)
    """
    known = canonical_label(one)
    return known == canonical_label(other) if known is not None else _folded(one) == _folded(other)


def label_title(label: str) -> str:
    """The name of a score as people write it; one that is not in the table stays as it is.

    >>> label_title("vmaf_v0.6.1neg"), label_title("vmaf_v1.0.16_3d0h"), label_title("vmaf_v2.0_x"), label_title("ours")
    ('VMAF 0.6.1 NEG', 'VMAF 1.0.16 (3d0h)', 'VMAF 2.0 (x)', 'ours')
    """
    if label in LABELS:
        return LABELS[label].title
    known = canonical_label(label)
    if known is not None and _folded(label) != _folded(LABELS[known].title):
        return label  # somebody's own spelling
    if known is not None:
        return LABELS[known].title
    if label.startswith("vmaf_v"):
        version, _, form = label.removeprefix("vmaf_v").partition("_")
        return f"VMAF {version} ({form})" if form else f"VMAF {version}"
    return label


def is_human(label: str) -> bool:
    """Whether a label is a mean opinion score of people and not another metric's output.

    >>> is_human("mos"), is_human("vmaf_v0.6.1")
    (True, False)
    """
    known = canonical_label(label)
    return known is not None and LABELS[known].human


def key_in_log(name: str, keys: Iterable[str]) -> str | None:
    """Which of a log's scores is meant by a name.

    Args:
        name: what is wanted, in any spelling.
        keys: the names of the log.

    Returns:
        The key: `name` itself, what logs call it, or, for a name that stands for no known score, the only one that
        is more than a part of VMAF. None where that leaves none or several.

    >>> key_in_log("psnr", ["integer_motion", "psnr_y", "vmaf"]), key_in_log("ssim", ["vmaf"])
    ('psnr_y', None)
    >>> key_in_log("published", ["integer_motion", "integer_adm2", "vmaf"]), key_in_log("mine", ["a", "b"])
    ('vmaf', None)
    """
    keys = list(keys)
    if name in keys:
        return name
    known = canonical_label(name)
    folded = {_folded(key): key for key in reversed(keys)}
    if known is not None:
        wanted = [_folded(key) for key in (name, *LABELS[known].logs)]
        return next((folded[key] for key in wanted if key in folded), None)
    if _folded(name) in folded:
        return folded[_folded(name)]
    scores = [key for key in keys if not _PART.fullmatch(key)]
    return scores[0] if len(scores) == 1 else None


# The features that VMAF is made of, which its logs list beside it.
_PART = re.compile(r"(integer_|float_)?(adm|vif|motion)\w*(_score)?|VMAF_(feature|integer_feature)_\w+", re.IGNORECASE)
