"""C3DVQA against its equations in numpy, its sizes against the paper's, and checkpoints as its authors publish them."""

import numpy as np
import pytest
import torch
from models import naive
from models.pairs import clips, exact, numbers, refuses_wrong_clips, score, works_in_half_precision

from compressvqa.cost import profile
from compressvqa.errors import DataError, WeightsError
from compressvqa.models import C3DVQA, create_model, example_inputs, load, save, sensitivity
from compressvqa.pruning import prune

torch.set_num_threads(1)


def small(patch=None, **settings):
    return numbers(C3DVQA(patch, width=3, trunk_width=4, **settings))


def grown(maps, layer, size):
    """The transposed convolution of one map (1, T, h, w): each value spreads the whole filter around it."""
    kernel = naive.weights(layer)[0][0, 0, 0]
    wide = np.zeros((1, maps.shape[1], 2 * maps.shape[2] + 4, 2 * maps.shape[3] + 4))
    for y in range(maps.shape[2]):
        for x in range(maps.shape[3]):
            wide[:, :, 2 * y : 2 * y + 5, 2 * x : 2 * x + 5] += maps[:, :, y, x, None, None] * kernel
    return wide[:, :, 2 : 2 + size[0], 2 : 2 + size[1]]


def naive_score(network, reference, distorted):
    """The score of two clips, (T, 3, H, W)."""
    before, after = (np.stack([naive.luma709(frame) for frame in clip])[None] for clip in (reference, distorted))
    error = naive.log_error(before, after)
    sizes, smooth = [], after
    for _ in range(3):
        sizes.append(smooth.shape[2:])
        smooth = naive.convolution(smooth, network.shrink)
    for size in sizes[::-1]:
        smooth = grown(smooth, network.grow, size)
    branches = [
        naive.leaky(naive.stack(maps, layers, 0.01), 0.01)
        for maps, layers in ((after - smooth, network.picture), (error, network.error))
    ]
    seen = naive.leaky(naive.stack(np.concatenate(branches), network.sensitivity, 0.01), 0.01)
    perceived = seen * naive.convolution(naive.convolution(error, network.shrink), network.shrink)
    mean = perceived[:, :, 4:-4, 4:-4].mean()
    hidden = naive.leaky(naive.linear(np.array([mean]), network.regress[0]), 0.01)
    return naive.leaky(naive.linear(hidden, network.regress[2]), 0.01)[0]


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 36, 36), (3, 45, 58), (5, 40, 41)])
def test_it_is_what_numpy_says(frames, height, width):
    network, (reference, distorted) = small(), clips(frames, height, width, batch=2)
    pairs = zip(reference.double().numpy(), distorted.double().numpy(), strict=True)
    expected = [naive_score(network, *pair) for pair in pairs]
    assert np.ptp(expected) > 1e-4
    np.testing.assert_allclose(exact(network, reference, distorted), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("size", "tops", "lefts"),
    # The patches of the published script: as many as fit, 80 apart, the rest left out evenly at both ends.
    [
        ((112, 112), [0], [0]),
        ((200, 275), [4, 84], [1, 81, 161]),
        ((90, 192), [0], [0, 80]),
        ((272, 191), [0, 80, 160], [39]),
    ],
)
def test_a_frame_is_the_mean_of_its_patches(size, tops, lefts):
    cut, whole = small(112), small()
    inputs = clips(2, *size)
    height = min(112, size[0])
    expected = [
        score(whole, *(clip[..., top : top + height, left : left + 112] for clip in inputs))
        for top in tops
        for left in lefts
    ]
    torch.testing.assert_close(score(cut, *inputs), torch.stack(expected).mean(dim=0))


def test_large_clips_go_in_parts(monkeypatch):
    network, inputs = small(40, stride=30), clips(3, 100, 100, batch=2)
    whole = score(network, *inputs)
    monkeypatch.setattr(sensitivity, "MOST_PIXELS", 5 * 3 * 40 * 40)
    torch.testing.assert_close(score(network, *inputs), whole)


def test_parameters_and_macs_of_the_paper():
    network = create_model("c3dvqa", patch=None)
    found = profile(network, example_inputs("c3dvqa", frames=12))
    assert found.params == 227_232
    assert round(found.macs_conv_linear / 1e9, 3) == 11.216
    # The paper's table counts a transposed convolution at the positions that it puts out, four times as many.
    assert found.by_module["grow"] == 12 * 25 * (32**2 + 64**2 + 128**2)
    assert round((found.macs_conv_linear + 3 * found.by_module["grow"]) / 1e9, 3) == 11.236
    assert found.macs == found.cross_check
    assert found.unsupported == {}


