"""`export`: a network as a folder that runs without this package, checked in a new process before it is called done."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.deploy.exporting.example import example_of, page_of
from compressvqa.deploy.exporting.facts import block_of, facts_of, smallest_side_of
from compressvqa.deploy.exporting.formats import ALL, FORMATS, Format
from compressvqa.deploy.exporting.fresh_process import run_alone
from compressvqa.deploy.exporting.graph import ScoringGraph
from compressvqa.deploy.exporting.int8 import LOST, OpenVinoInt8, OrderLostError
from compressvqa.deploy.exporting.pictures import checks, example
from compressvqa.deploy.graphs import need, quietly
from compressvqa.errors import CompressVQAError, DataError, MissingExtraError, RuntimeRefusedError, WeightsError
from compressvqa.files import exchange, owned, write_json, write_text
from compressvqa.models import spec_of
from compressvqa.models.factory import is_untrained
from compressvqa.models.named import find_network
from compressvqa.models.scales import scale_of
from compressvqa.models.shipped import shipped, shipped_folder
from compressvqa.models.view import View

PARITY = 1e-4  # of the range of scores
ROUNDING = 2e-6  # of a score: what float32 itself may move it by
SIZE = 256  # of pictures, where sizes can't be left free and nobody said one
FACTS, EXAMPLE, PAGE = "facts.json", "example.py", "README.md"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Args:
        folder: it holds the file, `facts.json`, `example.py` and a README.
        file: the network.
        format: "onnx", "openvino" or "torch-export".
        free: which of batch, height and width may have any size.
        size: height and width of pictures; None: any.
        error: the largest difference from PyTorch on the clips of the check, as a share of the range of scores; of an
            int8 network 1 - SROCC between the two.
        clips: how many clips that were.
        notes: why sizes are not free, where they aren't.
        facts: what the file says of itself.
    """

    folder: Path
    file: Path
    format: str
    free: tuple[str, ...]
    size: tuple[int, int] | None
    error: float
    clips: int
    notes: tuple[str, ...]
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON would hold it."""
        return asdict(self) | {"folder": str(self.folder), "file": str(self.file)}

    @property
    def said(self) -> str:
        """What there is to say of it, in one or two sentences."""
        size = "pictures of any size" if self.size is None else f"pictures of {self.size[1]}x{self.size[0]} only"
        batch = "batches of any size" if "batch" in self.free else "one pair at a time"
        if self.facts["mode"] == "NR":
            batch = batch.replace("pair", "clip")
        rounded = self.facts.get("int8")
        if rounded:
            kept = ", ".join(rounded["layers_in_float"]) or "none"
            return (
                f"It takes {size} and {batch}. {rounded['layers']} layers are int8, in float: {kept}. Run by a new "
                f"process on {self.clips} clips, its SROCC with PyTorch was {1 - self.error:.4f}."
            )
        return (
            f"It takes {size} and {batch}. Run by a new process on {self.clips} clips, it differed from PyTorch by "
            f"{self.error:.1g} of the range of scores at most; {PARITY:g} is allowed."
        )


def export(
    model: str | Path | nn.Module,
    folder: str | Path,
    *,
    format: str = "onnx",
    size: int | tuple[int, int] | None = None,
    frames: int | None = None,
    name: str | None = None,
    licence: str | None = None,
    int8: Iterable[tuple[Tensor, ...]] | None = None,
    lost: float = LOST,
    allow_random_weights: bool = False,
) -> Exported:
    """Writes a network as a folder that scores without this package, and holds it against PyTorch in a new process.

    The graph takes ``reference, distorted`` (a no-reference network: ``distorted``), (batch, frames, 3, height, width)
    each, RGB in [0, 1], float32. It gives ``score``, (batch,), as `compressvqa.score` shows it for a block: from 0 to
    100 where the network has a scale, which then also gives ``raw_score``. What else is to be known (colour, block,
    pooling, scale, licence) stands in the file.

    Args:
        model: as `find_network` takes it: a name whose weights ship, NAME=FILE, a folder that `save` wrote or that a
            run left; or a network made by `create_model` or `load`, also after pruning.
        folder: where to. An export that is there is replaced; anything else is left alone.
        format: "onnx", "openvino" or "torch-export".
        size: side, or (height, width), of the pictures. None: any size, where the format and the network allow it
            (`Exported.size` says so); else 256, or what the network scales pictures to.
        frames: of a block; None: the network's own.
        name: what it is called; None: the network's own name.
        licence: of the weights, SPDX. None: for networks that ship the licence that they ship under.
        int8: clips to round by: what the network is called with, (1, frames, 3, height, width) each, 32 or more, of
            several contents and qualities. Layers become int8 (openvino only) where the order of scores stays on every
            second one of them, by which nothing was calibrated.
        lost: 1 - SROCC between int8 and PyTorch that is allowed there.
        allow_random_weights: export a network that was never trained too.

    Raises:
        DataError: there is no such format, it knows no int8, there are too few clips, or the folder holds something
            else.
        WeightsError: no such weights, or random ones.
        MissingExtraError: what writes or reads the format is not installed.
        RuntimeRefusedError: the network can't be exported, or the file gives other scores; nothing is written then.
    """
    if format not in FORMATS:
        raise DataError(f"there is no format {format!r} to export to", hint=", ".join(FORMATS))
    if int8 is not None and format != "openvino":
        raise DataError(f"{format} is not written in int8", hint="format openvino")
    form, folder = FORMATS[format] if int8 is None else OpenVinoInt8(int8, lost=lost), Path(folder)
    if isinstance(form, OpenVinoInt8) and size is not None and _size(size, None) != form.size:
        raise DataError(f"int8: the clips are {form.size[0]}x{form.size[1]}, not {size}", hint="no size")
    _refuse_foreign(folder)
    network, known_as, stated, notice = _network(model, allow_random_weights)
    spec = spec_of(network)
    if spec.inputs != "video":
        raise DataError(f"{spec.name} reads {spec.inputs}, not clips (batch, frames, 3, height, width)")
    if is_untrained(network) and not allow_random_weights:
        raise WeightsError(f"the weights of {spec.name} are random: its scores would mean nothing",
                           hint="a network that was trained, or --allow-random-weights")  # fmt: skip
    need(form.packages, form.extra)  # last: whoever installs it for a wrong argument's sake has installed it in vain
    count = frames or block_of(network)
    facts = facts_of(network, count, name=name or known_as, licence=licence or stated)
    modes = [(module, module.training) for module in network.modules()]
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        network.cpu()
        graph = ScoringGraph(network, scale_of(network), full_reference=spec.mode == "FR")
        graph.eval()  # itself too: an exporter puts all back into the mode that it finds the outermost module in
        folder.parent.mkdir(parents=True, exist_ok=True)
        with owned(folder) as place:
            place.mkdir()
            free, fixed, error, clips, notes = _first_that_agrees(form, graph, place, facts, size, count)
            made = Exported(folder, folder / form.file, format, free, fixed, error, clips, notes, facts)
            write_json(place / FACTS, facts)
            write_text(place / EXAMPLE, example_of(form, facts, fixed))
            write_text(place / PAGE, page_of(form, made.said, facts))
            if notice is not None:
                shutil.copyfile(notice, place / notice.name)
            if folder.exists():  # at every moment the old or the new export is there whole
                exchange(place, folder)
            else:
                place.rename(folder)
    finally:
        network.to(device)
        for module, training in modes:
            module.training = training
    return made


def _first_that_agrees(
    form: Format, graph: ScoringGraph, place: Path, facts: dict[str, Any], size: Any, frames: int
) -> tuple[tuple[str, ...], tuple[int, int] | None, float, int, tuple[str, ...]]:
    """Writes the graph with as many free sizes as give PyTorch's scores; says what kept others from being free."""
    notes: list[str] = []
    refused: CompressVQAError | None = None
    for free in form.ways:
        if free == ALL and (size is not None or getattr(graph.network, "cuts_patches", False)):
            continue
        # In one size only, int8 is written for that of the clips that it is judged on.
        wanted = form.size if isinstance(form, OpenVinoInt8) and size is None else size
        fixed = None if free == ALL else _size(wanted, graph.network)
        try:
            error, clips = _written(form, graph, place, facts, free, fixed, frames)
            return free, fixed, error, clips, tuple(notes)
        except OrderLostError:
            raise
        except RuntimeRefusedError as error_:
            refused = error_
            what = "any size of picture" if free == ALL else "any batch" if free else "one size"
            notes.append(f"not for {what}: {error_.what}")
            log.debug("export: %s", notes[-1])
    assert refused is not None
    raise refused


