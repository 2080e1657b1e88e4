"""Puts the network of a run into the package: half precision, a model card, and its place in the index.

    python scripts/ship.py runs/rankdvqa-mini rankdvqa-mini --data DATA.csv --retrain "compressvqa run reference/mini"

MODEL is a run folder (its last network), or the model folder of one of its stages. DATA.csv lists what it learnt from,
may be given several times, and has the columns `file`, `licence`, `author` and `source` (or `source_repository`); where
it has `split`, its rows of "train" count. What a network owes to others goes along as `--notice LICENCE.txt`.
`--scale-from PATCHES` fits the 0 to 100 scale of a network that has none to a finished set of validation patches (a
run's `data/validation`); runs fit it by themselves.

Random weights are refused, and so are weights that half precision changes too much: by more than 0.05 points of the
scale, or by more than 1 % of the spread of raw scores where there is no scale.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.cost import profile
from compressvqa.data.patches import PatchSet
from compressvqa.data.rank_pairs import RankPairs
from compressvqa.errors import CompressVQAError, DataError, WeightsError
from compressvqa.files import write_json
from compressvqa.fingerprint import content_digest
from compressvqa.models import example_inputs, load, save, spec_of
from compressvqa.models import shipped as index
from compressvqa.models.factory import is_untrained
from compressvqa.models.scales import fit_to_labels, scale_of
from compressvqa.models.storage import read_config
from compressvqa.report.card import model_card
from compressvqa.report.results import inputs_title
from compressvqa.report.results import load as read_results
from compressvqa.scoring import model_folder

POINTS, SHARE = 0.05, 0.01  # that half precision may move a score by: on the scale, of the spread of raw scores
TRIES = 6  # pairs of clips that half precision is tried on


def ship(
    model: Path,
    name: str,
    *,
    to: Path,
    licence: str = "Apache-2.0",
    data: Sequence[Path] = (),
    retrain: str | None = None,
    notice: Path | None = None,
    scale_from: Path | None = None,
    limits: Sequence[str] = (),
) -> Path:
    """Writes the folder of a network and its entry in the index; one of the same name is replaced.

    Args:
        model: a run folder, or the model folder of a run or of one of its stages.
        name: what it is to be called.
        to: the folder of networks.
        licence: SPDX identifier of the weights' licence.
        data: CSV files of what it learnt from.
        retrain: the command that trains it again.
        notice: the licence of what it was made from, where that has to go along.
        scale_from: patches that a missing scale is fitted to.
        limits: further limits, a sentence each.

    Raises:
        CompressVQAError: random weights, no results of a run beside the model, or weights that half precision breaks.
    """
    folder = model_folder(model)
    network = load(folder, dtype=torch.float32)
    if is_untrained(network):
        raise WeightsError("its weights are random: nothing has trained it", where=folder)
    results, stage = _results(folder)
    scaled = _scaled(network, scale_from) if scale_of(network) is None and scale_from is not None else {}
    moved = _moved_by_half(network)
    spec, inputs = spec_of(network), example_inputs(network)
    counted = profile(network, inputs)
    listed = [row for file in data for row in _listed(file)]
    card = model_card(
        {**results, "limits": [*results.get("limits", []), *limits]},
        model=spec.name, mode=spec.mode, stage=stage, title=name, licence=licence, use=name, scale=scale_of(network),
        data=listed, retrain=retrain, half=moved,
    )  # fmt: skip
    place, known = to / name, index.read_index(to)
    facts = {**read_config(folder)["facts"], "name": name, "half_precision": moved, "licence": licence, **scaled}
    shutil.rmtree(place, ignore_errors=True)
    save(network.half(), place, card=card, facts=facts)
    if notice is not None:
        shutil.copy(notice, place / "LICENSE")
    entry = index.Shipped(
        name=name, model=spec.name, mode=spec.mode, params=counted.params, macs_conv_linear=counted.macs_conv_linear,
        inputs=str(inputs_title({"inputs": [list(tensor.shape) for tensor in inputs]})),
        label=results.get("label"), licence=licence, summary=_summary(spec.name, counted, scale_of(network)),
        files={path.name: content_digest(path) for path in sorted(place.iterdir())},
    )  # fmt: skip
    entries = {**{one: facts.to_dict() for one, facts in known.items()}, name: entry.to_dict()}
    for facts in entries.values():
        facts.pop("name")
    write_json(to / index.INDEX, {"format": index.FORMAT, "networks": dict(sorted(entries.items()))})
    return place


def _results(folder: Path) -> tuple[dict[str, Any], str | None]:
    """The results of the run that a model folder belongs to, and the stage that it is of; None: the last one."""
    if folder.parent.parent.name == "stages":
        return read_results(folder.parent.parent.parent / "results.json"), folder.parent.name.partition("-")[2]
    return read_results(folder.parent / "results.json"), None


def _listed(file: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    rows = [row for row in rows if row.get("split", "train") == "train"]
    return [row | {"source": row.get("source") or row.get("source_repository") or ""} for row in rows]


def _scaled(network: nn.Module, patches: Path) -> dict[str, Any]:
    dataset, examples = RankPairs(RankPairs.Config()), PatchSet(patches)
    with torch.inference_mode():
        judged = dataset.judge(examples, network)
        identical = dataset.identical(examples, network)
    found = fit_to_labels(network, judged.scores, judged.labels, span=judged.span, fitted_to=judged.label,
                          identical=identical)  # fmt: skip
    if "none" in found:
        raise DataError(f"there is no scale: {found['none']}", where=patches)
    return {"scale": found}


def _moved_by_half(network: nn.Module) -> dict[str, Any]:
    """How far scores move when weights are stored in half precision, tried on clips of noise more and more blurred."""
    stored = {name: tensor.half().float() if tensor.is_floating_point() else tensor
              for name, tensor in network.state_dict().items()}  # fmt: skip
    if broken := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        raise WeightsError("holds values that half precision can't", where=broken[0])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    scale = scale_of(network)
    tried = [_tried(network, step) for step in range(TRIES)]
    network.load_state_dict(stored)
    again = [_tried(network, step) for step in range(TRIES)]
    network.load_state_dict(before)
    raw = max(abs(a - b) for a, b in zip(tried, again, strict=True))
    spread = max(tried) - min(tried)
    found: dict[str, Any] = {"tried_on": f"{TRIES} clips of noise", "largest_raw_difference": raw, "raw_spread": spread}
    if scale is not None:
        found["largest_difference"] = max(abs(scale(a) - scale(b)) for a, b in zip(tried, again, strict=True))
    if found.get("largest_difference", 0) > POINTS if scale is not None else raw > SHARE * spread:
        raise WeightsError(f"half precision moves its scores too far: {json.dumps(found)}")
    return found


@torch.inference_mode()
def _tried(network: nn.Module, step: int) -> float:
    inputs = list(example_inputs(network))
    inputs[-1] = _blurred(inputs[0], step)
    return float(network(*inputs))


def _blurred(clip: Tensor, step: int) -> Tensor:
    side = 2 * step + 1
    frames = nn.functional.avg_pool2d(clip.flatten(0, 1), side, 1, padding=step, count_include_pad=False)
    return frames.reshape(clip.shape)


def _summary(model: str, counted: Any, scale: Any) -> str:
    said = f"{model}, {counted.params / 1e6:.3f} M parameters, {counted.macs_conv_linear / 1e9:.3f} G MACs"
    return said if scale is None else f"{said}, scores 0 to 100"


def main() -> None:
    """Ships a network; prints its files and what the package holds by now."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run folder, or model folder of a run or stage")
    parser.add_argument("name")
    parser.add_argument("--to", type=Path, default=index.WEIGHTS_FOLDER, help="default: the package's own folder")
    parser.add_argument("--licence", default="Apache-2.0", help="SPDX identifier")
    parser.add_argument("--data", type=Path, action="append", default=[], help="CSV of what it learnt from")
    parser.add_argument("--retrain", help="the command that trains it again")
    parser.add_argument("--notice", type=Path, help="licence of what it was made from")
    parser.add_argument("--scale-from", type=Path, help="validation patches to fit a missing scale to")
    parser.add_argument("--limit", action="append", default=[], dest="limits", help="a further limit, one sentence")
    choice = vars(parser.parse_args())
    try:
        place = ship(choice.pop("model"), choice.pop("name"), **choice)
    except CompressVQAError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for path in sorted(place.iterdir()):
        print(f"{path.stat().st_size:>12,}  {path}")
    sizes = Counter({name: sum(path.stat().st_size for path in (choice["to"] / name).iterdir())
                     for name in index.read_index(choice["to"])})  # fmt: skip
    print("the package holds " + ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sorted(sizes.items())))


if __name__ == "__main__":
    main()
