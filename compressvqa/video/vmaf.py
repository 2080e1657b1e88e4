"""VMAF of one clip, by libvmaf: version 0.6.1, its NEG form and version 1, with PSNR, in a single pass.

0.6.1 is what RankDVQA was trained on (Li et al., "Toward A Practical Perceptual Video Quality Metric", 2016); the NEG
form does not reward sharpening; ``vmaf_v1.0.16_3d0h`` is version 1 seen from three picture heights (2026).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from compressvqa.errors import DataError
from compressvqa.labels import LABELS as NAMES
from compressvqa.labels import VMAF_MODELS
from compressvqa.untrusted import parse_json, read_text
from compressvqa.video import ffmpeg
from compressvqa.video.frames import Colour
from compressvqa.video.matrices import Matrix
from compressvqa.video.raw import RawFormat

Labels: TypeAlias = "dict[str, float | None]"

# What is measured of every clip of a training set, by name: three models of VMAF, and PSNR.
MODELS = tuple(VMAF_MODELS[name] for name in ("vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h"))
LabelName = Literal["vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h", "psnr_y"]
LABELS: tuple[str, ...] = get_args(LabelName)
V1_MIN_SIDE = VMAF_MODELS["vmaf_v1.0.16_3d0h"].smallest_side
# ffmpeg's names of matrix, primaries and transfer curve.
COLOUR_NAMES: dict[Matrix, tuple[str, str, str]] = {
    "bt601": ("smpte170m", "smpte170m", "smpte170m"),
    "bt709": ("bt709", "bt709", "bt709"),
    "bt2020": ("bt2020nc", "bt2020", "bt2020-10"),
    "fcc": ("fcc", "bt470m", "gamma22"),
    "smpte240m": ("smpte240m", "smpte240m", "smpte240m"),
}


def vmaf_filter(height: int, width: int, log: str) -> str:
    """The libvmaf filter (inputs: distorted, reference) that writes all labels to the file `log` in ffmpeg's folder."""
    models = "|".join(model.ask for model in MODELS if min(height, width) >= model.smallest_side)
    return f"libvmaf=log_fmt=json:log_path={log}:n_threads=1:feature=name=psnr:model='{models}'"


def read_log(path: Path, frames: int) -> Labels:
    """Labels of a libvmaf JSON log: the mean over its frames; None for a model that was not run.

    Raises:
        DataError: the log is missing or does not hold `frames` frames of finite values.
    """
    try:
        rows = [
            dict(row["metrics"]) for row in parse_json(read_text(path), path, strict=False, constants=True)["frames"]
        ]
    except (DataError, ValueError, KeyError, TypeError) as error:
        raise DataError("libvmaf left no log that can be read", where=path) from error
    if len(rows) != frames:
        raise DataError(f"libvmaf measured {len(rows)} frames of {frames}", where=path)
    labels: Labels = {}
    for label in LABELS:
        values = [row.get(NAMES[label].key) for row in rows]
        if all(value is None for value in values):
            labels[label] = None
            continue
        numbers = [float(value) if isinstance(value, (int, float)) and value is not True and value is not False
                   else math.nan for value in values]  # fmt: skip
        mean = float(np.mean(numbers))
        if not math.isfinite(mean):
            raise DataError(f"libvmaf gave no number for {label}", where=path)
        labels[label] = mean
    return labels


def measure(
    reference: Path, distorted: Path, raw: RawFormat, *, folder: Path, raw_distorted: RawFormat | None = None
) -> Labels:
    """Labels of two headerless .yuv files.

    Args:
        reference: the reference.
        distorted: the distorted video, as long as the reference.
        raw: what the reference holds, and the distorted file too unless `raw_distorted` is given.
        folder: a folder for the log.
        raw_distorted: what the distorted file holds; it is brought to the reference's size (bicubic) and format.

    Raises:
        DataError: ffmpeg or libvmaf failed, or the lengths differ.
    """
    ffmpeg.require(filter="libvmaf")
    other = raw_distorted or raw
    frames, rest = divmod(reference.stat().st_size, raw.frame_bytes)
    if rest or divmod(distorted.stat().st_size, other.frame_bytes) != (frames, 0):
        raise DataError("the distorted video is not as long as the reference", where=distorted)
    scaled = f"[0:v]scale={raw.width}:{raw.height}:flags=bicubic,format={pixel_format(raw)},settb=1/25,setpts=N[d];"
    pair = f"{scaled}[1:v]settb=1/25,setpts=N[r];[d][r]" if other != raw else "[0:v][1:v]"
    graph = f"{pair}{vmaf_filter(raw.height, raw.width, 'vmaf.json')}"
    inputs = [word for path, held in ((distorted, other), (reference, raw))
              for word in (*raw_input(held), "-i", f"file:{path.absolute()}")]  # fmt: skip
    ffmpeg.run([*inputs, "-filter_complex_threads", "1", "-filter_complex", graph, "-f", "null", "-"], folder=folder)
    return read_log(folder / "vmaf.json", frames)


def pixel_format(raw: RawFormat) -> str:
    """ffmpeg's name of a raw format, such as ``yuv420p10le``."""
    return f"yuv{raw.pixel_format}p" + ("" if raw.bitdepth == 8 else f"{raw.bitdepth}le")


def colour_tags(colour: Colour) -> str:
    """The ffmpeg filter that states matrix and range of the samples without touching them."""
    matrix, primaries, curve = COLOUR_NAMES[colour.matrix]
    span = "pc" if colour.full_range else "tv"
    return f"setparams=range={span}:colorspace={matrix}:color_primaries={primaries}:color_trc={curve}"


def raw_input(raw: RawFormat) -> list[str]:
    """ffmpeg's options before ``-i`` of a headerless file."""
    rate = str(raw.frame_rate or 25)
    size = f"{raw.width}x{raw.height}"
    return ["-f", "rawvideo", "-pixel_format", pixel_format(raw), "-video_size", size, "-framerate", rate]
