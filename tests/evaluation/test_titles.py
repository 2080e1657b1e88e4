"""What models are called: short, and no two alike."""

import pytest
from evaluation.test_evaluate import Counting

from compressvqa.errors import DataError
from compressvqa.evaluation import evaluate
from compressvqa.evaluation.titles import titles
from compressvqa.models import create_model, save


@pytest.mark.parametrize(
    "models",
    [
        ["runs/mini", "other/mini"],
        ["runs/mini", "runs/mini/stages/03-mini", "x/runs/mini/stages/03-mini"],
        ["runs/mini", "mini/model"],
        ["a/b/model", "model/b"],
        ["rankdvqa=a.pt", "rankdvqa=b.pt", "rankdvqa=c/b.pt"],
        ["psnr", "runs/psnr", "old/psnr/model"],
        ["/data/1/net", "/data/2/net", "/data/2/net/model"],
        ["a/01-pruned", "a/02-pruned"],
    ],
)
def test_no_two_models_are_called_alike(models):
    found = titles(models)
    assert len(set(found.values())) == len(models), found
    assert list(found) == models


def test_titles_that_users_choose_win():
    assert titles(["a/mini", "b/mini"], {"a/mini": "teacher"}) == {"a/mini": "teacher", "b/mini": "mini"}
    assert titles(["a/mini", "b/x"], {"b/x": "mini"}) == {"a/mini": "a/mini", "b/x": "mini"}
    with pytest.raises(DataError, match="would both be called 'x'"):
        titles(["a/mini", "b/mini"], {"a/mini": "x", "b/mini": "x"})
    with pytest.raises(DataError, match="which is none of the models"):
        titles(["a/mini"], {"mini": "x"})


def test_two_networks_of_one_name_are_judged_side_by_side(noise_set, cache, tmp_path):
    made = [
        save(create_model("rankdvqa", widths=(2, 2, 2, 2, 2, 2), merge_width=4, mlp_width=4), tmp_path / place / "mini")
        for place in ("first", "second")
    ]
    found = evaluate(
        [*made, Counting()], [noise_set], split="train", cache=cache, resamples=0, allow_random_weights=True
    )
    assert {model.name for model in found.models} == {"first/mini", "second/mini", "counting"}
