"""Several teachers together, against their scores joined by hand."""

import pytest
import torch
from scipy.special import expit
from scipy.stats import spearmanr

from compressvqa.distillation import DistillationLoss, Outputs, Teacher, Teachers
from compressvqa.distillation.losses import batch, class_, instance
from compressvqa.errors import TrainingError

torch.set_num_threads(1)


class Linear(torch.nn.Module):
    """Scores of a clip: its weighted mean, times a scale, plus an offset."""

    def __init__(self, seed, scale=1.0, offset=0.0):
        super().__init__()
        weights = torch.randn(4, generator=torch.Generator().manual_seed(seed))
        self.weights = torch.nn.Parameter(weights)
        self.scale, self.offset = scale, offset

    def forward(self, clip):
        return self.scale * (clip * self.weights).sum(1) + self.offset


CLIPS = torch.randn(40, 4, generator=torch.Generator().manual_seed(9))
NAMES = [f"clip {n}" for n in range(40)]


def teachers(networks, weights=None):
    made = Teachers(
        {name: Teacher(network, None) for name, network in networks.items()},
        weights or dict.fromkeys(networks, 1.0),
    )
    # The second batch repeats half of the first: a clip counts once.
    made.measure([((CLIPS[:30],), NAMES[:30]), ((CLIPS[15:],), NAMES[15:])])
    return made


def test_the_joint_score_is_the_weighted_mean_of_standardised_scores_on_the_first_scale():
    a, b = Linear(1), Linear(2, scale=30.0, offset=50.0)
    made = teachers({"a": a, "b": b}, {"a": 3.0, "b": 1.0})
    said, each = made((CLIPS[:8],), NAMES[:8])
    all_a, all_b = (network(CLIPS).detach().double() for network in (a, b))
    scores_b = (all_b - all_b.mean()) / all_b.std(correction=0) * all_a.std(correction=0) + all_a.mean()
    torch.testing.assert_close(each, torch.stack([all_a[:8], scores_b[:8]]).float())
    torch.testing.assert_close(said.scores, (0.75 * all_a + 0.25 * scores_b)[:8].float())
    assert said.shares.tolist() == [0.75, 0.25]
    figures = made.figures()["teachers"]
    assert figures["b"]["srocc_with_the_first"] == pytest.approx(spearmanr(all_a, all_b).statistic)
    assert figures["b"]["deviation"] == pytest.approx(float(all_b.std(correction=0)), rel=1e-5)
    assert "srocc_with_the_first" not in figures["a"]


def test_neither_scale_nor_offset_of_a_further_teacher_matters():
    plain, moved = (teachers({"a": Linear(1), "b": b}) for b in (Linear(2), Linear(2, scale=1e3, offset=-7.0)))
    ours, theirs = (made((CLIPS[:8],), NAMES[:8]) for made in (plain, moved))
    torch.testing.assert_close(ours[0].scores, theirs[0].scores, rtol=1e-4, atol=1e-4)


def test_one_teacher_keeps_its_own_scores_and_is_not_measured():
    network = Linear(1, scale=5.0)
    made = teachers({"a": network})
    said, each = made((CLIPS[:3],), NAMES[:3])
    assert torch.equal(said.scores, network(CLIPS[:3])) and torch.equal(each[0], said.scores)
    assert said.shares is None and "teachers" not in made.figures()
    assert made.figures()["clips_scored_by_the_teacher"] == 3


def test_twice_the_same_teacher_is_that_teacher():
    made = teachers({"a": Linear(1), "b": Linear(1, scale=10.0)}, {"a": 0.3, "b": 5.0})
    said, _ = made((CLIPS[:8],), NAMES[:8])
    torch.testing.assert_close(said.scores, Linear(1)(CLIPS[:8]).detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_probabilities_are_averaged_and_not_margins(symmetric):
    """Two teachers who are sure of opposite orders leave 1/2, however much surer the one is."""
    margins, shares = torch.tensor([[9.0, 1.0], [-30.0, 2.0]]), torch.tensor([0.5, 0.5])
    student = torch.tensor([0.3, -0.2])
    loss = DistillationLoss({"instance": 1.0, "batch": 1.0, "class": 1.0}, symmetric=symmetric, temperatures=(1.0, 2.0))
    _, parts = loss(Outputs(margins=margins, shares=shares), Outputs(margins=student))
    expected = dict.fromkeys(("instance", "batch", "class"), 0.0)
    for t in (1.0, 2.0):
        p = torch.from_numpy(expit(margins.double().numpy() / t)).mean(0)
        q = (student.double() / t).sigmoid()
        rows = [torch.stack([x, 1 - x], 1) if symmetric else x[:, None] for x in (p, q)]
        expected["instance"] += t**2 * instance(*rows)
        expected["batch"] += batch(*rows)
        expected["class"] += class_(*rows)
    assert parts == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-4)
    certain = expit(margins[:, 0].double().numpy()).mean()
    assert certain == pytest.approx(0.5, abs=1e-4)


def test_what_can_not_be_joined_is_refused():
    constant = Linear(1, scale=0.0)
    with pytest.raises(TrainingError, match="b: the teacher gives all of 40 clips one score"):
        teachers({"a": Linear(1), "b": constant})
    unmeasured = Teachers({n: Teacher(Linear(i), None) for i, n in enumerate("ab")}, {"a": 1.0, "b": 1.0})
    with pytest.raises(TrainingError, match="call `measure` first"):
        unmeasured((CLIPS[:2],), NAMES[:2])
    for weights in ({"a": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": float("nan")}):
        with pytest.raises(TrainingError, match="with weights"):
            Teachers({n: Teacher(Linear(1), None) for n in "ab"}, weights)
