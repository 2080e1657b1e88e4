"""Results of a made-up run, of the form that a run folder's results.json has."""

import math
import random

import pytest


def made_up_results() -> dict:
    chance = random.Random(0)
    density = {}
    for scale in range(6):
        for conv in (0, 2):
            density[f"extractor.stages.{scale}.{conv}"] = min(1.0, 0.9 / (1 + scale) + 0.1 * chance.random())
    for scale in range(5):
        for name in ("conv_in", "attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2", "conv_out"):
            density[f"scales.{scale}.{name}"] = round(0.05 + 0.6 * chance.random() ** 2, 4)
    channels = {f"extractor.stages.{i}.{c}": w for i, w in enumerate((16, 32, 64, 96, 128, 192)) for c in (0, 2)}
    channels |= {f"scales.{i}.mlp.fc1": 64 for i in range(5)}
    removed = {path: int(count * chance.uniform(0.4, 0.95)) for path, count in channels.items()}
    removed["extractor.stages.0.0"] = 0
    curve = lambda steps, top, floor: [
        {"step": s, "loss": floor + (top - floor) * math.exp(-3 * s / steps) + 0.05 * chance.gauss(0, 1)}
        for s in range(0, steps, 2)
    ]
    curves = {"teacher": curve(600, 0.69, 0.25), "sparsify": curve(400, 0.4, 0.3), "distill": curve(500, 1.3, 0.35)}
    for place, point in enumerate(curves["teacher"]):
        if place % 50 == 49:
            point["srocc"] = 0.93 - 0.3 * math.exp(-place / 60)
    for place, point in enumerate(curves["distill"]):
        if place % 50 == 49:
            point["srocc"] = 0.9 - 0.2 * math.exp(-place / 60)
    for place, point in enumerate(curves["sparsify"]):
        point["density"] = 0.1 + 0.9 * math.exp(-place / 50)
        point["lam"] = 1e-4 * (1 + place / 100)
    rows = [
        ("teacher", 4_594_938, 10_751_000_000, 10_728_500_000, 148.2, 155.1, 0.9312, 0.9270, 0.9412),
        ("sparse", 4_594_938, 10_751_000_000, 10_728_500_000, 149.0, 157.9, 0.9127, 0.9065, 0.9270),
        ("pruned", 453_522, 1_474_400_000, 1_455_800_000, 38.6, 41.2, 0.8460, 0.8391, 0.8706),
        ("distilled", 453_522, 1_474_400_000, 1_455_800_000, 38.4, 40.7, 0.8991, 0.8944, 0.9120),
    ]
    keys = ("stage", "params", "macs", "macs_conv_linear", "latency_ms", "latency_p90_ms", "srocc", "plcc")
    summary = {
        "contents": 14,
        "patches": 224,
        "references": 56,
        "frames": 12,
        "size": 256,
        "codecs": {"x264": 96, "x265": 48, "svt-av1": 32, "vp9": 24, "vvc": 24},
        "notes": ["park.mp4, patch 1: vvc failed"],
        "skipped": [{"source": "broken <clip>.mp4", "reason": "truncated after 3 frames"}],
        "labels": {
            "psnr_y": {"lowest": 24.0, "median": 33.9, "highest": 45.0},
            "vmaf_v0.6.1": {
                "lowest": 11.2,
                "median": 71.3,
                "highest": 98.8,
                "histogram": [2, 5, 9, 18, 30, 41, 60, 59],
            },
        },
    }
    return {
        "name": "rankdvqa_mini",
        "created": "2026-01-31T12:00:00+00:00",
        "environment": {
            "python": "3.11.4",
            "system": "Linux x86_64",
            "processor": "Some Processor 3000",
            "cores": 2,
            "threads": 2,
            "gpu": None,
            "commit": "0123abc",
            "packages": {"compressvqa": "0.1.0", "torch": "2.15.0", "numpy": "2.4.6", "absent": None},
        },
        "data": {"train": summary, "validation": {**summary, "contents": 4, "patches": 96, "skipped": [], "notes": []}},
        "label": "vmaf_v0.6.1",
        "inputs": [[1, 12, 3, 256, 256], [1, 12, 3, 256, 256]],
        "model": "rankdvqa",
        "description": "RankDVQA learns to rank; <its> channels are pruned & the small network is taught.",
        "table": [{**dict(zip(keys, row[:-1], strict=True)), "pair_accuracy": row[-1], "n": 96} for row in rows],
        "curves": curves,
        "density": density,
        "pruning": {
            "removed": removed,
            "widths_before": channels,
            "rule": "in",
            "dead": ["extractor.stages.5"],
            "max_error": 3.1e-7,
        },
    }


@pytest.fixture
def results() -> dict:
    return made_up_results()