def _written(
    form: Format, graph: ScoringGraph, place: Path, facts: dict[str, Any], free: tuple[str, ...],
    fixed: tuple[int, int] | None, frames: int,
) -> tuple[float, int]:  # fmt: skip
    """Writes the file and runs it: the largest difference as a share of the range of scores, and on how many clips."""
    for file in place.iterdir():
        file.unlink()
    least = max(facts["input"]["smallest_side"], 96)
    height, width = fixed or (least + 43, least + 75)
    # The last and largest one: a size at which a network does something else than for small pictures.
    seen = [(1, least, least), (3, least + 5, least + 35), (1, 290, 418)]
    sizes = seen if fixed is None else [(1, *fixed), (3, *fixed)] if free else [(1, *fixed)]
    clips = checks(graph.inputs, sizes, frames)
    if isinstance(form, OpenVinoInt8):  # judged on real clips
        clips = [dict(zip(graph.inputs, clip, strict=True)) for clip in form.held_out]
    name = type(graph.network).__name__
    with _told(name, "can't be run on these clips"), torch.no_grad():
        wanted = [[one.double().reshape(-1) for one in graph(*pair.values())] for pair in clips]
    with _told(name), torch.no_grad(), quietly(), _no_output():
        form.write(
            graph, example(graph.inputs, 2 if free else 1, height, width, frames), free, facts, place / form.file
        )
    found, said = run_alone(form, place / form.file, clips)
    if json.loads(said) != json.loads(json.dumps(facts)):
        raise RuntimeRefusedError("the file does not hold what has to be known of it")
    count = sum(len(one[0]) for one in wanted)
    if isinstance(form, OpenVinoInt8):
        return form.lost_by([one[-1] for one in wanted], [one[-1] for one in found]), count
    return _difference(graph, facts, wanted, found), count


