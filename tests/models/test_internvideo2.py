"""InternVideo2 against its equations in numpy, its sizes against the published table, checkpoints as published."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from models import naive
from models.pairs import exact, numbers, score, works_in_half_precision
from torch.utils.flop_counter import FlopCounterMode

from compressvqa.cost import profile
from compressvqa.distillation import FeatureTaps
from compressvqa.errors import DataError, WeightsError
from compressvqa.models import InternVideo2, create_model, example_inputs, load, save, spec_of
from compressvqa.models.internvideo2 import SIZES, Dimensions
from compressvqa.models.internvideo2_blocks import DropPath
from compressvqa.models.internvideo2_names import PUBLISHED
from compressvqa.models.position_embedding import resized, sin_cos
from compressvqa.models.view import View
from compressvqa.pruning import prune

torch.set_num_threads(1)
# Parameters in millions and G MAC for 8 frames of 224 pixels, with the pooling and a head of one output (the sizes'
# published configurations; the 6B's parameters are worked out from its configuration).
TABLE = {"s14": (23.05, 83), "b14": (89.44, 255), "l14": (308.9, 831), "1b14": (1020.7, 2551), "6b14": (5941.7, None)}


def small(**settings):
    return numbers(InternVideo2(Dimensions(32, 2, 4, 40), **{"frames": 2, "size": 28, **settings}))


def on_meta(size, **settings):
    with torch.device("meta"):
        return create_model(f"internvideo2-{size}", **settings).eval()


# --- the equations -------------------------------------------------------------------------------------------------


def rms(rows, norm):
    weight = norm.weight.detach().double().numpy()
    return np.stack([weight * row / math.sqrt(np.mean(row**2) + 1e-6) for row in rows])


def layer_norm(rows, norm):
    weight, bias = naive.weights(norm)
    return np.stack([weight * (row - row.mean()) / math.sqrt(row.var() + 1e-5) + bias for row in rows])


def attended(queries, keys, values, heads):
    """Every head and every query by itself."""
    out, width = np.zeros((len(queries), values.shape[1])), queries.shape[1] // heads
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for number, query in enumerate(queries[:, part]):
            weights = np.exp([query @ key / math.sqrt(width) for key in keys[:, part]])
            out[number, part] = weights / weights.sum() @ values[:, part]
    return out


def gelu(values):
    return values * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(values)


def tensor(parameter):
    return parameter.detach().double().numpy()


def naive_score(network, clip):
    """The score of one clip (T, 3, H, W) of the network's own size."""
    mean, deviation = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    weight, bias = naive.weights(network.patch_embed.proj)
    tokens = [tensor(network.cls_token)[0, 0]]
    for frame in (clip.double().numpy() - mean[:, None, None]) / deviation[:, None, None]:
        for top in range(0, frame.shape[1], 14):
            for left in range(0, frame.shape[2], 14):
                patch = frame[:, top : top + 14, left : left + 14]
                tokens.append(np.array([(kernel[:, 0] * patch).sum() for kernel in weight]) + bias)
    x = np.stack(tokens) + tensor(network.pos_embed)[0]
    for block in network.blocks:
        query, key, value = np.split(naive.linear(rms(x, block.norm1), block.attn.qkv), 3, axis=1)
        query, key = rms(query, block.attn.q_norm), rms(key, block.attn.k_norm)
        mixed = naive.linear(attended(query, key, value, block.attn.num_heads), block.attn.proj)
        x = x + tensor(block.ls1.gamma) * mixed
        hidden = gelu(naive.linear(rms(x, block.norm2), block.mlp.fc1))
        x = x + tensor(block.ls2.gamma) * naive.linear(hidden, block.mlp.fc2)
    pool = network.clip_projector
    cross = pool.cross_attn
    query = naive.linear(layer_norm(x.mean(0)[None], pool.norm1_q), cross.q) + tensor(cross.q_bias)
    key = naive.linear(layer_norm(x, pool.norm1_k), cross.k) + tensor(cross.k_bias)
    value = naive.linear(layer_norm(x, pool.norm1_v), cross.v) + tensor(cross.v_bias)
    pooled = naive.linear(attended(query, key, value, 16), cross.proj)
    return naive.linear(layer_norm(pooled, network.fc_norm), network.head)[0, 0]


