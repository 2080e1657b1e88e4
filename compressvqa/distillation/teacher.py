"""The teacher at work: its scores and features of a batch, each clip shown to it once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from compressvqa.arithmetic import Arithmetic
from compressvqa.code_digest import code_digest
from compressvqa.distillation.combine import Outputs
from compressvqa.distillation.joining import find_order, join
from compressvqa.distillation.layout import Channels
from compressvqa.distillation.positions import mean_of_positions
from compressvqa.distillation.taps import FeatureTaps
from compressvqa.distillation.teacher_cache import TeacherCache

log = logging.getLogger(__name__)

Calls = dict[str, list[Tensor]]  # {module path: the output of each call, (rows, C, ...)}

# How far a clip's features may depend on its company: rounding, in shares of the largest value.
TOLERANCE: dict[Arithmetic, float] = {"32": 1e-3, "bf16": 0.05}


class Teacher:
    """A frozen network that answers for batches of clips, and remembers its answers.

    A clip is shown alone, so that the answer does not depend on the batch that it first came in: a run that is resumed
    with an empty memory gets the same answers to the bit. Features are remembered too where those of a clip are small.
    Where they are large, or where a batch's features are not made of its clips' (the clips influence each other), the
    network runs on the whole batch each time.

    Args:
        network: any network; it is set to evaluation and its parameters are frozen.
        folder: where the answers are kept, or None for memory only.
        max_bytes: most bytes of remembered scores, and again of remembered features.
        features: module paths whose outputs are wanted.
        precision: of the arithmetic; ``bf16`` is autocast, the weights stay as they are.
        channels: where the features hold their channels; see `Layout`.
        mean: only the average of each feature over its positions is wanted, (N, C), and kept.
        clip_bytes: features are remembered where those of one clip take at most so many bytes.
    """

    def __init__(
        self,
        network: nn.Module,
        folder: Path | None,
        *,
        max_bytes: int = 2**30,
        features: Sequence[str] = (),
        precision: Arithmetic = "32",
        channels: Channels = "second",
        mean: bool = False,
        clip_bytes: int = 2**18,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.features, self.precision = list(features), precision
        self.channels, self.mean, self.clip_bytes = channels, mean, clip_bytes
        # Also the code: what a teacher said before its forward was changed is not what it says now.
        identity = f"{code_digest(network)}-{'fp32' if precision == '32' else precision}"
        kind = f"features-{channels}-mean" if mean else f"features-{channels}"
        self.cache = TeacherCache(folder, max_bytes=max_bytes, teacher=identity)
        self.feature_cache = TeacherCache(
            folder if features else None, max_bytes=max_bytes, teacher=f"{identity}-{kind}"
        )
        self.whole_because = ""
        """Why features are not remembered and the network runs on whole batches; empty where they are."""
        self._orders: dict[str, str] = {}

    @torch.no_grad()
    def __call__(self, inputs: Sequence[Tensor], keys: Sequence[str]) -> Outputs:
        """Scores (N,) of N clips, and the features where they are wanted, channels second.

        Args:
            inputs: the network's arguments, each (N, ...).
            keys: a name for each clip; equal names mean equal clips.
        """
        answer = None if self.whole_because else self._from_clips(inputs, keys)
        return self._whole(inputs) if answer is None else answer

    def _from_clips(self, inputs: Sequence[Tensor], keys: Sequence[str]) -> Outputs | None:
        """The answer put together from those to single clips; None where features can't be."""
        scores: dict[str, Tensor] = {}
        features: dict[str, dict[str, Tensor]] = {}
        fresh: list[str] = []
        known = dict(zip(keys, self.cache.get(keys), strict=True))
        for position, key in enumerate(keys):
            if key in scores:
                continue
            score, kept = known[key], self._remembered(key)
            if score is None or kept is None:
                answer, calls = self._run([value[position : position + 1] for value in inputs])
                score, kept = answer[0].cpu() if score is None else score, self._stacked(calls)
                if kept is None:
                    return None
                fresh.append(key)
            scores[key], features[key] = score, kept
        self.cache.put(fresh, [scores[key] for key in fresh])
        for key in fresh:
            self.feature_cache.put([f"{key} {path}" for path in features[key]], list(features[key].values()))
        joined = self._joined(inputs, keys, features)
        if joined is None:
            return None
        device = inputs[0].device
        return Outputs(
            scores=torch.stack([scores[key] for key in keys]).to(device),
            features={path: value.to(device) for path, value in joined.items()},
        )

    def _remembered(self, key: str) -> dict[str, Tensor] | None:
        values = self.feature_cache.get([f"{key} {path}" for path in self.features])
        found = {path: value for path, value in zip(self.features, values, strict=True) if value is not None}
        return found if len(found) == len(self.features) else None

    def _run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Calls]:
        taps = FeatureTaps(self.network, self.features, detach=True, channels=self.channels)
        autocast = torch.autocast(inputs[0].device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")
        with taps, autocast:
            scores = self.network(*inputs).float()
            calls = taps.take_calls()
        return scores, {
            path: [(mean_of_positions(output) if self.mean else output).float() for output in outputs]
            for path, outputs in calls.items()
        }

    def _whole(self, inputs: Sequence[Tensor]) -> Outputs:
        scores, calls = self._run(inputs)
        return Outputs(scores=scores, features={path: torch.cat(outputs) for path, outputs in calls.items()})

    def _stacked(self, calls: Calls) -> dict[str, Tensor] | None:
        """A clip's features as one tensor a module, (calls, rows, C, ...); None where they are not to be kept."""
        size = sum(output.nbytes for outputs in calls.values() for output in outputs)
        if size > self.clip_bytes:
            self._give_up(f"those of a clip take {size} bytes")
            return None
        if any(len({output.shape for output in outputs}) > 1 for outputs in calls.values()):
            self._give_up("a module's calls differ in shape")
            return None
        return {path: torch.stack(outputs).cpu() for path, outputs in calls.items()}

    def _joined(
        self, inputs: Sequence[Tensor], keys: Sequence[str], features: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor] | None:
        """The clips' features in the order in which a run on the whole batch gives them; None where there is none."""
        paths = list(features[keys[0]])
        orders = {path: self._orders.get(path, "calls") for path in paths}
        several = [path for path in paths if features[keys[0]][path].shape[:2].numel() > 1]
        unknown = [path for path in several if path not in self._orders]
        other = next((position for position, key in enumerate(keys) if key != keys[0]), None)
        if unknown and other is not None:
            _, together = self._run([value[[0, other]] for value in inputs])
            for path in unknown:
                pair = [features[keys[position]][path] for position in (0, other)]
                order, certain = find_order(pair, torch.cat(together[path]).cpu(), tolerance=TOLERANCE[self.precision])
                if order is None:
                    self._give_up(f"at {path!r} the clips of a batch influence each other")
                    return None
                orders[path] = order
                if certain:
                    self._orders[path] = order
        return {path: join([features[key][path] for key in keys], orders[path]) for path in paths}

    def _give_up(self, reason: str) -> None:
        self.whole_because = reason
        log.info("the teacher's features are computed at each step: %s", reason)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: answers come back from the folder, or are computed again. Called at a checkpoint, it writes them."""
        self.cache.flush()
        self.feature_cache.flush()
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing to load."""
