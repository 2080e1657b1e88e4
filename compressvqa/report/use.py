"""How to use the network that a run made: a few lines that run as they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Use(NamedTuple):
    """Lines of Python and of a shell."""

    python: str
    shell: str


def use_of(results: Mapping[str, Any], folder: str = "model") -> Use | None:
    """How to load and call the network of a run, on clips of the shape that it was counted on; None where that is not
    known.

    Args:
        results: a run's results, see `compressvqa.report.results.Results`.
        folder: of the saved network.
    """
    shapes = results.get("inputs")
    if not isinstance(shapes, list) or not shapes or not isinstance(shapes[-1], (list, tuple)) or len(shapes[-1]) != 5:
        return None
    _, frames, channels, height, width = shapes[-1]
    pair = len(shapes) == 2
    shape = f"1, {frames}, {channels}, {height}, {width}"
    clips = ["reference", "distorted"] if pair else ["distorted"]
    lines = [
        "import torch",
        "import compressvqa as cv",
        "",
        f'model = cv.load("{folder}").eval()',
        *(f"{clip} = torch.rand({shape})  # batch, frames, RGB in [0, 1], height, width" for clip in clips),
        "with torch.inference_mode():",
        f"    print(model({', '.join(clips)}))  # one score a clip, higher is better",
    ]
    if pair:
        lines += ["", f'print(cv.score("reference.mp4", "distorted.mp4", model="{folder}").score)  # two files']
        shell = f"compressvqa score reference.mp4 distorted.mp4 --model {folder}"
    else:
        shell = f"compressvqa score distorted.mp4 --model {folder}"
    return Use("\n".join(lines), shell)