def test_scores_equal_the_equations():
    network = small()
    clips = torch.rand(2, 2, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    expected = np.array([naive_score(network, clip) for clip in clips])
    assert np.ptp(expected) > 0.01  # else it would prove little
    np.testing.assert_allclose(exact(network, clips), expected, rtol=1e-9)
    np.testing.assert_allclose(score(network, clips), expected, rtol=1e-4)


def test_the_position_embedding_equals_its_formula():
    width, frames, side = 48, 3, 4
    found = sin_cos(width, frames, side)[0].double().numpy()
    assert found.shape == (1 + frames * side * side, width)
    assert not found[0].any()

    def waves(position, channels):
        angles = [position / 10000 ** (i / (channels // 2)) for i in range(channels // 2)]
        return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]

    for frame in range(frames):
        for row in range(side):
            for column in range(side):
                expected = waves(frame, 12) + waves(column, 18) + waves(row, 18)
                number = 1 + (frame * side + row) * side + column
                np.testing.assert_allclose(found[number], expected, atol=1e-7)


# --- sizes and costs -----------------------------------------------------------------------------------------------


def parameters_by_hand(d, tokens):
    norms, block = 2 * d.width, 3 * d.width**2 + 2 * d.width + d.width**2 + d.width
    mlp = 2 * d.width * d.hidden + d.hidden + d.width
    blocks = d.depth * (norms + block + mlp + 2 * d.width)
    pooling = 6 * d.width + 3 * (d.width**2 + d.width) + 768 * (d.width + 1)
    return (3 * 14 * 14 + 1) * d.width + d.width + (tokens + 1) * d.width + blocks + pooling + 2 * 768 + 769


def macs_by_hand(d, frames, side):
    """Linear layers, the patches' convolution and attention's two products."""
    patches = frames * side * side
    n = patches + 1
    block = n * (4 * d.width**2 + 2 * d.width * d.hidden) + 2 * n * n * d.width
    pooling = (1 + 2 * n) * d.width**2 + 2 * n * d.width + d.width * 768
    return patches * 588 * d.width + d.depth * block + pooling + 768


@pytest.mark.parametrize("size", TABLE)
def test_parameters_and_macs_of_the_table(size):
    """The hidden width is the published ratio's: 4, and 48/11 of the 1B."""
    d, (millions, giga) = SIZES[size], TABLE[size]
    assert d.hidden == int(d.width * (48 / 11 if size == "1b14" else 4))
    network = on_meta(size)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == parameters_by_hand(d, 8 * 16 * 16)
    decimals = 2 if millions < 100 else 1
    assert round(parameters / 1e6, decimals) == millions
    with FlopCounterMode(display=False) as counted:
        network(torch.empty(1, 8, 3, 224, 224, device="meta"))
    assert counted.get_total_flops() == 2 * macs_by_hand(d, 8, 16)
    if giga is not None:
        assert round(counted.get_total_flops() / 2e9) == giga


def test_profile_counts_the_same_on_the_real_network():
    network = create_model("internvideo2-s14", frames=3, size=70)
    found = profile(network, example_inputs(network, size=70, frames=3))
    assert found.macs == found.cross_check == macs_by_hand(SIZES["s14"], 3, 5)
    assert found.params == parameters_by_hand(SIZES["s14"], 75)
    assert not found.unsupported
    assert not found.uncalled


def test_it_starts_as_published():
    """Layers that write to the residual stream start smaller, the deeper the smaller; branches start at 1e-5."""
    network = create_model("internvideo2-s14", frames=1, size=14)
    for number, block in enumerate(network.blocks, start=1):
        for layer, deviation in (
            (block.attn.qkv, 0.02),
            (block.mlp.fc1, 0.02),
            (block.attn.proj, 0.02 / math.sqrt(2 * number)),
            (block.mlp.fc2, 0.02 / math.sqrt(2 * number)),
        ):
            assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert (block.ls1.gamma == 1e-5).all()
        assert not block.attn.proj.bias.any()
    assert torch.equal(network.pos_embed, sin_cos(384, 1, 1))


# --- how it is used ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 33, 47), (7, 28, 28), (2, 90, 60)])
def test_any_clip_is_brought_to_its_view(shape):
    network = small(fit="squeeze")
    frames, height, width = shape
    clip = torch.rand(1, frames, 3, height, width)
    seen = View(2, 28, fit="squeeze", normalise=False)(clip)
    torch.testing.assert_close(score(network, clip), score(network, seen))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 100}, r"100 pixels is no multiple .* 14 \(try: size 98\)"),
        ({"size": 0}, "try: size 14"),
        ({"frames": 0}, "0 frames"),
        ({"fit": "stretch"}, "no fit 'stretch'"),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
        ({"heads": 3}, "no setting 'heads'"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(DataError, match=words):
        create_model("internvideo2-tiny", **settings)


def test_half_precision():
    network = small()
    works_in_half_precision(network, (torch.rand(2, 2, 3, 28, 28),))
    clip = torch.rand(2, 2, 3, 28, 28)
    true, halved = score(network, clip), copy.deepcopy(network).to(torch.bfloat16)
    found = score(halved, clip)  # a clip in float32
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, true, rtol=0, atol=0.03 * true.abs().max().item() + 0.01)


def test_checkpointing_keeps_less_and_changes_nothing():
    network, clip = small().train(), torch.rand(2, 2, 3, 28, 28)

    def trained():
        kept, taps = 0, FeatureTaps(network, ["blocks.0", "blocks.1", "fc_norm"])

        def pack(saved):
            nonlocal kept
            kept += saved.numel()
            return saved

        network.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved), taps as features:
            scores = network(clip)
            tapped = features.take()
            held = kept
            (scores.sum() + sum(found.square().sum() for found in tapped.values())).backward()
        return held, scores.detach(), tapped, [p.grad.clone() for p in network.parameters()]

    plain = trained()
    network.set_grad_checkpointing()
    thrifty = trained()
    assert thrifty[0] < 0.7 * plain[0]
    torch.testing.assert_close(thrifty[1:], plain[1:])
    assert plain[2]["blocks.0"].shape == (2, 9, 32)
    assert plain[2]["fc_norm"].shape == (2, 768)
    network.set_grad_checkpointing(False)
    assert trained()[0] == plain[0]


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.rand(4000, 2, 3) + 1
    assert torch.equal(drop.eval()(x), x)
    share = drop.train()(x) / x
    dropped = (share == 0).all(dim=(1, 2))
    torch.testing.assert_close(share[~dropped], torch.full_like(share[~dropped], 4 / 3))
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.03)
    rates = [b.drop_path1.rate for b in create_model("internvideo2-tiny", frames=1, size=14, drop_path=0.3).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


# --- pruning -------------------------------------------------------------------------------------------------------


def test_heads_and_mlp_widths_go(tmp_path):
    torch.manual_seed(0)
    network = create_model("internvideo2-s14", frames=1, size=28)
    inputs = example_inputs(network, size=28, frames=1)
    chosen = {f"blocks.{i}.{part}": 0.5 for i in range(12) for part in ("attn.qkv", "mlp.fc1")}
    pruned = prune(network, inputs, ratios=chosen, attention="heads")
    assert pruned.max_error < 1e-5
    for block in pruned.model.blocks:
        assert (block.attn.num_heads, block.attn.head_dim) == (3, 64)
        assert block.attn.qkv.weight.shape == (3 * 192, 384)
        assert block.attn.q_norm.weight.shape == block.attn.k_norm.weight.shape == (192,)
        assert block.mlp.fc1.weight.shape == (768, 384)
    loaded = load(save(pruned.model, tmp_path / "model"))
    assert torch.equal(score(loaded, *inputs), score(pruned.model.eval(), *inputs))
    assert torch.isfinite(score(loaded, torch.rand(1, 3, 3, 50, 40))).all()


def test_a_head_of_zeros_is_no_head():
    """The norm of queries and keys spans all heads, and still divides by the width that it was trained with."""
    network, clip = small(), torch.rand(2, 2, 3, 28, 28)
    attention = network.blocks[1].attn
    with torch.no_grad():
        for part in range(3):  # the third head of four, 8 wide
            attention.qkv.weight[32 * part + 16 : 32 * part + 24] = 0
        attention.proj.weight[:, 16:24] = 0
        for norm in (attention.q_norm, attention.k_norm):
            norm.weight[16:24] = 0
    before = score(network, clip)
    pruned = prune(network, (clip,), ratios="zeros", attention="heads").model.eval()
    assert [block.attn.num_heads for block in pruned.blocks] == [4, 3]
    torch.testing.assert_close(score(pruned, clip), before)


# --- checkpoints ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A tiny network with random weights everywhere, and what it says with the head of another."""
    return numbers(create_model("internvideo2-tiny", frames=8, size=56))


def published(network, kind):
    """Its tensors as the authors' files of a kind hold them."""
    state = {name: t.clone() for name, t in network.state_dict().items() if not name.startswith("head.")}
    if kind == "classes":
        return state | {"head.weight": torch.rand(400, 768), "head.bias": torch.rand(400)}
    if kind == "headless":
        return state
    state = {name: t for name, t in state.items() if not name.startswith("fc_norm.")}
    others = {"clip_pos_embed": state["pos_embed"], "final_clip_decoder.head.weight": torch.rand(768, 768)}
    others |= {"clip_decoder.0.norm.bias": torch.rand(3200), "mae_pos_embed": torch.rand(1, 4, 64)}
    others |= {"mae_decoder.0.head.0.weight": torch.rand(64, 64), "img_pos_embed": torch.rand(1, 257, 64)}
    if kind == "pretraining":
        return state | others
    vision = {f"vision_encoder.{name}": t for name, t in (state | others).items()}
    return vision | {"text_encoder.cls.weight": torch.rand(3), "vision_proj.weight": torch.rand(512, 768)}


@pytest.mark.parametrize("kind", ["classes", "headless", "pretraining", "modalities"])
@pytest.mark.parametrize("wrapper", ["module", None])
def test_published_checkpoints_load(trained, kind, wrapper, tmp_path):
    state = published(trained, kind)
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "official.pth")
    torch.manual_seed(5)
    fresh = create_model("internvideo2-tiny", frames=8, size=56).state_dict()
    torch.manual_seed(5)
    model = create_model("internvideo2-tiny", weights=tmp_path / "official.pth", frames=8, size=56)
    for name, found in model.state_dict().items():
        kept = name.startswith("head.") or (name.startswith("fc_norm.") and kind in ("pretraining", "modalities"))
        assert torch.equal(found, (fresh if kept else trained.state_dict())[name]), name


