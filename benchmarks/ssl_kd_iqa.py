"""Labels, soft targets, or both: the arms of recipes/ssl_kd_iqa.yaml, on unseen contents and against people.

Reads a finished run, and judges the network of each of its stages on data sets of pictures: every picture is brought to
the size of its reference, as it was shown to viewers, and scored whole.

    compressvqa run recipes/ssl_kd_iqa.yaml --out RUN ...
    python benchmarks/ssl_kd_iqa.py RUN MANIFEST...

Prints a table and writes it beside its figures to benchmarks/results/ssl_kd_iqa.{md,json}.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import compressvqa as cv
from compressvqa.environment import environment
from compressvqa.files import write_json, write_text
from compressvqa.metrics import correlation
from compressvqa.opinions import Manifest, read_dataset
from compressvqa.video.align import blocks, stacked
from compressvqa.video.clip import Pairing
from compressvqa.video.compare import look

RESULTS = Path(__file__).parent / "results"


def shown(manifest: Manifest):
    """Each picture at its reference's size, (1, 1, 3, H, W)."""
    for item in manifest.items:
        reference, distorted = manifest.reference(item), manifest.distorted(item)
        sight = look(reference, distorted, Pairing())
        block = next(iter(blocks(reference, [distorted], [sight], Pairing(), block=1)))
        yield stacked(block.distorted[0])


@torch.inference_mode()
def judge(networks: dict[str, torch.nn.Module], manifest: Manifest) -> dict[str, dict[str, float]]:
    """SROCC and PLCC of every network on a data set."""
    scores: dict[str, list[float]] = {name: [] for name in networks}
    for picture in shown(manifest):
        for name, network in networks.items():
            scores[name].append(float(network(picture)))
    sign = 1 if manifest.higher_is_better else -1
    truth = [sign * item.mos for item in manifest.items]
    found = {name: correlation(values, truth) for name, values in scores.items()}
    return {name: {"srocc": one.srocc, "plcc": one.plcc, "n": len(truth)} for name, one in found.items()}


def main() -> None:
    """Judges a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/ssl-kd-iqa"))
    parser.add_argument("manifests", nargs="*")
    arguments = parser.parse_args()
    if not (arguments.run / "results.json").exists():
        print(f"{arguments.run} holds no finished run: compressvqa run recipes/ssl_kd_iqa.yaml --out {arguments.run}")
        return
    results = json.loads((arguments.run / "results.json").read_text())
    folders = {path.name.split("-", 1)[1]: path / "model" for path in sorted((arguments.run / "stages").iterdir())}
    networks = {name: cv.load(folder) for name, folder in folders.items()}
    manifests = [read_dataset(name) for name in arguments.manifests]
    judged = {manifest.name: judge(networks, manifest) for manifest in manifests}
    validation = results["data"]["validation"]
    heads = [f"{validation['label']} on {validation['clips']} clips of {validation['contents']} unseen contents"]
    heads += [
        f"{m.label} of {m.name} ({len(m.items)} of {len({i.scene for i in m.items})} contents)" for m in manifests
    ]
    lines = [
        "# Image quality: labels, soft targets, or both",
        "",
        f"SROCC / PLCC of each stage of `{results['name']}`; a label that is not a MOS is a proxy.",
        "",
        f"| stage | params | G MAC | steps | {' | '.join(heads)} |",
        "|---|---|---|---|" + "---|" * len(heads),
    ]
    for row in results["table"]:
        name = row["stage"]
        cells = [f"{row['srocc']:.4f} / {row['plcc']:.4f}"]
        cells += [f"{found[name]['srocc']:.4f} / {found[name]['plcc']:.4f}" for found in judged.values()]
        size = f"{row['params'] / 1e6:.3f} M | {row['macs'] / 1e9:.3f} | {results['stages'][name]['steps']}"
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    lines += ["", f"PLCC after the 4-parameter logistic fit. MACs of one picture. {environment()['processor']}."]
    print("\n".join(lines))
    write_text(RESULTS / "ssl_kd_iqa.md", "\n".join(lines) + "\n")
    write_json(RESULTS / "ssl_kd_iqa.json", {"table": results["table"], "judged": judged, "data": results["data"]})


if __name__ == "__main__":
    main()
