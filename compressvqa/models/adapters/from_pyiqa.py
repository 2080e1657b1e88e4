"""pyiqa's learnt measures: pyiqa/NAME with the names of `pyiqa.list_models()`, for example pyiqa/topiq_nr.

Called as pyiqa's own networks are, **distorted first**: `model(distorted, reference)` for a full-reference one, with
images (batch, 3, height, width) in [0, 1]. Many of pyiqa's constructors fetch the weights of a backbone whatever one
asks for; here nothing is fetched. Its published weights are pickled files that it reads unchecked: not offered.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import timm
import torch
import torchvision
from torch import Tensor, nn

from compressvqa.errors import DataError


def names() -> list[str]:
    """Every measure that pyiqa has a configuration of."""
    return list(_configs())


def facts(name: str) -> dict[str, Any]:
    """Mode and direction as pyiqa gives them."""
    config = _configs()[name]
    return {"mode": config["metric_mode"], "higher_is_better": not config.get("lower_better", False)}


def build(name: str, *, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """The architecture of a measure.

    Raises:
        DataError: it can't be built without what it would fetch, or its published weights are asked for.
    """
    if pretrained:
        raise DataError(
            "pyiqa's weights are pickled files that it reads unchecked, so they are not loaded here",
            hint=f"pyiqa.create_metric({name!r}).net.state_dict() into create_model('pyiqa/{name}')",
        )
    settings = {**_configs()[name]["metric_opts"], **kwargs}
    with _offline(settings["type"]) as takes:
        if "pretrained" in takes:
            # Some name the weights there, and take None for none.
            settings["pretrained"] = False if isinstance(takes["pretrained"].default, bool) else None
        try:
            network: nn.Module = importlib.import_module("pyiqa.archs").build_network(settings)
        except _FetchError as error:
            raise DataError(f"pyiqa/{name} can't be built without fetching {error}") from error
    return network


def example(
    name: str, *, size: int, frames: int, batch: int, generator: torch.Generator, **kwargs: Any
) -> tuple[Tensor, ...]:
    """Noise; twice for a full-reference measure."""
    del frames, kwargs
    count = 2 if _configs()[name]["metric_mode"] == "FR" else 1
    return tuple(torch.rand(batch, 3, size, size, generator=generator) for _ in range(count))


def _configs() -> dict[str, Any]:
    """pyiqa is imported when it is asked for: it need not be installed."""
    configs: dict[str, Any] = importlib.import_module("pyiqa.default_model_configs").DEFAULT_CONFIGS
    return configs


_ONE_AT_A_TIME = threading.RLock()


class _FetchError(Exception):
    """A constructor that goes on fetching."""


@contextmanager
def _offline(architecture: str) -> Iterator[Mapping[str, inspect.Parameter]]:
    """Closes the doors through which pyiqa's constructors fetch; gives the constructor's arguments."""
    registry = importlib.import_module("pyiqa.utils.registry").ARCH_REGISTRY
    if architecture not in registry:
        importlib.import_module("pyiqa.archs")._lazy_import_arch(architecture)
    constructor = registry.get(architecture)
    home = importlib.import_module(constructor.__module__)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise _FetchError(str(args[0] if args else "its weights"))

    make = timm.create_model
    doors: list[tuple[Any, str, Any]] = [
        (timm, "create_model", lambda *a, **k: make(*a, **{**k, "pretrained": False})),
        (torchvision.models._api, "load_state_dict_from_url", lambda *a, **k: {}),
        (torch.hub, "load_state_dict_from_url", lambda *a, **k: {}),
        (home, "load_state_dict_from_url", lambda *a, **k: {}),
        (home, "load_pretrained_network", lambda *a, **k: None),
        (home, "load_file_from_url", refuse),
        (nn.Module, "load_state_dict", lambda *a, **k: None),  # of the empty states that the doors above give
    ]
    with closed(doors):
        yield inspect.signature(constructor).parameters


@contextmanager
def closed(doors: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Functions are others while the block runs, for its own thread alone: other threads see what was there before.

    Args:
        doors: (what holds the function, its name, the other one); what does not exist is left out.
    """
    owner = threading.get_ident()

    def door(original: Any, instead: Any) -> Any:
        @functools.wraps(original)
        def chosen(*arguments: Any, **settings: Any) -> Any:
            return (instead if threading.get_ident() == owner else original)(*arguments, **settings)

        return chosen

    with ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)  # two that overlap would put each other's back
        for place, name, instead in doors:
            if hasattr(place, name):
                stack.enter_context(patch.object(place, name, door(getattr(place, name), instead)))
        yield