def test_our_own_checkpoint_keeps_its_head(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "ours.pth")
    model = create_model("internvideo2-tiny", weights=tmp_path / "ours.pth", frames=8, size=56)
    assert all(torch.equal(t, trained.state_dict()[name]) for name, t in model.state_dict().items())


def test_weights_of_another_grid_are_interpolated(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "ours.pth")
    model = create_model("internvideo2-tiny", weights=tmp_path / "ours.pth", frames=4, size=56)
    before, after = (network.pos_embed[0, 1:].detach().unflatten(0, (-1, 4, 4)) for network in (trained, model))
    torch.testing.assert_close(after, (before[::2] + before[1::2]) / 2)  # half as many frames: the means of pairs
    assert torch.equal(model.pos_embed[:, 0], trained.pos_embed[:, 0])


def test_interpolation_is_linear_in_time_and_cubic_in_space():
    """Ramps come back away from the edges; in space at half the size, where the kernel's samples are symmetric."""

    def ramps(frames, side):
        time, place = (torch.arange(frames) + 0.5) / frames, (torch.arange(side) + 0.5) / side
        parts = (time[:, None, None], place[None, :, None], place[None, None, :])
        grid = torch.stack([part.expand(frames, side, side) for part in parts], dim=-1)
        return torch.cat([torch.full((1, 1, 3), 7.0), grid.reshape(1, -1, 3)], dim=1)

    for old, new in (((4, 16), (8, 16)), ((16, 16), (10, 8)), ((8, 24), (8, 12)), ((9, 8), (5, 8)), ((8, 16), (8, 8))):
        found = resized(ramps(*old), *new)
        assert (found[:, 0] == 7).all()
        grids = [e[0, 1:].unflatten(0, (new[0], new[1], new[1])) for e in (found, ramps(*new))]
        torch.testing.assert_close(*(grid[1:-1, 1:-1, 1:-1] for grid in grids), atol=1e-5, rtol=0)
    assert torch.equal(resized(ramps(2, 5), 2, 5), ramps(2, 5))
    for tokens in (7, 1280):  # no grid, and two: 5 frames of 16 x 16 or 20 of 8 x 8
        with pytest.raises(WeightsError, match=f"{tokens} tokens is not known"):
            resized(torch.zeros(1, 1 + tokens, 16), 5, 8)


