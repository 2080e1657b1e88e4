import pytest
import torch
from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.sparsity import DEFAULT_EXCLUDE, OBProxSG, regularised_groups


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(49, 2))


def network():
    return nn.ModuleDict(
        {"conv": nn.Conv2d(3, 8, 3), "norm": nn.BatchNorm2d(8), "attention": Attention(), "table": nn.Embedding(4, 8)}
    )


def names(group):
    return [name for name, _ in group["params"]]


def test_only_conv_and_linear_weights_by_default():
    regularised, rest = regularised_groups(network(), lam=0.1)
    assert names(regularised) == ["conv.weight", "attention.qkv.weight"]
    assert regularised["lam"] == 0.1 and rest["lam"] == 0
    everything = {name for name, _ in network().named_parameters()}
    assert set(names(regularised)) | set(names(rest)) == everything


def test_by_class_and_by_pattern():
    regularised, _ = regularised_groups(network(), lam=0.1, include=[nn.Conv2d, "norm.weight"])
    assert names(regularised) == ["conv.weight", "norm.weight"]
    regularised, _ = regularised_groups(network(), lam=0.1, exclude=[*DEFAULT_EXCLUDE, "attention"])
    assert names(regularised) == ["conv.weight"]
    regularised, _ = regularised_groups(network(), lam=0.1, exclude=[nn.Linear])
    assert names(regularised) == ["conv.weight"]


def test_a_pattern_that_matches_nothing_raises_and_names_the_nearest():
    with pytest.raises(RecipeError, match=r"'atention\.qkv\.weight' matches no parameter.*attention\.qkv\.weight"):
        regularised_groups(network(), lam=0.1, exclude=["atention.qkv.weight"])
    with pytest.raises(RecipeError, match="no parameter is left"):
        regularised_groups(network(), lam=0.1, exclude=["*"])
    with pytest.raises(RecipeError, match="positive"):
        regularised_groups(network(), lam=0.0)


def test_tied_and_frozen_parameters():
    tied = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 4)})
    tied["second"].weight = tied["first"].weight
    with pytest.raises(RecipeError, match="no parameter is left"):
        regularised_groups(tied, lam=0.1, exclude=["second.weight"])
    tied["first"].bias.requires_grad_(False)
    regularised, rest = regularised_groups(tied, lam=0.1)
    assert names(regularised) == ["first.weight"] and names(rest) == ["second.bias"]


def test_relative_factors_are_proportional_to_the_weights_size():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    nn.init.constant_(model[0].weight, 0.1)
    nn.init.constant_(model[1].weight, -0.3)
    regularised, _ = regularised_groups(model, lam=0.1, relative=True)
    assert regularised["lam_scales"] == pytest.approx([0.5, 1.5])


def test_the_groups_build_an_optimiser_that_knows_the_names():
    model = network()
    optimizer = OBProxSG(regularised_groups(model, lam=0.1), 0.01, lam=0.1, prox_steps=5)
    assert optimizer.param_groups[0]["param_names"] == ["conv.weight", "attention.qkv.weight"]
    assert [group["lam"] for group in optimizer.param_groups] == [0.1, 0.0]
