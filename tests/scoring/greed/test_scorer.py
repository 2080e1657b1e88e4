from pathlib import Path

import numpy as np
import pytest

from compressvqa.errors import DataError, WeightsError
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.registry import scorers
from compressvqa.scoring.greed import GreedModel, StGreed, fit_manifest, greed_features
from compressvqa.video.clip import Clip, Pairing

from .test_features import blur, write  # noqa: F401


def some_model(folder: Path, offset: float = 0.0) -> Path:
    support, weights = np.random.default_rng(0).random((5, 16)), np.arange(5.0)
    model = GreedModel(np.zeros(16), np.ones(16), support, weights, offset, 0.1, higher_is_better=False)
    return model.save(folder / "model.json")


def test_it_scores_by_the_features(write, tmp_path: Path) -> None:  # noqa: F811
    file = some_model(tmp_path)
    reference, files = write("r.y4m", 40), [write("a.y4m", 40, change=blur(3)), write("b.y4m", 40, change=blur(9))]
    scorer = scorers["st-greed"].value(file)
    found = scorer.score(reference, files, Pairing())
    for clip, course in zip(files, found, strict=True):
        wanted = float(GreedModel.load(file).predict(greed_features(reference, clip)))
        assert course["st-greed"].score == wanted
        (segment,) = course["st-greed"].segments
        assert (segment.first_frame, segment.last_frame, segment.score) == (0, 39, wanted)
    assert scorer.score(reference, files, Pairing()) == found


def test_its_facts_change_with_the_model(tmp_path: Path) -> None:
    first = StGreed(some_model(tmp_path)).facts[0]
    assert (first.mode, first.higher_is_better, first.name) == ("FR", False, "st-greed")
    assert StGreed(some_model(tmp_path)).facts[0].identity == first.identity
    assert StGreed(some_model(tmp_path, 5.0)).facts[0].identity != first.identity


def test_without_a_model_it_says_how_to_make_one() -> None:
    with pytest.raises(WeightsError) as caught:
        scorers["st-greed"].value()
    assert "fit_manifest" in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_reference(write, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(DataError, match="reference"):
        StGreed(some_model(tmp_path)).score(None, [write("d.y4m", 40)], Pairing())


def test_a_data_set_makes_a_model(write, tmp_path: Path) -> None:  # noqa: F811
    """Blur of a known amount as its score: the fitted model puts unseen amounts in order."""
    write("r.y4m", 40)
    write("s.y4m", 40, change=lambda luma, number: luma[::-1])
    items = []
    for side, name in enumerate(("r", "s")):
        for amount in (1, 2, 4, 7, 11, 16):
            flip = (lambda luma: luma[::-1]) if side else (lambda luma: luma)
            write(f"{name}{amount}.y4m", 40, change=lambda x, n, a=amount, f=flip: f(blur(a)(x, n)))
            items.append(Item(f"{name}{amount}.y4m", 100 - 4 * amount, f"{name}.y4m"))
    seen: list[tuple[int, int]] = []
    data = Manifest("blur", tmp_path, tuple(items))
    model = fit_manifest(data, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(6, 12), (12, 12)] and model.training["data"] == "blur" and model.training["contents"] == 2
    unseen = [greed_features(Clip(tmp_path / "r.y4m"), write(f"u{n}.y4m", 40, change=blur(n))) for n in (1.5, 5, 13)]
    assert (np.diff(model.predict(np.stack(unseen))) < -5).all()


def test_a_data_set_without_references_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reference"):
        fit_manifest(Manifest("alone", tmp_path, (Item("a.mp4", 1.0),)))
