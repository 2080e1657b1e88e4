"""One table of names: whatever spells one score means one score, and nothing is judged by itself."""

import typing

import pytest

from compressvqa.evaluation import evaluate
from compressvqa.labels import LABELS, VMAF_MODELS, canonical_label, key_in_log, label_title, same_label
from compressvqa.opinions import Item, Manifest
from compressvqa.results import Dataset
from compressvqa.scoring.score_file import ScoreFile
from compressvqa.video import vmaf


@pytest.mark.parametrize(
    "spellings",
    [
        ("psnr", "PSNR", "psnr_y", "PSNR-Y", "PSNR (luma)", "psnr y", "Y-PSNR"),
        ("vmaf_v1.0.16_3d0h", "VMAF 1.0.16 (3d0h)", "VMAF 1.0.16 3d0h", "vmaf_v1.0.16-3D0H"),
        ("vmaf_v0.6.1", "VMAF 0.6.1", "VMAF", "vmaf v0.6.1"),
        ("vmaf_v0.6.1neg", "VMAF 0.6.1 NEG", "vmaf_neg", "VMAF NEG"),
        ("vmaf_4k_v0.6.1", "VMAF 0.6.1 (4K)", "VMAF 4K", "vmaf 4k 0.6.1"),
        ("ms_ssim", "MS-SSIM", "float_ms_ssim", "msssim"),
        ("ssim", "SSIM", "float_ssim"),
        ("dmos", "DMOS"),
    ],
)
def test_all_spellings_of_one_score(spellings):
    for one in spellings:
        assert canonical_label(one) == spellings[0], one
        assert all(same_label(one, other) for other in spellings)


def test_scores_that_are_not_one():
    titles = [label.title for label in LABELS.values() if label.same_as is None]
    assert len({canonical_label(title) for title in titles}) == len(titles)
    for one, other in (
        ("psnr", "psnr_cb"),
        ("PSNR", "PSNR-HVS"),
        ("psnr", "xpsnr"),
        ("ssim", "MS-SSIM"),
        ("mine", "yours"),
    ):
        assert not same_label(one, other)


def test_every_metric_of_libvmaf_is_in_the_table_and_found_by_any_spelling():
    from compressvqa.scoring.features import FEATURES
    from compressvqa.scoring.find import canonical

    assert set(FEATURES) <= set(LABELS) and set(VMAF_MODELS) <= set(FEATURES)
    for name in FEATURES:
        assert canonical(LABELS[name].title) == canonical(name) == name
        if FEATURES[name].ask != "xpsnr" and len(FEATURES[name].keys) == 1:
            assert key_in_log(name, FEATURES[name].keys) == FEATURES[name].keys[0]
    assert canonical("vmaf") == "vmaf_v0.6.1" and canonical("psnr_v") == "psnr_cr"
    assert canonical("runs/mini") == "runs/mini" and canonical("mos") == "mos"


def test_what_training_sets_are_labelled_with_is_in_the_table():
    assert set(vmaf.LABELS) == {model.name for model in vmaf.MODELS} | {"psnr_y"} <= set(LABELS)
    assert all(model is VMAF_MODELS[model.name] for model in vmaf.MODELS)
    from compressvqa.cli.data import data_proxy

    hints = typing.get_type_hints(data_proxy, include_extras=True)
    assert typing.get_args(typing.get_args(hints["label"])[0]) == vmaf.LABELS
    assert label_title("psnr") == "PSNR" and label_title("psnr_y") == "PSNR-Y"


@pytest.mark.parametrize(
    ("label", "model"), [("PSNR-Y", "psnr"), ("VMAF 1.0.16 3d0h", "vmaf_v1.0.16_3d0h"), ("VMAF 0.6.1", "vmaf_v0.6.1")]
)
def test_a_label_does_not_compete_with_itself(label, model):
    assert Dataset(name="a", kind="proxy", label=label).is_label(model)
    assert not Dataset(name="a", kind="proxy", label=label).is_label("ssim")
    assert not Dataset(name="a", kind="human", label="MOS").is_label(model)


def test_a_label_under_another_title_is_known_and_another_score_under_its_title_is_not(tmp_path):
    items = tuple(Item(f"{n}.mp4", mos=float(n)) for n in range(6))
    manifest = Manifest("proxy", tmp_path, items, kind="proxy", label="PSNR-Y")
    scorers = []
    for name in ("psnr", "ssim", "mine"):
        table = tmp_path / f"{name}.csv"
        table.write_text("dist,score\n" + "".join(f"{n}.mp4,{n}\n" for n in range(6)))
        scorers.append(ScoreFile(name, table, higher_is_better=True))
    found = evaluate(scorers, [manifest], cache=tmp_path / "cache", resamples=0)
    (dataset,) = found.datasets
    assert [name for name in ("psnr", "ssim", "mine") if dataset.is_label(name)] == ["psnr"]
    known = dataset.model_copy(update={"label_models": ("Peak",)})  # what --title psnr=Peak gives
    assert known.is_label("Peak") and not known.is_label("PSNR")


@pytest.mark.parametrize(
    ("name", "keys", "wanted"),
    [
        ("vmaf_v0.6.1neg", ["vmaf", "vmaf_neg"], "vmaf_neg"),
        ("vmaf_v0.6.1neg", ["vmaf"], "vmaf"),  # libvmaf calls its score so whatever the model
        ("VMAF", ["integer_motion2", "psnr_y", "vmaf"], "vmaf"),
        ("PSNR", ["psnr_cb", "psnr_cr", "psnr_y"], "psnr_y"),
        ("psnr", ["ssim"], None),
        ("ssim", ["float_ms_ssim", "float_ssim"], "float_ssim"),
        ("mine", ["integer_vif_scale0", "vmaf"], "vmaf"),
        ("mine", ["psnr_y", "vmaf"], None),
        ("mine", ["mine", "vmaf"], "mine"),
        ("Mine", ["a", "mine"], "mine"),
    ],
)
def test_which_score_of_a_log_is_meant(name, keys, wanted):
    assert key_in_log(name, keys) == wanted
