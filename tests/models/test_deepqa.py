"""DeepQA against its equations in numpy, its sizes against the paper's."""

import numpy as np
import pytest
import torch
from models import naive
from models.pairs import clips, exact, numbers, refuses_wrong_clips, score, works_in_half_precision

from compressvqa.cost import profile
from compressvqa.models import DeepQA, create_model, example_inputs, sensitivity
from compressvqa.pruning import prune

torch.set_num_threads(1)


def small():
    return numbers(DeepQA(width=4))


def naive_score(network, reference, distorted):
    """The score of one frame of each, (3, H, W)."""
    before, after = (0.299 * frame[0] + 0.587 * frame[1] + 0.114 * frame[2] for frame in (reference, distorted))
    error = naive.log_error(before, after)
    branches = [
        naive.leaky(naive.stack(maps[None], layers, 0.1), 0.1)
        for maps, layers in ((naive.high_pass(after), network.picture), (error, network.error))
    ]
    seen = np.maximum(naive.stack(np.concatenate(branches), network.sensitivity, 0.1)[0], 0)
    mean = (seen * naive.halve(naive.halve(error)))[4:-4, 4:-4].mean()
    hidden = naive.leaky(naive.linear(np.array([mean]), network.regress[0]), 0.1)
    return naive.linear(hidden, network.regress[2])[0]


@pytest.mark.parametrize(("height", "width"), [(36, 36), (45, 58), (50, 41)])
def test_it_is_the_mean_of_what_numpy_says_of_every_frame(height, width):
    network, (reference, distorted) = small(), clips(height=height, width=width, batch=2)
    expected = [
        np.mean([naive_score(network, *frames) for frames in zip(*pair, strict=True)])
        for pair in zip(reference.double().numpy(), distorted.double().numpy(), strict=True)
    ]
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(exact(network, reference, distorted), expected, rtol=1e-9)


def test_parameters_and_macs_of_the_paper():
    network = create_model("deepqa")
    found = profile(network, example_inputs("deepqa", frames=12))
    assert found.params == 130_510
    assert round(found.macs_conv_linear / 1e9, 3) == 14.977
    assert found.macs == found.cross_check
    assert found.unsupported == {}


def test_equal_clips_show_no_error_and_large_frames_go_in_parts(monkeypatch):
    network, (reference, distorted) = small(), clips(frames=5)
    whole = score(network, reference, distorted)
    assert score(network, reference, reference) != whole
    monkeypatch.setattr(sensitivity, "MOST_PIXELS", 2 * 45 * 58)
    torch.testing.assert_close(score(network, reference, distorted), whole)


def test_it_begins_with_a_sensitivity_near_one():
    torch.manual_seed(0)
    network, (reference, _) = create_model("deepqa").eval(), clips(height=100, width=100)
    maps = []
    network.sensitivity.register_forward_hook(lambda module, inputs, output: maps.append(output))
    score(network, reference, reference)
    assert maps[0].min() >= 0
    assert 0.3 < float(maps[0].mean()) < 3


def test_wrong_clips_and_half_precision():
    refuses_wrong_clips(small(), 36)
    works_in_half_precision(small(), clips(batch=2))


def test_half_of_it_can_be_pruned_away():
    network = small()
    pruned = prune(network, clips(height=64, width=64), ratios=0.5)
    assert {path: len(channels) for path, channels in pruned.removed.items()} == {
        "picture.0": 2, "picture.2": 2, "error.0": 2, "error.2": 2,
        "sensitivity.0": 4, "sensitivity.2": 4, "sensitivity.4": 4, "regress.0": 2,
    }  # fmt: skip
    assert pruned.max_error < 1e-5
