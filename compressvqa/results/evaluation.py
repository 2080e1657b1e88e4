"""Models judged on data sets: what `evaluate` finds, what evaluation.json holds, what reports are drawn from."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator

from compressvqa.errors import CompressVQAError
from compressvqa.files import finite, write_json, write_text
from compressvqa.labels import label_title
from compressvqa.results.means import Mean, mean_of
from compressvqa.results.parts import (
    Confidence,
    Dataset,
    ItemScore,
    Model,
    Part,
    Picture,
    Result,
    Scores,
    Significance,
)
from compressvqa.untrusted import read_json

# Goes up when a program that reads the last version would misread the new one, not when something is added.
SCHEMA = 1
FILE, SCORES_FILE, LEFT_OUT_FILE = "evaluation.json", "scores.csv", "left_out.csv"


Named = TypeVar("Named", Dataset, Model)


class EvaluationError(CompressVQAError):
    """An evaluation.json that is missing, damaged or not of this form."""


class Evaluation(Part):
    """Models judged on data sets. Any figure may be None: it was not to be had, or was not measured.

    Args:
        version: of this form, "schema" in the file.
        created: when, in ISO 8601.
        environment: versions and machine.
        settings: what the evaluation was asked for.
        teacher: the model that retention and agreement refer to.
        confidence: how intervals were made.
        datasets: at least one.
        models: at least one.
        results: figures of a model on a data set, one each.
        significance: the F-test.
        scores: of items, for each model and data set.
        pictures: of clips that stand out.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    version: int = Field(SCHEMA, alias="schema")
    created: str | None = None
    environment: Mapping[str, Any] = Field(default_factory=dict)
    settings: Mapping[str, Any] = Field(default_factory=dict)
    teacher: str | None = None
    confidence: Confidence = Confidence()
    datasets: tuple[Dataset, ...] = Field(min_length=1)
    models: tuple[Model, ...] = Field(min_length=1)
    results: tuple[Result, ...] = ()
    significance: Significance = Significance()
    scores: tuple[Scores, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Evaluation:
        models, datasets = [model.name for model in self.models], [dataset.name for dataset in self.datasets]
        for key, names in (("models", models), ("datasets", datasets)):
            counts = Counter(names)
            twice = next((name for name in names if counts[name] > 1), None)
            if twice is not None:
                raise ValueError(f"{key} holds {twice!r} twice")
        of = {"results": [(line.model, line.dataset) for line in self.results]}
        of["scores"] = [(line.model, line.dataset) for line in self.scores]
        for key, pairs in of.items():
            seen: set[tuple[str, str]] = set()
            for place, (model, dataset) in enumerate(pairs):
                for name, known, kind in ((model, models, "model"), (dataset, datasets, "data set")):
                    if name not in known:
                        raise ValueError(f"{key}[{place}] is of {kind} {name!r}, which is not among the {kind}s")
                if (model, dataset) in seen:
                    raise ValueError(f"{key} holds {model!r} on {dataset!r} twice")
                seen.add((model, dataset))
        if self.teacher is not None and self.teacher not in models:
            raise ValueError(f"the teacher {self.teacher!r} is none of the models")
        return self

    # --- reading and writing -----------------------------------------------------------------------------------------

    @classmethod
    def read(cls, evaluation: Evaluation | Mapping[str, Any] | str | Path) -> Evaluation:
        """Reads evaluation.json (or the folder that holds one), or checks what was read already.

        Raises:
            EvaluationError: missing, no JSON, a later schema, or a part that is not what it should be.
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
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise EvaluationError(_first_fault(error), where=where, hint="compressvqa evaluate") from error

    def to_dict(self) -> dict[str, Any]:
        """As evaluation.json holds it: plain values, None for what is no finite number."""
        found: dict[str, Any] = finite(self.model_dump())
        return found

    def write(self, folder: str | Path) -> list[Path]:
        """Writes evaluation.json, scores.csv (a row an item, a column a model) and, where items were left out,
        left_out.csv (a row each, with the reason). Returns the paths."""
        folder = Path(folder)
        paths = [folder / FILE, folder / SCORES_FILE]
        write_json(paths[0], self.to_dict())
        write_text(paths[1], self._scores_csv())
        left_out = folder / LEFT_OUT_FILE
        if any(dataset.faults for dataset in self.datasets):
            rows = [(dataset.name, item, why) for dataset in self.datasets for item, why in dataset.faults.items()]
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("dataset", "item", "reason"), *rows])
            write_text(left_out, text.getvalue())
            return [*paths, left_out]
        left_out.unlink(missing_ok=True)  # of an earlier evaluation in this folder
        return paths

    def _scores_csv(self) -> str:
        rows: dict[tuple[str, ...], dict[str, Any]] = {}
        for part in self.scores:
            for item in part.items:
                facts = item.model_dump(exclude={"score"})
                row = rows.setdefault(
                    (part.dataset, str(item.reference), item.distorted), {"dataset": part.dataset, **facts}
                )
                row[part.model] = item.score
        text = io.StringIO()
        columns = ["dataset", "content", "reference", "distorted", "mos", "std", *(model.name for model in self.models)]
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())
        return text.getvalue()

    # --- looking things up -------------------------------------------------------------------------------------------

    @cached_property
    def _results(self) -> dict[tuple[str, str], Result]:
        return {(result.model, result.dataset): result for result in self.results}

    @cached_property
    def _items(self) -> dict[tuple[str, str], tuple[ItemScore, ...]]:
        return {(part.model, part.dataset): part.items for part in self.scores}

    def dataset(self, name: str) -> Dataset:
        """The data set of this name; EvaluationError where there is none."""
        return _find(self.datasets, name, "data set")

    def model(self, name: str) -> Model:
        """The model of this name; EvaluationError where there is none."""
        return _find(self.models, name, "model")

    def result(self, model: str, dataset: str) -> Result | None:
        """The figures of a model on a data set, None where it was not judged on it."""
        return self._results.get((model, dataset))

    def items(self, model: str, dataset: str) -> tuple[ItemScore, ...]:
        """The items of a data set as a model scores them; empty where that is not known."""
        return self._items.get((model, dataset), ())

    def figure(self, model: str, dataset: str, key: str) -> float | None:
        """One figure of a model on a data set, None where it was not measured."""
        found = self.result(model, dataset)
        return None if found is None else found.figure(key)

    def row(self, model: str, dataset: str) -> dict[str, Any]:
        """The figures of one model on one data set as plain values.

        Raises:
            EvaluationError: there are none.
        """
        found = self.result(model, dataset)
        if found is None:
            raise EvaluationError(f"{model} was not evaluated on {dataset}")
        return found.model_dump()

    def title(self, model: str) -> str:
        """What figures call a model: as people write it, or its own name where two would be called the same."""
        title = label_title(model)
        others = (other.name for other in self.models if other.name != model)
        return model if any(title in (other, label_title(other)) for other in others) else title

    def wins(self, model: str, dataset: str) -> int | None:
        """1 where the model is better than the baseline, -1 where worse, 0 where no difference is shown; or None."""
        return self.significance.matrix.get(dataset, {}).get(model)

    # --- over all data sets ------------------------------------------------------------------------------------------

    @property
    def judged(self) -> tuple[str, ...]:
        """The data sets that a mean is taken over: those of human scores, or the proxies where there are no others.

        The two are never in one mean. Data that came with a run folder is in none.
        """
        own = [dataset for dataset in self.datasets if dataset.run is None]
        return tuple(dataset.name for dataset in [d for d in own if not d.is_proxy] or own)

    def overall(self, model: str, key: str = "srocc") -> Mean | None:
        """Plain mean of a figure over the `judged` data sets; None unless the model has it on every one of them."""
        figures: list[tuple[float, float | None, float | None]] = []
        for name in self.judged:
            found = self.result(model, name)
            value = None if found is None else found.figure(key)
            if found is None or value is None or self.dataset(name).is_label(model):
                return None
            ends = found.interval(key) if hasattr(found, f"{key}_low") else None
            figures.append((value, *(ends or (None, None))))
        return mean_of(figures) if figures else None

    def retention(self, model: str) -> float | None:
        """The model's mean SROCC as a share of the teacher's."""
        if self.teacher is None:
            return None
        own, whole = self.overall(model), self.overall(self.teacher)
        return own.value / whole.value if own and whole and whole.value > 0 else None

    @property
    def has_intervals(self) -> bool:
        """Whether any SROCC has a confidence interval."""
        return any(result.srocc_low is not None or result.srocc_high is not None for result in self.results)

    @property
    def inputs(self) -> str | None:
        """What most models' MACs and latency were counted on, None where none says."""
        said = [model.inputs for model in self.models if model.inputs]
        return max(said, key=said.count) if said else None

    @property
    def odd_inputs(self) -> dict[str, list[str]]:
        """{what complexity was counted on: models} for those that were not counted on what most were."""
        odd: dict[str, list[str]] = {}
        for model in self.models:
            if model.inputs and model.inputs != self.inputs:
                odd.setdefault(model.inputs, []).append(model.name)
        return odd


def _parse(path: Path) -> tuple[Path, Mapping[str, Any]]:
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise EvaluationError("there is no evaluation to report", where=path, hint="compressvqa evaluate")
    found = read_json(path, EvaluationError)
    if not isinstance(found, dict):
        raise EvaluationError("is not an evaluation", where=path)
    return path, found


def _first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, in one line: results[3].srocc: ..."""
    fault = error.errors()[0]
    if fault["type"] == "value_error":  # one of our own sentences
        return str(fault["ctx"]["error"])
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).removeprefix(".")
    if fault["type"] in ("missing", "too_short", "string_too_short"):
        return f"{place} is empty or not there"
    given = repr(fault["input"])
    given = given if len(given) <= 40 else f"{given[:39]}…"
    words = fault["msg"][:1].lower() + fault["msg"][1:]
    return f"{place} is {given}: {words}"


def _find(items: Sequence[Named], name: str, kind: str) -> Named:
    found = next((item for item in items if item.name == name), None)
    if found is None:
        hint = ", ".join(item.name for item in items)
        raise EvaluationError(f"the evaluation has no {kind} {name!r}", hint=hint)
    return found
