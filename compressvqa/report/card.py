"""The model card: README.md of a saved network, with the header that model hubs read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from compressvqa.labels import is_human, label_title
from compressvqa.metrics.score_scale import ScoreScale
from compressvqa.report.intervals import with_intervals
from compressvqa.report.results import ResultsError, baseline, check, inputs_title, number, part
from compressvqa.report.run_table import result_table
from compressvqa.report.summary import counted, last, limits, summary

MODES = {
    "FR": ("full-reference", "a reference clip and a distorted clip", "model(reference, distorted)"),
    "NR": ("no-reference", "a distorted clip", "model(distorted)"),
}


def model_card(
    results: Mapping[str, Any],
    *,
    model: str | None = None,
    mode: str = "FR",
    stage: str | None = None,
    title: str | None = None,
    licence: str | None = None,
    score_range: tuple[float | None, float | None] | None = None,
    scale: ScoreScale | None = None,
    use: str | None = None,
    data: Sequence[Mapping[str, str]] = (),
    retrain: str | None = None,
    half: Mapping[str, Any] | None = None,
) -> str:
    """Writes the card of the network that a run ended with, as Markdown with a YAML header.

    Args:
        results: a run's results, see `compressvqa.report.results.Results`.
        model: the registered name that the network was built from; what the results say by default.
        mode: "FR" (full-reference) or "NR" (no-reference).
        stage: the row of the table that the network belongs to; the last one by default.
        title: heading; the run's name by default.
        licence: SPDX identifier of the weights' licence. Where None the card says that none was stated.
        score_range: lowest and highest score, None for an end that is open.
        scale: by which its raw scores are read, where it has one.
        use: the name that it ships under; None: it is used from its folder.
        data: what it learnt from: {"file" or "name", "author", "licence", "source"} each.
        retrain: the command that trains it again.
        half: how far scores moved when its weights were stored in half precision.

    Raises:
        ResultsError: there is no table, or no row of that stage.
    """
    check(results)
    row = last(results) if stage is None else _row(results, stage)
    model = model or str(results.get("model", "a network"))
    title = title or str(results.get("name", model))
    kind, takes, call = MODES[mode]
    label = results.get("label")
    header = yaml.safe_dump(_header(results, row, title, mode, licence), sort_keys=False, allow_unicode=True)
    low, high = score_range or (None, None)
    span = "has no fixed ends" if low is None and high is None else f"lies in {_end(low)} to {_end(high)}"
    made = f'cv.create_model("{use}", weights="pretrained")' if use else 'cv.load("FOLDER")  # this folder'
    files = ("two files", "REFERENCE DISTORTED") if mode == "FR" else ("a file", "FILE")
    command = f"compressvqa score {files[1]} --model {use or 'FOLDER'}"
    steps = " -> ".join(str(line["stage"]) for line in results["table"])
    trained = f" It was trained on {label_title(label)} labels." if isinstance(label, str) else ""
    base = baseline(results["table"])
    shown = {**results, "table": [base] if row is base else [base, row]}
    made_by = "trained" if row is base else "made smaller"
    parts = [
        f"---\n{header}---\n",
        f"# {_text(title)}\n",
        f"A {kind} video-quality network ({_text(model)}), {made_by} with compressvqa. {_text(summary(shown))}\n",
        "## Use\n",
        f"```python\nimport compressvqa as cv\n\nmodel = {made}\n"
        f"scores = {call}  # (batch,) raw scores, higher is better\n```\n",
        f"On {files[0]}:\n\n```sh\n{command}\n```\n",
        "## Input and score\n",
        f"It takes {takes}, (batch, frames, 3, height, width), RGB, float in [0, 1]. Higher scores are better; "
        f"the raw score {span}.{trained}\n",
        *([] if scale is None else [_scale(scale, mode)]),
        *_labels(label),
        f"## How it was made\n\n{_text(steps)}. config.json holds widths, facts and the weights' SHA-256.\n",
        f"## Results\n\n{result_table(with_intervals(results['table'])).to_markdown()}",
        *_bullets("How the figures were counted", list(counted(results).values())),
        *_data(results, data),
        *_bullets("Limits", [*limits(shown), *_half(half)]),
        *([] if retrain is None else [f"## How to train it again\n\n```sh\n{retrain}\n```\n"]),
        *_bullets("Made with", _environment(results)),
        f"## Licence\n\n{f'The weights: {_text(licence)}' if licence else 'No licence was stated for the weights'}.\n",
    ]
    return "\n".join(parts)


def _row(results: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    for row in results["table"]:
        if row["stage"] == stage:
            found: Mapping[str, Any] = row
            return found
    known = ", ".join(str(row["stage"]) for row in results["table"])
    raise ResultsError(f"the table has no row of stage {stage!r}", hint=known)


def _end(value: float | None) -> str:
    return "no limit" if value is None else f"{value:g}"


def _environment(results: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in part(results, "environment").items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)  # noqa: PLW2901
        if value not in (None, ""):
            lines.append(f"{key.replace('_', ' ')}: {value}")
    return lines


def _text(text: str) -> str:
    """Text of others inside Markdown: no markup of its own, one line."""
    text = " ".join(text.split())
    text = re.sub(r"([\\`*<\[|#])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", text)  # inside a word an underscore means nothing


def _bullets(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}\n\n" + "".join(f"- {_text(line)}\n" for line in lines)] if lines else []


def _scale(scale: ScoreScale, mode: str) -> str:
    """How the scores that people see come of raw ones."""
    knots = ", ".join(f"{raw:.3g} is {value:.1f}" for raw, value in zip(scale.raw, scale.readable, strict=True))
    identical = (
        "A file that shows the same as its reference gets 100, which is seen without the network; one that differs in "
        "a single value gets what the curve says. "
        if mode == "FR"
        else ""
    )
    return (
        f"Scored files get 0 to 100, by a curve that always rises, fitted to {_text(scale.fitted_to or 'its labels')}: "
        f"{knots}. {identical}The raw score stands beside it.\n"
    )


def _labels(label: object) -> list[str]:
    """What it means that labels are another metric's."""
    if not isinstance(label, str) or is_human(label):
        return []
    title = label_title(label)
    return _bullets("What it learnt", [
        f"Its labels are {title}, not mean opinion scores: nobody was asked. A score says what {title} would say of "
        "the file, as far as this network has learnt it, and is no opinion of viewers.",
        f"Where {title} is wrong, it may be wrong with it. What {title} does not look at, it had no reason to look at.",
        "It knows the encoders, the sizes and the kinds of pictures that it learnt from; other ones are a guess.",
        "Differences of a few points between two files are within its error: compare many files, or look.",
    ])  # fmt: skip


