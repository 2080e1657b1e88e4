import pytest
import torch
from torch import nn

from compressvqa.distillation import FeatureTaps
from compressvqa.errors import RecipeError, TrainingError


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.extractor = nn.ModuleDict({"stages": nn.ModuleList([nn.Linear(4, 3), nn.Linear(3, 2)])})
        self.memory = nn.LSTM(2, 2, batch_first=True)

    def one(self, x):
        for stage in self.extractor["stages"]:
            x = stage(x)
        return x

    def forward(self, reference, distorted):
        return (self.one(reference) - self.one(distorted)).sum(1)


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_of_every_call_are_joined_in_order():
    model, r, d = Siamese(), torch.rand(2, 4), torch.rand(2, 4)
    with FeatureTaps(model, ["extractor.stages.*"]) as taps:
        model(r, d)
        features = taps.take()
        assert taps.take() == {}
    assert list(features) == ["extractor.stages.0", "extractor.stages.1"]
    assert torch.equal(features["extractor.stages.1"], torch.cat([model.one(r), model.one(d)]))
    assert features["extractor.stages.0"].requires_grad


def test_a_teachers_features_are_cut_off_the_graph():
    model = Siamese()
    with FeatureTaps(model, "extractor.stages.0", detach=True) as taps:
        model(torch.rand(2, 4), torch.rand(2, 4))
        assert not taps.take()["extractor.stages.0"].requires_grad


def test_a_typo_names_the_nearest_paths():
    with pytest.raises(RecipeError, match=r"'extractor\.stage\.1'.*extractor\.stages\.1"):
        FeatureTaps(Siamese(), ["extractor.stage.1"])


def test_hooks_go_away_also_after_exceptions():
    model = Siamese()
    with FeatureTaps(model, ["*"]):
        assert hooks(model) > 0
    assert hooks(model) == 0
    with pytest.raises(RuntimeError), FeatureTaps(model, ["*"]):
        model(torch.rand(2, 7), torch.rand(2, 7))
    assert hooks(model) == 0


def test_what_cannot_be_a_feature_is_named():
    model = Siamese()
    with pytest.raises(TrainingError, match="memory: LSTM returns a tuple"), FeatureTaps(model, ["memory"]):
        model.memory(torch.rand(1, 3, 2))
    with FeatureTaps(model, ["extractor.stages.0"]) as taps:
        model.one(torch.rand(2, 4))
        model.one(torch.rand(2, 5, 4))
        with pytest.raises(TrainingError, match="differ in shape"):
            taps.take()
