"""The model card: a header that hubs read, and text that says what the network is worth."""

import pytest
import yaml

from compressvqa.report import ResultsError, model_card


def parts(card):
    _, header, text = card.split("---\n", 2)
    return yaml.safe_load(header), text


def test_header(results):
    header, _ = parts(model_card(results, licence="apache-2.0"))
    assert header["license"] == "apache-2.0"
    assert header["metrics"] == ["spearmanr", "pearsonr", "accuracy"]
    assert {"full-reference", "pruning"} <= set(header["tags"])
    index = header["model-index"][0]["results"][0]
    assert index["dataset"]["name"] == "validation clips of run rankdvqa_mini, VMAF 0.6.1 labels"
    assert {m["name"]: m["value"] for m in index["metrics"]}["SROCC"] == 0.8991


def test_text(results):
    _, text = parts(model_card(results))
    for words in (
        "# rankdvqa_mini", "full-reference", "cv.load(", "compressvqa score REFERENCE DISTORTED --model",
        "9.9% of the parameters", "teacher -> sparse -> pruned -> distilled", "0.454 (9.9%)",
        "no human scores", "Higher scores are better", "14 contents", "No licence was stated",
    ):  # fmt: skip
        assert words in text, words


def test_the_card_of_an_earlier_stage(results):
    header, text = parts(model_card(results, stage="pruned"))
    assert header["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.846
    assert "rankdvqa_mini" in text and "pruned" in text
    header, text = parts(model_card(results, stage="teacher"))
    assert "trained with compressvqa" in text and not {"pruning", "knowledge-distillation"} & set(header["tags"])
    with pytest.raises(ResultsError, match="no row of stage 'none'"):
        model_card(results, stage="none")


def test_a_no_reference_network_without_accuracy():
    header, text = parts(model_card({"table": [{"stage": "made", "params": 5}]}, model="mine", mode="NR"))
    assert "metrics" not in header
    assert "model(distorted)" in text


def test_names_are_no_markup(results):
    results["name"] = "a: [b](http://c) <i>\n# d"
    header, text = parts(model_card(results))
    assert header["model-index"][0]["name"] == results["name"]
    assert r"# a: \[b](http://c) \<i> \# d" in text
