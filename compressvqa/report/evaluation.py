"""What evaluation.json holds, as the figures and tables of an evaluation read it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressvqa.errors import CompressVQAError
from compressvqa.report.results import inputs_title, is_human, label_title, load, number, part

SCHEMA = 1
Fields = Mapping[str, Any]


class EvaluationError(CompressVQAError):
    """An evaluation.json that is missing, damaged or not of this form."""


@dataclass(frozen=True)
class Mean:
    """A figure over several data sets, with the ends of its confidence interval where all of them have one."""

    value: float
    low: float | None = None
    high: float | None = None


def mean_of(figures: Sequence[tuple[float, float | None, float | None]]) -> Mean:
    """The plain mean of figures and its interval, the data sets taken as independent samples.

    The distances from value to end are combined as standard errors are: the root of their squares' sum, over the
    number of data sets.

    Args:
        figures: (value, low, high) each.

    >>> mean_of([(0.5, 0.2, 0.8), (0.75, 0.35, None)])
    Mean(value=0.625, low=0.375, high=None)
    """
    count = len(figures)
    value = sum(figure[0] for figure in figures) / count
    ends: list[float | None] = []
    for side, sign in ((1, -1), (2, 1)):
        known = [(figure[side], figure[0]) for figure in figures]
        squares = [(end - middle) ** 2 for end, middle in known if end is not None]
        ends.append(value + sign * math.sqrt(sum(squares)) / count if len(squares) == count else None)
    return Mean(value, *ends)


def is_label(model: str, dataset: Fields) -> bool:
    """Whether a model is the very metric that a proxy data set takes for the truth, so that agreeing says nothing.

    >>> is_label("vmaf_v0.6.1", {"kind": "proxy", "label": "VMAF 0.6.1"})
    True
    """
    return is_proxy(dataset) and label_title(model).casefold() == label_of(dataset).casefold()


def is_proxy(dataset: Fields) -> bool:
    """Whether the scores of a data set are another metric's. What does not say is taken for a proxy unless its label
    is one of viewers."""
    kind = dataset.get("kind")
    return kind == "proxy" if kind in ("human", "proxy") else not is_human(str(dataset.get("label", "")))


def label_of(dataset: Fields) -> str:
    """What the scores of a data set are called: "MOS", "DMOS", "VMAF 0.6.1"."""
    label = dataset.get("label")
    if label:
        return label_title(str(label))
    return "an unnamed proxy" if is_proxy(dataset) else "viewers' scores"


def described(dataset: Fields) -> str:
    """A data set's label, number of items and references in words.

    >>> described({"name": "ours", "kind": "proxy", "label": "VMAF 0.6.1", "n": 96, "references": 4})
    'VMAF 0.6.1 (a proxy, no human scores), 96 items of 4 references'
    """
    words = label_of(dataset) + (" (a proxy, no human scores)" if is_proxy(dataset) else "")
    n, references = number(dataset, "n"), number(dataset, "references")
    if n is not None:
        words += f", {n:,.0f} item{'' if n == 1 else 's'}"
        if references:
            words += f" of {references:,.0f} reference{'' if references == 1 else 's'}"
    return words


@dataclass(frozen=True)
class Evaluation:
    """An evaluation, checked and ready to be looked things up in. Any figure of it may be absent.

    Args:
        datasets: in the order of the file; "name" is sure.
        models: likewise.
        results: {(model, data set): figures}.
        scores: {(model, data set): items}.
        significance: "baseline", "alpha" and "matrix", or empty.
        facts: all other parts: "created", "environment", "confidence" (how intervals were made, words or
            {"method", "level", "samples"}), "teacher" (the model that retention refers to).
    """

    datasets: tuple[Fields, ...]
    models: tuple[Fields, ...]
    results: Mapping[tuple[str, str], Fields]
    scores: Mapping[tuple[str, str], Sequence[Fields]]
    significance: Fields
    facts: Fields

    @classmethod
    def read(cls, evaluation: Evaluation | Fields | str | Path) -> Evaluation:
        """Reads a file, or takes what was read already.

        Raises:
            EvaluationError: missing, no JSON, another schema, or a part that is not what it should be.
        """
        if isinstance(evaluation, Evaluation):
            return evaluation
        where, found = (None, evaluation) if isinstance(evaluation, Mapping) else _parse(Path(evaluation))
        if found.get("schema", SCHEMA) != SCHEMA:
            raise EvaluationError(
                f"is of schema {found['schema']!r}, this version reads {SCHEMA}",
                where=where,
                hint="evaluate again, or use the version that wrote it",
            )
        datasets, models = _named(found, "datasets", where), _named(found, "models", where)
        known = {str(model["name"]) for model in models}, {str(dataset["name"]) for dataset in datasets}
        results, scores = {}, {}
        for place, result in enumerate(_list(found, "results", where)):
            results[_pair(result, known, f"results[{place}]", where)] = result
        for place, line in enumerate(_list(found, "scores", where)):
            items = _list(line, "items", where)
            scores[_pair(line, known, f"scores[{place}]", where)] = items
        others = ("schema", "datasets", "models", "results", "scores", "significance")
        facts = {key: value for key, value in found.items() if key not in others}
        return cls(datasets, models, results, scores, part(found, "significance"), facts)

    @classmethod
    def of_runs(cls, folders: Sequence[str | Path]) -> Evaluation:
        """The networks of run folders side by side, on the validation data of the first.

        Runs whose results.json gives the same "identity" of its validation data and the same label stand on that data
        set; the others get one of their own, as `with_runs` says.

        Raises:
            ResultsError: a folder has no results.json, or a damaged one.
        """
        file = _results_file(folders[0])
        results = load(file)
        label = str(results.get("label") or "")
        n = next((row["n"] for row in reversed(results["table"]) if isinstance(row.get("n"), int)), None)
        facts = {
            "name": f"{results.get('name') or file.absolute().parent.name} (validation)",
            "kind": "human" if is_human(label) else "proxy",
            "label": label,
            "n": n,
            # A results.json of an older version names no data: then it is the data of its own run only.
            "identity": part(results, "data", "validation").get("identity") or str(file.absolute()),
        }
        return cls((facts,), (), {}, {}, {}, {"created": results.get("created")}).with_runs(folders)

    def dataset(self, name: str) -> Fields:
        """The facts of a data set; EvaluationError where there is none of that name."""
        return _find(self.datasets, name, "data set")

    def model(self, name: str) -> Fields:
        """The facts of a model; EvaluationError where there is none of that name."""
        return _find(self.models, name, "model")

    def title(self, model: str) -> str:
        """What figures call a model: as people write it, or its own name where two would be called the same."""
        title = label_title(model)
        others = (str(other["name"]) for other in self.models if other["name"] != model)
        return model if any(title in (other, label_title(other)) for other in others) else title

    def figure(self, model: str, dataset: str, key: str) -> float | None:
        """One figure of a model on a data set, None where it was not measured."""
        return number(self.results.get((model, dataset), {}), key)

    @property
    def judged(self) -> tuple[str, ...]:
        """The data sets that a mean is taken over: those of human scores, or the proxies where there are no others.

        The two are never in one mean. Data that came with a run folder is in none.
        """
        own = [dataset for dataset in self.datasets if not dataset.get("run")]
        human = [str(dataset["name"]) for dataset in own if not is_proxy(dataset)]
        return tuple(human or [str(dataset["name"]) for dataset in own])

    def overall(self, model: str, key: str = "srocc") -> Mean | None:
        """Plain mean of a figure over the `judged` data sets; None unless the model has it on every one of them."""
        figures: list[tuple[float, float | None, float | None]] = []
        for name in self.judged:
            value = self.figure(model, name, key)
            if value is None or is_label(model, self.dataset(name)):
                return None
            figures.append(
                (value, self.figure(model, name, f"{key}_low"), self.figure(model, name, f"{key}_high"))
            )  # fmt: skip
        return mean_of(figures) if figures else None

    @property
    def baseline(self) -> str | None:
        """The model that the F-test compares with."""
        name = self.significance.get("baseline")
        return str(name) if name is not None else None

    def wins(self, model: str, dataset: str) -> int | None:
        """1 where the model is better than the baseline, -1 where worse, 0 where no difference is shown; or None."""
        value = number(part(self.significance, "matrix", dataset), model)
        return None if value is None else int(value)

    @property
    def teacher(self) -> str | None:
        """The model that retention refers to: the one named, else the only one whose retention is 1 everywhere."""
        named = self.facts.get("teacher")
        if isinstance(named, str) and any(model["name"] == named for model in self.models):
            return named
        kept: dict[str, list[float]] = {}
        for (model, _), result in self.results.items():
            if (value := number(result, "retention")) is not None:
                kept.setdefault(model, []).append(value)
        whole = [model for model, values in kept.items() if all(value == 1 for value in values)]
        return whole[0] if len(whole) == 1 else None

    def retention(self, model: str) -> float | None:
        """The model's mean SROCC as a share of the teacher's."""
        if self.teacher is None:
            return None
        own, whole = self.overall(model), self.overall(self.teacher)
        return own.value / whole.value if own and whole and whole.value > 0 else None

    @property
    def inputs(self) -> str | None:
        """What most models' MACs and latency were counted on, None where none says."""
        said = [str(model["inputs"]) for model in self.models if model.get("inputs")]
        return max(said, key=said.count) if said else None

    @property
    def odd_inputs(self) -> dict[str, list[str]]:
        """{what complexity was counted on: models} for those that were not counted on what most were."""
        odd: dict[str, list[str]] = {}
        for model in self.models:
            if model.get("inputs") and str(model["inputs"]) != self.inputs:
                odd.setdefault(str(model["inputs"]), []).append(str(model["name"]))
        return odd

    @property
    def confidence(self) -> str | None:
        """How the confidence intervals were made, in words; None where there are none."""
        ends = [number(result, key) for result in self.results.values() for key in ("srocc_low", "srocc_high")]
        if all(end is None for end in ends):
            return None
        said = self.facts.get("confidence")
        if isinstance(said, str) and said:
            return said
        if not isinstance(said, Mapping):
            return "confidence intervals as the evaluation gives them (it does not say how they were made)"
        level, samples = number(said, "level"), number(said, "samples")
        words = [f"{level * 100:g} % confidence intervals" if level else "confidence intervals"]
        words += [str(said["method"])] if said.get("method") else []
        words += [f"{samples:,.0f} samples"] if samples else []
        return ", ".join(words)

    def with_runs(self, folders: Iterable[str | Path]) -> Evaluation:
        """The same evaluation with the rows of run folders' results.json as further models, "RUN: STAGE".

        A run's figures stand on a data set of this evaluation only where both give the same "identity" of the data
        and the same label; otherwise they get a data set of their own, which no mean, F-test or front takes in.

        Raises:
            ResultsError: a folder has no results.json, or a damaged one.
        """
        joined = self
        for folder in folders:
            file = _results_file(folder)
            joined = _with_run(joined, load(file), file.absolute())
        return joined


