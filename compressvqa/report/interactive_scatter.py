"""Scores against the label as clouds to point at: what the page's script draws, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compressvqa.report.interactive_look import plotly_text
from compressvqa.report.scatter import Panel, fitted_curve, panels_of
from compressvqa.results import Dataset, Evaluation

MOST_POINTS = 4000  # of one cloud on the page: more make it slow and look no different


def clouds(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Scores in columns: what is of the data set once, then a column a model."""
    found = []
    for dataset in evaluation.datasets:
        name = dataset.name
        panels = {panel.model: panel for panel in panels_of(evaluation, dataset=name)}
        if not panels:
            continue
        items: dict[tuple[str, str], int] = {}
        columns: dict[str, list[Any]] = {"file": [], "mos": [], "std": [], "shown": [], "group": []}
        groups: dict[str, int] = {}
        drawn = {}
        order = sorted({group for panel in panels.values() for group in panel.groups})
        for model in evaluation.models:
            title = evaluation.title(model.name)
            if title in panels:
                panel = panels[title]
                groups = {group: place for place, group in enumerate(order)}
                drawn[model.name] = _cloud(panel, items, columns, groups, dataset)
        label = dataset.title + (" (proxy)" if dataset.is_proxy else "")
        found.append(
            {"name": name, "label": plotly_text(label), "names": [plotly_text(group) for group in order], **columns,
             "clouds": drawn}
        )  # fmt: skip
    return found


def _cloud(
    panel: Panel,
    items: dict[tuple[str, str], int],
    columns: dict[str, list[Any]],
    groups: Mapping[str, int],
    dataset: Dataset,
) -> dict[str, Any]:
    chosen: Sequence[int] = range(len(panel.items))
    if len(panel.items) > MOST_POINTS:
        chosen = np.sort(np.random.default_rng(0).permutation(len(panel.items))[:MOST_POINTS]).tolist()
    at, score = [], []
    names = panel.groups
    for place in chosen:
        item = panel.items[place]
        key = (item.distorted, f"{item.mos!r}")
        if key not in items:
            items[key] = len(items)
            columns["file"].append(plotly_text(item.distorted or "?"))
            columns["mos"].append(item.mos)
            columns["shown"].append(f"{item.mos:.4g}")
            columns["std"].append(item.std)
            columns["group"].append(groups[names[place]])
        at.append(items[key])
        score.append(float(item.score or 0.0))
    curve = fitted_curve(panel, 120)
    sentences = [f"{panel.model} on {dataset.name}: {dataset.described}. {', '.join(panel.corner.splitlines())}."]
    if len(chosen) < len(panel.items):
        sentences.append(f"{len(chosen):,} of {len(panel.items):,} points are shown, drawn at random.")
    if curve is not None:
        sentences.append("The line is the fitted 4-parameter logistic.")
    return {
        "model": plotly_text(panel.model), "at": at, "score": [float(f"{value:.6g}") for value in score],
        "shown": [f"{value:.4g}" for value in score], "note": " ".join(sentences),
        "curve": None if curve is None else [[float(f"{v:.5g}") for v in side] for side in curve],
    }  # fmt: skip