def _half(half: Mapping[str, Any] | None) -> list[str]:
    if half is None:
        return []
    if "largest_difference" in half:
        moved = f"{half['largest_difference']:.4f} points of the scale"
    else:
        moved = f"{half['largest_raw_difference']:.2g}, where raw scores spread over {half['raw_spread']:.2g}"
    return [
        f"Weights are stored in half precision and computed with in 32 bits, which moved no score of "
        f"{half['tried_on']} by more than {moved}."
    ]


def _data(results: Mapping[str, Any], listed: Sequence[Mapping[str, str]] = ()) -> list[str]:
    lines = []
    for name, facts in part(results, "data").items():
        if isinstance(facts, Mapping):
            shown = [f"{value} {key.replace('_', ' ')}" for key, value in facts.items() if type(value) is int]
            if shown:
                lines.append(f"{name}: {', '.join(shown)}")
    inputs = inputs_title(results)
    return _bullets("Data", lines + ([f"clips of {inputs}"] if inputs and lines else []) + _sources(listed))


def _sources(listed: Sequence[Mapping[str, str]]) -> list[str]:
    """Whose work the network learnt from, and under which licence: a line an author, licence and source."""
    held: dict[tuple[str, str, str], list[str]] = {}
    for one in listed:
        whose = tuple(str(one.get(key) or "").strip() for key in ("author", "licence", "source"))
        held.setdefault((whose[0], whose[1], whose[2]), []).append(str(one.get("file") or one.get("name") or ""))
    return [
        f"{', '.join(files)}: {'; '.join(part for part in whose if part) or 'nothing known of author and licence'}"
        for whose, files in held.items()
    ]


def _header(
    results: Mapping[str, Any], row: Mapping[str, Any], title: str, mode: str, licence: str | None
) -> dict[str, Any]:
    """The header's keys are those of Hugging Face's model-card specification (model-index and metrics among them)."""
    kinds = {
        "srocc": ("spearmanr", "SROCC"),
        "plcc": ("pearsonr", "PLCC"),
        "pair_accuracy": ("accuracy", "pair accuracy"),
    }
    found = [(kind, name, value) for key, (kind, name) in kinds.items() if (value := number(row, key)) is not None]
    made_by = [] if row is baseline(results["table"]) else ["pruning", "knowledge-distillation"]
    header: dict[str, Any] = {
        "license": licence or "other",
        **({} if licence else {"license_name": "not-stated"}),
        "library_name": "compressvqa",
        "tags": ["video-quality-assessment", MODES[mode][0], *made_by],
    }
    if not found:
        return header
    header["metrics"] = [kind for kind, _, _ in found]
    label = results.get("label")
    dataset = f"validation clips of run {results.get('name', title)}"
    dataset += f", {label_title(label)} labels" if label else ""
    header["model-index"] = [
        {
            "name": title,
            "results": [
                {
                    "task": {"type": "video-quality-assessment"},
                    "dataset": {"type": "compressvqa", "name": dataset},
                    "metrics": [{"type": kind, "name": name, "value": round(value, 6)} for kind, name, value in found],
                }
            ],
        }
    ]
    return header
