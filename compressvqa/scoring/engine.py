"""Scoring two files, streamed block by block, so that memory does not grow with their length.

Every block (12 frames, or what the network was made for) is scored on its whole frames; the score of the file is the
mean over its blocks, which is what the network itself gives when it is called with the whole clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from compressvqa.data.compare import inspect_pair, paired_blocks, refuse
from compressvqa.data.info import VideoInfo
from compressvqa.data.raw import RawFormat
from compressvqa.data.video import probe, read_frames
from compressvqa.errors import DataError, WeightsError
from compressvqa.models import ModelSpec
from compressvqa.scoring.network import block_of, find_network
from compressvqa.scoring.result import Score, Segment, pool
from compressvqa.scoring.tiles import MAX_PIXELS, SMALLEST_MAX_PIXELS, Tile, tiles

Progress = Callable[[int, "int | None"], None]


def score(
    reference: str | Path | None,
    distorted: str | Path,
    *,
    model: str | Path | nn.Module = "rankdvqa-mini",
    runtime: str = "auto",
    frames: int | None = None,
    subsample: int = 1,
    skip_reference: int = 0,
    skip_distorted: int = 0,
    raw: RawFormat | None = None,
    raw_distorted: RawFormat | None = None,
    max_pixels: int | None = MAX_PIXELS,
    device: str = "auto",
    progress: Progress | None = None,
) -> Score:
    """Scores a distorted video against its reference.

    The same files, network and device give the same score: nothing is drawn at random.

    Args:
        reference: the reference video, a local file. A no-reference network does not read it; None is fine there.
        distorted: the distorted video.
        model: the folder of a saved network (or the run folder that holds it), a name whose weights ship with the
            package, or a network, which is put in evaluation mode for the time of the call.
        runtime: "auto" or "torch".
        frames: compare so many frames only; the files may then be longer and differ in length.
        subsample: score every n-th block only.
        skip_reference: frames left out at the beginning of the reference.
        skip_distorted: frames left out at the beginning of the distorted video.
        raw: what headerless .yuv files hold.
        raw_distorted: what the distorted .yuv file holds, where it differs from the reference.
        max_pixels: a larger frame is cut into a grid of tiles that are scored one after the other and averaged by
            area, so that memory stays within what a frame of so many pixels takes (RankDVQA, 1080p: 5 GB). The score
            then differs from the whole frame's, since a network can't look across the edge of a tile (an untrained
            RankDVQA, 1080p in four tiles: by 3 %), and the result says so. None: never cut.
        device: "auto" (a GPU where there is one; a network that is given stays where it is), "cpu" or "cuda".
        progress: called with (frames done, frames in all or None) after each block.

    Raises:
        DataError: a file is missing, no video, cut off or damaged; sizes or frame counts differ; frames are smaller
            than 96 pixels a side; a transfer curve (PQ, HLG) that scores were not learnt on.
        WeightsError: no weights under this name or in this folder, or they give scores that are not numbers.
        RegistryError: unknown network.
    """
    _check(runtime, frames, subsample, max_pixels)
    network, facts, spec = find_network(model)
    where = _device(network, model, device)
    block = block_of(spec)
    left = None if spec.mode == "NR" else _probe(_reference(reference, spec), raw, frames, skip_reference)
    right = _probe(distorted, (raw_distorted or raw) if spec.mode == "FR" else raw, frames, skip_distorted)
    differences = inspect_pair(left or right, right, frames=frames)
    refuse(differences, left.path if left else right.path, right.path)
    total = frames if frames is not None else right.frames
    grid = tiles(right.height, right.width, max_pixels)

    if left is None:
        pairs = _single_blocks(distorted, block, subsample, frames, skip_distorted, raw)
    else:
        pairs = paired_blocks(
            left.path, distorted, block=block, subsample=subsample, frames=frames, skip_reference=skip_reference,
            skip_distorted=skip_distorted, raw=raw, raw_distorted=raw_distorted,
        )  # fmt: skip
    segments = []
    with _evaluating(network, where), torch.inference_mode():
        for number, clips in enumerate(pairs):
            first = number * block * subsample
            last = first + clips[-1].shape[1] - 1
            value = _block_score(network, tuple(clip.to(where) for clip in clips), grid)
            if not math.isfinite(value):
                raise WeightsError(f"the network scores frames {first} to {last} as {value}", where=facts["source"],
                                   hint="its weights may be damaged")  # fmt: skip
            segments.append(Segment(first, last, value))
            if progress is not None:
                progress(last + 1, total)
    mean = pool([segment.score for segment in segments])["mean"]
    assert mean is not None  # a reader yields one block at least, or raises
    settings = {
        "block": block,
        "subsample": subsample,
        "frames": frames,
        "skip_reference": skip_reference,
        "skip_distorted": skip_distorted,
        "tiles": len(grid),
        "runtime": "torch",
        "device": str(where),
    }
    return Score(mean, tuple(segments), facts, left, right, tuple(differences), settings)


def _check(runtime: str, frames: int | None, subsample: int, max_pixels: int | None) -> None:
    if runtime not in ("auto", "torch"):
        raise DataError(f"there is no runtime {runtime!r}", hint="auto, torch")
    if subsample < 1 or (frames is not None and frames < 1):
        raise DataError(f"frames {frames} and subsample {subsample} must be 1 or more")
    if max_pixels is not None and max_pixels < SMALLEST_MAX_PIXELS:
        raise DataError(f"max_pixels {max_pixels} is too small for a tile", hint=f"{SMALLEST_MAX_PIXELS} or more")


def _reference(reference: str | Path | None, spec: ModelSpec) -> str | Path:
    if reference is None:
        raise DataError(f"{spec.name} is a full-reference network and needs the reference video")
    return reference


def _probe(path: str | Path, raw: RawFormat | None, frames: int | None, skip: int) -> VideoInfo:
    """Facts of a file, its frames counted without those that are skipped, and to the end only where that is read."""
    info = probe(path, raw=raw, count=frames is None)
    return info if info.frames is None else replace(info, frames=max(0, info.frames - skip))


def _device(network: nn.Module, model: str | Path | nn.Module, device: str) -> torch.device:
    if device not in ("auto", "cpu", "cuda"):
        raise DataError(f"there is no device {device!r}", hint="auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError("no GPU is there that PyTorch can use", hint="device auto or cpu")
    if device != "auto":
        return torch.device(device)
    if isinstance(model, nn.Module):
        return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _evaluating(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode on a device, with repeatable kernels; everything is as it was afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    before = next((parameter.device for parameter in network.parameters()), device)
    try:
        network.eval().to(device)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        network.to(before)
        for module, training in modes:
            module.training = training


def _single_blocks(
    path: str | Path, block: int, subsample: int, frames: int | None, skip: int, raw: RawFormat | None
) -> Iterator[tuple[Tensor, ...]]:
    """`paired_blocks` of one video, for a no-reference network."""
    held: list[Tensor] = []
    number = 0
    for planes in read_frames(path, start=skip, stop=None if frames is None else skip + frames, raw=raw):
        if (number // block) % subsample == 0:
            held.append(planes.to_rgb())
        number += 1
        if held and number % block == 0:
            yield (torch.stack(held).unsqueeze(0),)
            held = []
    if held:
        yield (torch.stack(held).unsqueeze(0),)
    if number < (frames or 1):
        raise DataError(f"has {number} frames after the {skip} skipped, {frames or 1} were asked for", where=path)


def _block_score(network: nn.Module, clips: tuple[Tensor, ...], grid: list[Tile]) -> float:
    """The score of one block: (1, T, 3, H, W) each; the mean over tiles, weighted by area."""
    total, area = 0.0, 0
    for top, left, height, width in grid:
        parts = [clip[..., top : top + height, left : left + width] for clip in clips]
        value: Tensor = network(*parts)
        total += float(value.reshape(-1)[0]) * height * width
        area += height * width
    return total / area
