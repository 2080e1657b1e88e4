"""PQANet: sizes, blocks, and a forward that reads every width from the weights."""

import copy

import pytest
import torch
from torch import nn

from compressvqa.errors import DataError, WeightsError
from compressvqa.models import RankDVQA, create_model, example_inputs
from compressvqa.pruning.cutting.removed import Removed

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("rankdvqa").eval()


def small(**settings):
    torch.manual_seed(1)
    network = RankDVQA(widths=(6, 8, 4, 5, 6, 7), merge_width=8, mlp_width=10, **settings).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)  # biases too: a cut bias must show
    return network


def score(network, *inputs):
    with torch.no_grad():
        return network(*inputs)


def test_parameters_of_the_paper_and_of_the_stage_that_only_stanet_reads(model):
    assert sum(p.numel() for p in model.parameters()) == 4_594_938
    assert sum(p.numel() for p in model.extractor.stages[5].parameters()) == 553_344
    merge = sum(scale.conv_in.weight.numel() for scale in model.scales)
    assert round(merge / 4_594_938, 2) == 0.76


def test_module_paths_that_recipes_name(model):
    paths = dict(model.named_modules())
    for i in range(5):
        for part in ("conv_in", "attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2", "conv_out", "head"):
            assert f"scales.{i}.{part}" in paths
    assert all(isinstance(paths[f"extractor.stages.{i}.{j}"], nn.Conv2d) for i in range(6) for j in (0, 2))


def test_score_is_the_mean_over_blocks_and_a_short_block_repeats_its_last_frame(model):
    reference, distorted = example_inputs(model, size=96, frames=29)
    filled = [torch.cat([clip, clip[:, -1:].repeat(1, 7, 1, 1, 1)], dim=1) for clip in (reference, distorted)]
    blocks = [score(model, *(clip[:, start : start + 12] for clip in filled)) for start in (0, 12, 24)]
    torch.testing.assert_close(score(model, reference, distorted), torch.stack(blocks).mean(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("frames", "size"), [(1, (96, 97)), (5, (111, 96)), (13, (96, 129))])
def test_any_frame_count_and_size(frames, size):
    clip = torch.rand(2, frames, 3, *size)
    found = score(small(), clip, clip.flip(1))
    assert found.shape == (2,)
    assert torch.isfinite(found).all()


def test_order_of_frames_and_of_arguments_matters():
    reference, distorted = example_inputs("rankdvqa", size=96)
    network = small()
    assert score(network, reference, distorted) != score(network, distorted, reference)
    assert score(network, reference, distorted) != score(network, reference.flip(1), distorted.flip(1))


def test_bgr_flips_channels():
    reference, distorted = example_inputs("rankdvqa", size=96)
    rgb, bgr = small(), small(channel_order="bgr")
    assert torch.equal(score(bgr, reference, distorted), score(rgb, reference.flip(2), distorted.flip(2)))


@pytest.mark.parametrize(
    ("reference", "distorted", "words"),
    [
        (torch.zeros(1, 12, 3, 95, 96), torch.zeros(1, 12, 3, 95, 96), "96x95 are too small"),
        (torch.zeros(1, 12, 3, 96, 96), torch.zeros(1, 11, 3, 96, 96), "differ in shape"),
        (torch.zeros(12, 3, 96, 96), torch.zeros(12, 3, 96, 96), "is not \\(batch"),
        (torch.zeros(1, 12, 1, 96, 96), torch.zeros(1, 12, 1, 96, 96), "is not \\(batch"),
        (torch.zeros(1, 0, 3, 96, 96), torch.zeros(1, 0, 3, 96, 96), "is not \\(batch"),
        (torch.zeros(1, 1, 3, 96, 96).byte(), torch.zeros(1, 1, 3, 96, 96).byte(), "floating point"),
    ],
)
def test_wrong_clips_get_one_clear_line(reference, distorted, words):
    with pytest.raises(DataError, match=words) as caught:
        small()(reference, distorted)
    assert "\n" not in str(caught.value)


def test_wrong_settings():
    with pytest.raises(DataError, match="not a multiple"):
        RankDVQA(merge_width=9)
    with pytest.raises(DataError, match="neither 'rgb' nor 'bgr'"):
        RankDVQA(channel_order="yuv")


def keep(parameter, dim, index):
    return nn.Parameter(parameter.detach().index_select(dim, torch.tensor(index)))


def test_widths_come_from_the_weights():
    """Cut by hand: an extractor channel with its 36 slices, MLP neurons, and channels of the residual stream."""
    network, inputs = small(), example_inputs("rankdvqa", size=96)
    scale = network.scales[0]
    kept, width, neurons, stream = [0, 1, 3, 5], 6, [1, 2, 7], [0, 2, 3, 4, 6]
    lost = [c for c in range(width) if c not in kept]
    last, following = network.extractor.stages[0][2], network.extractor.stages[1][0]
    with torch.no_grad():  # the same, by zeros
        last.weight[lost], last.bias[lost] = 0, 0
        gone = [n for n in range(10) if n not in neurons]
        scale.mlp.fc1.weight[gone], scale.mlp.fc1.bias[gone] = 0, 0
        dry = [c for c in range(8) if c not in stream]
        for layer in (scale.conv_in, scale.attention.proj, scale.mlp.fc2):
            layer.weight[dry], layer.bias[dry] = 0, 0
    zeroed = score(network, *inputs)
    last.weight, last.bias = keep(last.weight, 0, kept), keep(last.bias, 0, kept)
    following.weight = keep(following.weight, 1, kept)
    slices = [(frame * 3 + part) * width + c for frame in range(12) for part in range(3) for c in kept]
    scale.conv_in.weight = keep(keep(scale.conv_in.weight, 1, slices), 0, stream)
    scale.conv_in.bias = keep(scale.conv_in.bias, 0, stream)
    scale.attention.qkv.weight = keep(scale.attention.qkv.weight, 1, stream)
    for layer in (scale.attention.proj, scale.mlp.fc2):
        layer.weight, layer.bias = keep(layer.weight, 0, stream), keep(layer.bias, 0, stream)
    scale.mlp.fc1.weight = keep(keep(scale.mlp.fc1.weight, 0, neurons), 1, stream)
    scale.mlp.fc1.bias = keep(scale.mlp.fc1.bias, 0, neurons)
    scale.mlp.fc2.weight = keep(scale.mlp.fc2.weight, 1, neurons)
    scale.conv_out.weight = keep(scale.conv_out.weight, 1, stream)
    torch.testing.assert_close(score(network, *inputs), zeroed, rtol=1e-5, atol=1e-5)


def test_dropout_only_while_training():
    network, inputs = small(dropout=0.5), example_inputs("rankdvqa", size=96)
    assert torch.equal(score(network, *inputs), score(network, *inputs))
    network.train()
    assert not torch.equal(score(network, *inputs), score(network, *inputs))


def test_half_precision_keeps_the_digits_of_a_score(model):
    inputs = example_inputs(model, size=96)
    exact = score(model, *inputs)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = score(model, *inputs)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=0.02, atol=0.02)
    half = copy.deepcopy(model).half()
    torch.testing.assert_close(score(half, *(clip.half() for clip in inputs)), exact, rtol=0.02, atol=0.02)
    with torch.no_grad():
        for layer in (m for m in half.modules() if isinstance(m, nn.Conv2d) and m.bias is not None):
            layer.bias.zero_()
    grey = torch.full((1, 12, 3, 96, 96), 0.485).half()  # nearly no features: a length of 0 must not divide
    assert torch.isfinite(score(half, grey, grey)).all()


