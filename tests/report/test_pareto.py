"""The Pareto front against its definition, point by point."""

from hypothesis import given
from hypothesis import strategies as st

from compressvqa.report import pareto_front

NUMBERS = st.one_of(st.none(), st.integers(0, 6).map(float), st.floats(allow_nan=True, allow_infinity=True))


def naive(points):
    known = [k for k, (x, y) in enumerate(points) if x is not None and y is not None and abs(x) + abs(y) < float("inf")]
    beats = lambda a, b: a[0] <= b[0] and a[1] >= b[1] and a != b
    return {k for k in known if not any(beats(points[other], points[k]) for other in known)}


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30))
def test_no_other_point_beats_one_on_the_front(points):
    points = [tuple(v if v is None or abs(v) < 1e300 else float("inf") for v in point) for point in points]
    found = pareto_front(points)
    assert set(found) == naive(points)
    assert len(found) == len(set(found))
    assert [points[k][0] for k in found] == sorted(points[k][0] for k in found), "from the cheapest to the dearest"


def test_table_one():
    """Of RankDVQA-mini's Table I: only the two RankDVQA networks are worth their MACs."""
    networks = {
        "RankDVQA": (10.731, 0.8972), "RankDVQA-mini": (1.457, 0.8521), "DISTS": (481.07, 0.7718),
        "C3DVQA": (11.236, 0.7641), "LPIPS": (20.852, 0.7107),
    }  # fmt: skip
    names = list(networks)
    assert [names[k] for k in pareto_front(list(networks.values()))] == ["RankDVQA-mini", "RankDVQA"]


def test_nothing():
    assert pareto_front([]) == []
