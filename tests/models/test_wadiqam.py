"""WaDIQaM-FR against its equations in numpy, its sizes against the paper's, checkpoints with its public layer names."""

import numpy as np
import pytest
import torch
from models import naive
from models.pairs import clips, exact, numbers, refuses_wrong_clips, score, works_in_half_precision

from compressvqa.cost import profile
from compressvqa.errors import DataError
from compressvqa.models import WaDIQaM, create_model, example_inputs, load, save, sensitivity
from compressvqa.pruning import prune

torch.set_num_threads(1)


def small(**settings):
    return numbers(WaDIQaM((4, 5, 6, 7, 8), hidden=9, **settings))


def features(network, patch):
    for layer in network.extractor:
        if isinstance(layer, torch.nn.Conv2d):
            patch = np.maximum(naive.convolution(patch, layer), 0)
        elif isinstance(layer, torch.nn.MaxPool2d):
            patch = patch.reshape(len(patch), patch.shape[1] // 2, 2, patch.shape[2] // 2, 2).max(axis=(2, 4))
    return patch.ravel()


def head(values, layers):
    return naive.linear(np.maximum(naive.linear(values, layers[0]), 0), layers[3])[0]


def naive_score(network, reference, distorted):
    """The score of one frame of each, (3, H, W)."""
    qualities, weights = [], []
    for top in range(0, reference.shape[1] - 31, 32):
        for left in range(0, reference.shape[2] - 31, 32):
            box = (slice(None), slice(top, top + 32), slice(left, left + 32))
            before, after = features(network, reference[box]), features(network, distorted[box])
            joined = np.concatenate([after - before, after, before])
            qualities.append(head(joined, network.quality))
            weights.append(max(head(joined, network.weight), 0) + 1e-6)
    return np.dot(qualities, weights) / np.sum(weights)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 97), (71, 65)])
def test_it_is_the_mean_of_what_numpy_says_of_every_frame(height, width):
    network, (reference, distorted) = small(), clips(2, height, width, batch=2)
    expected = [
        np.mean([naive_score(network, *frames) for frames in zip(*pair, strict=True)])
        for pair in zip(reference.double().numpy(), distorted.double().numpy(), strict=True)
    ]
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(exact(network, reference, distorted), expected, rtol=1e-9)


def test_parameters_and_macs_of_the_paper():
    network = create_model("wadiqam-fr")
    found = profile(network, example_inputs("wadiqam-fr", frames=1))  # every frame takes the same
    assert found.params == 6_287_138
    assert round(12 * found.macs_conv_linear / 1e9, 3) == 104.036
    assert found.macs == found.cross_check
    assert found.unsupported == {}


def test_patches_that_count_for_nothing():
    """Where every weight is cut off at 0, the small constant makes the mean of all patches."""
    network, inputs = small(), clips(1, 64, 64)
    with torch.no_grad():
        network.weight[3].bias.fill_(-1e3)
    seen = []
    network.quality.register_forward_hook(lambda module, given, output: seen.append(output.mean()))
    torch.testing.assert_close(score(network, *inputs)[0], seen[0])


def test_large_frames_go_in_parts(monkeypatch):
    network, inputs = small(), clips(2, 70, 100)
    whole = score(network, *inputs)
    monkeypatch.setattr(sensitivity, "MOST_PIXELS", 5 * 32 * 32)
    torch.testing.assert_close(score(network, *inputs), whole)


def test_weights_that_predict_dmos_are_turned(tmp_path):
    inputs = clips(1, 64, 64)
    mos, dmos = small(), small(predicts="dmos")
    assert torch.equal(score(dmos, *inputs), -score(mos, *inputs))
    made = create_model("wadiqam-fr", widths=(4, 5, 6, 7, 8), hidden=9, predicts="dmos").eval()
    assert torch.equal(score(load(save(made, tmp_path / "dmos")), *inputs), score(made, *inputs))


def test_a_checkpoint_with_the_public_layer_names(tmp_path):
    theirs, convolutions = {}, iter(range(1, 11))
    source = create_model("wadiqam-fr").eval()
    for layer in source.extractor:
        if isinstance(layer, torch.nn.Conv2d):
            number = next(convolutions)
            theirs |= {f"conv{number}.weight": layer.weight, f"conv{number}.bias": layer.bias}
    for end, part in (("q", source.quality), ("w", source.weight)):
        for number, layer in ((1, part[0]), (2, part[3])):
            theirs |= {f"fc{number}_{end}.weight": layer.weight, f"fc{number}_{end}.bias": layer.bias}
    torch.save({key: tensor.detach() for key, tensor in theirs.items()}, tmp_path / "wadiqam.pth")
    loaded = create_model("wadiqam-fr", weights=tmp_path / "wadiqam.pth").eval()
    inputs = clips(1, 64, 64)
    assert torch.equal(score(loaded, *inputs), score(source, *inputs))


def test_wrong_settings_clips_and_half_precision():
    with pytest.raises(DataError, match="neither 'mos' nor 'dmos'"):
        WaDIQaM(predicts="quality")
    with pytest.raises(DataError, match="not 5 stages"):
        WaDIQaM((32, 64))
    refuses_wrong_clips(small(), 32)
    works_in_half_precision(small(), clips(2, 64, 64, batch=2))


def test_dropout_only_while_training():
    network, inputs = small(), clips(1, 64, 64)
    assert torch.equal(score(network, *inputs), score(network, *inputs))
    network.train()
    assert not torch.equal(score(network, *inputs), score(network, *inputs))


def test_half_of_it_can_be_pruned_away():
    pruned = prune(small(), clips(1, 64, 64), ratios=0.5)
    cut = {path: len(channels) for path, channels in pruned.removed.items()}
    assert cut["extractor.0"] == 2
    assert cut["extractor.22"] == 4
    assert cut.keys() >= {"quality.0", "weight.0"}
    assert pruned.max_error < 1e-5
