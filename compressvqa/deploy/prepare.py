"""Which runtime scores: the one that is asked for, or the quickest of those that are there.

For ``runtime="auto"`` only runtimes count whose scores are PyTorch's to `EXACT`, so that a score does not hang on the
machine. One that was written for the network is taken at once. The others score a small block of built-in frames each,
once: what that took is kept in the user's cache, under the network's weights, the size of the pictures, the processor
and the versions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compressvqa.deploy.runtime import BlockSize, Prepared, Runtime
from compressvqa.environment import processor, versions
from compressvqa.errors import MissingExtraError, RegistryError, RuntimeRefusedError
from compressvqa.files import write_json
from compressvqa.fingerprint import weights_digest
from compressvqa.registry import runtimes
from compressvqa.video.block import Frames
from compressvqa.video.frames import Colour, Planes

AUTO = "auto"
VERSION = 1  # of what is kept
# Side of the pictures that are measured, the next smaller one: a class of sizes.
SIDES = (128, 256, 512)
EXACT = 1e-3  # the largest tolerance that "auto" takes
LITTLE = 2**26  # pixels, 32 frames of 1080p: PyTorch is ready at once, and done before others would be
FEW_THREADS = 2
LONG = 60.0  # CPU seconds that PyTorch would take, from which on it pays to try others, which take seconds to get ready
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What a runtime took for one block.

    Args:
        prepare_s: CPU seconds until it was ready, the first block included.
        block_s: CPU seconds of a block thereafter.
    """

    prepare_s: float
    block_s: float


def check_runtime(name: str) -> None:
    """Refuses a name that is no runtime, or a runtime that is not installed, before anything is worked out.

    Raises:
        RegistryError: there is no such runtime.
        MissingExtraError: it needs a package that is not there; the extra is named.
    """
    if name != AUTO:
        made(name)


def made(name: str) -> Runtime:
    """A runtime by its name; see `check_runtime`."""
    if name not in runtimes:
        raise RegistryError(f"unknown runtime {name!r}", hint=", ".join([AUTO, *runtimes]))
    runtime: Runtime = runtimes[name].value()
    return runtime


def prepare(network: nn.Module, size: BlockSize, runtime: str = AUTO, *, blocks: int = 100) -> Prepared:
    """A network ready for blocks of a size.

    Args:
        network: in evaluation mode, on the device that it is to run on.
        size: of the blocks.
        runtime: a registered runtime, or "auto".
        blocks: how many there will be, about: a runtime that takes long to get ready must win that back.

    Raises:
        RuntimeRefusedError: the runtime that was asked for can't run this network.
    """
    if runtime != AUTO:
        return made(runtime).prepare(network, size)
    if not _is_long(network, size, blocks):
        return made("eager").prepare(network, size)
    for name in _made_for(network):
        try:
            return made(name).prepare(network, size)
        except (RuntimeRefusedError, MissingExtraError) as error:
            log.warning("runtime %s: %s; another one scores", name, error)
    for name in quickest(network, size, blocks):
        try:
            return made(name).prepare(network, size)
        except (RuntimeRefusedError, MissingExtraError) as error:
            log.info("runtime %s: %s", name, error)
    return made("eager").prepare(network, size)


def quickest(network: nn.Module, size: BlockSize, blocks: int) -> list[str]:
    """Runtimes that can run a network here, the quickest for so many blocks first."""
    if not _is_long(network, size, blocks):
        return ["eager"]
    side = max((one for one in SIDES if one <= min(size.height, size.width)), default=min(size.height, size.width))
    small = BlockSize(size.frames, min(side, size.height), min(side, size.width))
    larger = size.height * size.width / (small.height * small.width)
    file = _file(network, small)
    known = _read(file)
    before = len(known)

    def total(name: str) -> float:
        took = known[name]
        return math.inf if took is None else took.prepare_s + took.block_s * larger * blocks

    for name in ["eager", *(name for name in runtimes if name != "eager" and _may_be_taken(name, network))]:
        if name not in known and (name == "eager" or total("eager") > LONG):
            known[name] = _measure(name, network, small)
    if len(known) > before:
        try:
            write_json(file, {name: None if one is None else vars(one) for name, one in known.items()})
        except OSError as error:  # a folder that can't be written costs a measurement each time, nothing else
            log.info("what runtimes took is not kept: %s", error)
    return sorted((name for name in known if known[name] is not None), key=total)


def _is_long(network: nn.Module, size: BlockSize, blocks: int) -> bool:
    """Whether it pays to look for anything but PyTorch: on a GPU, and for little work, it does not."""
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    return device == "cpu" and blocks * size.frames * size.height * size.width >= LITTLE


def _made_for(network: nn.Module) -> list[str]:
    """Exact runtimes that were written for this kind of network: they need no measurement to be the quickest.

    They work on one core, so that with many threads PyTorch may be done sooner: then all are measured.
    """
    if torch.get_num_threads() > FEW_THREADS:
        return []
    return [
        name
        for name, entry in ((name, runtimes[name]) for name in runtimes)
        if entry.facts.get("made_for") is type(network) and entry.facts["tolerance"] <= EXACT
    ]


def _may_be_taken(name: str, network: nn.Module) -> bool:
    facts = runtimes[name].facts
    suits = facts.get("made_for") in (None, type(network))
    return suits and facts["tolerance"] <= EXACT and not facts.get("slow_to_prepare", False)


def _measure(name: str, network: nn.Module, size: BlockSize) -> Measured | None:
    """Runs a block by a runtime, twice; None where it can't."""
    mode = getattr(getattr(network, "compressvqa_spec", None), "mode", "FR")
    reference, distorted = _frames(size, 0.0) if mode == "FR" else None, _frames(size, 0.1)
    try:
        start = time.process_time()
        prepared = made(name).prepare(network, size)
        prepared.partials(reference, [distorted])
        ready = time.process_time()
        prepared.partials(reference, [distorted])
        return Measured(ready - start, time.process_time() - ready)
    except Exception as error:  # whatever a network or a compiler says to pictures of this size: another one is taken
        log.info("runtime %s: %s", name, error)
        return None


def _file(network: nn.Module, size: BlockSize) -> Path:
    what = [VERSION, type(network).__qualname__, weights_digest(network), str(size), processor()]
    what += [torch.get_num_threads(), *sorted(versions().items()), list(runtimes)]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    return _cache() / f"runtimes-{key[:24]}.json"


def _cache() -> Path:
    """Where it is kept: beneath $COMPRESSVQA_CACHE, else the user's cache folder."""
    own = os.environ.get("COMPRESSVQA_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compressvqa"


def _read(file: Path) -> dict[str, Measured | None]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(name): None if one is None else Measured(float(one["prepare_s"]), float(one["block_s"]))
            for name, one in held.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _frames(size: BlockSize, noise: float) -> Frames:
    """Built-in pictures: a moving texture, with noise in the distorted one."""
    dice = np.random.default_rng(0)
    y, x = np.mgrid[0 : size.height, 0 : size.width]
    small = (-(-size.height // 2), -(-size.width // 2))
    chroma = dice.integers(100, 156, small).astype(np.uint8)
    pictures = []
    for number in range(size.frames):
        luma = 0.5 + 0.2 * np.sin((x + 3 * number) / 9) + 0.2 * np.sin((y - 2 * number) / 13)
        luma = np.clip(luma + noise * dice.standard_normal(luma.shape), 0.1, 0.9)
        pictures.append(Planes((luma * 255).astype(np.uint8), chroma, chroma, "420", Colour()))
    return Frames(pictures)
