"""What a frozen patch network says of every clip of a data set, found once and kept on disk.

A clip is two files: ``NAME.features.npy`` (patches, frames, channels, 4, 4) in half precision, read by memory map, and
``NAME.scores.npy`` (patches,) in single precision, written last, so that features without scores do not count.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from compressvqa.code_digest import code_digest
from compressvqa.data.mos_pairs import MosClips, MosPairSampler
from compressvqa.errors import DataError, TrainingError
from compressvqa.files import replacing
from compressvqa.models import RankDVQASTANet
from compressvqa.models.rankdvqa_stanet import PreparedPatches

log = logging.getLogger("compressvqa")


class DescribedBatch(NamedTuple):
    """B pairs of clips as patch descriptions, all a before all b.

    `scores` (2B, P), `features` (2B, P, frames, channels, 4, 4); `there` (2B, P) is False where a clip has fewer
    patches than the longest of the batch; `difference` (B,) as in `MosBatch`.
    """

    scores: Tensor
    features: Tensor
    there: Tensor
    difference: Tensor


class Descriptions:
    """Scores and features of some patches of every clip.

    Args:
        clips: the clips.
        network: describes them; only its patch network's weights matter.
        folder: where they are kept.
        patches: so many patches of a clip, drawn at random over its blocks, the same for all clips of one reference;
            None: all.
        seed: of the draw.
    """

    def __init__(
        self, clips: MosClips, network: RankDVQASTANet, folder: Path, *, patches: int | None = None, seed: int = 0
    ) -> None:
        if clips.manifest.no_reference:
            raise DataError("clips without a reference have no patch scores", where=clips.manifest.folder)
        self.clips, self.patches, self.seed = clips, patches, seed
        settings = (network.stages, network.patch, network.stride, clips.block, clips.blocks, patches, seed)
        self.folder = (
            folder / hashlib.sha256(f"{code_digest(network.patch_network)}{settings}".encode()).hexdigest()[:16]
        )
        self._files = [self._file(index) for index in range(len(clips))]

    def make(self, network: RankDVQASTANet, device: torch.device) -> None:
        """Describes the clips that are not described yet.

        Raises:
            DataError: a file can't be read.
            TrainingError: a description is not finite.
        """
        missing = {index for index in range(len(self.clips)) if not self._named(index, "scores").exists()}
        began, done = time.monotonic(), 0
        network.eval().to(device)
        for group in self.clips.by_reference():
            # The reference's part is worked out once for all its distorted clips.
            prepared: dict[tuple[Any, ...], PreparedPatches] = {}
            for index in (index for index in group if index in missing):
                self._describe(index, network, device, prepared)
                done += 1
                if done == 1 or done % 50 == 0 or done == len(missing):
                    log.info("patches: %d of %d clips, %.0f s", done, len(missing), time.monotonic() - began)

    def scores(self, index: int) -> npt.NDArray[np.float32]:
        """(patches,) of one clip."""
        found: npt.NDArray[np.float32] = self._load(index, "scores")
        return found

    def features(self, index: int, patches: Sequence[int] | None = None) -> Tensor:
        """(patches, frames, channels, 4, 4) of one clip, float32."""
        found = self._load(index, "features")
        chosen = found if patches is None else found[np.asarray(patches)]
        return torch.from_numpy(np.asarray(chosen, dtype=np.float32))

    @torch.inference_mode()
    def _describe(
        self,
        index: int,
        network: RankDVQASTANet,
        device: torch.device,
        prepared: dict[tuple[Any, ...], PreparedPatches],
    ) -> None:
        scores, features = [], []
        firsts = self.clips.firsts(index)
        chosen: list[list[int]] | None = None
        for number, (reference, distorted) in enumerate(self.clips.read(index)):
            assert reference is not None
            if chosen is None:
                count = len(network.patches_of(*distorted.shape[3:]))
                chosen = self._choose(index, len(firsts), count)
            if number >= len(chosen) or not chosen[number]:
                continue
            place = (firsts[number], *reference.shape, *chosen[number])
            if place not in prepared:
                prepared[place] = network.prepare(reference.to(device), chosen[number])
            found = network.describe(prepared[place], distorted.to(device))
            scores.append(found.scores[0].float().cpu())
            features.append(found.features[0].half().cpu())
        for name, parts in (("features", features), ("scores", scores)):
            values = torch.cat(parts)
            if not torch.isfinite(values).all():
                raise TrainingError(f"the {name} of {self.clips.key(index)} are not finite in half precision")
            with replacing(self._named(index, name)) as temporary, temporary.open("wb") as file:
                np.save(file, values.numpy())

    def _choose(self, index: int, blocks: int, count: int) -> list[list[int]]:
        """Numbers of the patches to look at, for each block."""
        every = np.arange(blocks * count)
        if self.patches is not None and self.patches < len(every):
            item = self.clips.items[index]
            rng = np.random.default_rng((self.seed, zlib.crc32(str(item.reference).encode())))
            every = np.sort(rng.choice(every, self.patches, replace=False))
        return [(every[every // count == block] % count).tolist() for block in range(blocks)]

    def _file(self, index: int) -> str:
        manifest, item = self.clips.manifest, self.clips.items[index]
        text = f"{self.clips.key(index)} {self.clips.frames[index]}"
        for clip in (manifest.reference(item), manifest.distorted(item)):
            assert clip is not None
            try:
                state = clip.path.stat()
            except OSError as error:
                raise DataError("no such file", where=clip.path) from error
            text += f" {state.st_size} {state.st_mtime_ns}"  # a file that was written anew is described anew
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _named(self, index: int, what: str) -> Path:
        return self.folder / f"{self._files[index]}.{what}.npy"

    def _load(self, index: int, what: str) -> Any:
        path = self._named(index, what)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"is missing or damaged: {error}", where=path, hint="delete this file") from error


class DescribedPairs:
    """The batches of a `MosPairSampler`, as descriptions in place of pixels.

    Args:
        sampler: draws the pairs.
        descriptions: of its clips.
        patches: a step sees so many patches of each clip, drawn anew; None: all that are there.
    """

    def __init__(self, sampler: MosPairSampler, descriptions: Descriptions, patches: int | None) -> None:
        self.sampler, self.descriptions, self.patches = sampler, descriptions, patches

    def batch_at(self, step: int) -> DescribedBatch:
        """The batch of one step, a pure function of the sampler's seed and the step."""
        draw = self.sampler.draw_at(step)
        rng = np.random.default_rng((self.sampler.seed, step, 2))
        scores, features = [], []
        for index in (*draw.a, *draw.b):
            every = self.descriptions.scores(index)
            count = len(every) if self.patches is None else min(self.patches, len(every))
            chosen = np.sort(rng.choice(len(every), count, replace=False))
            scores.append(torch.from_numpy(every[chosen].copy()))
            features.append(self.descriptions.features(index, chosen.tolist()))
        there = [torch.ones(len(found), dtype=torch.bool) for found in scores]
        return DescribedBatch(_padded(scores), _padded(features), _padded(there), draw.difference)


def _padded(parts: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
