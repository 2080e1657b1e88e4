"""The training loop, on Lightning Fabric; every stage that trains uses it.

A step's batch and its random numbers depend only on (seed, step), so a run that was killed and resumed from its last
checkpoint goes on exactly as if nothing had happened. Over several processes (`world`) every one goes through the whole
batch's loss with the scores of all; the first one writes checkpoints, which any number of processes goes on from.
"""

from __future__ import annotations

import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from compressvqa.errors import Terminated, TrainingError
from compressvqa.files import replacing
from compressvqa.models.checkpoints import why_no_tensors
from compressvqa.training.sharding import mesh_of, shard_training, take_back, whole
from compressvqa.training.world import Shares, World, say_what_differs, world

if TYPE_CHECKING:  # a run imports it when it needs it, see running/precision.py
    from lightning_fabric import Fabric

StepLoss = Callable[[nn.Module, Any], tuple[Tensor, dict[str, float]]]


class Batches(Protocol):
    """An endless source of batches; `batch_at` is a pure function of the step."""

    def batch_at(self, step: int) -> Any:
        """The batch of a step, counted from 0."""


class Stateful(Protocol):
    """Anything whose state belongs into a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """The state, as tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes the state back."""


@dataclass(frozen=True)
class FitSettings:
    """How long and how carefully to train.

    Args:
        steps: number of optimiser steps.
        seed: seed of dropout and of everything else that is drawn while training.
        clip_norm: largest norm of the gradient, or None.
        checkpoint_seconds: a checkpoint is written when the last one is older.
    """

    steps: int
    seed: int = 0
    clip_norm: float | None = None
    checkpoint_seconds: float = 60.0


def fit(
    fabric: Fabric,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    step_loss: StepLoss,
    settings: FitSettings,
    *,
    checkpoint: Path,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    after_step: Callable[[], dict[str, float]] | None = None,
    state: dict[str, Stateful] | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> int:
    """Trains `network` in place and returns the step that it started at (0, or more when it was resumed).

    Args:
        fabric: device and precision.
        step_loss: ``(network, batch) -> (0-d loss, figures to log)``.
        checkpoint: file of the checkpoint; when it exists, training goes on from it.
        after_step: called after each optimiser step; what it returns is logged.
        state: further things whose state goes into the checkpoint, by name.
        on_step: called with the number of finished steps and the figures of the step.

    Raises:
        TrainingError: the loss or the gradient is not finite; the last good checkpoint is kept. Or there is something
            to do after each step, and the weights are shared out (`runtime.sharding`).
        KeyboardInterrupt: passed on after a checkpoint was written; SIGTERM becomes `Terminated`, which is one.
    """
    parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, **(state or {})}
    if schedule is not None:
        parts["schedule"] = schedule
    here = world()
    _place(network, fabric, after_step)  # before the checkpoint is read: an optimiser's state goes where parameters are
    held = here.same(str(checkpoint.absolute()) if checkpoint.exists() else None)
    start = 0 if held is None else _restore(Path(held), parts, settings)
    inner, model, wrapped_optimizer, masks = _set_up(fabric, network, optimizer, here)
    parts["network"] = inner.train()
    done, saved_at = start, time.monotonic()
    with _prefetch(batches, start, settings.steps) as queue, _quiet_schedule(), _stop_after_step() as stop, masks:
        for step, read in queue:
            torch.manual_seed((settings.seed << 32) + step)
            batch = fabric.to_device(read)
            loss, figures = step_loss(model, batch)
            _check_finite(loss, "the loss", step, checkpoint)
            wrapped_optimizer.zero_grad()
            fabric.backward(loss)
            if settings.clip_norm is not None:
                norm = torch.nn.utils.clip_grad_norm_(inner.parameters(), settings.clip_norm)
                _check_finite(whole(norm), "the gradient", step, checkpoint)
            figures = {"loss": loss.item(), "lr": optimizer.param_groups[0]["lr"], **figures}
            wrapped_optimizer.step()
            if schedule is not None:
                schedule.step()
            if after_step is not None:
                figures |= after_step()
            done = step + 1
            if on_step is not None:
                on_step(done, figures)
            due = here.first and time.monotonic() - saved_at > settings.checkpoint_seconds
            # A signal reaches processes at different steps, and a checkpoint of shared weights takes all of them.
            stopped, due = here.any(stop.is_set(), due, device=fabric.device)
            if stopped or due:
                _save(checkpoint, parts, done, settings, here)
                saved_at = time.monotonic()
            if stopped:
                here.wait()  # the first one that ends may take the others with it
                raise stop.how
    _save(checkpoint, parts, done, settings, here)
    if inner is not network:
        take_back(network, inner)
    here.wait()
    return start


def _place(network: nn.Module, fabric: Fabric, after_step: Any) -> None:
    """Brings a network to the device; one whose weights are shared out comes there in parts."""
    if mesh_of(fabric) is None:
        network.to(fabric.device)
    elif after_step is not None:
        raise TrainingError("what is done after each step needs whole weights", hint="runtime.sharding: none")


class _SetUp(NamedTuple):
    """What a step works with: the network that runs, what a loss calls, the optimiser, and whole masks of dropout."""

    inner: nn.Module
    model: Any
    optimizer: Any
    masks: AbstractContextManager[None]


def _set_up(fabric: Fabric, network: nn.Module, optimizer: torch.optim.Optimizer, here: World) -> _SetUp:
    wrapped: Any
    steps: Any
    if mesh_of(fabric) is None:
        inner, (wrapped, steps) = network, fabric.setup(network, optimizer)
    else:
        inner, wrapped, steps = shard_training(fabric, network, optimizer)
    if here.size == 1:
        return _SetUp(inner, wrapped, steps, nullcontext())
    shares = Shares(wrapped, here, None if inner is network else inner)
    if here.first:
        say_what_differs(inner)
    return _SetUp(inner, shares, steps, shares.whole_masks(inner))


@contextmanager
def _prefetch(batches: Batches, start: int, stop: int) -> Iterator[Iterator[tuple[int, Any]]]:
    """Reads the next batch while the current one trains."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:

        def run() -> Iterator[tuple[int, Any]]:
            ahead = pool.submit(batches.batch_at, start) if start < stop else None
            for step in range(start, stop):
                assert ahead is not None
                batch = ahead.result()
                ahead = pool.submit(batches.batch_at, step + 1) if step + 1 < stop else None
                yield step, batch

        yield run()


