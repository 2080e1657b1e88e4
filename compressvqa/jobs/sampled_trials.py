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

# {name of a unit: its result} of some units.
Run = Callable[[list[Unit]], Mapping[str, Any]]


def sampled_trials(
    space: Mapping[str, Choice | Range],
    unit_of: Callable[[Mapping[str, Any]], Unit],
    run: Run,
    *,
    out: Path,
    count: int,
    at_once: int,
    seed: int,
    accuracy: str,
    cost: str,
) -> tuple[list[dict[str, Any]], list[Unit], dict[str, Any]]:
    """Tries settings that a tree-structured Parzen estimator of both aims chooses (Bergstra et al., 2011; Ozaki et al.,
    2022).

    Args:
        space: what is varied.
        unit_of: the unit of some settings.
        run: runs units.
        out: folder of the sweep; the journal lies there.
        count: trials in all.
        at_once: trials of a round.
        seed: of the choices.
        accuracy: key of the table to have much of.
        cost: key to have little of.

    Returns:
        Settings, units and results of all trials.

    Raises:
        MissingExtraError: Optuna is not installed.
        CompressVQAError: another process sweeps in this folder.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtraError("optuna", "sweep") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            journal = JournalFileBackend(str(out / "journal.log"))
            storage = optuna.storages.JournalStorage(journal)
            study = optuna.create_study(
                study_name="sweep", storage=storage, directions=["maximize", "minimize"], load_if_exists=True
            )
            return _rounds(optuna, study, space, unit_of, run, count, at_once, seed, (accuracy, cost))
    except Timeout as error:
        raise CompressVQAError("another process sweeps in this folder", where=out) from error


def _rounds(
    optuna: Any,
    study: Any,
    space: Mapping[str, Choice | Range],
    unit_of: Callable[[Mapping[str, Any]], Unit],
    run: Run,
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
        asked = study.get_trials(deepcopy=False)
        for number in range(first, min(first + at_once, count)):
            if number >= len(asked) or "settings" not in asked[number].user_attrs:
                _ask(optuna, study, space, seed + number, asked[number:])
        known = study.get_trials(deepcopy=False)[first : first + at_once]
        some = [_settings(space, trial.user_attrs["settings"]) for trial in known]
        todo = [unit_of(one) for one in some]
        results |= run(list({unit.name: unit for unit in todo}.values()))
        for trial, unit in zip(known, todo, strict=True):
            if not trial.state.is_finished():
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
    values = [result.get("row", {}).get(key) for key in keys]
    if None in values:
        study.tell(number, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(number, values)