def sentence(note: str) -> str:
    """A note as a sentence, so that several can stand in a row.

    >>> sentence("vvc codes 10 bit"), sentence("Done.")
    ('Vvc codes 10 bit.', 'Done.')
    """
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")


def _results_file(folder: str | Path) -> Path:
    return Path(folder) if Path(folder).suffix == ".json" else Path(folder) / "results.json"


def _with_run(evaluation: Evaluation, results: Fields, file: Path) -> Evaluation:
    folder = file.parent.name
    run = _unused(str(results.get("name") or folder), folder, {str(m["name"]).split(":")[0] for m in evaluation.models})
    label = str(results.get("label") or "")
    rows: list[Fields] = list(results["table"])
    same = _same_data(evaluation, results, label, str(file))
    dataset = same or f"{run} (validation)"
    n = next((row["n"] for row in reversed(rows) if isinstance(row.get("n"), int)), None)
    datasets = evaluation.datasets
    if same is None and any(number(row, "srocc") is not None for row in rows):
        kind = "human" if is_human(label) else "proxy"
        note = f"Not the data of the other models: figures of run {run}, which can't be compared with theirs."
        added = {"name": dataset, "kind": kind, "label": label, "n": n, "notes": [note], "run": run}
        datasets = (*datasets, added)
    shape = inputs_title(results)
    models, figures = [], {}
    for row in rows:
        name = f"{run}: {row['stage']}"
        models.append({**row, "name": name, "inputs": shape, "source": f"run {folder}", "run": run})
        if number(row, "srocc") is not None:
            figures[(name, dataset)] = row
    return replace(
        evaluation,
        datasets=datasets,
        models=(*evaluation.models, *models),
        results={**evaluation.results, **figures},
    )


