"""The field of many metrics: what is a point, what a line, who is on the front, and that names don't overlap."""

import csv
import itertools
import random
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from report.made_up_evaluation import DATASETS, made_up_evaluation, part_of, without_figures

from compressvqa.errors import CompressVQAError
from compressvqa.report import plot_evaluation_tradeoff, plot_tradeoff, style, with_runs
from compressvqa.report.evaluation_tradeoff import accuracy_words, evaluation_field
from compressvqa.report.front import Field, front_figure, front_steps
from compressvqa.report.measures import CONV_LINEAR, MEASURES, measures_of
from compressvqa.results import Evaluation, EvaluationError

MACS, PARAMS, LATENCY = MEASURES


@pytest.fixture
def evaluation():
    return made_up_evaluation(items=False)


@pytest.fixture
def field(evaluation):
    return evaluation_field(Evaluation.read(evaluation), teachers={"rankdvqa-mini": "rankdvqa"})


def test_points_and_lines(field):
    assert {name for name, _ in field.lines(MACS)} == {"VMAF 0.6.1", "st-greed", "MS-SSIM", "PSNR", "SSIM"}
    assert [name for name, _ in field.lines(LATENCY)] == ["st-greed"], "what has a latency is a point there"
    front = {measure.key: {p.name for p in field.points(measure) if p.front} for measure in MEASURES}
    assert front["macs"] == {"rankdvqa", "rankdvqa-mini"}
    assert front["params"] == {"rankdvqa", "rankdvqa-mini", "c3dvqa", "deepvqa", "deepqa"}
    assert front["latency_ms"] == {"PSNR", "VMAF 0.6.1", "rankdvqa"}
    assert field.absent(MEASURES) == {}


def test_a_network_without_a_latency_is_named_as_absent(evaluation):
    evaluation["models"][1]["latency_ms"] = None
    field = evaluation_field(Evaluation.read(evaluation))
    assert field.absent(MEASURES) == {"Latency": ["rankdvqa-mini"]}
    assert "rankdvqa-mini" not in {name for name, _ in field.lines(LATENCY)}, "a network is no reference line"


def test_steps_are_the_best_that_a_budget_buys(field):
    points = field.points(PARAMS)
    corners = front_steps(points, 100.0)
    for budget in np.geomspace(min(p.x for p in points), 100, 50):
        best = max(p.y for p in points if p.x <= budget)
        height = [y for x, y in corners if x <= budget][-1]
        assert height == best


def test_other_data_is_not_on_the_front(evaluation, results, tmp_path):
    import json

    (tmp_path / "results.json").write_text(json.dumps(results))
    field = evaluation_field(with_runs(Evaluation.read(evaluation), [tmp_path]))
    others = [point for point in field.points(MACS) if point.other]
    assert [point.name for point in others] == [f"rankdvqa_mini: {row['stage']}" for row in results["table"]]
    assert not any(point.front for point in others), "though its SROCC is the highest"
    assert {point.name for point in field.points(MACS) if point.front} == {"rankdvqa", "rankdvqa-mini"}
    with style.house_style():
        figure = front_figure(field, [MACS])
    assert "of other data, not comparable" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_axis_says_against_what(evaluation):
    found = Evaluation.read(evaluation)
    assert accuracy_words(found, None) == "Mean SROCC over 8 data sets\n(DMOS and MOS)"
    assert accuracy_words(found, "NFLX") == "SROCC on NFLX\n(DMOS, n = 70)"
    assert accuracy_words(found, "ladders") == "SROCC on ladders\n(VMAF 0.6.1, a proxy, n = 96)"
    assert "VMAF 0.6.1" not in {row["stage"] for row in evaluation_field(found, "ladders").scored}


def test_macs_as_most_models_have_them(evaluation):
    rows = [{"srocc": 0.5, "macs_conv_linear": 3}, {"srocc": 0.5, "macs_conv_linear": 3, "macs": 4}]
    assert measures_of(rows) == [CONV_LINEAR]
    assert measures_of(rows[1:]) == [MACS]


