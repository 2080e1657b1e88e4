"""What is reached against people as a network comes to agree with VMAF: the trainings that were tried, as curves.

Two distances of EfficientNet-Lite0's features (ImageNet's weights), of LPIPS's kind and of VIF's, learn the labels for
more and more steps of `reference/teacher_lite`, each length a training of its own; and the raw scores of RankDVQA are
mixed with those of the untrained distance, both divided by their spread over the patches of validation. Beside them
stand the networks that ship and other metrics. Everything is judged twice: on the patches that training did not see,
by VMAF, and on still frames of clips that viewers scored. Nothing is chosen by either.

    python benchmarks/people_curve.py TEST1.csv TEST2.csv --data runs/tradeoff/data --set data.sources=[FOLDER] ...

``--data`` holds the data of `reference/teacher_lite` with the settings of ``--set``, or gets them. What was trained and
scored stays in --out: a run that was stopped goes on. Writes ``benchmarks/results/people_curve.{md,json}`` and
``docs/figures/people_curve.svg``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside_teacher import srocc, within
from people import of_networks, of_stills, shown
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.data import PatchSet
from compressvqa.environment import processor
from compressvqa.errors import DataError
from compressvqa.files import write_json, write_text
from compressvqa.opinions import Manifest, read_dataset
from compressvqa.progress import bar
from compressvqa.report import style
from compressvqa.video.align import stacked

RESULTS = Path(__file__).parent / "results"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "people_curve.svg"
RECIPE = "reference/teacher_lite"
KINDS = {"lpips": ("distance",), "vif": ("loss", "added", "boost")}
TERMS = tuple(term for terms in KINDS.values() for term in terms)
NAMES = {
    "lpips": "ImageNet features, LPIPS's distance, trained",
    "vif": "ImageNet features, VIF's terms, trained",
    "mixed": "RankDVQA mixed with the untrained distance",
}
STEPS = (0, 10, 30, 100)
SHARES = tuple(number / 10 for number in range(11))
# Metrics, and the labels of patches that are the same.
METRICS = {"psnr": "psnr_y", "vmaf_v0.6.1": "vmaf_v0.6.1", "vmaf_v0.6.1neg": "vmaf_v0.6.1neg"}
METRICS |= {"vmaf_v1.0.16_3d0h": "vmaf_v1.0.16_3d0h"}
AIMS = {"test1": 0.95, "test2": 0.83}
LABEL = "vmaf_v0.6.1"
SAME = 1e-4  # of scores of some 10: heads on kept statistics beside the network itself
Scores = dict[str, float]


def trained(kind: str, steps: int, changes: Sequence[str], data: Path, out: Path) -> nn.Module:
    """A distance of features after so many steps; trained in a folder of its own, unless it lies there."""
    options = f"model.options.terms=[{', '.join(KINDS[kind])}]"
    recipe = cv.Recipe.load(RECIPE, [*changes, options, f"stages.teacher-lite.steps={steps}"])
    return cv.load(cv.run(recipe, out=out / f"{kind}-{steps}", data_folder=data).model)


class Heads:
    """Statistics of stills that distances are made of, taken once: distances of one backbone differ in weights alone.

    Args:
        manifests: the stills.
        file: where the statistics are kept.
    """

    def __init__(self, manifests: Sequence[Manifest], file: Path) -> None:
        self.manifests, self.file = manifests, file
        self.known: dict[str, dict[str, Tensor]] = torch.load(file) if file.exists() else {}

    @torch.inference_mode()
    def take(self, backbone: nn.Module) -> None:
        """Looks at every still that it does not know, with the backbone of a frozen distance."""
        network = cv.create_model("feature-distance", terms=TERMS, frames=1).eval()
        network.backbone.load_state_dict(backbone.state_dict())
        found: dict[str, Tensor] = {}
        for term, scales in network.weighing.items():
            for number, head in enumerate(scales):
                head.register_forward_pre_hook(lambda _, seen, key=f"{term}-{number}": found.update({key: seen[0]}))
        for manifest in self.manifests:
            with bar(f"features: {manifest.name}") as progress:
                for done, item in enumerate(manifest.items):
                    if item.distorted not in self.known:
                        network(*(stacked(side) for side in shown(manifest, item)))
                        self.known[item.distorted] = {key: values.clone() for key, values in found.items()}
                    progress(done + 1, len(manifest.items))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(self.known, self.file)

    @torch.inference_mode()
    def scores(self, network: nn.Module) -> Scores:
        """{file: raw score} by a distance; the first one is compared with what the network itself says.

        Raises:
            DataError: they differ.
        """
        found = {}
        for file, statistics in self.known.items():
            parts = [
                head(statistics[f"{term}-{number}"])
                for term, scales in network.weighing.items()
                for number, head in enumerate(scales)
            ]
            found[file] = float(-network.gain.exp() * torch.stack(parts).mean())
        manifest = self.manifests[0]
        first = manifest.items[0]
        itself = float(network(*(stacked(side) for side in shown(manifest, first))))
        if abs(itself - found[first.distorted]) > SAME * max(1.0, abs(itself)):
            raise DataError(f"kept statistics give {found[first.distorted]}, the network {itself}")
        return found


@torch.inference_mode()
def of_patches(network: nn.Module, patches: PatchSet, size: int | None, file: Path) -> np.ndarray:
    """Raw scores of all distorted patches, kept in a file."""
    if not file.exists():
        scores: list[float] = []
        with bar(f"patches: {file.stem}") as progress:
            for batch in patches.evaluation_batches(4, size):
                scores += network.eval()(batch.reference, batch.distorted).flatten().tolist()
                progress(len(scores), len(patches))
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, scores)
    return np.asarray(np.load(file), float)


class Judge:
    """What a row of scores is worth: by VMAF on the patches, by people on the stills."""

    def __init__(self, manifests: Sequence[Manifest], patches: PatchSet) -> None:
        self.manifests = manifests
        known = patches.label(LABEL)
        self.use = np.array([value is not None for value in known])
        self.labels = np.array([value for value in known if value is not None], float)

    def __call__(self, of_patches: np.ndarray, stills: Mapping[str, float]) -> dict[str, Any]:
        """The figures of one point."""
        found: dict[str, Any] = {"vmaf": srocc(of_patches[self.use], self.labels)}
        for number, manifest in enumerate(self.manifests, start=1):
            scores = np.array([stills[item.distorted] for item in manifest.items])
            mos = np.array([item.mos for item in manifest.items])
            contents = np.array([item.scene for item in manifest.items])
            inner = within(contents, scores, mos)
            low, high = _drawn(scores, mos)
            found[f"test{number}"] = {"srocc": srocc(scores, mos), "low": low, "high": high, "within": inner["srocc"]}
        return found


def _drawn(scores: np.ndarray, mos: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """The 95 % interval of SROCC, items drawn with replacement."""
    dice = np.random.default_rng(0)
    drawn = [srocc(scores[rows], mos[rows]) for rows in dice.integers(0, len(mos), (resamples, len(mos)))]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def curves(manifests: Sequence[Manifest], changes: Sequence[str], data: Path, out: Path) -> list[dict[str, Any]]:
    """All points: those of the trainings, of the mixture, of the networks that ship and of metrics."""
    size = cv.Recipe.load(RECIPE, list(changes)).data.evaluation_size
    distances = {(kind, steps): trained(kind, steps, changes, data, out).eval() for kind in KINDS for steps in STEPS}
    patches, heads = PatchSet(data / "validation"), Heads(manifests, out / "statistics.pt")
    heads.take(next(iter(distances.values())).backbone)
    judge = Judge(manifests, patches)
    points: list[dict[str, Any]] = []
    untrained: tuple[np.ndarray, Scores] | None = None
    for (kind, steps), network in distances.items():
        both = of_patches(network, patches, size, out / "patches" / f"{kind}-{steps}.npy"), heads.scores(network)
        untrained = untrained or both
        points.append({"curve": kind, "at": steps, **judge(*both)})
    names = cv.list_models("rankdvqa*", pretrained=True)
    networks = {name: cv.create_model(name, weights="pretrained") for name in names}
    seen = {name: of_patches(one, patches, size, out / "patches" / f"{name}.npy") for name, one in networks.items()}
    of_networks({name: of_stills(one) for name, one in networks.items()}, manifests, out / "stills")
    stills = {name: _scores(out / "stills" / f"{name}.csv") for name in names}
    points += [{"curve": "ships", "at": name, **judge(seen[name], stills[name])} for name in names]
    assert untrained is not None
    of_distance, of_teacher = untrained[0].std(), seen["rankdvqa"].std()
    for share in SHARES:
        mixed = (1 - share) * seen["rankdvqa"] / of_teacher + share * untrained[0] / of_distance
        frames = {file: (1 - share) * score / of_teacher + share * untrained[1][file] / of_distance
                  for file, score in stills["rankdvqa"].items()}  # fmt: skip
        points.append({"curve": "mixed", "at": share, **judge(mixed, frames)})
    return points + of_metrics(manifests, patches, judge, out)


def of_metrics(manifests: Sequence[Manifest], patches: PatchSet, judge: Judge, out: Path) -> list[dict[str, Any]]:
    """Points of metrics: patches carry theirs as labels, of the whole patch."""
    found = cv.evaluate(list(METRICS), manifests, cache=out / "kept")
    points = []
    for name, label in METRICS.items():
        stills = {item.distorted: item.score for one in found.scores if one.model == name for item in one.items}
        labels = np.array([np.nan if value is None else value for value in patches.label(label)], float)
        points.append({"curve": "metric", "at": name, **judge(labels, stills)})
    return points


def _scores(file: Path) -> Scores:
    lines = file.read_text().splitlines()[1:]
    return {name: float(score) for name, _, score in (line.rpartition(",") for line in lines)}


def draw(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the figure: a panel a test, agreement with VMAF to the right, with people upwards."""
    colours = dict(zip(NAMES, (style.BLUE, style.VERMILLION, style.GREEN), strict=True))
    with style.house_style():
        figure = style.new_figure(style.PAGE_WIDTH, 3.0)
        panels = figure.subplots(1, len(AIMS))
        for axes, (test, aim) in zip(panels, AIMS.items(), strict=True):
            style.bare(axes)
            axes.axhline(aim, color=style.QUIET, linewidth=0.8, linestyle=":", label="aim")
            for curve, name in NAMES.items():
                of = [point for point in points if point["curve"] == curve]
                places = [point["vmaf"] for point in of], [point[test]["srocc"] for point in of]
                axes.plot(*places, "o-", markersize=3, linewidth=0.9, color=colours[curve], label=name)
                if curve in KINDS:  # the other end is known: the mixture begins at RankDVQA
                    axes.annotate(f"{of[-1]['at']} steps", (places[0][-1], places[1][-1]), (3, 4),
                                  textcoords="offset points", fontsize=6, color=colours[curve])  # fmt: skip
            for kind, marker, label in (("ships", "s", "networks that ship"), ("metric", "x", "VMAF and PSNR")):
                of = [point for point in points if point["curve"] == kind]
                places = [point["vmaf"] for point in of], [point[test]["srocc"] for point in of]
                axes.plot(*places, marker, markersize=4.5, color=style.INK, markerfacecolor="none", label=label)
            axes.set_title(f"test {test[-1]}")
            axes.set_xlabel("SROCC with VMAF 0.6.1, unseen patches")
        panels[0].set_ylabel("SROCC with opinion scores, stills")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=6.5)
        style.save(figure, path)


