"""Exact rewrites of RankDVQA's graph: what each saves alone, and how exact it is.

Each rewrite says the same as the network's own form of a part; the table holds the largest difference, as a share of
the largest value (1e-5 is allowed, and the script fails above it), and user and system time of both forms in PyTorch
and in OpenVINO, float32, one thread, the least of several calls in turn. The network works pictures through in strips
with all of them together (docs/runtimes.md); this is what each is worth by itself, on one block of 12 frames.

    python benchmarks/rewrites.py [--model rankdvqa-mini] [--size 256] [--calls 7]

Prints a table and writes it to benchmarks/results/rewrites.{md,json}.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import compressvqa as cv
from compressvqa.deploy import made
from compressvqa.environment import processor
from compressvqa.files import write_json, write_text

RESULTS = Path(__file__).parent / "results"
EXACT = 1e-5
FRAMES = 12


class Rewrite(NamedTuple):
    """Two forms of one part of the network, and what both are called with."""

    name: str
    before: nn.Module
    after: nn.Module
    inputs: tuple[Tensor, ...]


class Form(nn.Module):
    """A function of tensors as a module; what it uses of the network is registered, so that exporters see it."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module, **constants: Tensor) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)
        for name, value in constants.items():
            self.register_buffer(name, value)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Calls the function with itself and the inputs."""
        return self.function(self, *inputs)


def rewrites(network: Any, size: int) -> list[Rewrite]:
    """All of them, on the network's own weights."""
    dice = torch.Generator().manual_seed(0)
    left, right = (torch.rand(FRAMES, 3, size, size, generator=dice) for _ in range(2))
    return [
        _one_batch(network, left, right),
        _range_shift(network, left),
        _dead_stage(cv.create_model("rankdvqa", weights="pretrained").eval(), left),
        *(
            one(network, size, dice)
            for one in (_unit_length, _unfolded, _reference_once, _weight_map, _folded_attention)
        ),
    ]


def _features(network: Any, frames: Tensor) -> Tensor:
    return torch.cat([found.flatten(1) for found in network.extractor(network.range_shift(frames))[:5]], 1)


