"""One registry for everything that a user can swap: models, stages, losses, sparsifiers, ...

Each *kind* of plugin has a promise (``Kind.check``) that is tested at the moment of registration, so a wrong plugin
fails where it was written and not an hour into a run. A third-party package adds its own by naming a module under the
entry-point group ``compressvqa.plugins``; the module is imported at the first look-up.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import importlib
import importlib.metadata
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from compressvqa.errors import RegistryError

T = TypeVar("T")
# What a stage may be registered with: it learns the recipe's objective, so clips without labels are nothing to it; it
# has a teacher beside the network that it works on.
STAGE_FACTS = ("needs_labels", "two_networks", "keeps_structure", "whole_weights")
ENTRY_POINT_GROUP = "compressvqa.plugins"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One registered thing: its name, the thing itself and the facts given along with it."""

    name: str
    value: Any
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """Where it was defined, as ``module.name``."""
        return f"{self.value.__module__}.{getattr(self.value, '__qualname__', self.name)}"

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.value) or "").split("\n", 1)[0]


class Registry:
    """Names of one kind.

    Args:
        kind: what the names stand for, as a user would say it ("model", "loss", ...).
        home: our own package whose import registers the built-in names.
        check: the promise of the kind: ``check(name, value, facts)`` raises `RegistryError` for a value that breaks it.
    """

    every: ClassVar[list[Registry]] = []

    def __init__(self, kind: str, home: str, check: Callable[[str, Any, dict[str, Any]], None]) -> None:
        self.every.append(self)
        self.kind, self._home, self._check = kind, home, check
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, **facts: Any) -> Callable[[T], T]:
        """Decorator that registers a value under `name`.

        Raises:
            RegistryError: the name is taken by something else, or the value breaks the kind's promise.
        """

        def decorate(value: T) -> T:
            if not (inspect.getdoc(value) or "").strip():
                raise RegistryError(f"{self.kind} {name!r} has no docstring", where=_place(value), hint="add one line")
            self._check(name, value, facts)
            entry, taken = Entry(name, value, facts), self._entries.get(name)
            # A module imported twice (a reload, a notebook cell run again) may register its own name again.
            if taken is not None and taken.home != entry.home:
                raise RegistryError(f"{self.kind} {name!r} is registered twice: by {taken.home} and {entry.home}")
            self._entries[name] = entry
            return value

        return decorate

    def __getitem__(self, name: str) -> Entry:
        importlib.import_module(self._home)
        if name not in self._entries:
            load_plugins()  # reading the entry points of every installed package takes milliseconds
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.5)
            known = ", ".join(near or sorted(self._entries))
            raise RegistryError(f"unknown {self.kind} {name!r}", hint=known or f"no {self.kind} is registered")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def names(self, pattern: str = "*") -> list[str]:
        """Sorted names that match a shell pattern."""
        return fnmatch.filter(self, pattern)

    def _load(self) -> None:
        importlib.import_module(self._home)
        load_plugins()


_loaded_plugins: set[str] = set()


def load_plugins() -> None:
    """Imports every module named under the entry-point group ``compressvqa.plugins`` that has not loaded yet.

    Raises:
        RegistryError: a plugin can't be imported; the message names its package.
    """
    for point in _plugins(*_installed()):
        if point.value in _loaded_plugins:
            continue
        with _all_or_nothing():
            try:
                point.load()
            except RegistryError:
                raise
            except Exception as error:  # a plugin may fail in any way; say whose it is
                owner = point.dist.name if point.dist else point.value
                raise RegistryError(f"plugin {point.name!r} of package {owner!r} does not load: {error}") from error
        _loaded_plugins.add(point.value)
        log.debug("plugin %s loaded", point.value)


def _installed() -> tuple[tuple[str, float], ...]:
    """The folders that hold packages, with the moment of their last change."""
    folders = [Path(place) for place in sys.path]  # the empty one is where we stand
    return tuple((str(folder.absolute()), folder.stat().st_mtime) for folder in folders if folder.is_dir())


