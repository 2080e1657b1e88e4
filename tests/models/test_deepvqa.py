"""DeepVQA against its equations in numpy, its sizes against what the paper's table and its branches give."""

import numpy as np
import pytest
import torch
from models import naive
from models.pairs import clips, exact, numbers, refuses_wrong_clips, score, works_in_half_precision

from compressvqa.cost import profile
from compressvqa.errors import DataError
from compressvqa.models import DeepVQA, create_model, example_inputs, load, save, sensitivity
from compressvqa.pruning import prune

torch.set_num_threads(1)


def small(stage=2):
    return numbers(DeepVQA(stage, width=4, motion_width=2))


def positions(values):
    """(h, w) averaged to 20x20: the mean over rows floor(i h / 20) to ceil((i + 1) h / 20), columns likewise."""
    height, width = values.shape
    rows = [slice(i * height // 20, -(-(i + 1) * height // 20)) for i in range(20)]
    columns = [slice(i * width // 20, -(-(i + 1) * width // 20)) for i in range(20)]
    return np.array([[values[row, column].mean() for column in columns] for row in rows])


def naive_score(network, reference, distorted):
    """The score of two clips, (T, 3, H, W)."""
    before, after = ([naive.luma709(frame) for frame in clip] for clip in (reference, distorted))
    frames = []
    for t in range(len(after)):
        here, there = (t, t + 1) if t + 1 < len(after) else (t - 1, t)  # the last change counts twice
        change = after[here] - after[there] if len(after) > 1 else np.zeros_like(after[0])
        true = before[here] - before[there] if len(after) > 1 else np.zeros_like(after[0])
        detail = naive.high_pass(after[t])
        error = naive.log_error(naive.high_pass(before[t]), detail)
        parts = (
            (detail, network.picture),
            (error, network.error),
            (abs(change), network.motion),
            (true - change, network.motion_error),
        )
        joined = np.concatenate([naive.leaky(naive.stack(maps[None], layers, 0.1), 0.1) for maps, layers in parts])
        seen = naive.leaky(naive.stack(joined, network.sensitivity, 0.1)[0], 0.1)
        frames.append((seen * naive.halve(naive.halve(error)))[4:-4, 4:-4])
    if network.frame is None:
        pooled = np.array([np.mean(frames)])
    else:
        hidden = [naive.leaky(naive.linear(positions(frame).ravel(), network.frame[0]), 0.1) for frame in frames]
        features = np.array([naive.leaky(naive.linear(one, network.frame[2]), 0.1) for one in hidden])
        votes = np.exp(naive.linear(features, network.attention)[:, 0])
        pooled = (votes[:, None] * features).sum(axis=0) / votes.sum()
    return naive.linear(naive.leaky(naive.linear(pooled, network.regress[0]), 0.1), network.regress[2])[0]


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize(("frames", "height", "width"), [(3, 45, 58), (1, 36, 41), (2, 112, 112)])
def test_it_is_what_numpy_says(stage, frames, height, width):
    network, (reference, distorted) = small(stage), clips(frames, height, width, batch=2)
    pairs = zip(reference.double().numpy(), distorted.double().numpy(), strict=True)
    expected = [naive_score(network, *pair) for pair in pairs]
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(exact(network, reference, distorted), expected, rtol=1e-9)


def test_a_patch_of_112_has_the_positions_of_the_paper():
    """400 numbers of a frame, none of them averaged."""
    network, inputs = small(), clips(1, 112, 112)
    seen = []
    network.frame.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    score(network, *inputs)
    assert seen[0].shape == (1, 400)
    assert seen[0].unique().numel() > 390


@pytest.mark.parametrize(("stage", "parameters"), [(1, 141_054), (2, 144_370)])
def test_parameters_of_the_paper_and_macs_of_all_branches(stage, parameters):
    network = create_model("deepvqa", stage=stage)
    found = profile(network, example_inputs("deepvqa", frames=12))
    assert found.params == parameters  # the paper's Table I: .144 M
    # By hand, for 12 frames: the two branches at full size, those of changes, the trunk at a half and at a quarter.
    positions = 12 * 256 * 256
    branches = 9 * (2 * (32 + 32 * 32 // 4) + 2 * (8 + 8 * 8 // 4)) * positions
    trunk = 9 * (80 * 64 // 4 + 64 * 64 // 16 + 64 * 64 // 16 + 64 // 16) * positions
    rest = {1: 8, 2: 12 * (400 * 8 + 8 * 8 + 8) + 8 * 4 + 4}[stage]
    assert found.macs_conv_linear == branches + trunk + rest == found.macs == found.cross_check
    assert round(found.macs_conv_linear / 1e9, 2) == 17.13
    assert found.unsupported == {}


def test_motion_matters_and_large_frames_go_in_parts(monkeypatch):
    network, (reference, distorted) = small(), clips(frames=4)
    whole = score(network, reference, distorted)
    shuffled = [0, 2, 1, 3]
    assert score(network, reference[:, shuffled], distorted[:, shuffled]) != whole
    monkeypatch.setattr(sensitivity, "MOST_PIXELS", 3 * 45 * 58)
    torch.testing.assert_close(score(network, reference, distorted), whole)


def test_wrong_settings_clips_and_half_precision(tmp_path):
    with pytest.raises(DataError, match="no stage 3"):
        DeepVQA(3)
    refuses_wrong_clips(small(), 36)
    for stage in (1, 2):
        works_in_half_precision(small(stage), clips(batch=2))
    first = create_model("deepvqa", stage=1).eval()
    inputs = clips()
    assert torch.equal(score(load(save(first, tmp_path / "first")), *inputs), score(first, *inputs))


def test_half_of_it_can_be_pruned_away():
    pruned = prune(small(), clips(height=64, width=64), ratios=0.5)
    cut = {path: len(channels) for path, channels in pruned.removed.items()}
    assert cut.keys() >= {"picture.0", "motion.2", "motion_error.2", "sensitivity.4", "frame.0", "frame.2"}
    assert pruned.max_error < 1e-5