class _Stop(threading.Event):
    """Set by the first signal to stop; `how` is what to raise for it."""

    how: type[KeyboardInterrupt] = KeyboardInterrupt


@contextmanager
def _stop_after_step() -> Iterator[_Stop]:
    """The first Ctrl-C or SIGTERM sets the event, so that a step is finished and saved; the second stops at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: Any) -> None:
        stop.how = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if stop.is_set():
            raise stop.how
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _quiet_schedule() -> Iterator[None]:
    """PyTorch warns that a schedule stepped before its optimiser, since Fabric wraps the optimiser's step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
        yield


def _check_finite(value: Tensor, what: str, step: int, checkpoint: Path) -> None:
    if math.isfinite(value.item()):
        return
    kept = f"the last good checkpoint is {checkpoint}" if checkpoint.exists() else "no checkpoint was written yet"
    hint = "a smaller learning rate or lambda, or `precision: 32`"
    raise TrainingError(f"{what} is {value.item()} at step {step + 1}; {kept}", hint=hint)


def _not_finite(weights: dict[str, Tensor]) -> str | None:
    """The name of a tensor that holds something else than numbers."""
    return next((k for k, v in weights.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())), None)


def _save(path: Path, parts: dict[str, Stateful], step: int, settings: FitSettings, here: World) -> None:
    """Checks the weights in every process, and writes the checkpoint in the first one."""
    shared = ("network", "optimizer")
    state: dict[str, Any] = {name: whole(parts[name].state_dict(), kept=here.first) for name in shared}
    damaged = here.same(_not_finite(state["network"]) if here.first else None)
    if damaged:
        raise TrainingError(f"the weights {damaged!r} are not finite; the last good checkpoint is {path}")
    if not here.first:
        return
    state |= {name: part.state_dict() for name, part in parts.items() if name not in state}
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save({**state, "step": step, "steps": settings.steps}, file)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):  # torch tells a full disk as an error of its own
            raise
        hint = "free some space, then run it again: it goes on from the last checkpoint"
        what = f"the checkpoint can't be written ({cause.strerror or cause})"
        raise TrainingError(what, where=path, hint=hint) from error


def _restore(path: Path, parts: dict[str, Stateful], settings: FitSettings) -> int:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step = int(state["step"])
    except Exception as error:  # torch raises many kinds for a damaged file
        what = f"the checkpoint can't be resumed: {why_no_tensors(error)}"
        raise TrainingError(what, where=path, hint="delete it") from error
    return min(step, settings.steps)
