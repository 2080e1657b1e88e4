import json
from pathlib import Path

import numpy as np
import pytest

from compressvqa.errors import DataError, WeightsError
from compressvqa.scoring.greed import GreedModel, fit_greed

CHANCE = np.random.default_rng(0)
FEATURES = CHANCE.random((60, 16)) * np.linspace(1, 5, 16)
SCORES = 80 - 20 * np.tanh(FEATURES[:, 0]) - 5 * FEATURES[:, 7] + CHANCE.standard_normal(60)
CONTENTS = [f"scene {number % 12}" for number in range(60)]


@pytest.fixture(scope="module")
def model() -> GreedModel:
    return fit_greed(FEATURES, SCORES, contents=CONTENTS, label="DMOS", higher_is_better=False)


def test_it_predicts_as_scikit_learn_does(model: GreedModel) -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import SVR

    middle, spread = SCORES.mean(), SCORES.std()
    pipeline = make_pipeline(MinMaxScaler(), SVR(C=model.training["cost"], gamma=model.gamma))
    pipeline.fit(FEATURES, (SCORES - middle) / spread)
    unseen = np.random.default_rng(1).random((20, 16)) * 5
    assert np.allclose(model.predict(unseen), pipeline.predict(unseen) * spread + middle, atol=1e-9)
    assert float(model.predict(unseen[3])) == pytest.approx(model.predict(unseen)[3])


def test_it_learns_and_says_what_it_was_fitted_to(model: GreedModel) -> None:
    assert model.training["items"] == 60 and model.training["contents"] == 12
    assert model.training["srocc_of_held_out_folds"] > 0.8
    assert (model.label, model.higher_is_better) == ("DMOS", False)
    assert np.corrcoef(model.predict(FEATURES), SCORES)[0, 1] > 0.95


def test_the_same_data_give_the_same_model(model: GreedModel) -> None:
    again = fit_greed(FEATURES, SCORES, contents=CONTENTS)
    assert np.array_equal(again.support, model.support) and np.array_equal(again.weights, model.weights)


def test_a_feature_that_never_varies_is_no_trouble() -> None:
    still = FEATURES[:12].copy()
    still[:, 4] = 0
    assert np.isfinite(fit_greed(still, SCORES[:12]).predict(FEATURES)).all()


def test_saved_and_loaded_it_is_the_same_and_holds_no_pickle(model: GreedModel, tmp_path: Path) -> None:
    file = model.save(tmp_path / "greed.json")
    loaded = GreedModel.load(file)
    assert np.array_equal(loaded.predict(FEATURES), model.predict(FEATURES))
    assert (loaded.label, loaded.higher_is_better, loaded.training) == ("DMOS", False, model.training)
    assert json.loads(file.read_text())["kind"] == "st-greed"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda values: values.pop("weights"), "damaged"),
        (lambda values: values["support"].pop(), "another shape"),
        (lambda values: values["low"].__setitem__(0, None), "not a number"),
        (lambda values: values.update(gamma="wide"), "another shape"),
        (lambda values: values.update(kind="other"), "no model"),
        (lambda values: values.update(schema=99), "no model"),
        (lambda values: values.update(extra=1), "damaged"),
    ],
)
def test_a_damaged_file_is_named(model: GreedModel, tmp_path: Path, change, match: str) -> None:
    file = model.save(tmp_path / "greed.json")
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=match) as caught:
        GreedModel.load(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        GreedModel.load(tmp_path / "none.json")
    (tmp_path / "x.json").write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsError, match="is not UTF-8 text"):
        GreedModel.load(tmp_path / "x.json")
    with pytest.raises(WeightsError, match="is a folder, not a file"):
        GreedModel.load(tmp_path)


@pytest.mark.parametrize(
    ("features", "scores", "contents", "match"),
    [
        (FEATURES[:, :15], SCORES, None, "do not fit"),
        (FEATURES, SCORES[:-1], None, "do not fit"),
        (FEATURES, SCORES, CONTENTS[:-1], "do not fit"),
        (FEATURES * np.nan, SCORES, None, "not a number"),
        (FEATURES, SCORES * 0, None, "the same"),
        (FEATURES[:5], SCORES[:5], None, "too few"),
        (FEATURES, SCORES, ["one"] * 60, "too few"),
    ],
)
def test_data_that_do_not_fit(features, scores, contents, match: str) -> None:
    with pytest.raises(DataError, match=match):
        fit_greed(features, scores, contents=contents)
