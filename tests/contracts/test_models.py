"""The exam that every registered network sits, ours and a plugin's: it walks the registry.

Networks that say ``large=True`` are too slow for it; they sit a shorter one on the meta device, where tensors have a
shape and no content.
"""

import copy

import pytest
import torch

from compressvqa.models import create_model, example_inputs, list_models, load, save, spec_of
from compressvqa.registry import models

torch.set_num_threads(1)
# Shipped networks are those with weights; tests/models/test_reference_networks.py has them.
REGISTERED = [n for n in list_models() if n in models]
every_model = pytest.mark.parametrize("name", [n for n in REGISTERED if not models[n].facts.get("large")])
every_large_model = pytest.mark.parametrize("name", [n for n in REGISTERED if models[n].facts.get("large")])


def make(name):
    torch.manual_seed(0)
    return create_model(name).eval()


def inputs_of(name, batch=1):
    size = max(96, models[name].facts.get("smallest_side", 0))
    return example_inputs(name, size=size, frames=12, batch=batch)


@every_model
def test_it_returns_one_finite_score_per_clip(name):
    with torch.no_grad():
        scores = make(name)(*inputs_of(name, batch=2))
    assert scores.shape == (2,)
    assert torch.isfinite(scores).all()


@every_model
def test_a_batch_of_two_is_two_batches_of_one(name):
    model, inputs = make(name), inputs_of(name, batch=2)
    with torch.no_grad():
        together = model(*inputs)
        alone = torch.cat([model(*(tensor[i : i + 1] for tensor in inputs)) for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert together[0] != together[1]


@every_model
def test_the_same_call_gives_the_same_score_and_changes_nothing(name):
    model, inputs = make(name), inputs_of(name)
    before = copy.deepcopy(model.state_dict())
    kept = [tensor.clone() for tensor in inputs]
    with torch.no_grad():
        assert torch.equal(model(*inputs), model(*inputs))
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(inputs, kept, strict=True))


@every_model
def test_gradients_flow_to_its_weights_and_to_what_it_judges(name):
    model = make(name)
    inputs = tuple(tensor.requires_grad_() for tensor in inputs_of(name))
    model(*inputs).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)
    assert inputs[-1].grad.abs().sum() > 0


@every_model
def test_save_and_load_to_the_bit(name, tmp_path):
    model, inputs = make(name), inputs_of(name)
    loaded = load(save(model, tmp_path / "model"))
    with torch.no_grad():
        assert torch.equal(model(*inputs), loaded(*inputs))
    assert spec_of(loaded) == spec_of(model)


@every_model
def test_its_spec_says_what_users_need(name):
    spec = spec_of(make(name))
    assert spec.name == name
    assert spec.mode in ("FR", "NR")
    assert isinstance(spec.higher_is_better, bool)
    assert isinstance(spec.inputs, str)
    assert spec.score_range is None or spec.score_range[0] < spec.score_range[1]
    if spec.inputs == "video":
        assert len(inputs_of(name)) == {"FR": 2, "NR": 1}[spec.mode]


@every_large_model
def test_a_large_model_is_built_and_called_without_allocating_it(name):
    with torch.device("meta"):
        model = create_model(name).eval()
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    scores = model(*(tensor.to("meta") for tensor in inputs_of(name, batch=2)))
    assert scores.shape == (2,)
    assert scores.dtype == torch.float32
    assert spec_of(model).name == name


@every_large_model
def test_a_large_model_stands_for_a_family_that_is_examined(name):
    """Another network of the same class is small enough for the whole exam."""
    with torch.device("meta"):
        kinds = {type(create_model(other)) for other in REGISTERED if not models[other].facts.get("large")}
        assert type(create_model(name)) in kinds
