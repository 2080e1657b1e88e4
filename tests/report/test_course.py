"""Scores over time: steps, gaps, means, and names of files that a plot can't have."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressvqa.errors import CompressVQAError
from compressvqa.report import plot_course
from compressvqa.report.course import course_line

STEPS = [(12 * k, 12 * k + 11, 50.0 + k) for k in range(5)]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2), st.floats(-9, 9)), min_size=1, max_size=20))
def test_the_line_is_the_score_at_every_frame(pieces):
    """Lengths and gaps in, segments out; then the line is read back frame by frame."""
    segments, frame, truth = [], 0, {}
    for length, gap, score in pieces:
        segments.append((frame, frame + length, score))
        truth |= dict.fromkeys(range(frame, frame + length + 1), score)
        frame += length + 1 + gap
    x, y = course_line(list(reversed(segments)))
    for start, end, before, after in zip(x[:-1], x[1:], y[:-1], y[1:], strict=True):
        if end > start:
            assert before == after
            assert all(truth[k] == before for k in range(int(start), int(end)))
    gaps = sum(gap > 0 for _, gap, _ in pieces[:-1])
    assert np.isnan(x).sum() == gaps


def test_segments_that_share_frames_are_points_at_their_middles():
    x, y = course_line([(0, 11, 1.0), (6, 17, 2.0)])
    assert (x.tolist(), y.tolist()) == ([5.5, 11.5], [1.0, 2.0])


def test_single_frames_are_a_line():
    assert course_line([(k, k, float(k)) for k in range(4)])[0].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_several_files(tmp_path):
    courses = {"a.mp4": STEPS, "b $x_1$ <&>.mp4": [(0, 29, 20.0), (30, 59, float("nan"))], "c": [(3, 3, 1.0)]}
    path = plot_course(courses, tmp_path / "plot.svg", fps=25, title="park.mp4 & <others>", label="VMAF 0.6.1")
    assert ET.parse(path).getroot().tag.endswith("svg")
    assert [p.name for p in tmp_path.iterdir()] == ["plot.svg"]
    assert plot_course(courses, tmp_path / "plot.PNG").read_bytes()[:4] == b"\x89PNG"


def drawn(monkeypatch, courses, tmp_path, **settings):
    from compressvqa.report import style

    kept = []
    monkeypatch.setattr(style, "save", lambda figure, path: kept.append(figure))
    plot_course(courses, tmp_path / "p.png", **settings)
    return kept[0]


def test_axes_and_means(monkeypatch, tmp_path):
    figure = drawn(monkeypatch, {"a.mp4": [(0, 9, 10.0), (10, 39, 20.0)]}, tmp_path, fps=10, label="PSNR (dB)")
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Time (s)", "PSNR (dB)")
    assert axes.get_xlim() == (0, 4)
    assert figure.legends[0].get_texts()[0].get_text() == "a.mp4   mean 17.5", "weighted by frames"
    assert drawn(monkeypatch, {"a": STEPS}, tmp_path).axes[0].get_xlabel() == "Frame"


def test_twenty_files_are_told_apart(monkeypatch, tmp_path):
    figure = drawn(monkeypatch, {f"{k}.mp4": STEPS for k in range(20)}, tmp_path)
    looks = {(line.get_color(), str(line.get_linestyle()), str(line._dash_pattern)) for line in figure.axes[0].lines}
    assert len(looks) == 20


@pytest.mark.parametrize("name", ["plot.pdf", "plot", "plot.jpeg", "plot.svg.gz"])
def test_other_formats_are_refused(name, tmp_path):
    with pytest.raises(CompressVQAError, match=r"plot.*try: .*\.svg or .*\.png"):
        plot_course({"a": STEPS}, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_plotted(tmp_path):
    for courses in ({}, {"a": []}, {"a": [(0, 1, float("nan"))]}):
        with pytest.raises(CompressVQAError, match="no score"):
            plot_course(courses, tmp_path / "p.svg")
    with pytest.raises(CompressVQAError, match=r"a\.mp4: a segment from frame 9 to 3"):
        plot_course({"a.mp4": [(9, 3, 1.0)]}, tmp_path / "p.svg")
    with pytest.raises(CompressVQAError, match="no frame rate"):
        plot_course({"a": STEPS}, tmp_path / "p.svg", fps=0)