def published(seed=0):
    """The 22 tensors of a published checkpoint with random values, under the authors' names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "conv1_1.conv1": (1, 1, 1, 5, 5),
        "conv1_2.conv1": (1, 1, 1, 5, 5),
        "conv2_1.conv1": (16, 1, 1, 3, 3),
        "conv2_1.conv2": (16, 16, 1, 3, 3),
        "conv2_2.conv1": (16, 1, 1, 3, 3),
        "conv2_2.conv2": (16, 16, 1, 3, 3),
        "conv3.conv1": (64, 32, 3, 3, 3),
        "conv3.conv2": (64, 64, 3, 3, 3),
        "conv3.conv3": (32, 64, 3, 3, 3),
        "conv3.conv4": (1, 32, 3, 3, 3),
        "fc1": (4, 1),
        "fc2": (1, 4),
    }
    state = {}
    for name, shape in shapes.items():
        fan = torch.Size(shape[1:]).numel()
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (1.5 / fan) ** 0.5
        if not name.startswith("conv1"):
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) / 4
    return state


def test_a_published_checkpoint(tmp_path):
    """Which tensor goes where, by the equations written on the published names."""
    state = published()
    optimizer = {"param_groups": [{"lr": 3e-4, "params": [1]}], "state": {1: {"step": 3}}}
    torch.save({"epoch": 88, "model_state_dict": state, "optimizer_state_dict": optimizer}, tmp_path / "c3dvqa.pt")
    network = create_model("c3dvqa", weights=tmp_path / "c3dvqa.pt").eval()
    reference, distorted = clips(4, 112, 112)
    before, after = (
        (16 + 219 * (0.2126 * clip[:, :, 0] + 0.7152 * clip[:, :, 1] + 0.0722 * clip[:, :, 2]))[:, None] / 255
        for clip in (reference, distorted)
    )
    torch.testing.assert_close(score(network, reference, distorted), published_score(state, before, after))


def published_score(state, before, after):
    """(B, 1, T, H, W) twice, the Y plane / 255, to (B,); H and W are multiples of 8."""
    F, whole = torch.nn.functional, 2 * np.log(255)

    def layer(x, name, **settings):
        return F.leaky_relu(F.conv3d(x, state[f"{name}.weight"], state[f"{name}.bias"], **settings))

    def shrink(x):
        return F.conv3d(x, state["conv1_1.conv1.weight"], stride=(1, 2, 2), padding=(0, 2, 2))

    error = (whole - ((255 * (before - after)) ** 2 + 1).log()) / whole
    smooth = shrink(shrink(shrink(after)))
    for _ in range(3):
        smooth = F.conv_transpose3d(
            smooth, state["conv1_2.conv1.weight"], stride=(1, 2, 2), padding=(0, 2, 2), output_padding=(0, 1, 1)
        )
    halved = {"stride": (1, 2, 2), "padding": (0, 1, 1)}
    maps = [
        layer(layer(x, f"{name}.conv1", **halved), f"{name}.conv2", **halved)
        for x, name in ((after - smooth, "conv2_2"), (error, "conv2_1"))
    ]
    x = torch.cat(maps, dim=1)
    for i in range(1, 5):
        x = layer(x, f"conv3.conv{i}", padding=1)
    mean = (x * shrink(shrink(error)))[..., 4:-4, 4:-4].mean(dim=(2, 3, 4))
    for name in ("fc1", "fc2"):
        mean = F.leaky_relu(F.linear(mean, state[f"{name}.weight"], state[f"{name}.bias"]))
    return mean[:, 0]


def test_another_checkpoint_is_named(tmp_path):
    state = published()
    state["conv3.conv5.weight"] = state.pop("conv3.conv4.weight")
    torch.save({"model_state_dict": state}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"lacks sensitivity.6.weight and has unknown conv3.conv5.weight"):
        create_model("c3dvqa", weights=tmp_path / "other.pt")


def test_order_of_frames_and_of_arguments_matters():
    network, (reference, distorted) = small(), clips(5, 64, 64)
    whole = exact(network, reference, distorted)
    assert abs(exact(network, distorted, reference) - whole) > 1e-4
    assert abs(exact(network, reference.flip(1), distorted.flip(1)) - whole) > 1e-4


def test_wrong_settings_clips_and_half_precision(tmp_path):
    with pytest.raises(DataError, match="patches of 30 pixels, 80 apart"):
        C3DVQA(30)
    with pytest.raises(DataError, match="patches of 112 pixels, 0 apart"):
        C3DVQA(stride=0)
    whole, inputs = create_model("c3dvqa", patch=None).eval(), clips(2, 150, 150)
    assert torch.equal(score(load(save(whole, tmp_path / "whole")), *inputs), score(whole, *inputs))
    refuses_wrong_clips(small(), 36)
    works_in_half_precision(small(), clips(batch=2))


@pytest.mark.parametrize("patch", [None, 40])
def test_half_of_it_can_be_pruned_away(patch):
    pruned = prune(small(patch), clips(height=64, width=64), ratios=0.5)
    cut = {path: len(channels) for path, channels in pruned.removed.items()}
    assert cut.keys() == {"picture.0", "picture.2", "error.0", "error.2", "sensitivity.0", "sensitivity.2",
                          "sensitivity.4", "regress.0"}  # fmt: skip
    assert pruned.max_error < 1e-5
