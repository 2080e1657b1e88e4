"""Reads the outputs of inner modules by their paths, without a change to the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compressvqa.distillation.layout import Channels, Layout
from compressvqa.errors import RecipeError, TrainingError
from compressvqa.module_paths import modules_named


class FeatureTaps:
    """Collects the outputs of modules whose paths match, while the ``with`` block lasts.

    A module may run several times before `take`, for example once on the reference and once on the distorted clip:
    its outputs are then joined along the batch, in the order of the calls. Hooks are removed at the end of the block,
    also after an exception.

    Args:
        model: any network.
        patterns: module paths as in ``model.named_modules()``, or patterns of them, see `compressvqa.module_paths`;
            what lies below a module that is named is not tapped.
        detach: cut the outputs off the graph (for a teacher).
        channels: where the outputs hold their channels; they are taken with channels second. By default they are left
            as they are; see `Layout`.

    Raises:
        RecipeError: a pattern matches no module; the message names the nearest paths.
        TrainingError: at the forward pass, a tapped module returns something else than a tensor.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with FeatureTaps(model, ["0"]) as taps:
    ...     _ = model(torch.zeros(2, 4))
    ...     features = taps.take()
    >>> {path: tuple(feature.shape) for path, feature in features.items()}
    {'0': (2, 3)}
    """

    def __init__(
        self, model: nn.Module, patterns: Sequence[str], *, detach: bool = False, channels: Channels = "second"
    ) -> None:
        self.detach = detach
        modules = {path: module for path, module in model.named_modules(remove_duplicate=False) if path}
        listed = [patterns] if isinstance(patterns, str) else patterns
        chosen = {
            path
            for pattern in listed
            for path in modules_named(model, pattern, RecipeError, where=type(model).__name__)
        }
        # In the order of the network, whatever the order of the patterns.
        self.modules = {path: module for path, module in modules.items() if path in chosen}
        self._layouts = {path: Layout(module, channels) for path, module in self.modules.items()}
        self._outputs: dict[str, list[Tensor]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> FeatureTaps:
        for path, module in self.modules.items():
            self._handles.append(module.register_forward_hook(self._hook(path)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs.clear()

    def take(self) -> dict[str, Tensor]:
        """The outputs since the last call of `take`, {path: (N, ...)}; a module that has not run is missing.

        Raises:
            TrainingError: a module's outputs differ in shape from call to call, so that they can't be joined.
        """
        features: dict[str, Tensor] = {}
        for path, outputs in self.take_calls().items():
            if any(output.shape[1:] != outputs[0].shape[1:] for output in outputs):
                shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
                raise TrainingError(f"outputs of several calls differ in shape: {shapes}", where=path)
            features[path] = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return features

    def take_calls(self) -> dict[str, list[Tensor]]:
        """Like `take`, but with the output of each call of a module by itself."""
        taken, self._outputs = self._outputs, {}
        return {path: [self._second(path, output) for output in taken[path]] for path in self.modules if path in taken}

    def _second(self, path: str, output: Tensor) -> Tensor:
        try:
            return self._layouts[path](output)
        except TrainingError as error:
            raise TrainingError(error.what, where=path, hint=error.hint) from error

    def _hook(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                kind = type(output).__name__
                raise TrainingError(f"{type(module).__name__} returns a {kind}, not a tensor", where=path)
            self._outputs.setdefault(path, []).append(output.detach() if self.detach else output)

        return keep
