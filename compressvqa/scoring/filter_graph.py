"""ffmpeg's filter graph that measures stacked pictures, and the logs that it leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.scoring.features import Feature
from compressvqa.untrusted import parse_json, read_text


def graph_of(features: Sequence[Feature], count: int, crop: Callable[[int], str]) -> tuple[str, list[str]]:
    """Cuts the stacked pictures apart and measures each distorted one.

    Args:
        features: what to measure.
        count: number of distorted pictures, which stand below the one reference.
        crop: the filter that cuts out the picture of a place; 0 is the reference.

    Returns:
        The graph, and the names of its outputs. It leaves ``{side}.json`` and ``{side}.txt`` for `read_logs`.
    """
    asked = {kind: list(dict.fromkeys(one.value for one in features if one.ask == kind))
             for kind in ("model", "feature", "xpsnr")}  # fmt: skip
    measures = [kind for kind, there in (("v", asked["model"] or asked["feature"]), ("x", asked["xpsnr"])) if there]
    pictures = "".join(f"[p{place}]" for place in range(count + 1))
    cuts = [f"[0:v]split={count + 1}{pictures}"]
    for place in range(count + 1):
        copies = count * len(measures) if place == 0 else len(measures)
        sides = range(count) if place == 0 else [place - 1]
        names = "".join(f"[{'r' if place == 0 else 'd'}{kind}{side}]" for side in sides for kind in measures)
        cuts.append(f"[p{place}]{crop(place)},split={copies}{names}")
    threads = max(1, (os.cpu_count() or 1) // count)
    outputs = []
    for side in range(count):
        if "v" in measures:
            log = f"log_fmt=json:log_path={side}.json:n_threads={threads}"
            cuts.append(f"[dv{side}][rv{side}]libvmaf={log}{_options(asked)}[ov{side}]")
        if "x" in measures:
            # Unlike libvmaf, this filter takes the reference first: its weights are of what it sees first.
            cuts.append(f"[rx{side}][dx{side}]xpsnr=stats_file={side}.txt[ox{side}]")
        outputs += [f"o{kind}{side}" for kind in measures]
    return ";".join(cuts), outputs


def _options(asked: dict[str, list[str]]) -> str:
    options = "".join(f":{kind}='{'|'.join(asked[kind])}'" for kind in ("model", "feature") if asked[kind])
    return options if asked["model"] else f"{options}:model=''"  # else the filter runs its default model as well


def read_logs(folder: Path, side: int) -> list[dict[str, Any]]:
    """What was measured of each frame of a side: {libvmaf's name or XPSNR's channel (y, u, v): value}.

    Raises:
        DataError: a log is missing or damaged.
    """
    rows: list[dict[str, Any]] = []
    try:
        if (folder / f"{side}.json").is_file():
            log = parse_json(read_text(folder / f"{side}.json"), f"{side}.json", strict=False, constants=True)
            rows = [dict(row["metrics"]) for row in log["frames"]]
        if (folder / f"{side}.txt").is_file():
            lines = (folder / f"{side}.txt").read_text(encoding="utf-8").splitlines()
            measured = [_xpsnr(line) for line in lines if line.startswith("n:")]
            rows = [{**row, **more} for row, more in zip(rows or [{} for _ in measured], measured, strict=True)]
    except (DataError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError("ffmpeg left no log that can be read", where=f"{side}.json") from error
    if not rows:
        raise DataError("ffmpeg left no log that can be read", where=f"{side}.json")
    return rows


def _xpsnr(line: str) -> dict[str, float]:
    """A line as "n:    1  XPSNR y: 27.4019  XPSNR u: inf  XPSNR v: 23.4861"."""
    parts = line.split("XPSNR ")[1:]
    return {channel: float(value) for channel, value in (part.split(":") for part in parts)}