def _same_data(evaluation: Evaluation, results: Fields, label: str, own: str) -> str | None:
    """Name of the data set that a run was judged on, None unless both say which data it is."""
    identity = part(results, "data", "validation").get("identity") or own
    same = (
        str(dataset["name"])
        for dataset in evaluation.datasets
        if dataset.get("identity") == identity and label_of(dataset) == label_title(label)
    )
    return next(same, None)


def _unused(name: str, folder: str, taken: set[str]) -> str:
    """A name that no other run has: with its folder's, and a number at last."""
    tries = (name, f"{name} ({folder})", *(f"{name} ({folder}, {count})" for count in range(2, len(taken) + 3)))
    return next(choice for choice in tries if choice not in taken)


def _parse(path: Path) -> tuple[Path, Fields]:
    path = path / "evaluation.json" if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError("there is no evaluation to report", where=path, hint="compressvqa evaluate") from error
    except ValueError as error:
        raise EvaluationError(f"is damaged: {error}", where=path) from error
    if not isinstance(found, dict):
        raise EvaluationError("is not an evaluation", where=path)
    return path, found


def _list(found: Fields, key: str, where: object) -> list[Fields]:
    value = found.get(key) or []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
        raise EvaluationError(f"{key} is no list of tables", where=where)
    return list(value)


def _named(found: Fields, key: str, where: object) -> tuple[Fields, ...]:
    items = _list(found, key, where)
    names = [item.get("name") for item in items]
    if not items or not all(isinstance(name, str) and name for name in names):
        raise EvaluationError(f"{key} is empty or holds one without a name", where=where, hint="compressvqa evaluate")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EvaluationError(f"{key} holds {twice!r} twice", where=where)
    return tuple(items)


def _pair(item: Fields, known: tuple[set[str], set[str]], what: str, where: object) -> tuple[str, str]:
    model, dataset = str(item.get("model")), str(item.get("dataset"))
    for name, names, kind in ((model, known[0], "model"), (dataset, known[1], "data set")):
        if name not in names:
            raise EvaluationError(f"{what} is of {kind} {name!r}, which is not among the {kind}s", where=where)
    return model, dataset


def _find(items: Sequence[Fields], name: str, kind: str) -> Fields:
    found = next((item for item in items if item["name"] == name), None)
    if found is None:
        hint = ", ".join(str(item["name"]) for item in items)
        raise EvaluationError(f"the evaluation has no {kind} {name!r}", hint=hint)
    return found
