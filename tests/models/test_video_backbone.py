"""Video backbones against torchvision's own networks, whose classifier is given our head's weights."""

import socket

import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms.functional import normalize

from compressvqa.distillation.taps import FeatureTaps
from compressvqa.errors import DataError, WeightsError
from compressvqa.models import VideoBackbone, create_model, example_inputs, load, save
from compressvqa.pruning import prune

torch.set_num_threads(1)

KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def with_our_head(theirs, head):
    """Puts the weights of a linear head in the place of the classifier, whatever it is."""
    if isinstance(theirs, torchvision.models.video.S3D):
        layer = theirs.classifier[1] = nn.Conv3d(head.in_features, 1, 1)
        layer.load_state_dict({"weight": head.weight[:, :, None, None, None], "bias": head.bias})
    elif isinstance(theirs, torchvision.models.video.MViT):
        theirs.head[1] = head
    else:
        setattr(theirs, "fc" if hasattr(theirs, "fc") else "head", head)
    return theirs.eval()


@pytest.mark.parametrize(
    ("backbone", "frames", "side", "channels", "colours"),
    [
        ("r3d_18", 4, 32, 512, KINETICS),
        ("mc3_18", 4, 32, 512, KINETICS),
        ("r2plus1d_18", 4, 32, 512, KINETICS),
        ("s3d", 14, 224, 1024, KINETICS),
        ("swin3d_t", 4, 32, 768, IMAGENET),
        pytest.param("mvit_v2_s", 16, 224, 768, ((0.45,) * 3, (0.225,) * 3), marks=pytest.mark.slow),
        pytest.param("swin3d_b", 4, 32, 1024, IMAGENET, marks=pytest.mark.slow),
    ],
)
def test_it_is_torchvision_s_own_network_with_one_class(backbone, frames, side, channels, colours):
    torch.manual_seed(0)
    model = VideoBackbone(backbone, frames=frames, size=side).eval()
    theirs = torchvision.models.get_model(backbone, weights=None)
    missing, unexpected = theirs.load_state_dict(model.backbone.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith(("fc.", "classifier.", "head.")) for name in missing)
    head = model.head.layers[-1]
    theirs = with_our_head(theirs, head)
    x = torch.rand(1, frames, 3, side, side)
    with torch.no_grad(), FeatureTaps(model, ["feature"]) as taps:
        found, feature = model(x), taps.take()["feature"]
        expected = theirs(normalize(x, *map(list, colours)).transpose(1, 2)).flatten()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert feature.shape == (1, channels)
    assert found != head.bias  # the backbone has its say


def test_a_longer_and_larger_clip_is_brought_to_its_view():
    torch.manual_seed(0)
    model = VideoBackbone(frames=4, size=32, head_width=8, dropout=0.1).eval()
    x = torch.rand(1, 12, 3, 32, 32)
    with torch.no_grad():
        # The middles of four parts of twelve frames.
        assert torch.equal(model(x), model(x[:, [1, 4, 7, 10]]))
        assert model(torch.rand(2, 3, 3, 45, 61)).shape == (2,)


@pytest.mark.parametrize(("backbone", "attention"), [("r3d_18", "auto"), ("swin3d_t", "heads")])
def test_pruned_saved_and_loaded_to_the_bit(backbone, attention, tmp_path):
    torch.manual_seed(0)
    model = create_model("video-backbone", backbone=backbone, frames=2, size=32, head_width=16).eval()
    inputs = example_inputs(model, size=40, frames=4)
    pruned = prune(model, inputs, ratios=0.5, attention=attention)
    assert not pruned.plan.frozen
    assert pruned.max_error is not None
    small = pruned.model.eval()
    count = [sum(p.numel() for p in net.parameters()) for net in (model, small)]
    assert count[1] < 0.3 * count[0]
    loaded = load(save(small, tmp_path / "net"))
    with torch.no_grad():
        assert torch.equal(small(*inputs), loaded(*inputs))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "r3d_81"}, r"no video backbone 'r3d_81' \(try: r3d_18"),
        ({"backbone": "resnet18"}, "no video backbone 'resnet18'"),
        ({"backbone": "mvit_v2_s"}, r"is built for 16 frames of 224 \(try: frames=16, size=224\)"),
        ({"backbone": "s3d", "size": 112}, "s3d can't be called with 8 frames of 112"),
        ({"backbone": "s3d", "size": 224, "frames": 8}, "14 frames of 224 pixels at least"),
        ({"backbone_options": {"num_classes": 3}}, "can't set 'num_classes'"),
        ({"backbone_options": {"weights": "DEFAULT"}}, 'weights="pretrained"'),
        ({"backbone": "swin3d_t", "backbone_options": {"drop_path": 0.1}}, "swin3d_t can't be built so: .*'drop_path'"),
        ({"dropout": -0.1}, "a dropout of -0.1"),
    ],
)
def test_wrong_settings_are_one_line(settings, words):
    with pytest.raises(DataError, match=words) as caught:
        VideoBackbone(**settings)
    assert "\n" not in str(caught.value)


def test_a_clip_that_is_too_small_for_the_network_is_one_line():
    model = VideoBackbone("s3d", frames=None, size=None)
    with pytest.raises(DataError, match=r"\(4, 64, 64\) are too few for S3D \(try: 14 frames of 224 pixels at least"):
        model(torch.zeros(1, 4, 3, 64, 64))


def test_checkpointing_is_refused_by_name():
    model = VideoBackbone("mc3_18")
    model.set_grad_checkpointing(False)
    with pytest.raises(DataError, match="no gradient checkpointing for VideoResNet"):
        model.set_grad_checkpointing()


def test_published_weights_are_the_backbone_s_or_one_line(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="published weights of video-backbone can't be fetched") as caught:
        create_model("video-backbone", weights="pretrained", backbone="mc3_18")
    assert "\n" not in str(caught.value)
    # As if torchvision had fetched them before.
    torch.manual_seed(5)
    published = torchvision.models.video.mc3_18().state_dict()
    url = torchvision.models.video.MC3_18_Weights.DEFAULT.url
    torch.save(published, tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    model = create_model("video-backbone", weights="pretrained", backbone="mc3_18")
    assert all(torch.equal(tensor, published[name]) for name, tensor in model.backbone.state_dict().items())
    assert model.head.layers[-1].weight.shape == (1, 512)
