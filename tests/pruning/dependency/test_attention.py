"""Attention: heads and head width, the integers that go with them, and widths that hang together by a number."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.nets import REGISTRY
from pruning.reference import difference, gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.errors import PruneError, TargetError
from compressvqa.pruning import find_groups, prune, prune_depth, trace

HEADS, WIDTH = 4, 6
TOKENS = (torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)),)


class Block(nn.Module):
    """Self-attention between two linear layers, with its widths written as plain attributes or worked out."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.num_heads, self.head_dim, self.inner = form, HEADS, WIDTH, HEADS * WIDTH
        self.scale = WIDTH**-0.5
        self.stem, self.qkv = nn.Linear(3, HEADS * WIDTH), nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH)
        self.proj, self.head = nn.Linear(HEADS * WIDTH, 7), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        b, n, c = x.shape
        if self.form == "attributes":
            y = self.attend(self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim)).reshape(b, n, self.inner)
        elif self.form == "worked out":
            y = self.attend(self.qkv(x).view(b, n, 3, self.num_heads, c // self.num_heads)).reshape(b, n, c)
        else:
            y = self.attend(self.qkv(x).view(b, n, 3, 4, 6)).reshape(b, n, 24)
        return self.head(self.proj(y)).mean(1)

    def attend(self, qkv: Tensor) -> Tensor:
        qkv = qkv.permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        return (((q @ k.transpose(-2, -1)) * self.scale).softmax(-1) @ v).transpose(1, 2)


def block(form: str) -> Block:
    torch.manual_seed(0)
    return Block(form)


def groups_of(net: nn.Module, attention: str) -> dict[str, tuple[int, str | None, int]]:
    found = find_groups(trace(net, TOKENS, attention=attention))
    return {g.name: (g.channels, g.coupling, g.unit) for g in found if g.frozen is None}


def test_heads_are_kept_unless_asked_for() -> None:
    assert groups_of(block("attributes"), "keep") == {"stem": (24, None, 1), "proj": (7, None, 1)}


@pytest.mark.parametrize(("attention", "channels"), [("heads", HEADS), ("width", WIDTH)])
def test_attributes_follow(attention: str, channels: int) -> None:
    net = block("attributes")
    assert groups_of(net, attention)["qkv"] == (channels, None, 1)
    pruned = prune(net, TOKENS, ratios={"qkv": 0.5}, attention=attention)
    small = pruned.model
    expected = (HEADS // 2, WIDTH) if attention == "heads" else (HEADS, WIDTH // 2)
    assert (small.num_heads, small.head_dim) == expected
    assert small.inner == expected[0] * expected[1] == small.proj.in_features
    assert small.scale == net.scale
    assert (net.num_heads, net.head_dim, net.inner) == (HEADS, WIDTH, HEADS * WIDTH)
    assert difference(zeroed(net, gone_slots(pruned)), small.double(), TOKENS) < 1e-12


def test_a_width_that_is_worked_out_is_bound_to_the_heads() -> None:
    """c // num_heads: the stem loses as many sixes as there go heads, and the width of a head stays."""
    net = block("worked out")
    assert "stem" not in groups_of(net, "keep")
    assert groups_of(net, "heads") == {"stem": (24, "stem", 6), "qkv": (4, "stem", 1), "proj": (7, None, 1)}
    pruned = prune(net, TOKENS, ratios={"stem": 0.5, "qkv": 0.5}, attention="heads")
    assert (pruned.model.num_heads, pruned.model.stem.out_features, pruned.model.qkv.out_features) == (2, 12, 36)
    assert difference(zeroed(net, gone_slots(pruned)), pruned.model.double(), TOKENS) < 1e-12
    again = prune(pruned.model.float(), TOKENS, ratios={"qkv": 0.5, "stem": 0.5}, attention="heads")
    assert (again.model.num_heads, again.model.stem.out_features) == (1, 6)


@pytest.mark.parametrize("attention", ["heads", "width"])
def test_plain_numbers_keep_what_they_count(attention: str) -> None:
    net = block("plain numbers")
    pruned = prune(net, TOKENS, ratios=0.5, attention=attention)
    assert pruned.model.qkv.out_features == 72
    assert pruned.model.proj.out_features == 4
    assert "qkv" in pruned.plan.frozen


def test_auto_lets_heads_go_only_where_the_target_needs_them() -> None:
    net = block("attributes")
    easy = prune(net, TOKENS, target_params=0.8)
    assert easy.model.num_heads == HEADS
    assert easy.plan.notes == ()
    hard = prune(net, TOKENS, target_params=0.05)
    assert hard.model.num_heads < HEADS
    assert "heads" in hard.plan.notes[0]
    with pytest.raises(TargetError, match="heads are kept"):
        prune(net, TOKENS, target_params=0.05, attention="keep")


def test_another_word_is_refused() -> None:
    with pytest.raises(PruneError, match="attention must be auto, keep, heads or width, not 'head'"):
        prune(block("attributes"), TOKENS, ratios=0.5, attention="head")


def test_the_scale_that_torch_works_out_keeps_the_width() -> None:
    class Fused(Block):
        def attend(self, qkv: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4).unbind(0)).transpose(1, 2)

    facts = trace(Fused("attributes"), TOKENS, attention="width")
    assert [g.frozen for g in find_groups(facts) if g.name == "qkv" and "scale" in (g.frozen or "")]
    torch.manual_seed(0)
    pruned = prune(Fused("attributes"), TOKENS, ratios={"qkv": 0.5}, attention="heads")
    assert pruned.model.num_heads == 2


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_torch_attention_loses_heads_with_its_width(batch_first: bool, weights: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(3, 24)
            self.attention = nn.MultiheadAttention(24, 4, batch_first=batch_first)
            self.head = nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x + self.attention(x, x, x, need_weights=weights)[0])

    torch.manual_seed(0)
    net = Net()
    pruned = prune(net, TOKENS, ratios=0.5, attention="heads")
    small = pruned.model.attention
    assert (small.embed_dim, small.num_heads, small.head_dim) == (12, 2, 6)
    assert tuple(small.in_proj_weight.shape) == (36, 12)
    assert difference(zeroed(net, gone_slots(pruned)), pruned.model.double(), TOKENS) < 1e-12


@pytest.mark.parametrize("name", ["VideoTransformer", "VideoTransformerMean"])
def test_heads_go_under_norms_over_all_heads_and_in_attention_pooling(name: str) -> None:
    """The reference is told which channels count in a plain mean; a sum of squares needs no telling."""
    torch.manual_seed(0)
    net = REGISTRY[name]()
    ratios = {"blocks.*.attn.qkv": 0.5, "blocks.*.fc1": 0.5, "pool.q": 0.75}
    pruned = prune(net, net.inputs(), ratios=ratios, attention="heads")
    small: Any = pruned.model
    assert [block.attn.num_heads for block in small.blocks] == [2, 2] and small.pool.num_heads == 1
    assert small.blocks[0].attn.head_dim == 6 and small.blocks[0].attn.q_norm.weight.shape == (12,)
    assert small.blocks[0].attn.q_norm.inverse_width == 1 / 24 and small.blocks[0].fc1.out_features == 24
    assert small.pool.k.weight.shape == (6, 24) and small.pool.v_bias.shape == (6,)
    reference = zeroed(net, gone_slots(pruned))
    assert difference(reference, copy.deepcopy(small).double(), net.inputs()) < 1e-12
    said = [note for note in pruned.plan.notes if "taken over the channels kept" in note]
    assert len(said) == (name == "VideoTransformerMean")
    again = prune(small, net.inputs(), ratios={"blocks.*.attn.qkv": 0.5}, attention="heads")
    assert again.model.blocks[1].attn.num_heads == 1


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("fused", [True, False])
def test_weights_that_all_heads_share_stay_and_heads_go(norm: str, fused: bool) -> None:
    torch.manual_seed(0)
    net = REGISTRY["PerHeadWeights"](norm, fused)  # type: ignore[call-arg]
    pruned = prune(net, net.inputs(), ratios={"qkv": 0.5}, attention="heads")
    small: Any = pruned.model
    assert (small.num_heads, small.head_dim) == (2, 6)
    assert small.q_norm.weight.shape == (6,) and small.angles.shape == (5, 6)
    # The norms look at one head at a time, so the reference needs no telling which channels count.
    assert difference(zeroed(net, gone_slots(pruned)), copy.deepcopy(small).double(), net.inputs()) < 1e-12
    groups = find_groups(trace(net, net.inputs(), attention="keep"))
    kept = [g.frozen for g in groups if "qkv" in g.producers]
    assert kept and all(reason is not None and "heads are kept" in reason for reason in kept)


def test_a_head_that_is_wide_as_its_norm_can_lose_its_width() -> None:
    """Without torch's own scale, "width" takes the same channels of every head, and of the norms that they share."""
    torch.manual_seed(0)
    net: Any = REGISTRY["PerHeadWeights"]("layer", False)  # type: ignore[call-arg]
    net.turn = lambda x: x  # a rotation of pairs is another matter
    pruned = prune(net, net.inputs(), ratios={"qkv": 0.5}, attention="width")
    small: Any = pruned.model
    assert (small.num_heads, small.head_dim, small.q_norm.weight.shape) == (4, 3, (3,))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vit_tiny_patch16_224", {"qk_norm": True, "init_values": 0.5}),
        ("vit_tiny_patch16_224", {"qk_norm": True, "norm_layer": timm.layers.RmsNorm}),
        ("vit_tiny_patch16_224", {"mlp_layer": timm.layers.SwiGLUPacked, "init_values": 0.5}),
        ("vit_tiny_patch16_224", {"scale_attn_norm": True, "scale_mlp_norm": True}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 28}),
        ("eva02_tiny_patch14_224", {"img_size": 28}),
    ],
)
def test_timm_transformers_lose_heads_width_and_depth(name: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    small = {"img_size": 32, "num_classes": 1, "embed_dim": 48, "depth": 3, "num_heads": 3}
    known = inspect.signature(timm.models.vision_transformer.VisionTransformer).parameters
    if "scale_attn_norm" in settings and "scale_attn_norm" not in known:
        pytest.skip("this timm has no such normalisation")
    net: Any = timm.create_model(name, **{**small, **settings}).eval()
    side = settings.get("img_size", 32)
    images = (torch.randn(2, 3, side, side),)
    shallow = prune_depth(net, images, remove=1)
    assert shallow.max_error == 0
    pruned = prune(shallow.model, images, ratios={"blocks.*.attn": 0.34, "blocks.*.mlp": 0.5}, attention="heads")
    heads = [block.attn.num_heads for block in pruned.model.blocks if hasattr(block, "attn")]  # type: ignore
    assert heads == [2, 2]
    assert pruned.plan.params[1] < 0.7 * pruned.plan.params[0]
    assert pruned.max_error is not None and pruned.max_error <= 1e-5
    fewer = torch.cat([pruned.model(t) for t in images[0].split(1)])
    assert torch.allclose(pruned.model(*images), fewer, atol=1e-5)
