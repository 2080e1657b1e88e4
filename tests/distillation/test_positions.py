import pytest
import torch
from torch.nn.functional import avg_pool2d

from compressvqa.distillation.positions import match_items, match_positions
from compressvqa.errors import TrainingError


def test_the_finer_map_is_pooled_to_the_coarser():
    fine, coarse = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)
    ours, theirs = match_positions(fine, coarse, "resize")
    assert torch.allclose(ours, avg_pool2d(fine, 2)) and torch.equal(theirs, coarse)
    wide, high = match_positions(torch.rand(1, 2, 4, 9), torch.rand(1, 2, 8, 3), "resize")
    assert wide.shape == high.shape == (1, 2, 4, 3)
    clips = match_positions(torch.rand(1, 2, 8, 4, 4), torch.rand(1, 3, 4, 6, 6), "resize")
    assert [tuple(x.shape[2:]) for x in clips] == [(4, 4, 4)] * 2


def test_frames_in_the_batch_are_positions_of_their_clip():
    frames = torch.arange(2 * 3 * 2.0).view(6, 2, 1, 1)  # two clips of three frames
    clips = torch.zeros(2, 5, 7)
    ours, theirs = match_positions(frames, clips, "mean")
    assert torch.equal(ours, frames.view(2, 3, 2).mean(1)) and theirs.shape == (2, 5)
    assert match_items(frames, clips)[0].shape == (2, 2, 3, 1, 1)
    video = torch.rand(2, 4, 3, 5, 5)
    pooled, same = match_positions(torch.rand(6, 4, 10, 10), video, "resize")
    assert pooled.shape == same.shape == video.shape
    assert torch.equal(match_positions(torch.ones(2, 3), torch.ones(2, 3), "mean")[0], torch.ones(2, 3))


@pytest.mark.parametrize(
    ("shapes", "how", "said"),
    [
        (
            ((2, 3, 8, 8), (2, 3, 4, 4)),
            "equal",
            r"\(2, 3, 8, 8\) and the student's \(2, 3, 4, 4\) differ.*positions: mean",
        ),
        (((2, 9, 3), (2, 4, 5)), "resize", "can't be resized.*positions: mean"),
        (((2, 3, 4, 4), (2, 3, 4)), "resize", "can't be resized"),
        (((4, 3), (6, 3)), "mean", "neither number is a multiple"),
        (((4,), (4,)), "mean", "no channels"),
    ],
)
def test_what_does_not_fit_is_said_with_both_shapes(shapes, how, said):
    with pytest.raises(TrainingError, match=said):
        match_positions(*(torch.zeros(shape) for shape in shapes), how)
