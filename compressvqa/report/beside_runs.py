"""An evaluation with the networks of run folders beside its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compressvqa.labels import is_human, label_title
from compressvqa.report.results import inputs_title, load, number, part
from compressvqa.results import Dataset, Evaluation, Model, Result


def of_runs(folders: Sequence[str | Path]) -> Evaluation:
    """The networks of run folders side by side, on the validation data of the first.

    Runs whose results.json gives the same "identity" of its validation data and the same label stand on that data
    set; the others get one of their own, as `with_runs` says.

    Raises:
        ResultsError: a folder has no results.json, or a damaged one.
    """
    file = _results_file(folders[0])
    results = load(file)
    label = str(results.get("label") or "")
    dataset = Dataset(
        name=f"{results.get('name') or file.absolute().parent.name} (validation)",
        kind="human" if is_human(label) else "proxy",
        label=label,
        n=_items(results),
        # A results.json of an older version names no data: then it is the data of its own run only.
        identity=part(results, "data", "validation").get("identity") or str(file.absolute()),
    )
    created = results.get("created")
    return _joined(folders, Evaluation.model_construct(created=created, datasets=(dataset,), models=()))


def with_runs(evaluation: Evaluation, folders: Iterable[str | Path]) -> Evaluation:
    """The same evaluation with the rows of run folders' results.json as further models, "RUN: STAGE".

    A run's figures stand on a data set of this evaluation only where both give the same "identity" of the data
    and the same label; otherwise they get a data set of their own, which no mean, F-test or front takes in.

    Raises:
        ResultsError: a folder has no results.json, or a damaged one.
    """
    return _joined(folders, evaluation)


def _joined(folders: Iterable[str | Path], evaluation: Evaluation) -> Evaluation:
    for folder in folders:
        file = _results_file(folder)
        evaluation = _with_run(evaluation, load(file), file.absolute())
    return evaluation


def _results_file(folder: str | Path) -> Path:
    return Path(folder) if Path(folder).suffix == ".json" else Path(folder) / "results.json"


def _with_run(evaluation: Evaluation, results: Mapping[str, Any], file: Path) -> Evaluation:
    folder = file.parent.name
    taken = {model.name.split(":")[0] for model in evaluation.models}
    run = _unused(str(results.get("name") or folder), folder, taken)
    label = str(results.get("label") or "")
    rows: list[Mapping[str, Any]] = list(results["table"])
    same = _same_data(evaluation, results, label, str(file))
    dataset = same or f"{run} (validation)"
    datasets = evaluation.datasets
    if same is None and any(number(row, "srocc") is not None for row in rows):
        note = f"Not the data of the other models: figures of run {run}, which can't be compared with theirs."
        kind: Any = "human" if is_human(label) else "proxy"
        own = Dataset(name=dataset, kind=kind, label=label, n=_items(results), notes=(note,), run=run)
        datasets = (*datasets, own)
    models, figures = list(evaluation.models), list(evaluation.results)
    for row in rows:
        facts = {
            "name": f"{run}: {row['stage']}",
            "inputs": inputs_title(results),
            "source": f"run {folder}",
            "run": run,
        }
        models.append(Model(**{**row, **facts}))
        if number(row, "srocc") is not None:
            figures.append(Result(**{**row, "model": facts["name"], "dataset": dataset}))
    given = {name: getattr(evaluation, name) for name in Evaluation.model_fields}
    return Evaluation(**{**given, "datasets": datasets, "models": tuple(models), "results": tuple(figures)})


def _items(results: Mapping[str, Any]) -> int | None:
    """How many validation clips a run was judged on."""
    return next((row["n"] for row in reversed(results["table"]) if isinstance(row.get("n"), int)), None)


def _same_data(evaluation: Evaluation, results: Mapping[str, Any], label: str, own: str) -> str | None:
    """Name of the data set that a run was judged on, None unless both say which data it is."""
    identity = part(results, "data", "validation").get("identity") or own
    same = (
        dataset.name
        for dataset in evaluation.datasets
        if dataset.identity == identity and dataset.title == label_title(label)
    )
    return next(same, None)


def _unused(name: str, folder: str, taken: set[str]) -> str:
    """A name that no other run has: with its folder's, and a number at last."""
    tries = (name, f"{name} ({folder})", *(f"{name} ({folder}, {count})" for count in range(2, len(taken) + 3)))
    return next(choice for choice in tries if choice not in taken)
