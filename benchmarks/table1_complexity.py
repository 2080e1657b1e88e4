"""What the networks of RankDVQA-mini's Table I compute, beside what the table says.

Claim: our networks (and LPIPS and DISTS as torchmetrics builds them) have the parameters and the multiply-accumulates
of the paper's Table I, for 12 frames of 256x256, reference and distorted both; two rows can't be reproduced, LPIPS and
DeepVQA, and the notes say how far off they are. Nothing is trained or fetched: sizes do not depend on weights.

Two counts stand side by side. `profile` is the package's: every convolution and linear layer or operator, every
parameter once. `by layers` is how a counter that hangs on layers sees a network (thop 0.1.1 gives the same numbers but
for LPIPS's MACs): only modules that are layers, a transposed convolution at the positions that it puts out, a parameter
once for each name of its layer and none that belongs to no layer. The table agrees with the second.

Run with ``python benchmarks/table1_complexity.py``; it prints the table and writes
``benchmarks/results/table1_complexity.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressvqa.cost import profile
from compressvqa.models import STANet, create_model, example_inputs

RESULTS = Path(__file__).parent / "results"
Count = tuple[int, int]  # parameters, MACs
Row = dict[str, Any]

# Table I of "RankDVQA-mini": G MAC and M parameters as printed; None where it prints a dash.
PAPER: dict[str, tuple[float | None, float | None]] = {
    "PSNR": (None, None),
    "SSIM": (None, None),
    "MS-SSIM": (None, None),
    "WaDIQaM-FR": (104.04, 6.287),
    "DeepQA": (14.976, 0.131),
    "LPIPS": (20.857, 2.472),
    "DeepVQA": (14.990, 0.144),
    "C3DVQA": (11.236, 0.227),
    "DISTS": (481.07, 14.715),
    "ST-GREED": (None, None),
    "VMAF 0.6.1": (None, None),
    "RankDVQA": (10.731, 4.608),
    "RankDVQA-mini": (1.457, 0.455),
}
DIGITS = {"WaDIQaM-FR": 2, "DISTS": 2}  # of G MAC, where the table prints less than three
NOT_REPRODUCED = {"LPIPS", "DeepVQA"}


def by_layers(model: nn.Module, inputs: tuple[Tensor, ...]) -> Count:
    """Parameters and MACs as a counter sees them that hangs on layers."""
    macs = 0

    def count(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(layer, _ConvNd):
            macs += output.numel() * layer.in_channels // layer.groups * math.prod(layer.kernel_size)
        else:
            assert isinstance(layer, nn.Linear)
            macs += output.numel() * layer.in_features

    layers = [module for _, module in model.named_modules(remove_duplicate=False) if _is_layer(module)]
    hooks = [layer.register_forward_hook(count) for layer in set(layers)]
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters()), macs


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, (_ConvNd, nn.Linear))


def by_profile(model: nn.Module, inputs: tuple[Tensor, ...]) -> Count:
    """Parameters and MACs of convolutions and linear layers as the package counts them."""
    found = profile(model, inputs)
    assert not found.unsupported, found.unsupported
    return found.params, found.macs_conv_linear


def lpips() -> nn.Module:
    """LPIPS on AlexNet, with random weights."""
    from torchmetrics.functional.image.lpips import _LPIPS

    return _LPIPS(pretrained=False, pnet_rand=True, net="alex")


def dists() -> nn.Module:
    """DISTS on VGG-16, with random weights: what its constructor would fetch is not fetched."""
    from torchmetrics.functional.image import dists

    with patch.object(dists, "vgg16", lambda weights: torchvision.models.vgg16(weights=None)):
        network = dists.DISTSNetwork(load_weights=False)
    forward = network.forward

    def traceable(x: Tensor, y: Tensor) -> Tensor:
        # Its own way out of gradients, inference mode, can't be traced.
        return forward(x, y, require_grad=True)

    network.forward = traceable
    return network


def networks() -> Iterator[tuple[str, Callable[[], nn.Module], tuple[Tensor, ...], int, str]]:
    """Rows of the table that are networks: name, how it is built, inputs, how often they are 12 frames, source."""
    images = (torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256))
    yield "WaDIQaM-FR", lambda: create_model("wadiqam-fr"), example_inputs("wadiqam-fr", frames=1), 12, "ours"
    yield "DeepQA", lambda: create_model("deepqa"), example_inputs("deepqa", frames=1), 12, "ours"
    yield "LPIPS", lpips, images, 12, f"AlexNet, torchmetrics {version('torchmetrics')}"
    yield "DeepVQA", lambda: create_model("deepvqa"), example_inputs("deepvqa"), 1, "ours, both stages"
    yield "C3DVQA", lambda: create_model("c3dvqa", patch=None), example_inputs("c3dvqa"), 1, "ours, frames not cut"
    yield "DISTS", dists, images, 12, f"VGG-16, torchmetrics {version('torchmetrics')}"
    yield "RankDVQA", lambda: create_model("rankdvqa"), example_inputs("rankdvqa"), 1, "ours, without STANet"


def with_stanet(base: dict[str, Count], stanet: nn.Module, *inputs: Tensor) -> dict[str, Count]:
    """Both counts of RankDVQA and of what pools its patches: one patch of 12 frames is what the table counts."""
    more = {"by_layers": by_layers(stanet, inputs), "profile": by_profile(stanet, inputs)}
    return {count: (base[count][0] + more[count][0], base[count][1] + more[count][1]) for count in base}


def measured() -> dict[str, dict[str, Any]]:
    """{row: its two counts and where its network comes from}."""
    found: dict[str, dict[str, Any]] = {}
    for name, build, inputs, times, source in networks():
        network = build()
        counts = {"by_layers": by_layers(network, inputs), "profile": by_profile(network, inputs)}
        found[name] = {count: (params, times * macs) for count, (params, macs) in counts.items()}
        found[name]["source"] = source
        del network
    alone = {count: found["RankDVQA"][count] for count in ("by_layers", "profile")}
    features = torch.rand(1, 1, 1, 12, 256, 4, 4)
    found["RankDVQA + STANet (public code)"] = {
        **with_stanet(alone, STANet(), torch.ones(1, 1, 1), features),
        "source": "ours, one patch pooled",
    }
    # The paper says 14.0 K parameters; this is a network of that size, on the 64 channels of the third stage alone.
    supposed = nn.Sequential(nn.Conv3d(64, 8, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv3d(8, 1, 3, padding=1))
    found["RankDVQA + STANet (14.0 K)"] = {
        **with_stanet(alone, supposed, torch.rand(1, 64, 12, 4, 4)),
        "source": "ours, with two convolutions 64-8-1 for STANet",
    }
    return found


def agrees(ours: float, printed: float, digits: int) -> bool:
    """Whether a figure as printed is ours, rounded or cut off."""
    unit = 10.0**-digits
    return printed - unit / 2 - 1e-9 <= ours < printed + unit - 1e-9


def rows(found: dict[str, dict[str, Any]]) -> list[Row]:
    """The table: the paper's rows in its order, those of RankDVQA with STANet below it."""
    table: list[Row] = []
    for name, (gmacs, mparams) in PAPER.items():
        table.append({"network": name, "paper_gmacs": gmacs, "paper_mparams": mparams, **found.get(name, {})})
        if name == "RankDVQA":
            table += [
                {"network": other, "paper_gmacs": gmacs, "paper_mparams": mparams, **found[other]}
                for other in found
                if other.startswith("RankDVQA +")
            ]
    for row in table:
        if "by_layers" in row:
            params, macs = row["by_layers"]
            digits = DIGITS.get(row["network"], 3)
            row["macs_agree"] = agrees(macs / 1e9, row["paper_gmacs"], digits)
            row["params_agree"] = agrees(params / 1e6, row["paper_mparams"], 3)
    return table


