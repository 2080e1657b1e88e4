"""An evaluation as `compressvqa evaluate` would write it: Table I's figures, and items that are synthetic.

Correlations, MACs and parameters are those of Table I of the RankDVQA-mini paper. **Everything else is synthetic**: the
items, latency, intervals, errors, F-tests and the proxy data set, made so that figures have something to show.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.optimize

DATASETS = ("NFLX", "NFLX-P", "BVI-HD", "CC-HD", "CC-HDDO", "MCL-V", "SHVC", "VQEGHD3")
SIZES = (70, 70, 384, 108, 90, 96, 64, 72)
TABLE_I: dict[str, tuple[tuple[float, ...], float | None, float | None]] = {
    "rankdvqa": ((.9393, .9184, .8659, .8991, .9037, .8391, .9142, .8979), 10.731, 4.608),
    "rankdvqa-mini": ((.8846, .8748, .8135, .8479, .8890, .7592, .8819, .8661), 1.457, .455),
    "vmaf_v0.6.1": ((.9254, .9104, .7962, .8723, .8783, .7766, .9114, .8442), None, None),
    "st-greed": ((.7470, .7445, .7769, .7738, .8259, .7226, .7946, .8079), None, None),
    "dists": ((.7787, .9325, .7030, .6303, .7442, .7792, .7813, .8254), 481.07, 14.715),
    "c3dvqa": ((.7730, .7714, .7393, .7203, .8137, .7126, .8194, .7329), 11.236, .227),
}  # fmt: skip
# Table I gives these their mean only; here every data set gets it, plus a synthetic offset that sums to zero.
MEANS = {
    "ms_ssim": (.7601, None, None), "deepvqa": (.7540, 14.990, .144), "lpips-alex": (.7107, 20.852, 2.471),
    "deepqa": (.7024, 14.977, .131), "wadiqam-fr": (.6528, 104.036, 6.287), "psnr": (.6520, None, None),
    "ssim": (.6216, None, None),
}  # fmt: skip
LATENCY = {"rankdvqa": 148.2, "rankdvqa-mini": 38.4, "dists": 1490.0, "c3dvqa": 171.0, "deepvqa": 402.0,
           "lpips-alex": 96.0, "deepqa": 212.0, "wadiqam-fr": 610.0, "vmaf_v0.6.1": 9.5, "ms_ssim": 12.1,
           "psnr": 1.3, "ssim": 4.2}  # fmt: skip


def made_up_evaluation(items: bool = True) -> dict[str, Any]:
    """The eight data sets of Table I and one proxy; `items` False leaves the scores of single items out."""
    chance = random.Random(0)
    offsets = (0.05, 0.04, -0.05, -0.03, 0.02, -0.06, 0.05, -0.02)
    sroccs = {name: values for name, (values, _, _) in TABLE_I.items()}
    sroccs |= {name: tuple(mean + offset for offset in offsets) for name, (mean, _, _) in MEANS.items()}
    costs = {name: line[1:] for name, line in {**TABLE_I, **MEANS}.items()}
    models = [
        {
            "name": name, "mode": "FR", "higher_is_better": name not in ("dists", "lpips-alex"), "source": "synthetic",
            "params": params and round(params * 1e6), "macs": macs and round(macs * 1.002e9),
            "macs_conv_linear": macs and round(macs * 1e9), "latency_ms": LATENCY.get(name),
            "latency_p90_ms": LATENCY[name] * 1.1 if name in LATENCY else None, "inputs": "12 frames of 256x256",
        }
        for name, (macs, params) in costs.items()
    ]  # fmt: skip
    datasets: list[dict[str, Any]] = [
        {"name": name, "kind": "human", "label": "DMOS" if name in ("VQEGHD3", "NFLX") else "MOS",
         "higher_is_better": name not in ("VQEGHD3", "NFLX"), "n": n, "references": max(6, n // 12), "notes": []}
        for name, n in zip(DATASETS, SIZES, strict=True)
    ]  # fmt: skip
    datasets.append({"name": "ladders", "kind": "proxy", "label": "VMAF 0.6.1", "higher_is_better": True, "n": 96,
                     "references": 4, "notes": ["Encodes of four clips."]})  # fmt: skip
    results, scores, matrix = [], [], {}
    for place, dataset in enumerate(datasets):
        matrix[dataset["name"]] = {}
        for model in models:
            name = model["name"]
            srocc = sroccs[name][place] if place < len(DATASETS) else min(1.0, sum(sroccs[name]) / 8 + 0.08)
            if dataset["kind"] == "proxy" and name == "vmaf_v0.6.1":
                srocc = 1.0
            half = 1.6 * (1 - srocc**2) / np.sqrt(dataset["n"])
            result = {
                "model": name, "dataset": dataset["name"], "n": dataset["n"], "srocc": srocc,
                "srocc_low": srocc - 1.15 * half, "srocc_high": min(1.0, srocc + 0.85 * half),
                "plcc": min(.9999, srocc + .004), "plcc_low": srocc - half,
                "plcc_high": min(1.0, srocc + .004 + .85 * half),
                "krocc": srocc * .8, "krocc_low": srocc * .8 - half, "krocc_high": srocc * .8 + half,
                "rmse": 20 * np.sqrt(1 - min(srocc, .999) ** 2), "outlier_ratio": round(.06 + .2 * (1 - srocc), 4),
                "fit": "logistic4", "fit_parameters": None,
                "logistic5": {"plcc": min(.9999, srocc + .006), "rmse": 19.5 * np.sqrt(1 - min(srocc, .999) ** 2),
                              "outlier_ratio": .05, "parameters": [1, 2, 3, 4, 5]},
                "retention": srocc / sroccs["rankdvqa"][place] if place < len(DATASETS) else None,
                "different_similar_auc": .5 + srocc / 3, "better_worse_auc": .5 + srocc / 2.1,
                "better_worse_correct": .5 + srocc / 2.2,
                "ladder_accuracy": .98 if dataset["kind"] == "proxy" else None,
            }  # fmt: skip
            gap = srocc - results[0]["srocc"] if name != "rankdvqa" and place == 0 else srocc - sroccs["rankdvqa"][
                min(place, 7)]  # fmt: skip
            if name != "rankdvqa":
                matrix[dataset["name"]][name] = -1 if gap < -0.06 else (1 if gap > 0.06 else 0)
            if items:
                result["fit_parameters"], lines = synthetic_items(dataset, model, srocc, chance.randrange(2**31))
                scores.append({"model": name, "dataset": dataset["name"], "items": lines})
            results.append(result)
    return {
        "schema": 1, "created": "2026-03-01T12:00:00+00:00", "teacher": "rankdvqa",
        "confidence": {"method": "bootstrap over contents, percentile", "level": .95, "samples": 1000},
        "environment": {"python": "3.11.4", "processor": "Some Processor 3000", "packages": {"torch": "2.15.0"}},
        "datasets": datasets, "models": models, "results": results,
        "significance": {"baseline": "rankdvqa", "alpha": .05, "matrix": matrix}, "scores": scores,
    }  # fmt: skip


def synthetic_items(
    dataset: dict[str, Any], model: dict[str, Any], rho: float, seed: int
) -> tuple[list[float], list[dict[str, Any]]]:
    """Items whose scores follow a logistic curve, with noise for a correlation of about `rho`; and that curve."""
    random_numbers = np.random.default_rng(seed)
    n, references = dataset["n"], dataset["references"]
    quality = np.random.default_rng(n).uniform(-2, 2, n)  # the same for every model
    content = np.arange(n) % references
    bias = random_numbers.normal(0, 0.4, references)[content]
    rho = min(max(rho, 0), 0.999)
    z = rho * quality + 1.15 * np.sqrt(1 - rho**2) * (0.9 * random_numbers.normal(0, 1, n) + bias)
    score = (50 + 20 * z) * (1 if model["higher_is_better"] else -0.01)
    ground = 100 / (1 + np.exp(-quality * 1.2))
    rising = model["higher_is_better"] == dataset["higher_is_better"]
    mos = ground if dataset["higher_is_better"] else 100 - ground
    if dataset["kind"] == "human":
        mos = 1 + mos / 25
    top, bottom = (mos.max(), mos.min()) if rising else (mos.min(), mos.max())
    start = (top, bottom, *((50, 20) if model["higher_is_better"] else (-0.5, 0.2)))
    found, _ = scipy.optimize.curve_fit(
        lambda x, b0, b1, b2, b3: (b0 - b1) / (1 + np.exp((b2 - x) / abs(b3))) + b1, score, mos, start, maxfev=20000
    )
    return [float(parameter) for parameter in found], [
        {"distorted": f"scene{content[k]:02d}_rate{k // references}.mp4", "reference": f"scene{content[k]:02d}.mp4",
         "content": f"scene{content[k]:02d}", "score": float(score[k]), "mos": float(mos[k]),
         "std": .25 if dataset["kind"] == "human" else None}
        for k in range(n)
    ]  # fmt: skip


def part_of(evaluation: dict[str, Any], models: Sequence[str], datasets: Sequence[str]) -> dict[str, Any]:
    """The same evaluation with some of its models and data sets only."""
    chosen = lambda line: line["model"] in models and line["dataset"] in datasets
    return {
        **evaluation,
        "models": [model for model in evaluation["models"] if model["name"] in models],
        "datasets": [dataset for dataset in evaluation["datasets"] if dataset["name"] in datasets],
        "results": [line for line in evaluation["results"] if chosen(line)],
        "scores": [line for line in evaluation["scores"] if chosen(line)],
    }


def without_figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The same evaluation with null in the place of every figure."""
    names = ("name", "model", "dataset", "kind", "label", "items", "mode")
    blank = lambda line: {key: value if key in names else None for key, value in line.items()}
    scores = [{**line, "items": [blank(item) for item in line["items"]]} for line in evaluation["scores"]]
    lists = {key: [blank(line) for line in evaluation[key]] for key in ("models", "datasets", "results")}
    return {"schema": 1, **lists, "scores": scores, "significance": None, "environment": None, "created": None}