def table(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The points as a Markdown table."""
    lines = ["| | at | SROCC with VMAF 0.6.1 | test 1 [95 %] | within a content | test 2 [95 %] | within a content |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for point in points:
        name = {**NAMES, "ships": "ships", "metric": "metric"}[point["curve"]]
        cells = [name, str(point["at"]), f"{point['vmaf']:.3f}"]
        for test in AIMS:
            one = point[test]
            cells += [f"{one['srocc']:.3f} [{one['low']:.3f}, {one['high']:.3f}]", f"{one['within']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Trains, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs=2, help="data sets of pictures with opinion scores")
    parser.add_argument("--data", type=Path, required=True, help="the prepared data")
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE",
                        help=f"a setting of {RECIPE}, data.sources=[FOLDER] for example")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/people_curve"), help="trainings and scores lie here")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table goes")
    choice = parser.parse_args()
    manifests = [read_dataset(name) for name in choice.manifests]
    points = curves(manifests, choice.changes, choice.data, choice.out)
    patches = PatchSet(choice.data / "validation")
    text = "\n".join(
        ["# Against people, as a network comes to agree with VMAF", "", *table(points), "",
         f"SROCC with VMAF 0.6.1 (a proxy) on {len(patches):,} distorted patches of contents that training did not see;"
         " with opinion scores on still frames, one a clip, of clips that viewers scored:"
         f" {' and '.join(f'{len(one.items)} in {one.name}' for one in manifests)}. In square brackets the 95 %"
         " interval, items drawn. `at`: steps of training, each a training of its own whose rate falls to zero; of"
         " the mixture, the share of the untrained distance (LPIPS's), the rest RankDVQA's raw score. Metrics see whole"
         " patches, networks their middle. One run each; nothing was chosen by any of it.", "",
         f"{processor()}, {os.cpu_count()} cores, compressvqa {cv.__version__}.", ""]
    )  # fmt: skip
    print(text)
    choice.results.mkdir(parents=True, exist_ok=True)
    write_text(choice.results / "people_curve.md", text)
    write_json(choice.results / "people_curve.json", {"points": points, "machine": processor()})
    draw(points, FIGURE if choice.results == RESULTS else choice.results / "people_curve.svg")


if __name__ == "__main__":
    main()
