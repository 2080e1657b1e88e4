"""What goes along with an exported file: a few lines that score two real files by it, and a page about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressvqa.deploy.exporting.formats import Format

_PAIR = '''\
"""Scores a video against its reference without compressvqa: python example.py REFERENCE DISTORTED

{limits}
"""
import itertools
import sys
from pathlib import Path

import av
import numpy as np
{library}

path = Path(__file__).with_name("{file}")
{model}


def rgb(file):
    for frame in av.open(file).decode(video=0):
        assert frame.format.name == "yuv420p", frame.format.name
        y, u, v = (np.float32(np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width]) for p in frame.planes)
        u, v = (((c - 128) / 224).repeat(2, 0).repeat(2, 1)[: len(y), : len(y[0])] for c in (u, v))
        y = (y - 16) / 219
        yield np.clip([y + 1.5748 * v, y - 0.187324 * u - 0.468124 * v, y + 1.8556 * u], 0, 1)  # BT.709


{loop}
print(np.mean(scores))
'''
_LOOP_FR = """\
scores, pairs = [], zip(rgb(sys.argv[1]), rgb(sys.argv[2]), strict=True)
while block := list(itertools.islice(pairs, {frames})):
    block += block[-1:] * ({frames} - len(block))
    reference, distorted = np.float32(block).swapaxes(0, 1)[:, None]  # (1, frames, 3, height, width) each
    clips = {{"reference": reference, "distorted": distorted}}
    scores.append({call})"""
_LOOP_NR = """\
scores, frames = [], rgb(sys.argv[1])
while block := list(itertools.islice(frames, {frames})):
    block += block[-1:] * ({frames} - len(block))
    clips = {{"distorted": np.float32(block)[None]}}  # (1, frames, 3, height, width)
    scores.append({call})"""


def example_of(form: Format, facts: Mapping[str, Any], size: tuple[int, int] | None) -> str:
    """A program that scores two files (a no-reference network: one) by what stands beside it.

    Args:
        form: of the exported file.
        facts: see `facts_of`.
        size: height and width that it takes; None: any.
    """
    paired = facts["mode"] == "FR"
    limits = "For files of 8 bit, 4:2:0, limited range and BT.709, one size and one rate"
    limits += "." if size is None else f", {size[1]}x{size[0]} pixels."
    loop = (_LOOP_FR if paired else _LOOP_NR).format(frames=facts["input"]["shape"][1], call=form.calls)
    library, model = form.loads
    text = _PAIR.format(limits=limits, library=library, model=model, file=form.file, loop=loop)
    return text if paired else text.replace("a video against its reference", "a video").replace("REFERENCE ", "")


def page_of(form: Format, said: str, facts: Mapping[str, Any]) -> str:
    """The README of an export."""
    licence = facts["licence"] or "not stated"
    inputs = ", ".join(f"`{name}`" for name in facts["input"]["names"])
    shape = ", ".join(map(str, facts["input"]["shape"]))
    scale = facts["scale"]
    read = f"read as {scale['fitted_to']}, from 0 to 100" if scale and scale.get("fitted_to") else (
        "from 0 to 100" if scale else "on the scale of its training")  # fmt: skip
    raw = "" if scale is None else " `raw_score` (batch,) is what the network gave before."
    untrained = "" if facts["trained"] else "**Its weights are random: its scores mean nothing.**\n\n"
    return (
        f"# {facts['name']}, as `{form.file}`\n\n{untrained}"
        f"A video quality network ({facts['mode']}), exported by compressvqa. {said}\n\n"
        f"- Input: {inputs}, ({shape}), float32 in [0, 1]; sides of {facts['input']['smallest_side']} pixels or more.\n"
        f"- Colour: {facts['colour']}.\n"
        f"- Block: {facts['block']}.\n"
        f"- Output: `score` (batch,), {read}; "
        f"{'higher' if facts['output']['higher_is_better'] else 'lower'} is better.{raw}\n"
        f"- File: {facts['pooling']}.\n"
        f"- Licence of the weights: {licence}.\n\n"
        f"All of this stands in the file too, as JSON under `compressvqa`, and in `facts.json`. `example.py` scores "
        f"two files without compressvqa; it needs {_needs(form)}.\n"
    )


def _needs(form: Format) -> str:
    library = form.loads[0].removeprefix("import ")
    return f"`pip install av numpy {library}`"
