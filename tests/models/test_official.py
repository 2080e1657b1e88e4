"""A checkpoint of RankDVQA's authors gives the scores that their network gives.

Their network stands below once more, slow and plain, on the published names and in [-1, 1]: written from the equations,
every window a Python loop, nothing shared with the package.
"""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from compressvqa.errors import WeightsError
from compressvqa.models import create_model

STAGES = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")
WIDTHS = (16, 32, 64, 96, 128, 192)


def random_state(seed: int = 0) -> dict[str, Tensor]:
    """The 101 tensors of a published checkpoint, with random values of a sensible size."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        inputs = torch.Size(shape[1:]).numel()
        return torch.randn(shape, generator=generator) * (1.5 / inputs) ** 0.5

    state = {
        "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None],
        "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450])[None, :, None, None],
    }
    before = 3
    for stage, width in zip(STAGES, WIDTHS, strict=True):
        for layer, inputs in ((0, before), (2, width)):
            state[f"net.moduleExtractor.module{stage}.{layer}.weight"] = random(width, inputs, 3, 3)
            state[f"net.moduleExtractor.module{stage}.{layer}.bias"] = 0.1 * random(width, 1).flatten()
        before = width
    for i, width in enumerate(WIDTHS[:5]):
        scale = f"net.merge_layers.{i}"
        block = f"{scale}.layers.0.residual_group.blocks.0"
        state[f"{scale}.conv_first.weight"] = random(32, 36 * width, 3, 3)
        state[f"{scale}.conv_first.bias"] = random(32, 1).flatten()
        state[f"{block}.attn.relative_position_bias_table"] = torch.randn(49, 2, generator=generator)
        state[f"{block}.attn.relative_position_index"] = torch.zeros(16, 16, dtype=torch.long)  # never read
        for name, outputs, inputs in (
            ("attn.qkv", 96, 32),
            ("attn.proj", 32, 32),
            ("mlp.fc1", 64, 32),
            ("mlp.fc2", 32, 64),
        ):
            state[f"{block}.{name}.weight"] = random(outputs, inputs)
            state[f"{block}.{name}.bias"] = random(outputs, 1).flatten()
        state[f"{scale}.conv_after_body.weight"] = random(32, 32, 3, 3)
        state[f"{scale}.conv_after_body.bias"] = random(32, 1).flatten()
        state[f"lins.{i}.model.1.weight"] = random(1, 32, 1, 1)
    return state


def official_score(state: dict[str, Tensor], reference: Tensor, distorted: Tensor) -> Tensor:
    """(B, 12, 3, H, W) twice, in [-1, 1], to (B,) scores."""
    scores = []
    for one_reference, one_distorted in zip(reference, distorted, strict=True):
        maps = [_pyramid(state, clip) for clip in (one_reference, one_distorted)]
        scores.append(sum(_scale_score(state, i, maps[0][i], maps[1][i]) for i in range(5)))
    return torch.stack(scores)


def _pyramid(state: dict[str, Tensor], frames: Tensor) -> list[Tensor]:
    x = (frames - state["scaling_layer.shift"]) / state["scaling_layer.scale"]
    maps = []
    for stage in STAGES:
        name = f"net.moduleExtractor.module{stage}"
        for layer, stride in ((0, 2), (2, 1)):
            x = F.conv2d(x, state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"], stride, padding=1)
            x = torch.where(x > 0, x, 0.1 * x)
        maps.append(x)
    return maps


def _scale_score(state: dict[str, Tensor], i: int, reference: Tensor, distorted: Tensor) -> Tensor:
    reference, distorted = (m / (m.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for m in (reference, distorted))
    channels = []
    for frame in range(12):
        channels += [reference[frame], distorted[frame], (reference[frame] - distorted[frame]).abs()]
    x = torch.cat(channels)[None]
    height, width = x.shape[2:]
    x = F.pad(x, (0, (4 - width % 4) % 4, 0, (4 - height % 4) % 4), mode="reflect")
    scale = f"net.merge_layers.{i}"
    x = F.conv2d(x, state[f"{scale}.conv_first.weight"], state[f"{scale}.conv_first.bias"], padding=1)[0]
    block = f"{scale}.layers.0.residual_group.blocks.0"
    biases = _biases(state[f"{block}.attn.relative_position_bias_table"])
    for top in range(0, x.shape[1], 4):
        for left in range(0, x.shape[2], 4):
            window = x[:, top : top + 4, left : left + 4].flatten(1).T
            x[:, top : top + 4, left : left + 4] = _window(state, block, biases, window).T.unflatten(1, (4, 4))
    x = F.conv2d(x[None], state[f"{scale}.conv_after_body.weight"], state[f"{scale}.conv_after_body.bias"], padding=1)
    quality = (x[0, :, :height, :width] * state[f"lins.{i}.model.1.weight"][0]).sum(0)
    return quality.mean()


def _biases(table: Tensor) -> Tensor:
    """(2 heads, 16, 16): the table's entry for the offset between each two positions of a window."""
    biases = torch.empty(2, 16, 16)
    for a in range(16):
        for b in range(16):
            dy, dx = a // 4 - b // 4, a % 4 - b % 4
            biases[:, a, b] = table[(dy + 3) * 7 + dx + 3]
    return biases


