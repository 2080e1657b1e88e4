"""Scores of many files, shared out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from compressvqa.cli.score_checks import Reading
from compressvqa.cli.spread import spread
from compressvqa.errors import CompressVQAError, DataError

if TYPE_CHECKING:
    from compressvqa.scoring import Score
    from compressvqa.scoring.pairs import Task
    from compressvqa.scoring.scorer import Scorer


def score_shared(
    context: typer.Context,
    tasks: Sequence[Task],
    read: Reading,
    names: Sequence[str],
    scorers: Sequence[Scorer],
    settings: dict[str, Any],
    how: dict[str, Any],
) -> list[Score] | None:
    """Scores as the options --cluster, --shard, --workers and --cache ask for.

    Args:
        context: of the command.
        tasks: what is scored.
        read: how files are read.
        names: of the metrics.
        scorers: what `find_scorers` gave for them.
        settings: what it was given.
        how: pairing and pooling.

    Returns:
        The scores, in the order of the tasks; None after one share of several.

    Raises:
        CompressVQAError: options that don't go together, or a file that can't be scored.
    """
    from compressvqa.executors import executor_of
    from compressvqa.jobs import score_files, score_units, scores_of
    from compressvqa.video.piped import STANDARD_INPUT

    asked = context.params
    cluster, shard, cache = asked["cluster"], asked["shard"], asked["cache"]
    executor = executor_of(cluster, shard, asked["workers"])
    if cache is None and (shard or cluster not in (None, "local")):
        option = "--shard" if shard else "--cluster"
        raise CompressVQAError(f"{option} needs a place where scores meet", hint="--cache FOLDER, which all see")
    if any(STANDARD_INPUT in (task.reference, *task.distorted) for task in tasks):
        raise CompressVQAError("standard input can't be shared out", hint="name a file")
    files = [(read.reference(task), read.distorted(task)) for task in tasks]
    try:
        units = score_units(files, names, scorers, settings=settings, sandbox=asked["sandbox"], **how)
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror or error})", where=error.filename) from error
    with ExitStack() as stack:
        folder = cache / "units" if cache else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = spread(executor, score_files, units, folder, what="score", pieces="piece")
    return None if results is None else scores_of(units, results)
