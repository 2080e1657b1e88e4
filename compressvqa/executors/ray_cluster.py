"""Units as tasks of a Ray cluster."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from compressvqa.errors import CompressVQAError, DataError, MissingExtraError
from compressvqa.executors.doing import Surroundings, done, kept_of
from compressvqa.executors.results import Results
from compressvqa.executors.unit import Outcome, Unit, Work

log = logging.getLogger(__name__)
MEMORY = 2 * 2**30


class RayCluster:
    """Runs each unit as a Ray task, which Ray begins anew where its node or process died.

    A task takes one core and reserves its memory, so that a node is never given more than it holds. Few tasks are
    handed over at a time. When the head dies the run ends in an error; the next one goes on.

    Args:
        address: of a running cluster, ``auto``: the one that this machine belongs to.
        memory: bytes that a unit takes.
        retries: how many times a unit is begun again whose node or process died.

    Raises:
        MissingExtraError: Ray is not installed.
        CompressVQAError: there is no cluster at that address.
    """

    whole = True

    def __init__(self, address: str = "auto", *, memory: int = MEMORY, retries: int = 3) -> None:
        self._ray, self.memory, self.retries = connected(address), memory, retries

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """See `Executor.share`: all."""
        return list(units)

    def run(self, work: Work, units: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        """See `Executor.run`."""
        held, todo = kept_of(units, results)
        yield from held
        try:
            yield from self._tasks(work, todo, results)
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().partition("\n")[0]
            hint = "run it again: what was done is kept"
            raise CompressVQAError(f"the cluster was lost ({first})", where="--cluster", hint=hint) from error

    def _tasks(self, work: Work, todo: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        ray = self._ray
        task = ray.remote(num_cpus=1, memory=self.memory, max_retries=self.retries)(_one)
        running: dict[Any, Unit] = {}
        here = Surroundings.here()
        waiting = iter(todo)
        while True:
            # Twice the cores: none waits for the next task, and a lost driver leaves few behind.
            limit = max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))
            while len(running) < limit and (unit := next(waiting, None)) is not None:
                running[task.remote(work, unit, results, here)] = unit
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                unit = running.pop(reference)
                try:
                    yield unit, ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    cause = error.cause
                    if isinstance(cause, CompressVQAError):
                        raise cause from error
                    raise
                except ray.exceptions.WorkerCrashedError as error:
                    raise DataError(
                        f"its process died {self.retries + 1} times, of too little memory perhaps",
                        where=unit.title or unit.name,
                    ) from error


def connected(address: str = "auto") -> Any:
    """The module `ray`, once this process has joined the cluster at an address.

    Args:
        address: of a running cluster, ``auto``: the one that this machine belongs to.

    Raises:
        MissingExtraError: Ray is not installed.
        CompressVQAError: there is no cluster at that address.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "cluster") from error
    if not ray.is_initialized():
        _answers(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = str(error).strip().partition("\n")[0]
            raise CompressVQAError(
                f"no Ray cluster answers ({first})", where=f"--cluster {address}", hint="ray start --head"
            ) from error
    return ray


def _answers(address: str) -> None:
    """Refuses an address at which nothing listens: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise CompressVQAError(
                f"no Ray cluster answers ({error})", where=f"--cluster {address}", hint="ray start --head"
            ) from error


def _one(work: Work, unit: Unit, results: Results, surroundings: Surroundings) -> object:
    surroundings.enter(threads=1)
    return done(work, unit, results)
