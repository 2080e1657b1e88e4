"""RankDVQA strip by strip against the network itself on whole frames."""

import numpy as np
import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.deploy import BlockSize
from compressvqa.deploy.eager import Eager, EagerBlocks
from compressvqa.deploy.strips import CompiledStrips, StripBlocks
from compressvqa.video.block import Frames
from compressvqa.video.frames import Colour, Planes


def network(**settings) -> nn.Module:
    torch.manual_seed(0)
    made = cv.create_model(
        "rankdvqa", **{"widths": (3, 4, 5, 4, 6, 4), "merge_width": 4, "mlp_width": 5, **settings}
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # biases too
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def clips(frames: int, height: int, width: int) -> list[torch.Tensor]:
    dice = torch.Generator().manual_seed(1)
    reference = torch.rand(1, frames, 3, height, width, generator=dice)
    noise = torch.randn(reference.shape, generator=dice)
    return [reference, (reference + 0.1 * noise).clamp(0, 1), 0.8 * reference]


# One strip and several, every remainder of windows, odd sides, short blocks, the picture's smallest side.
SIZES = [(96, 96, 12), (101, 131, 5), (256, 97, 2), (299, 98, 1), (390, 100, 12), (523, 96, 3)]


@pytest.mark.parametrize(("height", "width", "frames"), SIZES)
def test_strips_give_the_score_of_the_whole_picture(height: int, width: int, frames: int) -> None:
    model, (reference, *distorted) = network(channel_order="bgr"), clips(frames, height, width)
    prepared = Eager().prepare(model, BlockSize(12, height, width))
    assert isinstance(prepared, StripBlocks) and len(prepared.rows.strips) == max(1, height // 128)
    found = prepared.partials(Frames(rgb=reference), [Frames(rgb=one) for one in distorted])
    with torch.no_grad():
        wanted = [model(reference, one) for one in distorted]
    spread = float((wanted[0] - wanted[1]).abs())
    for one, other in zip(found, wanted, strict=True):
        assert float(one) == pytest.approx(float(other), abs=1e-5 * max(1.0, spread), rel=1e-5)


@pytest.mark.parametrize("height", [150, 530])
def test_all_steps_in_one_graph_say_the_same(height: int) -> None:
    model, (reference, *distorted) = network(), clips(12, height, 99)
    rows = model.rows(height, 99, whole_steps=True)
    prepared = CompiledStrips(rows, lambda step, _: step, "none")
    found = prepared.partials(Frames(rgb=reference), [Frames(rgb=one) for one in distorted])
    with torch.no_grad():
        wanted = [float(model(reference, one)) for one in distorted]
    assert [float(one) for one in found] == pytest.approx(wanted, rel=1e-5)


def test_planes_of_files_that_differ_are_converted_strip_by_strip() -> None:
    model = network()
    dice, height, width = np.random.default_rng(0), 270, 100

    def frames(colour: Colour, chroma: str) -> Frames:
        top, small = 2**colour.bitdepth, (height, width) if chroma == "444" else (135, 50)
        kind = np.uint8 if colour.bitdepth == 8 else np.uint16
        y, u, v = (dice.integers(0, top, size).astype(kind) for size in ((height, width), small, small))
        return Frames([Planes(y, u, v, chroma, colour) for _ in range(3)])

    left, right = frames(Colour(), "420"), frames(Colour(10, "bt2020", True), "444")
    (found,) = Eager().prepare(model, BlockSize(12, height, width)).partials(left, [right])
    (wanted,) = EagerBlocks(model).partials(left, [right])
    assert found.shape == wanted.shape and float(found) == pytest.approx(float(wanted), rel=1e-5)


def test_a_pruned_network_goes_by_strips_too() -> None:
    model = network(widths=(6, 6, 6, 6, 6, 6))
    smaller = cv.prune(model, cv.example_inputs(model, size=96), ratios=0.5, verify=False).model.eval()
    reference, distorted, _ = clips(4, 260, 96)
    prepared = Eager().prepare(smaller, BlockSize(12, 260, 96))
    assert isinstance(prepared, StripBlocks)
    (found,) = prepared.partials(Frames(rgb=reference), [Frames(rgb=distorted)])
    with torch.no_grad():
        assert float(found) == pytest.approx(float(smaller(reference, distorted)), rel=1e-5)


def test_a_network_that_does_something_else_is_left_whole() -> None:
    size = BlockSize(12, 96, 96)
    hooked = network()
    hooked.extractor.stages[0][0].register_forward_hook(lambda module, inputs, output: 2 * output)
    other = network()
    other.extractor.stages[1][2] = nn.Conv2d(4, 4, 5, padding=2)

    relu = network()
    relu.extractor.stages[0][1] = nn.ReLU()
    steep = network()
    steep.extractor.stages[2][3].negative_slope = 0.2
    strange = network()
    strange.scales[0].conv_in.padding_mode = "reflect"
    patched = network()
    patched.scales[1].forward = lambda reference, distorted: reference.new_zeros(1)
    short = network(frames=6)

    class Own(type(network())):
        pass

    derived = network()
    derived.__class__ = Own
    for one in (hooked, other, relu, steep, strange, patched, short, derived):
        assert isinstance(Eager().prepare(one, size), EagerBlocks)
    assert isinstance(Eager().prepare(network(), size), StripBlocks)