def texts_of(axes):
    return [text for text in axes.texts if text.get_text()]


@pytest.mark.parametrize("seed", range(3))
def test_no_names_overlap_among_twenty(seed):
    chance = random.Random(seed)
    rows = []
    for k in range(20):
        srocc = chance.uniform(0.6, 0.93)
        costs = {"macs": 10 ** chance.uniform(8.5, 12), "params": 10 ** chance.uniform(5, 8)}
        ends = {"srocc_low": srocc - 0.03, "srocc_high": srocc + 0.02}
        rows.append({"stage": f"metric-{k:02d}", "srocc": srocc, **costs, **ends, "latency_ms": chance.uniform(5, 900)})
    rows += [{"stage": f"line {k}", "srocc": 0.8 + 0.001 * k} for k in range(4)]  # nearly the same height
    with style.house_style():
        figure = front_figure(Field(rows), MEASURES)
        figure.draw_without_rendering()
        for axes in figure.axes:
            boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(axes)]
            assert len(boxes) == 24
            overlapping = [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]
            assert overlapping == []
            page = figure.bbox
            assert all(box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0 and box.y1 <= page.y1 for _, box in boxes)


def test_bars_stand_where_the_intervals_are(field):
    with style.house_style():
        figure = front_figure(field, [MACS])
    verticals = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    bars = {tuple(data[:, 1]) for data in verticals if data[0, 0] == data[1, 0]}
    assert {point.bar for point in field.points(MACS)} <= bars


def test_files(evaluation, tmp_path):
    evaluation = part_of(evaluation, ["rankdvqa", "rankdvqa-mini", "dists", "psnr"], DATASETS)
    paths = plot_evaluation_tradeoff(evaluation, tmp_path / "t", teachers={"rankdvqa-mini": "rankdvqa"})
    assert [path.name for path in paths] == ["t.svg", "t.png", "t.csv"]
    assert ET.parse(paths[0]).getroot().tag.endswith("svg")
    lines = {line["model"]: line for line in csv.DictReader(paths[2].open())}
    assert len(lines) == 4
    assert lines["rankdvqa"]["front_macs"] == "1" and lines["DISTS"]["front_macs"] == "0"
    assert float(lines["rankdvqa-mini"]["srocc"]) == pytest.approx(0.8521, abs=5e-5)
    assert lines["PSNR"]["params"] == ""
    again = plot_evaluation_tradeoff(evaluation, tmp_path / "again", teachers={"rankdvqa-mini": "rankdvqa"})
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_names_with_dollars_are_no_formulas(evaluation, tmp_path):
    evaluation = part_of(evaluation, ["rankdvqa", "psnr"], ["NFLX"])
    name = evaluation["teacher"] = r"a$b_{$ \frac $$ <&>"
    evaluation["models"][0]["name"] = evaluation["results"][0]["model"] = name
    assert plot_evaluation_tradeoff(evaluation, tmp_path / "t")[0].exists()


def test_what_cannot_be_drawn(evaluation, tmp_path):
    with pytest.raises(CompressVQAError, match="no model has an SROCC"):
        plot_evaluation_tradeoff(without_figures(evaluation), tmp_path / "t")
    with pytest.raises(EvaluationError, match="no data set 'LIVE'"):
        plot_evaluation_tradeoff(evaluation, tmp_path / "t", dataset="LIVE")
    assert list(tmp_path.iterdir()) == []


def test_any_rows_with_a_front(tmp_path):
    rows = [{"stage": "A", "params": 1e6, "srocc": 0.7}, {"stage": "B", "params": 2e6, "srocc": 0.8, "srocc_low": 0.7}]
    assert all(path.exists() for path in plot_tradeoff(rows, tmp_path / "t", front=True, title="SROCC on ours"))
    assert plot_tradeoff(rows[:1], tmp_path / "one", front=True)[0].exists()