def test_a_stage_without_features_has_a_gradient():
    """A sparsifier may empty a stage: its features are 0, and so is their length."""
    network = small()
    with torch.no_grad():
        network.extractor.stages[3][2].weight.zero_()
        network.extractor.stages[3][2].bias.zero_()
    network(*example_inputs("rankdvqa", size=96)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_patch_features_are_stages_three_and_six(model):
    (_, distorted) = example_inputs(model, size=256, frames=2)
    with torch.no_grad():
        features = model.patch_features(distorted)
        frame = 2 * distorted[0, 1] - 1
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        x = ((frame - shift[:, None, None]) / scale[:, None, None])[None]
        for i in range(6):
            x = model.extractor.stages[i](x)
            if i == 2:
                third = x
    assert features.shape == (1, 2, 256, 4, 4)
    torch.testing.assert_close(features[0, 1, 64:], x[0], rtol=1e-4, atol=1e-5)
    assert torch.allclose(features[0, 1, :64, 0, 0], third[0, :, 0, 0], atol=1e-5)  # corners are kept
    assert torch.allclose(features[0, 1, :64, 3, 3], third[0, :, -1, -1], atol=1e-5)


def test_patch_features_need_the_sixth_stage():
    network, (_, distorted) = small(), example_inputs("rankdvqa", size=96)
    assert network.patch_features(distorted).shape == (1, 12, 4 + 7, 4, 4)
    network.extractor.stages[5][0] = Removed()
    network.extractor.stages[5][2] = Removed()
    assert torch.isfinite(score(network, *example_inputs("rankdvqa", size=96))).all()
    with pytest.raises(WeightsError, match="no sixth stage"):
        network.patch_features(distorted)
