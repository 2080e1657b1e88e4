"""The geometry behind names: shared areas, covered lines, names at a margin."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.transforms import Bbox

from compressvqa.report.labels import _inside_lengths, _overlaps, spread


def some_boxes(count, seed):
    corners = np.random.default_rng(seed).uniform(0, 10, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_shared_areas_are_those_of_matplotlib():
    boxes, others = some_boxes(8, 0), some_boxes(5, 1)
    for (i, a), (j, b) in itertools.product(enumerate(boxes), enumerate(others)):
        both = Bbox.intersection(Bbox.from_extents(*a), Bbox.from_extents(*b))
        area = both.width * both.height if both is not None else 0
        assert abs(_overlaps(boxes, others)[i, j] - area) < 1e-9


def test_length_inside_a_box_against_many_points():
    boxes = some_boxes(6, 2)
    segments = np.concatenate([some_boxes(6, 3), [[2, 1, 2, 9], [0, 5, 10, 5], [4, 4, 4, 4]]])
    share = np.linspace(0, 1, 20001)
    for (i, box), (j, line) in itertools.product(enumerate(boxes), enumerate(segments)):
        x, y = (line[k] + share * (line[k + 2] - line[k]) for k in (0, 1))
        inside = np.mean((x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3]))
        length = inside * np.hypot(line[2] - line[0], line[3] - line[1])
        assert abs(_inside_lengths(boxes, segments)[i, j] - length) < 0.01


@given(st.lists(st.floats(-5, 15), min_size=1, max_size=12), st.floats(0.1, 3))
def test_names_at_a_margin_keep_their_order_and_distance(heights, room):
    found = spread(heights, room, 0, 10)
    assert all(-1e-9 <= height <= 10 + 1e-9 for height in found)
    least = min(room, 10 / max(1, len(heights) - 1))
    ordered = sorted(range(len(heights)), key=lambda k: (heights[k], k))
    gaps = [found[b] - found[a] for a, b in itertools.pairwise(ordered)]
    assert all(gap >= least - 1e-6 for gap in gaps)


def test_names_with_room_stay_where_they_are():
    assert spread([1.0, 9.0, 5.0], 2, 0, 10) == [1.0, 9.0, 5.0]
