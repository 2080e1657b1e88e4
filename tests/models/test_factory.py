"""Networks by name."""

import copy

import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.errors import DataError, RegistryError, WeightsError
from compressvqa.models import create_model, example_inputs, list_models, spec_of
from compressvqa.registry import models

torch.set_num_threads(1)


@pytest.fixture
def registered():
    """Registers a network for one test."""
    names = []

    def register(name, value, **facts):
        names.append(name)
        return models.register(name, **facts)(value)

    yield register
    for name in names:
        models._entries.pop(name, None)


class Loudness(nn.Module):
    """A no-reference network: the mean of the clip, scaled."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, distorted):
        return self.gain * distorted.mean(dim=(1, 2, 3, 4))


def test_names():
    assert {"rankdvqa", "stanet"} <= set(list_models())
    assert list_models("sta*") == ["stanet"]
    with pytest.raises(RegistryError, match=r"unknown model 'rankdvka' \(try: rankdvqa"):
        create_model("rankdvka")


def test_the_public_names_are_the_same_functions():
    assert cv.create_model is create_model
    assert cv.example_inputs is example_inputs
    assert cv.list_models is list_models


def test_settings_reach_the_network_and_unknown_ones_are_refused():
    assert create_model("rankdvqa", dropout=0.25).scales[0].dropout.p == 0.25
    with pytest.raises(DataError, match=r"no setting 'dropuot' \(try: widths"):
        create_model("rankdvqa", dropuot=0.25)


def test_the_spec_survives_deepcopy_and_surgery():
    model = copy.deepcopy(create_model("rankdvqa", frames=6))
    model.extractor.stages[5] = nn.Identity()
    assert (spec_of(model).name, spec_of(model).mode, spec_of(model).kwargs) == ("rankdvqa", "FR", {"frames": 6})
    with pytest.raises(DataError, match="not made by create_model"):
        spec_of(nn.Linear(1, 1))


def test_pretrained_is_not_pretended():
    with pytest.raises(WeightsError, match="no trained weights of deepqa ship"):
        create_model("deepqa", weights="pretrained")


def test_example_inputs_are_the_same_at_every_call_and_for_name_and_model():
    first = example_inputs("rankdvqa", size=96, frames=3, batch=2)
    torch.rand(3)
    second = example_inputs(create_model("rankdvqa"), size=96, frames=3, batch=2)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(t.shape == (2, 3, 3, 96, 96) and t.min() >= 0 and t.max() <= 1 for t in first)
    assert not torch.equal(*first)


def test_a_no_reference_plugin(registered):
    registered("loudness", Loudness, mode="NR", score_range=(0.0, 1.0), higher_is_better=False)
    model = create_model("loudness", gain=0.5)
    inputs = example_inputs(model, size=8)
    assert len(inputs) == 1
    assert model(*inputs).shape == (1,)
    spec = spec_of(model)
    assert (spec.mode, spec.score_range, spec.higher_is_better, spec.inputs) == ("NR", (0.0, 1.0), False, "video")


def test_a_plugin_that_returns_no_module(registered):
    def not_a_network():
        """Returns a number."""
        return 3

    registered("number", not_a_network, mode="NR")
    with pytest.raises(DataError, match=r"returned int, not a torch\.nn\.Module"):
        create_model("number")
