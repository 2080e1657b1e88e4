"""Image backbones against timm's own forward, pooled by hand."""

import copy
import socket

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants
from torchvision.transforms.functional import normalize

from compressvqa.distillation.taps import FeatureTaps
from compressvqa.errors import DataError, WeightsError
from compressvqa.models import ImageBackbone, create_model, example_inputs, load, save
from compressvqa.models.temporal_pooling import Attention, MeanAndDeviation, Recurrent
from compressvqa.pruning import prune

torch.set_num_threads(1)


def clip(frames=5, side=32, batch=2):
    return torch.rand(batch, frames, 3, side, side, generator=torch.Generator().manual_seed(1))


def network(**settings):
    torch.manual_seed(0)
    return ImageBackbone(**{"backbone": "test_resnet", "size": 32, "frames": 3, **settings}).eval()


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_efficientnet", "mobilenetv3_small_050"])
def test_it_is_timm_s_own_features_averaged_and_weighed(backbone):
    model, x = network(backbone=backbone), clip()
    config = timm.models.get_pretrained_cfg(backbone)
    sized = {"img_size": 32} if "vit" in backbone else {}
    theirs = timm.create_model(backbone, num_classes=0, **sized).eval()
    theirs.load_state_dict(model.backbone.state_dict())
    head = model.head.layers[-1]
    with torch.no_grad():
        # The middles of three parts of five frames are frames 0, 2 and 4.
        frames = [theirs(normalize(x[:, t], config.mean, config.std)) for t in (0, 2, 4)]
        feature = sum(frames) / 3
        expected = feature @ head.weight[0] + head.bias[0]
        with FeatureTaps(model, ["feature"]) as taps:
            found = model(x)
            tapped = taps.take()["feature"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(tapped, feature, rtol=1e-5, atol=1e-6)


def test_pictures_are_normalised_as_the_backbone_asks():
    assert network(backbone="test_vit").view.mean.flatten().tolist() == [0.5] * 3
    assert network(backbone="resnet18").view.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.parametrize("pooling", ["mean", "std", "attention", "gru"])
def test_an_image_is_a_clip_of_one_frame_and_a_still_clip_scores_the_same(pooling):
    model, x = network(pooling=pooling, pooling_width=8, head_width=6), clip(1)
    still = x.expand(-1, 3, -1, -1, -1).clone().requires_grad_()
    found = model(still)
    found.sum().backward()
    assert torch.isfinite(still.grad).all()  # the deviation of a still clip has a slope
    if pooling != "gru":  # its state goes on changing
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)
    assert model(x).shape == (2,)


def test_order_matters_to_the_recurrent_pooling_alone():
    x = clip(3)
    for pooling in ("mean", "std", "attention", "gru"):
        model = network(pooling=pooling, pooling_width=8)
        with torch.no_grad():
            same = torch.allclose(model(x), model(x.flip(1)), rtol=1e-5, atol=1e-7)
        assert same == (pooling != "gru")


def test_poolings_are_their_equations():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5)
    attention, recurrent = Attention(5, 3), Recurrent(5, 3)
    with torch.no_grad():
        found, states = attention(x), recurrent(x)
        for b in range(2):
            logits = torch.stack([attention.weight.weight[0] @ (attention.hidden.weight @ h).tanh() for h in x[b]])
            weights = logits.exp() / logits.exp().sum()
            torch.testing.assert_close(found[b], sum(w * h for w, h in zip(weights, x[b], strict=True)))
            state, cell, seen = torch.zeros(1, 3), torch.nn.GRUCell(3, 3), []
            cell.load_state_dict({k.removesuffix("_l0"): v for k, v in recurrent.states.state_dict().items()})
            for h in x[b]:
                state = cell(recurrent.reduce(h)[None], state)
                seen.append(state[0])
            torch.testing.assert_close(states[b], torch.stack(seen).mean(0))
    mean, deviation = MeanAndDeviation()(x).chunk(2, dim=1)
    torch.testing.assert_close(mean, x.mean(1))
    torch.testing.assert_close(deviation, x.std(1, correction=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "attention"),
    [
        ({"backbone": "test_resnet", "pooling": "std", "head_width": 8}, "auto"),
        ({"backbone": "test_vit", "pooling": "attention", "pooling_width": 8}, "heads"),
        ({"backbone": "test_efficientnet", "pooling": "gru", "pooling_width": 8}, "auto"),
        ({"backbone": "mobilenetv3_small_050"}, "auto"),
        ({"backbone": "convnext_atto"}, "auto"),
        ({"backbone": "resnet18"}, "auto"),
        ({"backbone": "swin_tiny_patch4_window7_224"}, "heads"),
    ],
)
def test_pruned_saved_and_loaded_to_the_bit(settings, attention, tmp_path):
    torch.manual_seed(0)
    model = create_model("image-backbone", size=32, frames=2, **settings).eval()
    inputs = example_inputs(model, size=40, frames=4)
    pruned = prune(model, inputs, ratios=0.5, attention=attention)
    assert not pruned.plan.frozen
    assert pruned.max_error is not None
    small = pruned.model.eval()
    count = [sum(p.numel() for p in net.parameters()) for net in (model, small)]
    assert count[1] < 0.36 * count[0]  # halving both sides leaves a quarter of most layers
    loaded = load(save(small, tmp_path / "net"))
    with torch.no_grad():
        assert torch.equal(small(*inputs), loaded(*inputs))


