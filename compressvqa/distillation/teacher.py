"""The teacher at work: its scores of a batch, each clip scored once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from compressvqa.distillation.combine import Outputs
from compressvqa.distillation.taps import FeatureTaps
from compressvqa.distillation.teacher_cache import TeacherCache, fingerprint


class Teacher:
    """A frozen network that answers for batches of clips, and remembers its scores.

    A clip is scored alone and in full precision, so that its score does not depend on the batch that it first came in:
    a run that is resumed with an empty memory gets the same scores to the bit. Feature maps are not remembered; where
    a loss reads them, the teacher runs on the whole batch each time.

    Args:
        network: any network; it is set to evaluation and its parameters are frozen.
        folder: where the scores are kept, or None for memory only.
        max_bytes: most bytes of remembered scores.
        features: module paths whose outputs are wanted.
    """

    def __init__(
        self, network: nn.Module, folder: Path | None, *, max_bytes: int = 2**30, features: Sequence[str] = ()
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.features = list(features)
        self.cache = TeacherCache(folder, max_bytes=max_bytes, teacher=f"{fingerprint(network)}-fp32")

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor], keys: Sequence[str]) -> Outputs:
        """Scores (N,) of N clips, and the features where they are wanted.

        Args:
            inputs: the network's arguments, each (N, ...).
            keys: a name for each clip; equal names mean equal clips.
        """
        if self.features:
            with FeatureTaps(self.network, self.features, detach=True) as taps:
                scores = self.network(*inputs).float()
                return Outputs(scores=scores, features=taps.take())
        known: dict[str, Tensor | None] = dict(zip(keys, self.cache.get(keys), strict=True))
        fresh: dict[str, Tensor] = {}
        for position, key in enumerate(keys):
            if known[key] is None:
                clip = [value[position : position + 1] for value in inputs]
                with torch.autocast(clip[0].device.type, enabled=False):
                    known[key] = fresh[key] = self.network(*clip)[0].float()
        if fresh:
            self.cache.put(list(fresh), list(fresh.values()))
        return Outputs(scores=self._stack(known, keys, inputs[0].device))

    @staticmethod
    def _stack(known: Mapping[str, Tensor | None], keys: Sequence[str], device: torch.device) -> Tensor:
        return torch.stack([value for key in keys if (value := known[key]) is not None]).to(device)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: scores come back from the folder, or are computed again. Called at a checkpoint, it writes them."""
        self.cache.flush()
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to load."""
