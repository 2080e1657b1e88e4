"""What a run did and what its figures are worth, in sentences; page and model card say the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressvqa.labels import is_human, label_title
from compressvqa.report.intervals import interval, srocc_interval, with_intervals
from compressvqa.report.numbers import LATENCY, MACS, PARAMS, between, digits_of, percent
from compressvqa.report.results import baseline, inputs_title, number, part, ratio

# How this toolkit counts. results["counted"] may replace a sentence or add one.
COUNTED = {
    "params": "All parameters of the network, counted once where layers share them.",
    "macs": "One multiply-accumulate counts once (half of what others call FLOPs). 'All' takes in convolution, linear, "
    "attention and recurrent layers; normalisation, activations, pooling and softmax are not counted. Of a "
    "full-reference network both clips count.",
    "macs_conv_linear": "'conv & linear' leaves attention products out: the convention of Table I of the RankDVQA-mini "
    "paper.",
    "latency_ms": "Wall time of one forward pass in evaluation mode, after warm-up, the networks taking turns: median "
    "and 90th percentile of the runs, on the machine named under environment.",
    "srocc": "Spearman's rank correlation of the raw scores with the label, over all validation clips.",
    "plcc": "Pearson's correlation after a 4-parameter logistic fit of the scores to the label.",
    "srocc_within": "The SROCC inside each content, averaged over contents: where it is high and SROCC is low, "
    "contents are ordered well and share no scale.",
    "pair_accuracy": "Share of the validation pairs of which the network ranks the two clips as the label does.",
    "agreement_srocc": "Agreement: correlation of the raw scores with those of the first stage's network on the same "
    "validation clips, whatever the label says: Spearman's, and Pearson's without a fit.",
}


def last(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the network that the run ended with."""
    row: Mapping[str, Any] = results["table"][-1]
    return row


def summary(results: Mapping[str, Any]) -> str:
    """One plain paragraph: what came out of what, with the ratios that were measured."""
    base, end = baseline(results["table"]), last(results)
    name = str(results.get("name", "The run"))
    if end is base:
        sentences = [f"{name} ended with the network of stage {end['stage']}; there is nothing to compare it with."]
        parts = [_amount(end, "params"), _amount(end, "macs"), _amount(end, "latency_ms")]
        if any(parts):
            sentences.append(f"It has {_list([part for part in parts if part])}.")
    else:
        small = [
            f"{percent(share)} of the {noun}"
            for key, noun in (("params", "parameters"), ("macs", "multiply-accumulates"))
            if (share := ratio(end, base, key)) is not None
        ]
        start = f"{name} went from the network of stage {base['stage']} to that of stage {end['stage']}"
        sentences = [f"{start}, which has {_list(small)}." if small else f"{start}."]
        time = ratio(end, base, "latency_ms")
        if time:
            before, after = number(base, "latency_ms"), number(end, "latency_ms")
            faster = f"{1 / time:.1f} times as fast" if time <= 1 else f"{time:.1f} times as slow"
            sentences.append(f"On the machine of the run it is {faster} ({before:.1f} to {after:.1f} ms).")
    accuracy = _accuracy(results, base, end)
    return " ".join([*sentences, *([accuracy] if accuracy else [])])


def _accuracy(results: Mapping[str, Any], base: Mapping[str, Any], end: Mapping[str, Any]) -> str | None:
    after, before = number(end, "srocc"), number(base, "srocc")
    if after is None:
        return None
    against = f" against {label_title(results['label'])}" if results.get("label") else ""
    n = end.get("n")
    where = f" on {n:,} validation clips" if isinstance(n, int) else ""
    if end is base or before is None:
        return f"Its SROCC{against}{where} is {_srocc(end)}."
    share = ratio(end, base, "srocc")
    kept = "" if share is None else f", {percent(share)} of that of stage {base['stage']}"
    return f"SROCC{against}{where} went from {_srocc(base)} to {_srocc(end)}{kept}."


def _srocc(row: Mapping[str, Any]) -> str:
    """The figure in the digits that its interval bears, and the interval."""
    (row,) = with_intervals([row])
    ends = interval(row, "srocc")
    return f"{number(row, 'srocc'):.{digits_of(ends)}f} {between(ends, zero=True)}".strip()


def _amount(row: Mapping[str, Any], key: str) -> str | None:
    value = number(row, key)
    if value is None:
        return None
    return {
        "params": f"{PARAMS.text(value)} M parameters",
        "macs": f"{MACS.text(value)} G multiply-accumulates",
        "latency_ms": f"a median latency of {LATENCY.text(value)} ms",
    }[key]


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def counted(results: Mapping[str, Any]) -> dict[str, str]:
    """How each figure of the table was counted: {figure: sentence}, only for figures that the table has."""
    sentences = {
        key: text for key, text in COUNTED.items() if any(number(row, key) is not None for row in results["table"])
    }
    inputs = inputs_title(results)
    if inputs is not None:
        batch = results["inputs"][-1][0]
        both = ", reference and distorted" if len(results["inputs"]) == 2 else ""
        sentences = {"inputs": f"MACs and time: {inputs}{both}, a batch of {batch}.", **sentences}
    return {**sentences, **part(results, "counted")}


def limits(results: Mapping[str, Any]) -> list[str]:
    """What the figures can't say, one sentence each."""
    sentences = []
    label = results.get("label")
    if isinstance(label, str) and not is_human(label):
        title = label_title(label)
        sentences.append(
            f"{title} labels, no human scores: the correlations say how well a network agrees with {title}, which "
            "is itself an estimate, and not how well it agrees with people."
        )
    end = last(results)
    srocc, n = number(end, "srocc"), end.get("n")
    if srocc is not None and isinstance(n, int) and (interval := srocc_interval(srocc, n)) is not None:
        sentences.append(
            f"{n:,} validation clips put the last SROCC between {interval[0]:.3f} and {interval[1]:.3f} (95 %, "
            "Fisher's z) if they were independent; patches of one content are not, so the true interval is wider."
        )
    contents = part(results, "data", "validation").get("contents")
    if isinstance(contents, (int, list, tuple)):
        count = contents if isinstance(contents, int) else len(contents)
        sentences.append(f"Validation holds {count} content{'' if count == 1 else 's'}, none of which is in training.")
    if any(number(row, "latency_ms") is not None for row in results["table"]):
        sentences.append("Latency holds for this machine and this number of threads only.")
    more = results.get("limits")
    return sentences + [str(sentence) for sentence in (more if isinstance(more, list) else [])]