def test_a_transformer_is_built_for_the_size_and_a_network_of_convolutions_takes_any():
    assert network(backbone="test_vit", size=64).backbone.patch_embed.img_size == (64, 64)
    assert network(size=None, frames=None)(clip(2, 48)).shape == (2,)
    with pytest.raises(DataError, match=r"test_vit is built for one size of picture \(try: size=160\)"):
        network(backbone="test_vit", size=None)
    model = network(backbone="test_vit", size=None, backbone_options={"img_size": 48})
    assert model(clip(2, 48)).shape == (2,)


def test_checkpointing_changes_no_gradient_and_is_refused_by_name_where_timm_has_none():
    model, x = network(backbone="test_vit"), clip()
    other = copy.deepcopy(model)
    other.set_grad_checkpointing()
    assert other.backbone.grad_checkpointing
    for net in (model, other):
        net(x).sum().backward()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    with pytest.raises(DataError, match="no gradient checkpointing for InceptionV4"):
        network(backbone="inception_v4", size=96).set_grad_checkpointing()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "resnet81"}, r"no backbone 'resnet81' \(try: resnet18"),
        ({"backbone": "hf-hub:timm/resnet18"}, "no backbone 'hf-hub:timm/resnet18'"),
        ({"backbone": "resnet18.a1_in2k"}, r"published weights 'resnet18.a1_in2k' \(try: resnet18.a1_in1k"),
        ({"pooling": "atention"}, r"temporal pooling 'atention' \(try: attention\)"),
        ({"pooling_width": 0}, "with 0 channels"),
        ({"dropout": 1.0}, "a dropout of 1.0"),
        ({"head_width": 0}, "0 hidden channels"),
        ({"fit": "squeze"}, r"no fit 'squeze' \(try: squeeze\)"),
        ({"frames": 0}, "a view of 0 frames"),
        ({"backbone_options": {"drop_paht": 0.1}}, "test_resnet can't be built so: .*'drop_paht'"),
        ({"backbone_options": {"num_classes": 5}}, "can't set 'num_classes'"),
        ({"backbone": "test_vit", "backbone_options": {"img_size": "wide"}}, "test_vit can't be built"),
    ],
)
def test_wrong_settings_are_one_line(settings, words):
    with pytest.raises(DataError, match=words) as caught:
        network(**settings)
    assert "\n" not in str(caught.value)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache of the hub, which can't be reached; its folder."""

    def refuse(*args, **kwargs):
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_weights_that_cannot_be_fetched_are_one_line(hub):
    del hub
    with pytest.raises(WeightsError, match="published weights of image-backbone can't be fetched") as caught:
        create_model("image-backbone", weights="pretrained", backbone="test_resnet")
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="No pretrained weights exist"):
        create_model("image-backbone", weights="pretrained", backbone="darknet17")


def test_published_weights_are_the_backbone_s_and_the_head_is_fresh(hub):
    config = timm.models.get_pretrained_cfg("test_resnet")
    torch.manual_seed(5)
    published = timm.create_model("test_resnet").state_dict()
    folder = hub / f"models--{config.hf_hub_id.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("1" * 40)
    (folder / "snapshots" / ("1" * 40)).mkdir(parents=True)
    safetensors.torch.save_file(published, folder / "snapshots" / ("1" * 40) / "model.safetensors")
    model = create_model("image-backbone", weights="pretrained", backbone="test_resnet", size=32)
    kept = model.backbone.state_dict()
    assert kept
    assert all(torch.equal(tensor, published[name]) for name, tensor in kept.items())
    assert model.head.layers[-1].weight.shape == (1, published["fc.weight"].shape[1])
