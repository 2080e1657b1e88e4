"""The parts of an evaluation: data sets, models, figures of a model on a data set, scores of items."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compressvqa.labels import is_human, label_title, same_label

Name = Annotated[str, Field(min_length=1)]


class Part(BaseModel):
    """A frozen part of a file of results. What is null, or no finite number, counts as not there.

    A key that is not known is left out: it comes from a later version that still writes this schema.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _without_gaps(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {
            key: value
            for key, value in given.items()
            if value is not None and not (isinstance(value, float) and not math.isfinite(value))
        }


class Dataset(Part):
    """A data set that models were judged on.

    Args:
        name: unlike that of every other.
        kind: whether its scores are viewers' or another metric's.
        label: what its scores are called: "MOS", "DMOS", "VMAF 0.6.1".
        higher_is_better: direction of its scores.
        n: number of items that count.
        references: number of contents among them.
        left_out: number of items that some model could not score, and that count for none.
        faults: {item: what was wrong with it}, all that were left out; empty in older files.
        notes: what a reader should know, one sentence each.
        label_models: the models that are the very metric of a proxy's scores, whatever they are called; None in older
            files, where the names have to do.
        identity: of the validation data of a run; None for a data set that models were judged on here.
        run: the run that these data belong to, where they were no part of the evaluation.
    """

    name: Name
    kind: Literal["human", "proxy"] | None = None
    label: str = ""
    higher_is_better: bool | None = None
    n: int | None = None
    references: int | None = None
    left_out: int = 0
    faults: Mapping[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    label_models: tuple[str, ...] | None = None
    identity: str | None = None
    run: str | None = None

    @property
    def is_proxy(self) -> bool:
        """Whether its scores are another metric's. What does not say is a proxy unless its label is viewers'."""
        return self.kind == "proxy" if self.kind else not is_human(self.label)

    @property
    def title(self) -> str:
        """What its scores are called, as people write it."""
        if self.label:
            return label_title(self.label)
        return "an unnamed proxy" if self.is_proxy else "viewers' scores"

    def is_label(self, model: str) -> bool:
        """Whether a model is the very metric that a proxy takes for the truth, so that agreeing says nothing.

        >>> Dataset(name="ours", kind="proxy", label="VMAF 0.6.1").is_label("vmaf_v0.6.1")
        True
        """
        if not self.is_proxy:
            return False
        return same_label(model, self.label) if self.label_models is None else model in self.label_models

    @property
    def described(self) -> str:
        """Label, number of items and of references, in words.

        >>> Dataset(name="ours", kind="proxy", label="VMAF 0.6.1", n=96, references=4).described
        'VMAF 0.6.1 (a proxy, no human scores), 96 items of 4 references'
        """
        words = self.title + (" (a proxy, no human scores)" if self.is_proxy else "")
        if self.n is not None:
            words += f", {self.n:,} item{'' if self.n == 1 else 's'}"
            if self.references:
                words += f" of {self.references:,} reference{'' if self.references == 1 else 's'}"
        return words


class Model(Part):
    """A model that was judged, and what it costs.

    Args:
        name: unlike that of every other.
        mode: "FR" (full-reference) or "NR" (no-reference).
        higher_is_better: direction of its scores.
        meaning: how its scores are to be read, in a line: unit, direction, range, what identical files get.
        note: what else a reader has to know of them.
        source: where it comes from.
        params: its parameters; None for a metric without weights.
        macs: multiply-accumulates of conv, linear, attention and recurrent layers.
        macs_conv_linear: those of conv and linear layers alone.
        latency_ms: median time of a call.
        latency_p90_ms: nine of ten calls are faster.
        inputs: what MACs and time were counted on.
        convention: how MACs were counted.
        unsupported: operators that were not counted.
        uncounted: why its complexity could not be counted.
        run: the run whose stage it is, where it was no part of the evaluation.
    """

    name: Name
    mode: Literal["FR", "NR"] | None = None
    higher_is_better: bool | None = None
    meaning: str | None = None
    note: str | None = None
    source: str | None = None
    params: int | None = None
    macs: int | None = None
    macs_conv_linear: int | None = None
    latency_ms: float | None = None
    latency_p90_ms: float | None = None
    inputs: str | None = None
    convention: str | None = None
    unsupported: tuple[str, ...] = ()
    uncounted: str | None = None
    run: str | None = None


class Logistic5(Part):
    """Figures after a 5-parameter logistic fit."""

    plcc: float | None = None
    rmse: float | None = None
    outlier_ratio: float | None = None
    parameters: tuple[float | None, ...] = ()


class Result(Part):
    """Figures of one model on one data set, as `compressvqa.metrics.judge` defines them; None was not to be had.

    Args:
        model: name of the model.
        dataset: name of the data set.
        n: number of items.
        retention: SROCC as a share of the teacher's.
        agreement_srocc: rank correlation of the raw scores with the teacher's.
        agreement_plcc: Pearson's, without a fit.
        agreement_mae: mean absolute difference to the teacher's scores.
    """

    model: str
    dataset: str
    n: int | None = None
    srocc: float | None = None
    srocc_low: float | None = None
    srocc_high: float | None = None
    plcc: float | None = None
    plcc_low: float | None = None
    plcc_high: float | None = None
    krocc: float | None = None
    krocc_low: float | None = None
    krocc_high: float | None = None
    rmse: float | None = None
    outlier_ratio: float | None = None
    fit: str | None = None
    fit_parameters: tuple[float | None, ...] | None = None
    logistic5: Logistic5 = Logistic5()
    different_similar_auc: float | None = None
    better_worse_auc: float | None = None
    better_worse_correct: float | None = None
    ladder_accuracy: float | None = None
    retention: float | None = None
    agreement_srocc: float | None = None
    agreement_plcc: float | None = None
    agreement_mae: float | None = None

    def figure(self, key: str) -> float | None:
        """One figure by its name; "logistic5.plcc" is one of the 5-parameter fit.

        Raises:
            AttributeError: there is no figure of this name.
        """
        *outer, name = key.split(".")
        value = getattr(self.logistic5 if outer else self, name)
        return None if value is None else float(value)

    def interval(self, key: str) -> tuple[float, float] | None:
        """Both ends of a figure's confidence interval, or None."""
        low, high = self.figure(f"{key}_low"), self.figure(f"{key}_high")
        return None if low is None or high is None else (low, high)


class ItemScore(Part):
    """What one model says of one item, beside what viewers (or a proxy) said.

    Args:
        distorted: path of the file below the data set's folder: what names the item.
        reference: likewise, None without one.
        content: name of the scene.
        ladder: name of the series of encodes that it belongs to.
        score: the model's.
        mos: the data set's.
        std: standard deviation of the ratings.
    """

    distorted: str = ""
    reference: str | None = None
    content: str | None = None
    ladder: str | None = None
    score: float | None = None
    mos: float | None = None
    std: float | None = None


class Scores(Part):
    """All items of a data set as one model scores them."""

    model: str
    dataset: str
    items: tuple[ItemScore, ...] = ()


class Picture(Part):
    """A frame of a clip that stands out, as a reader sees it and as a network sees it. Pictures are JPEG in base64.

    Args:
        model: whose clip it is.
        dataset: of which.
        distorted: the clip.
        why: it has the "lowest" or the "highest" score, or lies furthest "over" or "under" the label after the fit.
        frame: number of the frame, from 0.
        score: the model's, of the whole clip.
        mos: the data set's.
        label: what the data set's scores are called.
        reference: the frame of the reference, None without one.
        shown: the frame of the distorted clip.
        damage: the same with the network's score of each place over it; None for a network without such scores.
    """

    model: str
    dataset: str
    distorted: str
    why: Literal["lowest", "highest", "over", "under"]
    frame: int = 0
    score: float | None = None
    mos: float | None = None
    label: str = ""
    reference: str | None = None
    shown: str
    damage: str | None = None


class Significance(Part):
    """The F-test on the residuals after the fit.

    Args:
        baseline: the model that others are compared with.
        alpha: level of the test.
        matrix: {data set: {model: 1 better than the baseline, -1 worse, 0 no difference shown}}.
    """

    baseline: str | None = None
    alpha: float | None = None
    matrix: Mapping[str, Mapping[str, int | None]] = Field(default_factory=dict)


class Confidence(Part):
    """How confidence intervals were made."""

    level: float | None = None
    method: str | None = None
    samples: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return {"method": given} if isinstance(given, str) else given

    @property
    def words(self) -> str:
        """In words.

        >>> Confidence(level=0.95, method="bootstrap over items", samples=2000).words
        '95 % confidence intervals, bootstrap over items, 2,000 samples'
        """
        if self.method is None and self.level is None:
            return "confidence intervals as the evaluation gives them (it does not say how they were made)"
        words = [f"{self.level * 100:g} % confidence intervals"] if self.level else []
        words += [self.method] if self.method else []
        words += [f"{self.samples:,} samples"] if self.samples else []
        return ", ".join(words)