def _difference(
    graph: ScoringGraph, facts: Mapping[str, Any], wanted: Sequence[Sequence[Tensor]], found: Sequence[Sequence[Tensor]]
) -> float:
    """The largest difference as a share of the range of scores.

    Raises:
        RuntimeRefusedError: it is larger than `PARITY`, or not a number.
    """
    largest = 0.0
    for place, output in enumerate(graph.outputs):
        eager = torch.cat([one[place] for one in wanted])
        other = torch.cat([one[place].double() for one in found])
        known = facts["output"]["range"] if output == "score" else None
        span = (
            float(known[1] - known[0]) if known is not None and None not in known else float(eager.max() - eager.min())
        )
        # Scores that hardly differ can't be told apart better than their digits allow.
        span = max(span, ROUNDING / PARITY * float(eager.abs().max()))
        share = float((eager - other).abs().max()) / max(span, 1e-12)
        if not share <= PARITY:  # also where it is not a number
            raise RuntimeRefusedError(
                f"the exported {type(graph.network).__name__} differs from PyTorch by {share:.2g} of the range of its "
                f"scores, {PARITY:g} is allowed"
            )
        largest = max(largest, share)
    return largest


@contextmanager
def _told(name: str, what: str = "can't be exported") -> Iterator[None]:
    """What an exporter, or the network itself, says of clips of these sizes, in one line."""
    try:
        yield
    except (MissingExtraError, RuntimeRefusedError):
        raise
    except Exception as error:  # each exporter has errors of its own, and so has each network
        # OpenVINO says first in which of its files, then why.
        lines = [
            line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Exception from")
        ]
        said = (lines or [type(error).__name__])[0][:200]
        raise RuntimeRefusedError(f"{name} {what} ({said})") from error


@contextmanager
def _no_output() -> Iterator[None]:
    """Without what exporters print from C++: the whole graph, where an operator is not known to them."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def _size(size: Any, network: nn.Module | None) -> tuple[int, int]:
    """Height and width of pictures where they are not free."""
    if isinstance(size, (tuple, list)):
        return int(size[0]), int(size[1])
    if network is None:
        return int(size), int(size)
    views = [one.size for one in network.modules() if isinstance(one, View) and one.size is not None]
    side = size or (views[0] if views else max(SIZE, smallest_side_of(network)))
    return int(side), int(side)


def _network(model: str | Path | nn.Module, random: bool) -> tuple[nn.Module, str, str | None, Path | None]:
    """A network, what it is called, the licence that is known of its weights, and the file with its text."""
    if isinstance(model, nn.Module):
        return model, spec_of(model).name, None, None
    found = find_network(model, random=random)
    if found.name is None:
        return found.network, spec_of(found.network).name, None, None
    notice = shipped_folder(found.name) / "LICENSE"
    return found.network, found.name, shipped()[found.name].licence, notice if notice.is_file() else None


def _refuse_foreign(folder: Path) -> None:
    if folder.is_file():
        raise DataError("is a file, not a folder", where=folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise DataError("the folder holds something else than an export", where=folder)
