"""The objective on MOS differences, against sums done by hand."""

import pytest
import torch
from pydantic import ValidationError

from compressvqa.data.mos_pairs import MosBatch
from compressvqa.training import MosDifferenceObjective


def batch(difference, *, reference=True):
    clips = [torch.full((2, 1, 3, 96, 96), float(value)) for value in (1, 2, 3, 4)]
    first, second = (clips[0], clips[2]) if reference else (None, None)
    return MosBatch(first, clips[1], second, clips[3], torch.tensor(difference), ["a", "b"], ["c", "d"])


def objective(**settings):
    return MosDifferenceObjective(MosDifferenceObjective.Config(**settings))


def test_loss_is_the_mean_square_of_what_the_differences_lack():
    scores = torch.tensor([3.0, 5.0, 1.0, 6.0], requires_grad=True)  # margins 2 and -1
    loss = objective().loss(scores, batch([1.5, -1.0]))
    assert loss.item() == pytest.approx(0.5**2 / 2)
    loss.backward()
    assert scores.grad.tolist() == pytest.approx([0.5, 0.0, -0.5, 0.0])
    assert objective(scale=0.5).loss(scores, batch([1.5, -1.0])).item() == pytest.approx((0.5**2 + 0.5**2) / 2)


def test_a_shift_of_all_scores_and_a_swap_of_the_pair_cost_nothing():
    made, scores = objective(), torch.randn(4, generator=torch.Generator().manual_seed(0))
    given = batch([0.7, -0.2])
    torch.testing.assert_close(made.loss(scores + 5, given), made.loss(scores, given))
    swapped = given._replace(difference=-given.difference)
    torch.testing.assert_close(made.loss(scores.roll(2), swapped), made.loss(scores, given))


def test_inputs_hold_a_before_b_and_the_reference_where_there_is_one():
    reference, distorted = objective().inputs(batch([0.0, 0.0]))
    assert reference[:, 0, 0, 0, 0].tolist() == [1, 1, 3, 3]
    assert distorted[:, 0, 0, 0, 0].tolist() == [2, 2, 4, 4]
    assert objective().keys(batch([0.0, 0.0])) == ["a", "b", "c", "d"]
    (alone,) = objective().inputs(batch([0.0, 0.0], reference=False))
    assert torch.equal(alone, distorted)


def test_half_precision_scores_are_compared_in_single():
    loss = objective().loss(torch.tensor([3.0, 5.0, 1.0, 6.0]).bfloat16(), batch([1.5, -1.0]))
    assert loss.dtype == torch.float32


def test_a_scale_is_positive():
    with pytest.raises(ValidationError):
        objective(scale=0)
