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


def test_a_star_stays_within_a_name_and_two_go_through():
    model = Siamese()

    def paths(*patterns):
        return list(FeatureTaps(model, patterns).modules)

    assert paths("*") == ["extractor", "memory"]
    assert paths("extractor.*") == ["extractor.stages"]
    assert paths("extractor.**.[0-9]*") == ["extractor.stages.0", "extractor.stages.1"]
    assert paths("**.1", "extractor.*.0") == ["extractor.stages.0", "extractor.stages.1"]
    assert paths("m?mory") == ["memory"]
    with pytest.raises(RecipeError, match=r"Siamese: '\*\.stage' matches no module .*extractor\.stages"):
        paths("*.stage")


def test_channels_are_found_where_they_are():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.norm, self.mix = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), nn.Conv1d(6, 5, 1)

        def forward(self, x):
            tokens = self.norm(self.patches(x).flatten(2).movedim(1, 2))
            return self.mix(tokens.movedim(1, 2)).mean((1, 2))

    model, x = Tokens(), torch.rand(2, 3, 8, 8)
    shapes = {}
    for channels in ("second", "last", "auto"):
        with FeatureTaps(model, "*", channels=channels) as taps:
            model(x)
            shapes[channels] = [tuple(feature.shape) for feature in taps.take().values()]
    assert shapes["second"] == [(2, 6, 2, 2), (2, 4, 6), (2, 5, 4)]
    assert shapes["last"] == [(2, 2, 6, 2), (2, 6, 4), (2, 4, 5)]
    assert shapes["auto"] == [(2, 6, 2, 2), (2, 6, 4), (2, 5, 4)]


SWIN = {"img_size": 96, "window_size": 3, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2)}


@pytest.mark.parametrize(
    ("name", "options", "path", "positions"),
    [
        ("test_vit", {"img_size": 96}, "blocks.*", 1),  # (N, L, C)
        ("swin_tiny_patch4_window7_224", SWIN, "layers.*.blocks.0", 2),  # (N, H, W, C)
        ("test_convnext", {}, "stages.*.blocks.0", 2),  # linear layers inside, (N, C, H, W) outside
        ("test_resnet", {}, "layer?", 2),
    ],
)
def test_channels_of_published_networks(name, options, path, positions):
    import timm

    model = timm.create_model(name, **options).eval()
    with torch.no_grad(), FeatureTaps(model, path, channels="auto") as taps:
        model(torch.rand(1, 3, 96, 96))
        features = list(taps.take().values())
    assert {feature.ndim for feature in features} == {2 + positions}
    said = [stage["num_chs"] for stage in model.feature_info]
    assert [feature.shape[1] for feature in features] == said[-len(features) :]


def test_where_both_axes_are_as_long_the_kind_of_layer_decides():
    mixed = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    cases = {"linear": (nn.Linear(4, 4), (2, 4, 4, 5)), "mixed": (mixed, (2, 4, 5, 4)), "norm": (nn.LayerNorm(4), None)}
    model = nn.ModuleDict({name: module for name, (module, _) in cases.items()})
    x = torch.rand(2, 4, 5, 4)
    for name, (module, shape) in cases.items():
        with FeatureTaps(model, name, channels="auto") as taps:
            module(x)
            if shape:
                assert taps.take()[name].shape == shape
            else:
                with pytest.raises(TrainingError, match=r"norm: in \(2, 4, 5, 4\) the channels may be second or last"):
                    taps.take()


def test_what_cannot_be_a_feature_is_named():
    model = Siamese()
    with pytest.raises(TrainingError, match="memory: LSTM returns a tuple"), FeatureTaps(model, ["memory"]):
        model.memory(torch.rand(1, 3, 2))
    with FeatureTaps(model, ["extractor.stages.0"]) as taps:
        model.one(torch.rand(2, 4))
        model.one(torch.rand(2, 5, 4))
        with pytest.raises(TrainingError, match="differ in shape"):
            taps.take()
