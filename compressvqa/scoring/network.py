"""Networks as scorers: a folder, a registered name with weights, or a network in memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from compressvqa.code_digest import code_digest
from compressvqa.deploy import AUTO, BlockSize, Prepared, check_runtime, prepare
from compressvqa.deploy.eager import rows_of
from compressvqa.deploy.memory import give_back, kept_memory
from compressvqa.errors import DataError, WeightsError
from compressvqa.fingerprint import weights_digest
from compressvqa.metrics.score_scale import HIGHEST, LOWEST
from compressvqa.models import ModelSpec, spec_of
from compressvqa.models.factory import is_untrained
from compressvqa.models.named import SHIPS
from compressvqa.models.scales import scale_of
from compressvqa.registry import models
from compressvqa.scoring.blocks import BlockScorer, Rooms
from compressvqa.scoring.sampling import Sampling
from compressvqa.scoring.scorer import Course, Facts
from compressvqa.scoring.tiles import MAX_PIXELS, SMALLEST_MAX_PIXELS, tiles
from compressvqa.user_code import tried
from compressvqa.video.block import Frames
from compressvqa.video.compare import MIN_SIDE, Sight

BLOCK = 12  # frames, where a network does not say its own
KEPT_SIZES = 4  # of frames, that a network stays ready for: some runtimes hold memory for each
DEFAULT = "rankdvqa-mini"  # what scores where nothing else is asked for


class NetworkScorer(BlockScorer):
    """Scores blocks of frames by a network, whole frames or tiles of them.

    The score of a file is the mean over its blocks, which is what networks of this package give for the whole clip.
    A network may offer ``prepare(reference)``, ``partial(prepared, distorted)`` and ``pool(partials)``: then the work
    on a reference is shared by its distorted files, and the network itself pools over the whole clip.

    Where the network has a scale (`compressvqa.models.scales`), scores are on it, from 0 to 100, and the raw ones stand
    beside them. A block whose frames are those of its reference, to the last sample, gets 100, and a file of such
    blocks too: what a network says of identical pictures hangs on what they show, as it compares features and does not
    subtract pictures.

    Args:
        network: put in evaluation mode for the time of a scoring, as it was afterwards.
        name: what the score is called; None: the network's own name.
        source: where it came from, for the log.
        max_pixels: a larger frame is cut into tiles, see `score`; None: never.
        device: "auto", "cpu" or "cuda".
        runtime: "auto" or a registered runtime, see `compressvqa.deploy`.
        allow_random_weights: score by a network that was never trained too.
        sampled: score only some blocks, and patches of them, drawn by this seed (`compressvqa.scoring.sampling`).

    Raises:
        WeightsError: the network was never trained.
        DataError: a setting out of range, or a network that can't be shown patches.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str | None = None,
        source: str = "memory",
        max_pixels: int | None = MAX_PIXELS,
        device: str = "auto",
        runtime: str = "auto",
        allow_random_weights: bool = False,
        sampled: int | None = None,
    ) -> None:
        check_runtime(runtime)
        self.sampling = None if sampled is None else Sampling(sampled)
        if sampled is not None and getattr(network, "cuts_patches", False):
            raise DataError(f"{type(network).__name__} cuts patches itself, and can't be sampled")
        if max_pixels is not None and max_pixels < SMALLEST_MAX_PIXELS:
            raise DataError(f"max_pixels {max_pixels} is too small for a tile", hint=f"{SMALLEST_MAX_PIXELS} or more")
        try:
            spec = spec_of(network)
        except DataError:  # a network of the user's own, in memory: taken for a full-reference one
            spec = ModelSpec(type(network).__name__)
        if spec.inputs != "video":
            raise DataError(f"{spec.name} reads {spec.inputs}, not clips (batch, frames, 3, height, width)")
        self._untrained = is_untrained(network)
        if self._untrained and not allow_random_weights:
            raise WeightsError(
                f"the weights of {name or spec.name} are random: nothing has trained it, and its scores mean nothing",
                where=None if source == "memory" else source,
                hint="a network that was trained, or allow_random_weights=True (--allow-random-weights)",
            )
        self.network, self.spec, self.max_pixels, self.scale = network, spec, max_pixels, scale_of(network)
        self.knows_identical = self.scale is not None
        self.device = _device(network, device, in_memory=source == "memory")
        known = models[spec.name].facts if spec.name in models else {}
        self.block = int(known.get("frames", BLOCK))
        self.smallest_side = int(known.get("smallest_side", MIN_SIDE))
        self._name, self._source, self._grid = name or spec.name, source, [(0, 0, 0, 0)]
        self.runtime = runtime
        self._prepared: dict[tuple[int, int], Prepared] = {}  # for the files at hand
        self._made_ready: dict[tuple[tuple[int, int], int], Prepared] = {}  # for those before them too
        self._ready_with = ""

    @functools.cached_property
    def facts(self) -> tuple[Facts, ...]:  # type: ignore[override]  # made when asked for: a digest of code and weights
        """Its one score."""
        return (
            Facts(
                self._name,
                identity=f"network:{self._what()}:{code_digest(self.network)}:{self.max_pixels}:{self.device.type}:"
                f"{self.runtime}"
                + ("" if self.scale is None else f":{json.dumps(self.scale.to_dict())}")
                + ("" if self.sampling is None else f":{self.sampling}"),
                mode=cast(Literal["FR", "NR"], self.spec.mode),
                **self._read_as(),
                pooling="the network's own, over the whole clip" if hasattr(self.network, "pool") else "mean",
                note=self._note(),
                source=self._source,
                params=sum(parameter.numel() for parameter in self.network.parameters()),
            ),
        )

    def _read_as(self) -> dict[str, Any]:
        """Direction and range, and what identical files get."""
        if self.scale is None:
            return {"higher_is_better": self.spec.higher_is_better, "score_range": self.spec.score_range}
        identical = f"{HIGHEST:g}" if self.spec.mode == "FR" else ""
        return {"higher_is_better": True, "score_range": (LOWEST, HIGHEST), "identical": identical}

    def state(self) -> Any:
        """The network and how it is run; not what `start` decides for the files at hand."""
        held = (self.network, self.spec, self.max_pixels, self.device.type, self.block, self.runtime, self.scale)
        return held if self.sampling is None else (*held, str(self.sampling))

    def _note(self) -> str:
        """Which network it is, and on which scale it speaks."""
        which = f"the network {self.spec.name}" + ("" if self._name == self.spec.name else f", called {self._name}")
        if self._source == SHIPS:
            which = f"the network {self._name}, which ships{' (the default)' if self._name == DEFAULT else ''}"
        if self._untrained:
            return f"{which}, with random weights: it was never trained, and its scores mean nothing"
        if self.scale is not None:
            return f"{which}: its raw score is read as {self.scale.fitted_to or 'the labels that it was fitted to'}"
        fixed = self.spec.score_range is not None
        return which if fixed else f"{which}: its raw score, on the scale of its training"

    def _what(self) -> str:
        """Name and settings: some settings change scores and leave no trace in the weights."""
        settings = json.dumps(self.spec.kwargs, sort_keys=True, default=str) if self.spec.kwargs else ""
        return self.spec.name + settings

    def start(self, sights: Sequence[Sight]) -> Mapping[str, Any]:
        """Prepares the network for frames of this size; `Scorer.score` is called with files of one size of reference.

        Frames are cut into tiles only where the network has to see them at once: one that is worked through strip by
        strip, or that cuts patches itself, never does.
        """
        shown = sights[0].reference or sights[0].distorted
        self._grid = [(0, 0, shown.height, shown.width)]
        whole = BlockSize(self.block, shown.height, shown.width)
        if rows_of(self.network, whole) is None and not getattr(self.network, "cuts_patches", False):
            self._grid = tiles(shown.height, shown.width, self.max_pixels)
        if self.sampling is not None:
            self._grid = self.sampling.patches(0, shown.height, shown.width)
            if min(self._grid[0][2:]) < self.smallest_side:
                raise DataError(
                    f"{self.spec.name} needs {self.smallest_side} pixels a side, and a sample's patches have "
                    f"{min(self._grid[0][2:])}",
                    hint="without --sampled",
                )
        sizes = {(height, width) for _, _, height, width in self._grid}
        frames = max((sight.frames or 0 for sight in sights), default=0) * len(sights)
        blocks = max(1, -(-frames // self.block)) if frames else 100
        self._prepared = {size: self._ready(size, blocks) for size in sizes}
        give_back()  # of the check that a runtime agrees with PyTorch, and of looking at the files
        names = ", ".join(sorted({one.runtime for one in self._prepared.values()}))
        said = {"tiles": len(self._grid), "runtime": names, "device": str(self.device)}
        if self.sampling is not None:
            said = {"sampled": self.sampling.to_dict(shown.height, shown.width, self.count), **said, "tiles": 1}
        return said

    def _ready(self, size: tuple[int, int], blocks: int) -> Prepared:
        """The network ready for blocks of a size; as for an earlier file of this size, where one was about as long.

        To get ready takes seconds, for compiling and the check against PyTorch, which many short files would pay each.
        """
        weights = weights_digest(self.network)
        if self._ready_with != weights:
            self._made_ready, self._ready_with = {}, weights
        about = blocks.bit_length() if self.runtime == AUTO else 0  # "auto" takes other runtimes for much work
        if (size, about) not in self._made_ready:
            while len(self._made_ready) >= KEPT_SIZES:
                del self._made_ready[next(iter(self._made_ready))]
            # A network of a stranger's folder may be of sound layers that do not fit each other.
            self._made_ready[size, about] = tried(
                functools.partial(prepare, self.network, BlockSize(self.block, *size), self.runtime, blocks=blocks),
                f"the network {self._name}",
            )
        return self._made_ready[size, about]

    def takes(self, number: int, blocks: int | None) -> bool:
        """Those that the sample holds, where there is one."""
        return self.sampling is None or self.sampling.takes(number, blocks)

    def sparse(self, blocks: int) -> bool:
        """Where the sample leaves out more than every other block: less is not worth what a whole look tells."""
        return self.sampling is not None and self.sampling.spacing(blocks) > self.sampling.every

    def compare(self, reference: Frames | None, distorted: Sequence[Frames], rooms: Rooms) -> list[Tensor]:
        """For each file one number, or what the network's own `pool` reads."""
        del rooms
        grid = self._grid
        if self.sampling is not None:
            grid = self.sampling.patches(self.number, *distorted[0].size)
        values: list[list[Tensor]] = tried(
            lambda: [
                self._prepared[tile[2:]].partials(
                    None if reference is None else reference.crop(*tile), [frames.crop(*tile) for frames in distorted]
                )
                for tile in grid
            ],
            f"the network {self._name}",
        )
        if len(values) == 1:
            return values[0]
        areas = [height * width for _, _, height, width in grid]
        weights = torch.tensor(areas, dtype=torch.float64) / sum(areas)
        return [
            (torch.tensor([self.pool([value]) for value in of_file], dtype=torch.float64) * weights).sum()
            for of_file in zip(*values, strict=True)
        ]

    def measure(self, prepared: Any, distorted: Tensor) -> Tensor:
        """Networks are given frames, not RGB: see `compare`."""
        raise NotImplementedError

    def pool(self, parts: Sequence[Tensor]) -> float:
        """By the network where it pools itself, else the mean over the blocks."""
        if hasattr(self.network, "pool") and parts[0].ndim > 1:
            return float(self._call("pool", [part.to(self.device) for part in parts]).reshape(-1)[0])
        return super().pool(parts)

    def on_scale(self, course: Course, parts: Sequence[Tensor], same: Sequence[bool]) -> Course:
        """The course on the network's scale, where it has one.

        Blocks are read one by one and pooled as the network pools. Where what it pools is no score of a block, its
        score of the file is read.
        """
        scale = self.scale
        if scale is None:
            return course
        segments = tuple(
            replace(part, score=HIGHEST if is_same else scale(part.score), raw=part.score)
            for part, is_same in zip(course.segments, same, strict=True)
        )
        if all(same):
            score = HIGHEST
        elif len(parts) == len(segments) and all(part.numel() == 1 for part in parts):
            read = zip(parts, segments, strict=True)
            score = self.pool([torch.full(part.shape, one.score, dtype=torch.float64) for part, one in read])
        else:
            score = scale(course.score)
        return replace(course, score=score, segments=segments, raw=course.score)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Evaluation mode on a device, with repeatable kernels; everything is as it was afterwards."""
        modes = [(module, module.training) for module in self.network.modules()]
        before = next((parameter.device for parameter in self.network.parameters()), self.device)
        with ExitStack() as stack:
            stack.callback(self.network.to, before)
            stack.callback(_set_modes, modes)
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            )
            stack.enter_context(kept_memory())
            self.network.eval().to(self.device)
            yield

    def _call(self, method: str, *arguments: Any) -> Any:
        return getattr(self.network, method)(*arguments)


def _set_modes(modes: list[tuple[nn.Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


def _device(network: nn.Module, device: str, *, in_memory: bool) -> torch.device:
    if device not in ("auto", "cpu", "cuda"):
        raise DataError(f"there is no device {device!r}", hint="auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise DataError("no GPU is there that PyTorch can use", hint="device auto or cpu")
    if device != "auto":
        return torch.device(device)
    if in_memory:
        return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
