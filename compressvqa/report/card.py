"""The model card: README.md of a saved network, with the header that model hubs read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from compressvqa.labels import label_title
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
    steps = " -> ".join(str(line["stage"]) for line in results["table"])
    trained = f" It was trained on {label_title(label)} labels." if isinstance(label, str) else ""
    base = baseline(results["table"])
    shown = {**results, "table": [base] if row is base else [base, row]}
    parts = [
        f"---\n{header}---\n",
        f"# {_text(title)}\n",
        f"A {kind} video-quality network ({_text(model)}), made smaller with compressvqa. {_text(summary(shown))}\n",
        "## Use\n",
        "```python\nimport compressvqa as cv\n\n"
        'model = cv.load("FOLDER")  # this folder\n'
        f"scores = {call}  # (batch,), higher is better\n```\n",
        "On two files:\n\n```sh\ncompressvqa score REFERENCE DISTORTED --model FOLDER\n```\n",
        "## Input and score\n",
        f"It takes {takes}, (batch, frames, 3, height, width), RGB, float in [0, 1]. Higher scores are better; "
        f"the score {span}.{trained}\n",
        f"## How it was made\n\n{_text(steps)}. config.json holds widths, facts and the weights' SHA-256.\n",
        f"## Results\n\n{result_table(with_intervals(results['table'])).to_markdown()}",
        *_bullets("How the figures were counted", list(counted(results).values())),
        *_data(results),
        *_bullets("Limits", limits(shown)),
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


def _data(results: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, facts in part(results, "data").items():
        if isinstance(facts, Mapping):
            shown = [f"{value} {key.replace('_', ' ')}" for key, value in facts.items() if type(value) is int]
            if shown:
                lines.append(f"{name}: {', '.join(shown)}")
    inputs = inputs_title(results)
    return _bullets("Data", lines + ([f"clips of {inputs}"] if inputs and lines else []))


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
    header: dict[str, Any] = {
        "license": licence or "other",
        **({} if licence else {"license_name": "not-stated"}),
        "library_name": "compressvqa",
        "tags": ["video-quality-assessment", MODES[mode][0], "pruning", "knowledge-distillation"],
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
