"""Scatter plots: the curve, the corner, the names; and courses over time."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from report.made_up_evaluation import made_up_evaluation, part_of, synthetic_items, without_figures

from compressvqa.errors import CompressVQAError
from compressvqa.report import plot_scatter, style
from compressvqa.report.scatter import draw_scatter, fitted_curve, group_colours, panels_of, scatter_figure
from compressvqa.results import Evaluation, EvaluationError

MODELS, SETS = ("rankdvqa", "vmaf_v0.6.1", "dists"), ("NFLX", "MCL-V", "ladders")


@pytest.fixture(scope="module")
def evaluation():
    return part_of(made_up_evaluation(), MODELS, SETS)


def test_a_panel_a_data_set_or_a_panel_a_model(evaluation):
    found = Evaluation.read(evaluation)
    assert [panel.title for panel in panels_of(found, model="dists")] == list(SETS)
    assert [panel.title for panel in panels_of(found, dataset="NFLX")] == ["rankdvqa", "VMAF 0.6.1", "DISTS"]
    assert [panel.title for panel in panels_of(found, dataset="ladders")] == ["rankdvqa", "DISTS"], (
        "not the label itself"
    )
    assert [panel.label for panel in panels_of(found, model="dists")] == ["DMOS", "MOS", "VMAF 0.6.1 (proxy)"]
    for choice in ({}, {"model": "dists", "dataset": "NFLX"}):
        with pytest.raises(CompressVQAError, match="of one model or of one data set"):
            panels_of(found, **choice)
    with pytest.raises(EvaluationError, match="no model 'LPIPS'"):
        panels_of(found, model="LPIPS")


def test_proxies_are_never_called_mos(evaluation):
    with style.house_style():
        figure = scatter_figure(panels_of(Evaluation.read(evaluation), dataset="ladders"), dataset="ladders")
    words = [axes.get_ylabel() for axes in figure.axes] + [text.get_text() for text in figure.texts]
    assert "VMAF 0.6.1 (proxy)" in words
    assert not any("MOS" in word for word in words)


def test_the_curve_is_the_papers_equation(evaluation):
    panel = panels_of(Evaluation.read(evaluation), model="dists")[0]
    b0, b1, b2, b3 = panel.result.fit_parameters
    x, y = fitted_curve(panel)
    np.testing.assert_allclose(y, (b0 - b1) / (1 + np.exp((b2 - x) / abs(b3))) + b1, rtol=1e-9)
    assert (x[0], x[-1]) == (panel.values("score").min(), panel.values("score").max())


@pytest.mark.parametrize("parameters", [None, (), (1, 2, 3), (1, 2, None, 4), (1, 2, float("nan"), 4)])
def test_no_curve_without_a_fit(evaluation, parameters):
    panel = panels_of(Evaluation.read(evaluation), model="dists")[0]
    assert fitted_curve(panel) is not None
    for change in ({"fit_parameters": parameters}, {"fit": "linear"}):
        assert fitted_curve(replace(panel, result=panel.result.model_copy(update=change))) is None
    assert fitted_curve(replace(panel, result=None)) is None


def test_figures_in_the_corner_cover_no_point(evaluation):
    for panels, dataset in (
        (panels_of(Evaluation.read(evaluation), dataset="MCL-V"), "MCL-V"),
        (panels_of(Evaluation.read(evaluation), model="dists"), None),
    ):
        with style.house_style():
            figure = scatter_figure(panels, dataset=dataset)
            figure.draw_without_rendering()
            for axes, panel in zip(figure.axes, panels, strict=False):
                box = next(text for text in axes.texts if "SROCC" in text.get_text()).get_window_extent()
                points = axes.transData.transform(np.stack([panel.values("score"), panel.values("mos")], axis=1))
                assert not any(box.contains(*point) for point in points)
                assert all(axes.get_window_extent().contains(*point) for point in points)


def test_contents_can_be_told_apart_without_colour_vision():
    """Luminance rises from group to group, so the colours stay in order in grey too."""
    light = [np.dot((0.2126, 0.7152, 0.0722), to_rgb(colour)) for colour in group_colours("abcdefgh").values()]
    assert light == sorted(light)
    assert len(set(group_colours(["x"] * 5))) == 1


def test_points_are_coloured_by_content_and_by_ladder_where_there_are_several(judged):
    panel = panels_of(judged, model="ssim")[0]
    assert panel.groups == [item.content for item in judged.items("ssim", "noise")] and len(set(panel.groups)) == 3
    items = [item.model_copy(update={"ladder": "x265" if k % 2 else "x264"}) for k, item in enumerate(panel.items)]
    assert set(replace(panel, items=items).groups) == {f"c{c}, {codec}" for c in range(3) for codec in ("x264", "x265")}


def test_thousands_of_points_are_pixels_in_the_svg(tmp_path):
    dataset = {"name": "big", "kind": "human", "label": "MOS", "higher_is_better": True, "n": 5000, "references": 50}
    parameters, items = synthetic_items(dataset, {"higher_is_better": True}, 0.9, 1)
    result = {"model": "m", "dataset": "big", "srocc": 0.9, "fit_parameters": parameters}
    scores = [{"model": "m", "dataset": "big", "items": items}]
    found = {"datasets": [dataset], "models": [{"name": "m"}], "results": [result], "scores": scores}
    svg, png = plot_scatter(found, tmp_path / "big", dataset="big")
    assert svg.stat().st_size < 600_000
    assert "<image" in svg.read_text()
    with Image.open(png) as picture:
        assert picture.width == pytest.approx(3.5 * 300, abs=2), "one column of a page"


def test_bars_of_one_standard_deviation(evaluation):
    panel = panels_of(Evaluation.read(evaluation), model="rankdvqa")[1]
    with style.house_style():
        axes = style.new_figure(3, 3).subplots()
        draw_scatter(axes, panel)
    bars = np.array(axes.containers[0].lines[2][0].get_segments())
    np.testing.assert_allclose(bars[:, 1, 1] - bars[:, 0, 1], 2 * panel.values("std"))


def test_many_panels_go_to_further_files(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr("compressvqa.report.scatter.MOST_ROWS", 1)
    names = [f"model-{k}" for k in range(5)]
    items = next(line["items"] for line in evaluation["scores"] if line["dataset"] == "NFLX")[:5]
    found = {
        "datasets": evaluation["datasets"][:1],
        "models": [{"name": name} for name in names],
        "scores": [{"model": name, "dataset": "NFLX", "items": items} for name in names],
    }
    assert {path.name for path in plot_scatter(found, tmp_path / "s", dataset="NFLX")} == {
        "s.svg", "s.png", "s-2.svg", "s-2.png",
    }  # fmt: skip


def test_figures_that_are_missing(evaluation, tmp_path):
    assert plot_scatter(without_figures(evaluation), tmp_path / "s", dataset="NFLX") == []
    bare = {**evaluation, "results": [], "scores": [dict(line) for line in evaluation["scores"]]}
    bare["scores"][0]["items"] = [{"score": 1, "mos": 2}, {"score": None, "mos": 3}, {"score": 1, "mos": 2.5}]
    svg, _ = plot_scatter(bare, tmp_path / "s", model=bare["scores"][0]["model"])
    assert not re.search("SROCC", svg.read_text())
