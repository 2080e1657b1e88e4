"""Pictures of patches: the frame that the network would see, with its patch's label, so many of each content."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from compressvqa.data import PatchSet
from compressvqa.opinions import read_dataset

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

import pictures_of_patches


def test_each_picture_is_its_patchs_middle_frame_with_its_label(small_data, tmp_path):
    patches = PatchSet(small_data / "validation")
    pictures_of_patches.pictures(patches, tmp_path / "all", "vmaf_v0.6.1", None, 0)
    found = read_dataset(tmp_path / "all" / "pictures.csv")
    assert found.kind == "proxy" and found.label == "VMAF 0.6.1"
    assert len(found.items) == len(patches)
    expected = [
        (entry, frames[patches.frames // 2])
        for batch in patches.evaluation_batches(1)
        for entry, frames in zip(batch.entries, batch.distorted, strict=True)
    ]
    expected.sort(key=lambda one: one[0].content)  # stable: the set's order within a content
    for item, (entry, frame) in zip(found.items, expected, strict=True):
        assert (item.content, item.mos) == (entry.content, entry.labels["vmaf_v0.6.1"])
        pixels = torch.from_numpy(np.array(Image.open(tmp_path / "all" / item.distorted))).movedim(-1, 0) / 255
        assert (pixels - frame).abs().max() <= 0.5 / 255 + 1e-6


def test_of_each_content_there_are_at_most_so_many_and_a_seed_draws_others(small_data, tmp_path):
    patches = PatchSet(small_data / "train")
    drawn = {
        seed: pictures_of_patches.pictures(patches, tmp_path / f"{seed}", "vmaf_v0.6.1", 2, seed) for seed in (0, 1)
    }
    counts = Counter(entry.content for entry in patches.entries)
    assert Counter(item.content for item in drawn[0].items) == {name: min(2, count) for name, count in counts.items()}
    assert max(counts.values()) > 2
    assert [item.distorted for item in drawn[0].items] != [item.distorted for item in drawn[1].items]