def without(state, pattern):
    return {name: t for name, t in state.items() if not re.search(pattern, name)}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda s: without(s, r"blocks\.3\."), r"lacks blocks\.3\.attn"),
        (lambda s: without(s, "fc_norm"), r"lacks fc_norm\.bias, fc_norm\.weight"),
        (lambda s: without(s, "head.bias"), r"lacks head\.bias"),
        (lambda s: without(s, "cls_token"), r"lacks cls_token.* InternVideo2"),
        (lambda s: s | {"blocks.4.norm1.weight": torch.ones(64)}, r"has unknown blocks\.4\.norm1\.weight"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 129, 32)}, r"pos_embed is \(1, 129, 32\)"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 12, 64)}, "11 tokens"),
        (lambda s: s | {"blocks.0.mlp.fc1.bias": torch.full((256,), math.nan)}, "NaN"),
    ],
)
def test_a_faulty_checkpoint_is_refused_by_name(trained, fault, words, tmp_path):
    torch.save({"module": fault(published(trained, "classes"))}, tmp_path / "official.pth")
    with pytest.raises(WeightsError, match=words) as caught:
        create_model("internvideo2-tiny", weights=tmp_path / "official.pth", frames=8, size=56)
    assert "\n" not in str(caught.value)


@pytest.fixture
def offline_hub(tmp_path, monkeypatch):
    """The hub's library without a network, with an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("size", ["s14", "1b14"])
def test_published_weights_out_of_reach_are_one_line(size, offline_hub):
    with pytest.raises(WeightsError, match=f"internvideo2-{size} from huggingface.co/OpenGVLab/.* can't be") as caught:
        create_model(f"internvideo2-{size}", weights="pretrained")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", ["tiny", "6b14"])
def test_sizes_without_published_weights_say_so(size):
    with pytest.raises(WeightsError, match=f"no trained weights of internvideo2-{size} ship"):
        create_model(f"internvideo2-{size}", weights="pretrained")


def test_published_weights_come_from_the_hubs_cache(offline_hub):
    (repository, file), *_ = PUBLISHED["internvideo2-s14"]
    folder = offline_hub / f"models--{repository.replace('/', '--')}"
    path = folder / "snapshots" / "abc" / file
    path.parent.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    source = create_model("internvideo2-s14").to(torch.bfloat16)
    torch.save({"module": published(source, "classes")}, path)
    model = create_model("internvideo2-s14", weights="pretrained", frames=4)
    assert spec_of(model).kwargs == {"frames": 4}
    assert model.pos_embed.shape == (1, 1 + 4 * 256, 384)
    assert torch.equal(model.blocks[7].mlp.fc1.weight, source.blocks[7].mlp.fc1.weight.float())