@functools.lru_cache(maxsize=2)
def _plugins(*installed: tuple[str, float]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """What packages register; read once for what is installed, since every package's file is opened for it."""
    del installed
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """What a plugin registered before it failed is taken back, so that it fails each time and not only the first."""
    before = {registry: dict(registry._entries) for registry in Registry.every}
    try:
        yield
    except BaseException:
        for registry, entries in before.items():
            registry._entries = entries
        raise


# --- the promises -----------------------------------------------------------------------------------------------


def _place(value: Any) -> str:
    return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', value)}"


def _needs(condition: bool, kind: str, name: str, promise: str, value: Any) -> None:
    if not condition:
        raise RegistryError(f"{kind} {name!r} {promise}", where=_place(value))


def _positional(value: Callable[..., Any]) -> list[str]:
    """Names of the parameters that can be given by position and have no default."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(value).parameters.values() if p.kind in kinds and p.default is p.empty]


def _check_model(name: str, value: Any, facts: dict[str, Any]) -> None:
    _needs(callable(value), "model", name, "must be a function or class that returns a torch.nn.Module", value)
    _needs(not _positional(value), "model", name, "must be built without positional arguments", value)
    _needs(facts.get("mode") in ("FR", "NR"), "model", name, 'must say mode="FR" or mode="NR"', value)


def _check_function(kind: str, parameters: int, meaning: str) -> Callable[[str, Any, dict[str, Any]], None]:
    def check(name: str, value: Any, facts: dict[str, Any]) -> None:
        _needs(callable(value), kind, name, "must be callable", value)
        _needs(len(_positional(value)) == parameters, kind, name, f"must take {meaning}", value)

    return check


def _check_loss(name: str, value: Any, facts: dict[str, Any]) -> None:
    _check_function("loss", 2, "(teacher, student) by position; settings by keyword with defaults")(name, value, facts)
    promise = 'must say what it compares: on="probability", "score" or "feature"'
    _needs(facts.get("on") in ("probability", "score", "feature"), "loss", name, promise, value)


def _check_sparsifier(name: str, value: Any, facts: dict[str, Any]) -> None:
    import torch

    fits = inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    _needs(fits, "sparsifier", name, "must be a subclass of torch.optim.Optimizer", value)
    parameters = inspect.signature(value).parameters
    fits = "params" in parameters and ("lam" in parameters or "channels" in parameters)
    _needs(fits, "sparsifier", name, "must take params and lam, or params and channels", value)


def _check_scorer(name: str, value: Any, facts: dict[str, Any]) -> None:
    _needs(callable(value), "scorer", name, "must be a function or class that returns a Scorer", value)
    arguments = 1 if facts.get("one_pass") else 0
    promise = "must take (names): one_pass says so" if arguments else "must be built without positional arguments"
    _needs(len(_positional(value)) == arguments, "scorer", name, promise, value)


def _check_runtime(name: str, value: Any, facts: dict[str, Any]) -> None:
    _needs(inspect.isclass(value), "runtime", name, "must be a class", value)
    _needs(not _positional(value), "runtime", name, "must be built without positional arguments", value)
    for method in ("compile", "prepare"):
        _needs(callable(getattr(value, method, None)), "runtime", name, f"must have a method `{method}`", value)
    tolerance = facts.get("tolerance")
    fits = isinstance(tolerance, (int, float)) and 0 <= tolerance < 1
    _needs(fits, "runtime", name, "must say its tolerance, a share of the scores' spread: 0 <= tolerance < 1", value)


def _check_configured(kind: str, methods: tuple[str, ...]) -> Callable[[str, Any, dict[str, Any]], None]:
    def check(name: str, value: Any, facts: dict[str, Any]) -> None:
        from pydantic import BaseModel

        _needs(inspect.isclass(value), kind, name, "must be a class", value)
        config = getattr(value, "Config", None)
        fits = inspect.isclass(config) and issubclass(config, BaseModel)
        _needs(fits, kind, name, "must hold its settings as an inner pydantic class `Config`", value)
        assert config is not None
        _needs(config.model_config.get("extra") == "forbid", kind, name, "must refuse unknown settings", value)
        for field_name, info in config.model_fields.items():
            _needs(bool(info.description), kind, name, f"must describe its setting {field_name!r}", value)
        for method in methods:
            _needs(callable(getattr(value, method, None)), kind, name, f"must have a method `{method}`", value)

    return check


def _check_stage(name: str, value: Any, facts: dict[str, Any]) -> None:
    _check_configured("stage", ("run",))(name, value, facts)
    for fact in facts:
        _needs(fact in STAGE_FACTS, "stage", name, f"has no fact {fact!r}: {', '.join(STAGE_FACTS)}", value)
    if facts.get("two_networks"):
        promise = "works on two networks, so its settings must say who teaches: `teacher`, or a property `teaching`"
        _needs(
            "teacher" in value.Config.model_fields or "teaching" in vars(value.Config), "stage", name, promise, value
        )


models = Registry("model", "compressvqa.models", _check_model)
losses = Registry("loss", "compressvqa.distillation", _check_loss)
sparsifiers = Registry("sparsifier", "compressvqa.sparsity", _check_sparsifier)
importances = Registry(
    "importance", "compressvqa.pruning", _check_function("importance", 2, "(weights, gradients), lists of tensors")
)
ratio_rules = Registry(
    "ratio rule", "compressvqa.pruning", _check_function("ratio rule", 2, "(group density, overall density)")
)
objectives = Registry(
    "objective", "compressvqa.training", _check_configured("objective", ("inputs", "keys", "margins", "loss"))
)
datasets = Registry("dataset", "compressvqa.data", _check_configured("dataset", ("prepare", "batches", "evaluate")))
mos_sets = Registry("MOS data set", "compressvqa.opinions", _check_function("MOS data set", 1, "(folder)"))
runtimes = Registry("runtime", "compressvqa.deploy", _check_runtime)
scorers = Registry("scorer", "compressvqa.scoring", _check_scorer)
stages = Registry("stage", "compressvqa.stages", _check_stage)
