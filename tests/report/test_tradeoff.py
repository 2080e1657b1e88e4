"""The trade-off figure: what it shows, where it puts names, and that a user can plot any networks."""

import csv
import itertools
import random
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from compressvqa.errors import CompressVQAError
from compressvqa.report import plot_tradeoff, style
from compressvqa.report.labels import place_labels
from compressvqa.report.measures import MEASURES
from compressvqa.report.tradeoff import tradeoff_figure


def test_three_files(results, tmp_path):
    paths = plot_tradeoff(results["table"], tmp_path / "plots" / "tradeoff", label="vmaf_v0.6.1", n=96)
    assert [path.name for path in paths] == ["tradeoff.svg", "tradeoff.png", "tradeoff.csv"]
    assert ET.parse(paths[0]).getroot().tag.endswith("svg")
    with Image.open(paths[1]) as picture:
        assert picture.width == pytest.approx(7.16 * 300, abs=2), "two columns of a page at 300 dpi"
    rows = list(csv.DictReader(paths[2].open()))
    assert [row["stage"] for row in rows] == ["teacher", "sparse", "pruned", "distilled"]
    assert float(rows[3]["params_share"]) == 453_522 / 4_594_938
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)


def test_the_same_rows_give_the_same_bytes(results, tmp_path):
    first, second = (plot_tradeoff(results["table"], tmp_path / name) for name in ("a.svg", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def figure_of(rows, **settings):
    with style.house_style():
        return tradeoff_figure(rows, measures=MEASURES, **settings)


def test_axes_say_what_they_show(results):
    figure = figure_of(results["table"], label="vmaf_v0.6.1", n=96, inputs="12 frames of 256x256")
    names = [axes.get_xlabel() for axes in figure.axes]
    assert names[0] == "MACs (G, 12 frames of 256x256)"
    assert names[1:] == ["Parameters (M)", "Latency (ms, 12 frames of 256x256)"]
    assert figure.axes[0].get_ylabel() == "SROCC against VMAF 0.6.1\non 96 validation clips"
    assert all(axes.get_xscale() == "log" for axes in figure.axes)
    assert all(len(axes.get_xticks()) >= 3 for axes in figure.axes)


def test_points_and_arrows(results):
    figure = figure_of(results["table"])
    points = [tuple(np.ravel(line.get_xydata())) for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert points == [(row["params"] / 1e6, row["srocc"]) for row in results["table"]]
    arrows = [text for text in figure.axes[1].texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == 3


def boxes_of(figure, axes):
    renderer = figure.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]


def test_names_do_not_overlap(results):
    figure = figure_of(results["table"])
    for axes in figure.axes:
        frame = axes.get_window_extent()
        for box in boxes_of(figure, axes):
            assert frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1
            assert frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1
        for a, b in itertools.combinations(boxes_of(figure, axes), 2):
            assert not a.overlaps(b)


@pytest.mark.parametrize("seed", range(6))
def test_names_of_a_crowd_do_not_overlap(seed):
    """Fourteen networks at random places, some of them next to each other."""
    chance = random.Random(seed)
    places = [(chance.random(), chance.random()) for _ in range(10)]
    places += [(x + 0.01, y - 0.01) for x, y in places[:4]]
    with style.house_style():
        figure = style.new_figure(3.5, 3)
        axes = figure.subplots()
        axes.set_xlim(-0.1, 1.1)
        axes.set_ylim(-0.1, 1.1)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        place_labels(axes, places, [f"network {n}" for n in range(14)])
        boxes = boxes_of(figure, axes)
        points = axes.transData.transform(places)
    overlaps = [a.overlaps(b) for a, b in itertools.combinations(boxes, 2)]
    covered = [bool(box.contains(*point)) for box in boxes for point in points]
    assert not any(overlaps)
    assert not any(covered)


def test_any_set_of_networks(tmp_path):
    """Rows of other people's networks: figures missing here and there, no order among them."""
    rows = [
        {"stage": "A", "macs": 1e9, "srocc": 0.7},
        {"stage": "B", "macs": 2e9, "params": 1e6, "srocc": 0.8},
        {"stage": "no accuracy", "macs": 3e9},
        {"stage": "no complexity", "srocc": 0.9},
    ]
    assert all(path.exists() for path in plot_tradeoff(rows, tmp_path / "t", connect=False))
    with pytest.raises(CompressVQAError, match="no row has srocc"):
        plot_tradeoff(rows[2:3], tmp_path / "t")
    assert plot_tradeoff(rows[:1], tmp_path / "one")[0].exists()


def test_the_callers_matplotlib_settings_come_back(results, tmp_path):
    import matplotlib as mpl

    mpl.rcParams["font.size"] = 17
    try:
        plot_tradeoff(results["table"], tmp_path / "t")
        assert mpl.rcParams["font.size"] == 17
    finally:
        mpl.rcdefaults()
