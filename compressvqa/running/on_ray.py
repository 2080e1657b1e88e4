"""A run whose trainings go over the workers of a Ray cluster, begun again where one of them dies."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError, MissingExtraError
from compressvqa.executors.doing import Surroundings
from compressvqa.executors.ray_cluster import connected
from compressvqa.files import unique, write_text

log = logging.getLogger("compressvqa")
RESTARTS = 3
PLACE = ".ray"  # in the run folder: what Ray keeps while it trains
REFUSED = "refused.txt"  # why a run can't go on, in the words of the first worker that said so


def train_on_ray(
    recipe: str,
    overrides: Sequence[str],
    *,
    out: Path,
    data_folder: Path | None,
    address: str,
    workers: int | None = None,
    resume: bool = True,
    restarts: int = RESTARTS,
) -> None:
    """Does a whole run with Ray's `TorchTrainer`: its workers are the processes that `torchrun` would start.

    They share every training as processes of torchrun do (`compressvqa.training.world`) and write to the same run
    folder. When one dies, with its node perhaps, all are begun again and go on from the last checkpoint. `run`, called
    afterwards with the same folder, finds everything done.

    Args:
        recipe: name or path, as `Recipe.load` takes it.
        overrides: settings that differ.
        out: the run folder; like the data and whatever the recipe names it must be seen by all machines.
        data_folder: where prepared data is kept; None: in the run folder.
        address: of the cluster, ``auto``: the one that this machine belongs to.
        workers: processes, with a GPU each where the cluster has so many, else with their share of the cores; None: one
            for each GPU, and without GPUs one for each node.
        resume: False refuses a folder that already holds a run.
        restarts: how many times the workers are begun again at most.

    Raises:
        MissingExtraError: Ray, or what its trainer needs, is not installed.
        CompressVQAError: there is no such cluster, it has too few cores, or the run failed; its message is passed on.
    """
    ray = connected(address)
    try:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise MissingExtraError("ray[train]", "cluster") from error
    if not resume and (out / "recipe.yaml").exists():
        raise CompressVQAError("this folder already holds a run", where=out, hint="another --out, or --resume")
    held = ray.cluster_resources()
    cores, gpus = int(held.get("CPU", 0)), int(held.get("GPU", 0))
    workers = workers or gpus or sum(node["Alive"] for node in ray.nodes())
    if cores < workers:
        raise CompressVQAError(f"the cluster has {cores} cores", where=f"--workers {workers}", hint="fewer workers")
    each = cores // workers
    place = out.absolute() / PLACE / unique()  # of this call: another one's is another's, or was left by a kill
    refused = place / REFUSED
    resources = {"CPU": each} | ({"GPU": 1} if gpus >= workers else {})
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "recipe": recipe,
            "overrides": list(overrides),
            "out": str(out),
            "data_folder": None if data_folder is None else str(data_folder),
            "threads": each,
            "refused": str(refused),
            "surroundings": Surroundings.here(),
        },
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus >= workers, resources_per_worker=resources),
        run_config=RunConfig(name="run", storage_path=str(place), failure_config=FailureConfig(max_failures=restarts)),
    )
    try:
        with _told(out / "log.txt"):
            trainer.fit()
        if refused.exists():
            raise CompressVQAError(refused.read_text(encoding="utf-8"))
    except CompressVQAError:
        raise
    except Exception as error:  # Ray has one family of errors for trainings, one for clusters, others in each version
        if refused.exists():
            raise CompressVQAError(refused.read_text(encoding="utf-8")) from error
        raise CompressVQAError(_reason(error), where="--cluster", hint="run it again: what was done is kept") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # of another call, too
            place.parent.rmdir()


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """While it lasts, what the first worker writes to its log is logged here too."""
    ended, begin = threading.Event(), file.stat().st_size if file.exists() else 0

    def follow() -> None:
        place, last = begin, False
        while not last:
            last = ended.wait(0.5)
            if not file.exists():
                continue
            with file.open("rb") as log_file:
                log_file.seek(place)
                *lines, unfinished = log_file.read().split(b"\n")
                place = log_file.tell() - len(unfinished)
            for line in lines:
                level, _, message = line.decode(errors="replace")[24:].partition(" ")  # after date and time
                log.log(getattr(logging, level, logging.INFO), "%s", message)

    thread = threading.Thread(target=follow, name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _work(config: dict[str, Any]) -> None:
    """What a worker does: the run, as one of the processes of torchrun.

    What the user can mend would come again in every try: it is noted down, and workers that are begun again end.
    """
    config["surroundings"].enter(threads=config["threads"])
    refused = Path(config["refused"])
    if refused.exists():
        return
    try:
        _run(config)
    except CompressVQAError as error:
        if os.environ.get("RANK", "0") == "0" or not refused.exists():
            write_text(refused, str(error))
        raise


def _run(config: dict[str, Any]) -> None:
    # Ray has told the ranks in torchrun's words, all but this one, by which a launched process knows itself.
    os.environ["TORCHELASTIC_RUN_ID"] = "ray"
    from compressvqa.running.pipeline import run
    from compressvqa.running.recipe import Recipe

    run(Recipe.load(config["recipe"], config["overrides"]), out=config["out"], data_folder=config["data_folder"])


def _reason(error: BaseException) -> str:
    """The last line of a worker's own error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
