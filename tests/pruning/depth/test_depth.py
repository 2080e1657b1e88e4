"""Whole blocks: which are residual, which go, and that the rest is the network that skips them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.errors import PruneError
from compressvqa.pruning import prune, prune_depth
from compressvqa.pruning.depth.blocks import find_blocks
from compressvqa.registry import models

TOKENS = (torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)),)
ViT = {"img_size": 32, "num_classes": 1, "embed_dim": 24, "depth": 6, "num_heads": 3}


class Add(nn.Module):
    """x + scale * tanh(W x); `form` says how the addition is written, or that there is none."""

    def __init__(self, scale: float = 1.0, form: str = "plain") -> None:
        super().__init__()
        self.fc, self.norm, self.scale, self.form = nn.Linear(8, 8), nn.LayerNorm(8), scale, form

    def forward(self, x: Tensor, *others: Tensor) -> Any:
        made = self.scale * self.fc(x).tanh()
        match self.form:
            case "plain":
                return x + made
            case "in place":
                x += made
                return x
            case "views":
                return (x.flatten(0, 1) + made.flatten(0, 1)).view(x.shape)
            case "norm after":
                return self.norm(made + x)
            case "tuple":
                return (x + made,)
            case "bias only":
                return x + self.fc.bias
            case "scaled":
                return x * 0.5 + made
            case "other order":
                return x.flip(1) + made
            case "minus itself":
                return made - x
            case "overwritten":
                x = x + made
                x[:, 0] = made[:, 0]
                return x
            case _:
                return made


class Chain(nn.Module):
    """Blocks one after another, between two layers that are none."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Linear(8, 8), nn.ModuleList(blocks), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, x)
        return self.head(x).mean(1)


def chain(*scales: float) -> Chain:
    torch.manual_seed(0)
    return Chain(*(Add(scale) for scale in scales))


def vit(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    net: nn.Module = timm.create_model("vit_tiny_patch16_224", **{**ViT, **settings}).eval()
    return net


IMAGE = (torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)),)


@pytest.mark.parametrize("form", ["plain", "in place", "views", "norm after"])
def test_a_block_that_adds_to_its_input_is_found(form: str) -> None:
    net = Chain(Add(form=form), Add())
    assert [b.path for b in find_blocks(net, TOKENS)] == ["blocks.0", "blocks.1"]


@pytest.mark.parametrize(
    "form", ["no sum", "tuple", "bias only", "scaled", "other order", "minus itself", "overwritten"]
)
def test_doubt_means_keep(form: str) -> None:
    assert [b.path for b in find_blocks(Chain(Add(), Add(form=form)) if form != "tuple" else Tuples(), TOKENS)] == [
        "blocks.0"
    ]


class Tuples(Chain):
    """The second block returns a tuple, which the network unpacks."""

    def __init__(self) -> None:
        super().__init__(Add(), Add(form="tuple"))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks[1](self.blocks[0](self.stem(x)))[0]).mean(1)


def test_stages_are_looked_into_and_plain_layers_left_alone() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Sequential(Add(), Add()), nn.LayerNorm(8), nn.Sequential(Add()))
    assert [b.path for b in find_blocks(net, TOKENS)] == ["1.0", "1.1", "3.0"]
    with pytest.raises(PruneError, match="no residual block"):
        prune_depth(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), TOKENS)
    tuples = Tuples()
    tuples.blocks[0] = nn.Linear(8, 8)
    tuples.forward = lambda x: tuples.head(tuples.blocks[1](tuples.blocks[0](x))[0])  # type: ignore[method-assign]
    with pytest.raises(PruneError, match=r"blocks\.1 returns a tuple, not a tensor"):
        prune_depth(tuples, TOKENS)