def _one_batch(network: Any, left: Tensor, right: Tensor) -> Rewrite:
    def before(form: Any, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([_features(form.parts[0], a), _features(form.parts[0], b)])

    def after(form: Any, a: Tensor, b: Tensor) -> Tensor:
        return _features(form.parts[0], torch.cat([a, b]))

    return Rewrite("reference and distorted as one batch", Form(before, network), Form(after, network), (left, right))


def _range_shift(network: Any, left: Tensor) -> Rewrite:
    """(2x - 1 - shift) / scale goes into the weights; what stands for zero outside of the picture is its preimage."""
    first, shift = network.extractor.stages[0][0], network.range_shift
    factor, zero = 2 / shift.scale, (1 + shift.shift) / 2
    weight = first.weight * factor.view(1, 3, 1, 1)
    # x = zero + (x - zero): a constant of the whole window, also of its part outside, where x is `zero` by padding.
    bias = first.bias - (weight * zero.view(1, 3, 1, 1)).sum((1, 2, 3))

    def before(form: Any, x: Tensor) -> Tensor:
        return form.parts[1](form.parts[0](x))

    def after(form: Any, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        border = form.zero.expand(len(x), 3, height, 1)
        x = torch.cat([border, x, border], 3)
        edge = form.zero.expand(len(x), 3, 1, width + 2)
        return functional.conv2d(torch.cat([edge, x, edge], 2), form.weight, form.bias, stride=2)

    constants = {"zero": zero.detach().view(1, 3, 1, 1), "weight": weight.detach(), "bias": bias.detach()}
    return Rewrite(
        "range shift in the first convolution", Form(before, shift, first), Form(after, **constants), (left,)
    )


def _dead_stage(network: Any, left: Tensor) -> Rewrite:
    def before(form: Any, x: Tensor) -> Tensor:
        return torch.cat([one.flatten(1) for one in form.parts[0](x)[:5]], 1)

    def after(form: Any, x: Tensor) -> Tensor:
        found = []
        for stage in form.parts:
            x = stage(x)
            found.append(x.flatten(1))
        return torch.cat(found, 1)

    stages = list(network.extractor.stages)[:5]
    return Rewrite(
        "the sixth stage out (rankdvqa: pruned networks have none)",
        Form(before, network.extractor),
        Form(after, *stages),
        (left,),
    )


def _unit_length(network: Any, size: int, dice: torch.Generator) -> Rewrite:
    x = torch.rand(2 * FRAMES, _width(network, 1), size // 4, size // 4, generator=dice) - 0.3

    def before(form: Any, x: Tensor) -> Tensor:
        return x / (x.square().sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny).sqrt() + 1e-10)

    def after(form: Any, x: Tensor) -> Tensor:
        return x * torch.rsqrt(functional.conv2d(x * x, form.ones) + 1e-20)

    ones = torch.ones(1, x.shape[1], 1, 1)
    return Rewrite("unit length as x * rsqrt(conv1x1(x^2))", Form(before), Form(after, ones=ones), (x,))


def _maps(network: Any, size: int, dice: torch.Generator, scale: int = 1) -> tuple[Any, Tensor, Tensor]:
    side = size // 2 ** (scale + 1)
    made_ = (torch.rand(FRAMES, _width(network, scale), side, side, generator=dice) for _ in range(2))
    return network.scales[scale], *made_


def _unfolded(network: Any, size: int, dice: torch.Generator) -> Rewrite:
    scale, a, b = _maps(network, size, dice)

    def before(form: Any, a: Tensor, b: Tensor) -> Tensor:
        joined = torch.cat([a, b, (a - b).abs()], 1)
        return form.parts[0](joined.reshape(1, -1, *a.shape[2:]))

    def after(form: Any, a: Tensor, b: Tensor) -> Tensor:
        joined = torch.cat([a, b, (a - b).abs()], 1)
        sums = sum(functional.conv2d(joined[n : n + 1], form.weight[n], padding=1) for n in range(FRAMES))
        return sums + form.bias.view(1, -1, 1, 1)

    conv = scale.conv_in
    weight = conv.weight.detach().unflatten(1, (FRAMES, -1)).transpose(0, 1).contiguous()
    after_ = Form(after, weight=weight, bias=conv.bias.detach())
    return Rewrite("conv_in as a sum of convolutions of frames", Form(before, conv), after_, (a, b))


def _reference_once(network: Any, size: int, dice: torch.Generator) -> Rewrite:
    """Three distorted files: what conv_in sees of their reference is worked out once."""
    scale, a, b = _maps(network, size, dice)
    conv, width = scale.conv_in, a.shape[1]
    parts = conv.weight.detach().unflatten(1, (FRAMES, 3, width))

    def before(form: Any, a: Tensor, b: Tensor) -> Tensor:
        found = []
        for factor in (1.0, 0.9, 0.8):
            joined = torch.cat([a, factor * b, (a - factor * b).abs()], 1)
            found.append(form.parts[0](joined.reshape(1, -1, *a.shape[2:])))
        return torch.cat(found)

    def after(form: Any, a: Tensor, b: Tensor) -> Tensor:
        of_reference = functional.conv2d(a.reshape(1, -1, *a.shape[2:]), form.first, form.bias, padding=1)
        found = []
        for factor in (1.0, 0.9, 0.8):
            joined = torch.cat([factor * b, (a - factor * b).abs()], 1).reshape(1, -1, *a.shape[2:])
            found.append(of_reference + functional.conv2d(joined, form.rest, padding=1))
        return torch.cat(found)

    constants = {"first": parts[:, :, 0].flatten(1, 2).contiguous(), "bias": conv.bias.detach(),
                 "rest": parts[:, :, 1:].flatten(1, 3).contiguous()}  # fmt: skip
    return Rewrite(
        "conv_in of the reference once for three files", Form(before, conv), Form(after, **constants), (a, b)
    )


def _weight_map(network: Any, size: int, dice: torch.Generator) -> Rewrite:
    """conv_out, head and mean are linear: the gradient of the mean is a weight for each value, borders included."""
    scale = network.scales[1]
    side = size // 4
    x = torch.rand(1, scale.conv_out.in_channels, side, side, generator=dice)

    def before(form: Any, x: Tensor) -> Tensor:
        return form.parts[1](form.parts[0](x)).mean((1, 2, 3))

    def after(form: Any, x: Tensor) -> Tensor:
        return (x * form.weight).sum((1, 2, 3)) + form.constant

    probe = torch.zeros_like(x, requires_grad=True)
    constant = scale.head(scale.conv_out(probe)).mean()
    (weight,) = torch.autograd.grad(constant, probe)
    after_ = Form(after, weight=weight.detach(), constant=constant.detach())
    return Rewrite("conv_out, head and mean as one weight map", Form(before, scale.conv_out, scale.head), after_, (x,))


def _folded_attention(network: Any, size: int, dice: torch.Generator) -> Rewrite:
    """Query times key and projection times value are one matrix a head each."""
    attention = network.scales[1].attention
    heads, width = attention.heads, attention.qkv.in_features
    tokens = torch.rand((size // 16) ** 2, 16, width, generator=dice) - 0.5
    weight = attention.qkv.weight.detach().unflatten(0, (3, heads, -1))
    bias = attention.qkv.bias.detach().unflatten(0, (3, heads, -1))
    (query, key, value), (query_bias, _, value_bias) = weight, bias  # a constant of the key moves all scores alike
    project = attention.proj.weight.detach().unflatten(1, (heads, -1)).transpose(0, 1)
    table = attention.position_bias.detach()[attention.position_index.reshape(-1)].reshape(16, 16, heads)
    constants = {
        "score": attention.scale * query.transpose(1, 2) @ key,
        "score_bias": attention.scale * (query_bias[:, None] @ key),
        "mix": (project @ value).transpose(1, 2).contiguous(),
        "bias": attention.proj.bias.detach() + (project @ value_bias[..., None]).sum(0)[:, 0],
        "position": table.permute(2, 0, 1).contiguous(),
    }

    def after(form: Any, x: Tensor) -> Tensor:
        x = x[:, None]
        scores = (x @ form.score + form.score_bias) @ x.transpose(2, 3) + form.position
        return ((scores.softmax(-1) @ x) @ form.mix).sum(1) + form.bias

    before = Form(lambda form, x: form.parts[0](x), attention)
    return Rewrite("attention as two folded matrices a head", before, Form(after, **constants), (tokens,))


def _width(network: Any, scale: int) -> int:
    return int(network.extractor.stages[scale][2].out_channels)


@torch.no_grad()
def difference(one: Rewrite) -> float:
    """The largest difference of the two forms, as a share of the largest value."""
    before, after = one.before(*one.inputs), one.after(*one.inputs)
    return float((before - after).abs().max() / before.abs().max())


def cost(one: Rewrite, runtime: str, times: int) -> tuple[float, float]:
    """CPU-ms of both forms, the least of calls in turn."""
    calls = [made(runtime).compile(form.eval(), one.inputs) for form in (one.before, one.after)]
    best = [float("inf")] * 2
    for turn in range(times + 1):
        for number, call in enumerate(calls):
            began = time.process_time()
            call(*one.inputs)
            if turn:
                best[number] = min(best[number], 1000 * (time.process_time() - began))
    return best[0], best[1]


def main() -> None:
    """Measures all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rankdvqa")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--calls", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = cv.create_model(arguments.model, weights="pretrained").eval()
    rows = []
    for one in rewrites(network, arguments.size):
        eager, openvino = (cost(one, runtime, arguments.calls) for runtime in ("eager", "openvino"))
        rows.append({"name": one.name, "difference": difference(one), "eager": eager, "openvino": openvino})
    what = {"model": arguments.model, "size": arguments.size, "calls": arguments.calls, "processor": processor()}
    write_json(RESULTS / "rewrites.json", {"rows": rows, **what})
    write_text(RESULTS / "rewrites.md", table(rows, what))
    print(table(rows, what))
    wrong = [row["name"] for row in rows if row["difference"] > EXACT]
    if wrong:
        raise SystemExit(f"not exact: {', '.join(wrong)}")


def table(rows: list[dict[str, Any]], what: dict[str, Any]) -> str:
    """The rows as markdown."""
    lines = ["| rewrite | largest difference | PyTorch, CPU-ms | OpenVINO, CPU-ms |", "|---|---:|---:|---:|"]
    for row in rows:
        cells = (f"{a:.2f} -> {b:.2f} ({b / a - 1:+.0%})" for a, b in (row["eager"], row["openvino"]))
        lines.append(f"| {row['name']} | {row['difference']:.0e} | {' | '.join(cells)} |")
    return "\n".join(lines) + (
        f"\n\n{what['model']}, {FRAMES} frames of {what['size']}x{what['size']}, second scale where one is meant; "
        f"float32, one thread, the least of {what['calls']} calls in turn; {what['processor']}, shared with others.\n"
    )


if __name__ == "__main__":
    main()