def _window(state: dict[str, Tensor], block: str, biases: Tensor, tokens: Tensor) -> Tensor:
    """(16, 32) to (16, 32): attention with two heads, then the MLP, each with its residual."""
    qkv = tokens @ state[f"{block}.attn.qkv.weight"].T + state[f"{block}.attn.qkv.bias"]
    mixed = torch.zeros(16, 32)
    for head in range(2):
        query, key, value = (qkv[:, 32 * part + 16 * head :][:, :16] for part in range(3))
        weights = torch.softmax(query @ key.T / 4 + biases[head], dim=1)
        mixed[:, 16 * head : 16 * head + 16] = weights @ value
    tokens = tokens + mixed @ state[f"{block}.attn.proj.weight"].T + state[f"{block}.attn.proj.bias"]
    hidden = F.gelu(tokens @ state[f"{block}.mlp.fc1.weight"].T + state[f"{block}.mlp.fc1.bias"])
    return tokens + hidden @ state[f"{block}.mlp.fc2.weight"].T + state[f"{block}.mlp.fc2.bias"]


@pytest.fixture(scope="module")
def state():
    return random_state()


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / "FR_model"
    torch.save({"epoch": 59, "model_state_dict": state, "optimizer_state_dict": {"state": {}}}, path)
    return path


def clips(batch, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(batch, 12, 3, height, width, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("size", [(96, 96), (101, 131), (256, 256)])
def test_scores_equal_the_published_network(state, checkpoint, size):
    model = create_model("rankdvqa", weights=checkpoint).eval()
    reference, distorted = clips(1, *size)
    with torch.no_grad():
        ours, theirs = model(reference, distorted), official_score(state, 2 * reference - 1, 2 * distorted - 1)
    assert theirs.abs().item() > 0.05  # a score near zero would prove little
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_weights_trained_on_bgr(state, checkpoint):
    model = create_model("rankdvqa", weights=checkpoint, channel_order="bgr").eval()
    reference, distorted = clips(2, 96, 100)
    with torch.no_grad():
        ours = model(reference, distorted)
        theirs = official_score(state, 2 * reference.flip(2) - 1, 2 * distorted.flip(2) - 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_every_published_weight_is_read(state, checkpoint):
    model = create_model("rankdvqa", weights=checkpoint)
    unread = {name for name in state if "scaling_layer" in name or "relative_position_index" in name}
    assert len(state) == 101
    assert len(model.state_dict()) == 101 - len(unread)
    total = sum(t.numel() for name, t in state.items() if name not in unread)
    assert total == sum(p.numel() for p in model.parameters()) == 4_594_938


def test_bare_state_dict_and_data_parallel_names(state, checkpoint, tmp_path):
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "parallel.pth")
    first = create_model("rankdvqa", weights=checkpoint).state_dict()
    second = create_model("rankdvqa", weights=tmp_path / "parallel.pth").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_scaling_is_refused(state, tmp_path):
    torch.save({**state, "scaling_layer.scale": 2 * state["scaling_layer.scale"]}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"scaling_layer\.scale"):
        create_model("rankdvqa", weights=tmp_path / "odd.pth")


def test_stanet_of_the_authors(tmp_path):
    places = {"weigh.0": "conv3d_block1.0", "weigh.2": "conv3d_block1.2"}
    places |= {"weigh.4": "conv3d_block2.0", "weigh.6": "conv3d_block2.2"}
    source = create_model("stanet").state_dict()
    state = {f"{places[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": t for name, t in source.items()}
    torch.save(state, tmp_path / "stanet_epoch_20.pth")
    loaded = create_model("stanet", weights=tmp_path / "stanet_epoch_20.pth").state_dict()
    assert all(torch.equal(source[name], loaded[name]) for name in source)


def test_a_checkpoint_of_another_network_says_which(checkpoint):
    with pytest.raises(WeightsError, match=r"seems to hold an official RankDVQA") as caught:
        create_model("stanet", weights=checkpoint)
    assert "weigh.0.bias" in str(caught.value)
    assert "\n" not in str(caught.value)