def test_a_transformer_of_torch_loses_its_layers() -> None:
    """nn.TransformerEncoder normalises after the addition, and walks over its layers with settings by name."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False).eval()
    pruned = prune_depth(net, TOKENS, remove=2, by="last")
    assert pruned.removed == ("layers.2", "layers.3")
    assert torch.allclose(pruned.model(*TOKENS), net.layers[1](net.layers[0](*TOKENS)), atol=1e-6)


def test_in_a_residual_network_the_blocks_that_change_the_size_stay() -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=1)
    found = [b.path for b in find_blocks(net, (torch.randn(1, 3, 64, 64),))]
    # By the paper's architecture: the first block of stages two to four halves the picture.
    assert found == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]


@pytest.mark.parametrize("by", ["influence", "loss", "even", "last"])
def test_the_rest_is_what_its_blocks_compute_one_after_another(by: str) -> None:
    net = vit()
    before = copy.deepcopy(net.state_dict())
    pruned = prune_depth(net, IMAGE, remove=0.5, by=by)
    assert len(pruned.removed) == 3 and pruned.max_error == 0
    x = net._pos_embed(net.patch_embed(*IMAGE))  # type: ignore[operator]
    for k, block in enumerate(net.blocks):  # type: ignore[arg-type]
        x = x if f"blocks.{k}" in pruned.removed else block(x)
    expected = net.forward_head(net.norm(x))  # type: ignore[operator]
    assert torch.equal(pruned.model(*IMAGE), expected)
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())
    per_block = sum(p.numel() for p in net.blocks[0].parameters())  # type: ignore[index]
    assert pruned.complexity_before.params - pruned.complexity_after.params == 3 * per_block
    assert pruned.complexity_after.macs < pruned.complexity_before.macs


def test_the_last_ones_are_those_that_timm_takes_off() -> None:
    net = vit()
    theirs = copy.deepcopy(net)
    theirs.prune_intermediate_layers([3], prune_norm=False, prune_head=False)  # type: ignore[operator]
    pruned = prune_depth(net, IMAGE, remove=2, by="last")
    assert torch.equal(pruned.model(*IMAGE), theirs(*IMAGE))
    assert sum(p.numel() for p in pruned.model.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_influence_is_that_of_the_paper() -> None:
    """Equation 1 of ShortGPT, token by token in numpy, over two batches of different sizes."""
    net = chain(1.0, 0.01, 0.3, 3.0)
    batches = [TOKENS, (torch.randn(1, 9, 8),)]
    pruned = prune_depth(net, TOKENS, remove=2, batches=iter(batches))
    angles: list[list[float]] = [[] for _ in net.blocks]
    for (tokens,) in batches:
        x = net.stem(tokens)
        for k, block in enumerate(net.blocks):
            y = block(x)
            for a, b in zip(*(t.detach().double().flatten(0, 1).numpy() for t in (x, y)), strict=True):
                angles[k].append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
            x = y
    assert list(pruned.scores.values()) == pytest.approx([1 - np.mean(a) for a in angles], abs=1e-9)
    assert pruned.removed == ("blocks.1", "blocks.2")


def test_tokens_that_stay_zero_are_not_moved() -> None:
    net = chain(0.0, 1.0)
    with torch.no_grad():
        net.stem.weight.zero_(), net.stem.bias.zero_()
    assert prune_depth(net, TOKENS, remove=1).scores["blocks.0"] == 0


def test_greedy_looks_again_after_every_block() -> None:
    """Two blocks that undo each other: either one alone is dear, without both nothing is lost."""
    net = chain(1.0, 1.0, 1.0, 1.0)

    def loss(small: nn.Module) -> float:
        gone = {k for k, block in enumerate(small.blocks) if not any(True for _ in block.parameters())}  # type: ignore
        return {0: 0.0, 1: 1.0 + min(gone, default=0), 2: 0.5 if gone == {0, 3} else 9.0}[len(gone)]

    pruned = prune_depth(net, TOKENS, remove=2, by="loss", loss=loss)
    assert pruned.removed == ("blocks.0", "blocks.3")
    assert pruned.scores == {"blocks.0": 1.0, "blocks.1": 8.0, "blocks.2": 8.0, "blocks.3": -0.5}


def test_without_a_loss_the_outputs_speak() -> None:
    net = chain(1.0, 0.001, 1.0, 0.01)
    pruned = prune_depth(net, TOKENS, remove=1, by="loss")
    outputs = net(*TOKENS)
    for k in range(4):
        x = net.stem(*TOKENS)
        for j, block in enumerate(net.blocks):
            x = x if j == k else block(x)
        change = ((net.head(x).mean(1) - outputs).norm() / outputs.norm()).item()
        assert pruned.scores[f"blocks.{k}"] == pytest.approx(change, rel=1e-4)
    assert pruned.removed == ("blocks.1",)


@pytest.mark.parametrize(
    ("blocks", "remove", "left"),
    [(7, 3, [0, 2, 4, 6]), (7, 4, [0, 3, 6]), (9, 4, [0, 2, 4, 6, 8]), (7, 6, [0]), (3, 3, [])],
)
def test_even_keeps_the_first_and_the_last(blocks: int, remove: int, left: list[int]) -> None:
    pruned = prune_depth(chain(*[1.0] * blocks), TOKENS, remove=remove, by="even")
    assert [k for k in range(blocks) if f"blocks.{k}" not in pruned.removed] == left


def test_blocks_can_be_named() -> None:
    net = chain(1.0, 1.0, 1.0)
    assert prune_depth(net, TOKENS, remove=["blocks.2", "blocks.0"]).removed == ("blocks.0", "blocks.2")
    assert prune_depth(net, TOKENS, remove=1, by="last", protect=["blocks.2"]).removed == ("blocks.1",)
    assert prune_depth(net, TOKENS, remove=1, by="last", blocks="blocks").removed == ("blocks.2",)
    assert prune_depth(net, TOKENS, remove=1, by="last", blocks=["blocks.[01]"]).removed == ("blocks.1",)
    plain = prune_depth(net, TOKENS, remove="stem")
    assert plain.notes == ("not seen to add to its input: stem",)
    assert torch.equal(plain.model(*TOKENS), Chain.forward(plain.model, *TOKENS)) and plain.max_error == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"remove": "block.1"}, "'block.1' matches no module .try: blocks.1"),
        ({"remove": "head"}, r"head: it can't be left out: it makes \(2, 5, 1\) of \(2, 5, 8\)"),
        ({"remove": ["blocks.0", "blocks.0.fc"]}, "'blocks.0.fc' is part of 'blocks.0'"),
        ({"remove": []}, "nothing would be removed"),
        ({"remove": 4}, "4 blocks are to go, but only 3 may"),
        ({"remove": 3, "protect": ["blocks.1"]}, "only 2 may"),
        ({"remove": 0}, "not 0"),
        ({"remove": True}, "not True"),
        ({"remove": float("nan")}, "not nan"),
        ({"remove": 1.0}, r"remove=1.0 is no share in \(0, 1\) .try: remove=1 "),
        ({"remove": 0.1}, "less than half a block"),
        ({"by": "size"}, "by is 'size' .try: influence, loss, even, last"),
        ({"loss": lambda net: 0.0}, "a loss is for by='loss'"),
        ({"remove": 1, "by": "loss", "loss": lambda net: float("nan")}, "its score is nan"),
        (
            {"remove": 1, "by": "loss", "loss": lambda net: net.blocks[0].fc.weight.sum()},
            "blocks.0: without it .*protect",
        ),
        ({"remove": 1, "batches": []}, "there is no batch"),
        ({"remove": 1, "protect": ["block.1"]}, "protect: 'block.1' matches no module"),
        ({"blocks": "layers.*"}, "blocks: 'layers.*' matches no module"),
        ({"blocks": "head"}, "no block that matches 'head' can be left out: head makes"),
        ({"remove": "blocks"}, "blocks: it can't be left out: it did not run"),
    ],
)
def test_what_can_not_be_done_is_said(settings: dict[str, Any], said: str) -> None:
    net = chain(1.0, 1.0, 1.0)
    with pytest.raises(PruneError, match=said):
        prune_depth(net, TOKENS, **settings)


def test_a_network_that_looks_into_its_block_keeps_it() -> None:
    class Nosy(Chain):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.blocks[1].scale

    torch.manual_seed(0)
    net = Nosy(Add(2.0), Add(2.0), Add(2.0))
    with pytest.raises(PruneError, match=r"blocks.1: .*looks into the block .try: protect=\['blocks.1'\]"):
        prune_depth(net, TOKENS, remove=2, by="last")
    assert prune_depth(net, TOKENS, remove=2, by="last", protect=["blocks.1"]).removed == ("blocks.0", "blocks.2")


def test_a_block_that_is_called_twice_goes_from_both_places() -> None:
    class Twice(Chain):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) - super().forward(x.flip(1) * 0.5)

    torch.manual_seed(0)
    net = Twice(Add(), Add())
    pruned = prune_depth(net, TOKENS, remove=1, by="last")

    def skipping(x: Tensor) -> Tensor:
        return net.head(net.blocks[0](net.stem(x))).mean(1)

    assert torch.equal(pruned.model(*TOKENS), skipping(*TOKENS) - skipping(TOKENS[0].flip(1) * 0.5))


class Shared(Chain):
    """Holds its last blocks in a second list, too."""

    def __init__(self) -> None:
        super().__init__(Add(), Add(), Add())
        self.late = self.blocks[1:]


@pytest.fixture
def registered() -> Iterator[None]:
    """`Shared` as a network that can be saved."""
    models.register("depth-shared", mode="NR")(Shared)
    yield
    models._entries.pop("depth-shared")


def test_a_block_in_two_lists_is_stored_as_gone_from_both(registered: None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = cv.create_model("depth-shared").eval()
    pruned = prune_depth(net, TOKENS, remove=["late.0"])
    assert len(list(pruned.model.parameters())) == len(list(net.parameters())) - 4
    again = cv.load(cv.save(pruned.model, tmp_path / "m"))
    assert torch.equal(again(*TOKENS), pruned.model(*TOKENS))
    assert again.state_dict().keys() == pruned.model.state_dict().keys()


@pytest.mark.parametrize("first", ["depth", "channels"])
def test_depth_and_channels_in_either_order_are_stored_to_the_bit(first: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = cv.create_model("timm/vit_tiny_patch16_224", init_values=0.5, **ViT).eval()
    ratios = {"blocks.*.attn.qkv": 0.34, "blocks.*.mlp.fc1": 0.5}
    if first == "depth":
        shallow = prune_depth(net, IMAGE, remove=["blocks.1", "blocks.4"]).model
        pruned = prune(shallow, IMAGE, ratios=ratios, attention="heads")
        small, error = pruned.model, pruned.max_error
    else:
        pruned = prune(net, IMAGE, ratios=ratios, attention="heads")
        small, error = prune_depth(pruned.model, IMAGE, remove=["blocks.1", "blocks.4"]).model, pruned.max_error
    assert error is not None and error < 1e-5
    again = cv.load(cv.save(small, tmp_path / "m"))
    assert torch.equal(again(*IMAGE), small(*IMAGE))
    names = {name for name, _ in again.named_parameters()}
    assert not any(name.startswith(("blocks.1.", "blocks.4.")) for name in names)
    assert again.blocks[0].attn.num_heads == 2 and again.blocks[0].mlp.fc1.out_features == 48  # type: ignore
    twice = prune_depth(again, IMAGE, remove=0.25, by="last")
    assert twice.blocks == ("blocks.0", "blocks.2", "blocks.3", "blocks.5") and twice.removed == ("blocks.5",)
    assert torch.equal(cv.load(cv.save(twice.model, tmp_path / "t"))(*IMAGE), twice.model(*IMAGE))


class LooksInside(Chain):
    """Reads a weight of a block where it is asked for."""

    def forward(self, x: Tensor, weighed: bool = False) -> Tensor:
        y = super().forward(x)
        return y * self.blocks[1].fc.bias.sum() if weighed else y


def test_a_block_must_be_one_that_each_example_can_do_without() -> None:
    torch.manual_seed(0)
    net = LooksInside(Add(), Add(0.1), Add())
    assert prune_depth(net, TOKENS, remove="blocks.1").max_error == 0
    both = [TOKENS, (*TOKENS, True)]
    with pytest.raises(PruneError, match="looks into the block"):
        prune_depth(net, both, remove="blocks.1")
    pruned = prune_depth(net, both, remove="blocks.0")
    assert pruned.max_error == 0
    assert pruned.complexity_after.macs < pruned.complexity_before.macs
    assert set(prune_depth(net, both, remove=1, protect=["blocks.1"]).scores) == {f"blocks.{k}" for k in range(3)}