def notes(found: dict[str, dict[str, Any]]) -> list[str]:
    """What the table leaves open, in numbers."""

    def giga(name: str, count: str = "by_layers") -> float:
        return float(found[name][count][1]) / 1e9

    # AlexNet's five maps of 256x256: 63, 31 and three times 15 positions a side, and the 1x1 layers on them, 12 frames.
    heads = 12 * (64 * 63**2 + 192 * 31**2 + (384 + 256 + 256) * 15**2) / 1e9
    deepqa, pyramid = giga("DeepQA"), 12 * 2 * 25 * (128**2 + 64**2 + 32**2) / 1e9
    lpips, deepvqa, c3dvqa = giga("LPIPS"), giga("DeepVQA"), giga("C3DVQA")
    cut = by_profile(create_model("c3dvqa"), example_inputs("c3dvqa"))[1] / 1e9
    return [
        f"**LPIPS** does not reproduce to the last digit: {lpips:.3f} G, the paper has 20.857 G. Its 1x1 layers are "
        f"{heads:.4f} G: without them it is {lpips - heads:.3f} G, counted twice {lpips + heads:.3f} G. Its parameters "
        "do reproduce if those layers count twice (2.4720 M; once: 2.4708 M): they are held under two names.",
        f"**DeepVQA** does not reproduce: its four branches make {deepvqa:.3f} G, the paper has 14.990 G. The paper's "
        "parameters (0.144 M) are those of four branches and both stages; its MACs are near those of DeepQA's two "
        f"branches ({deepqa:.3f} G). With a 5x5 filter on three levels of a pyramid, down and up, these would be "
        f"{deepqa + pyramid:.3f} G; that the numbers meet proves nothing.",
        f"**C3DVQA**: {c3dvqa:.3f} G counts the transposed convolution at the positions that it puts out, where three "
        f"of four products are with zeros; what is computed is {giga('C3DVQA', 'profile'):.3f} G. Cut into the patches "
        f"that its published weights are for, which leave out the edge of 256x256, it is {cut:.3f} G.",
        "**DISTS**: 14.715 M are the layers of VGG-16 without its own alpha and beta (2,950 parameters); "
        f"{giga('DISTS', 'profile'):.3f} G would include the fixed filters of its pooling.",
        "**RankDVQA** in the paper is with STANet. The public code's STANet has 58,993 parameters, and so does ours; "
        "the paper says 14.0 K. A STANet of that size, two convolutions 64-8-1, gives both of the paper's figures.",
        "**RankDVQA-mini**: its network is not public; what our recipes make of RankDVQA is in their reports. "
        "**DeepQA**'s 14.976 is 14.9768 cut off. PSNR, SSIM, MS-SSIM, VMAF and ST-GREED are no networks.",
    ]


