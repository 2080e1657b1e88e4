"""Trials that Optuna chooses, in rounds: what the next round tries depends on the seed and on the rounds before only.

A study lies in a journal, a file that only grows. A sweep that was stopped goes on: trials that were begun are done
again where their results were not kept, and the rounds after them are those that it would have had.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compressvqa.errors import CompressVQAError, MissingExtraError
from compressvqa.executors import Unit
from compressvqa.jobs.space import Choice, Range

# Units of a round's settings and {name of a unit: its result}, as `compressvqa.jobs.rungs.Rungs` gives them.
Attempt = Callable[[Sequence[Mapping[str, Any]]], "tuple[list[Unit], dict[str, Any]] | None"]


def sampled_trials(
    space: Mapping[str, Choice | Range],
    attempt: Attempt,
    *,
    out: Path,
    count: int,
    at_once: int,
    seed: int,
    accuracy: str,
    cost: str,
    share: str | None = None,
) -> tuple[list[dict[str, Any]], list[Unit], dict[str, Any]]:
    """Tries settings that a tree-structured Parzen estimator of both aims chooses (Bergstra et al., 2011; Ozaki et al.,
    2022).

    Args:
        space: what is varied.
        attempt: runs the trials of a round.
        out: folder of the sweep; the journal lies there.
        count: trials in all.
        at_once: trials of a round.
        seed: of the choices.
        accuracy: key of the table to have much of.
        cost: key to have little of.
        share: ``I/N`` where several processes sweep together; their `attempt` waits for the others.

    Returns:
        Settings, units and results of all trials.

    Raises:
        MissingExtraError: Optuna is not installed.
        CompressVQAError: another process sweeps in this folder (as the same share).
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtraError("optuna", "sweep") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / (".lock" if share is None else f".lock-{share.replace('/', '-of-')}"), timeout=0):
            journal = JournalFileBackend(str(out / "journal.log"))
            storage = optuna.storages.JournalStorage(journal)
            study = optuna.create_study(
                study_name="sweep", storage=storage, directions=["maximize", "minimize"], load_if_exists=True
            )
            turn = FileLock(out / ".turn.lock")
            return _rounds(optuna, study, turn, space, attempt, count, at_once, seed, (accuracy, cost))
    except Timeout as error:
        said = "another process sweeps in this folder" + ("" if share is None else f" as share {share}")
        raise CompressVQAError(said, where=out) from error


def _rounds(
    optuna: Any,
    study: Any,
    turn: FileLock,
    space: Mapping[str, Choice | Range],
    attempt: Attempt,
    count: int,
    at_once: int,
    seed: int,
    keys: tuple[str, str],
) -> tuple[list[dict[str, Any]], list[Unit], dict[str, Any]]:
    trials: list[dict[str, Any]] = []
    units: list[Unit] = []
    results: dict[str, Any] = {}
    while len(trials) < count:
        first = len(trials)
        with turn:  # one share asks, and the others find what was drawn
            asked = study.get_trials(deepcopy=False)
            for number in range(first, min(first + at_once, count)):
                if number >= len(asked) or "settings" not in asked[number].user_attrs:
                    _ask(optuna, study, space, seed + number, asked[number:])
            known = study.get_trials(deepcopy=False)[first : min(first + at_once, count)]
        some = [_settings(space, trial.user_attrs["settings"]) for trial in known]
        ended = attempt(some)
        assert ended is not None, "all that a round needs is waited for"
        todo, found = ended
        results |= found
        with turn:
            told = study.get_trials(deepcopy=False)
            for trial, unit in zip(known, todo, strict=True):
                if not told[trial.number].state.is_finished():
                    _tell(optuna, study, trial.number, results[unit.name], keys)
        trials, units = trials + some, units + todo
    return trials, units, results


def _ask(optuna: Any, study: Any, space: Mapping[str, Choice | Range], seed: int, begun: Sequence[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # A sampler of its own for each: a resumed study draws what one that was never stopped does.
        study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    # A kill may have come between asking and writing down what was drawn.
    trial = optuna.trial.Trial(study, begun[0]._trial_id) if begun else study.ask()
    settings: dict[str, Any] = {}
    for key, choice in space.items():
        if isinstance(choice, Choice):
            settings[key] = trial.suggest_int(key, 0, len(choice.values) - 1)  # values may be lists
        elif choice.whole:
            settings[key] = trial.suggest_int(key, int(choice.low), int(choice.high), log=choice.log)
        else:
            settings[key] = trial.suggest_float(key, choice.low, choice.high, log=choice.log)
    trial.set_user_attr("settings", settings)


def _settings(space: Mapping[str, Choice | Range], drawn: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: choice.values[drawn[key]] if isinstance(choice, Choice) else drawn[key] for key, choice in space.items()
    }


def _tell(optuna: Any, study: Any, number: int, result: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Tells what a trial came to; one that was stopped early, what it had come to by then."""
    values = [result.get("row", {}).get(key) for key in keys]
    if None in values:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(number, values)
