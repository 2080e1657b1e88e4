"""A set of patches written by hand, without encoding anything: pixels say which patch they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from compressvqa.data import PatchSet
from compressvqa.data.patches import FORMAT

Made = float | None | dict[str, object]


def write_set(folder: Path, labels: list[list[list[Made]]], *, size: int = 128, frames: int = 3) -> PatchSet:
    """``labels[content][reference]`` lists the labels of its distorted patches, or dictionaries of their facts.

    Luma of a patch is noise whose first two bits of columns are unique; so equal pixels mean an equal patch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for content, references in enumerate(labels):
        rows, facts = (
            [],
            {"content": f"content{content}", "skipped": None, "notes": [], "references": [], "distorted": []},
        )
        facts["colour"] = {"bitdepth": 8, "matrix": "bt709", "full_range": False}
        for _ in references:
            facts["references"].append({"start": 0, "top": 0, "left": 0, "downscale": 1})
            rows.append(rng.integers(16, 236, (frames, size * size * 3 // 2), dtype=np.uint8))
        for number, values in enumerate(references):
            for quality, value in enumerate(values):
                made = {"vmaf_v0.6.1": value, "vmaf_v0.6.1neg": value, "vmaf_v1.0.16_3d0h": None, "psnr_y": value}
                given = value if isinstance(value, dict) else {"labels": made}
                facts["distorted"].append({"reference": number, "codec": "x264", "quality": quality, "scale": 1.0,
                                           "bytes": 100} | given)  # fmt: skip
                rows.append(rng.integers(16, 236, (frames, size * size * 3 // 2), dtype=np.uint8))
        np.save(folder / f"shard{content}.npy", np.stack(rows))
        (folder / f"shard{content}.json").write_text(json.dumps(facts))
    index = {"format": FORMAT, "frames": frames, "size": size, "skipped": [], "notes": [],
             "shards": [f"shard{content}" for content in range(len(labels))]}  # fmt: skip
    (folder / "index.json").write_text(json.dumps(index))
    return PatchSet(folder)