def table_of(table: list[Row]) -> list[str]:
    """The lines of the Markdown table."""
    lines = [
        "| network | paper: G MAC | M params | by layers: G MAC | M params | profile: G MAC | M params | agree "
        "| network of |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        name = row["network"]
        digits = DIGITS.get(name, 3)
        paper = ["-", "-"]
        if row["paper_gmacs"] is not None:
            paper = [f"{row['paper_gmacs']:.{digits}f}", f"{row['paper_mparams']:.3f}"]
        if "by_layers" not in row:
            source = "not public" if name == "RankDVQA-mini" else "no network"
            lines.append(f"| {name} | {' | '.join(paper)} | - | - | - | - | - | {source} |")
            continue
        figures = [f"{macs / 1e9:.4f} | {params / 1e6:.4f}" for params, macs in (row["by_layers"], row["profile"])]
        words = {(True, True): "yes", (True, False): "MACs", (False, True): "params", (False, False): "no"}
        agree = words[row["macs_agree"], row["params_agree"]]
        lines.append(f"| {name} | {' | '.join(paper)} | {' | '.join(figures)} | {agree} | {row['source']} |")
    return lines


def main() -> None:
    """Counts, prints the table, writes the results and fails if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    found = measured()
    table, said = rows(found), notes(found)
    report = {
        "inputs": "12 frames of 256x256, reference and distorted",
        "torch": torch.__version__,
        "counts": "by_layers and profile: [parameters, MACs of convolutions and linear layers]",
        "rows": table,
        "notes": said,
    }
    lines = [
        "# Complexity of the networks of RankDVQA-mini's Table I",
        "",
        *table_of(table),
        "",
        "12 frames of 256x256, reference and distorted both, convolutions and linear layers. `by layers`: modules that "
        "are layers, a transposed convolution at the positions that it puts out, a parameter once for each name of its "
        "layer; `profile`: `compressvqa.profile`, every operator and every parameter once. `agree`: the count by "
        "layers is the paper's figure, rounded or cut off.",
        "",
        *(f"- {note}" for note in said),
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "table1_complexity.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "table1_complexity.md").write_text("\n".join(lines) + "\n")
    compared = {row["network"]: row for row in table if "by_layers" in row}
    odd = {name for name in PAPER if name in compared and not compared[name]["macs_agree"]} - {"RankDVQA"}
    whole = compared["RankDVQA + STANet (14.0 K)"]
    if odd != NOT_REPRODUCED or not (whole["macs_agree"] and whole["params_agree"]):
        raise SystemExit(f"the claim does not hold: {sorted(odd ^ NOT_REPRODUCED) or 'RankDVQA'}")


if __name__ == "__main__":
    main()
