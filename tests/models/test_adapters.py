"""Networks of other libraries by their prefix."""

from __future__ import annotations

import socket
import sys
import threading

import pytest
import timm
import torch

from compressvqa.errors import DataError, MissingExtraError, RegistryError
from compressvqa.models import create_model, example_inputs, list_models, load, save, spec_of
from compressvqa.pruning import prune

torch.set_num_threads(1)


@pytest.fixture
def offline(monkeypatch):
    """Any attempt to reach the network fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_names_are_listed_only_when_asked_for():
    assert not any("/" in name for name in list_models())
    assert list_models("timm/resnet1?") == ["timm/resnet18"]
    assert "torchvision/mc3_18" in list_models("torchvision/*")
    assert list_models("nobody/*") == []


def test_unknown_names_suggest_near_ones():
    with pytest.raises(RegistryError, match=r"unknown model 'timm/resnet81' \(try: timm/resnet18"):
        create_model("timm/resnet81")
    with pytest.raises(RegistryError, match="unknown model 'nobody/net'"):
        create_model("nobody/net")


def test_it_is_the_library_s_own_network_with_its_settings():
    torch.manual_seed(0)
    ours = create_model("timm/test_resnet", num_classes=7).eval()
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=7).eval()
    (x,) = example_inputs(ours, size=64)
    assert x.shape == (1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
    assert spec_of(ours).kwargs == {"num_classes": 7}


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("timm/vit_tiny_patch16_224", {}, (1, 3, 224, 224)),
        ("timm/vit_tiny_patch16_224", {"img_size": 32, "depth": 1}, (1, 3, 32, 32)),
        ("torchvision/squeezenet1_1", {}, (1, 3, 64, 64)),
        ("torchvision/mc3_18", {}, (1, 3, 4, 64, 64)),
    ],
)
def test_example_inputs_fit(name, settings, shape):
    model = create_model(name, **settings).eval()
    inputs = example_inputs(model, size=64, frames=4)
    assert [tuple(t.shape) for t in inputs] == [shape]
    with torch.no_grad():
        assert torch.isfinite(model(*inputs)).all()


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit", "torchvision/mnasnet0_5"])
def test_pruned_saved_and_loaded_to_the_bit(name, offline, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, **({"img_size": 32} if "vit" in name else {})).eval()
    inputs = example_inputs(model, size=64)
    pruned = prune(model, inputs, ratios=0.4).model.eval()
    loaded = load(save(pruned, tmp_path / "net"))
    with torch.no_grad():
        assert torch.equal(pruned(*inputs), loaded(*inputs))
    assert spec_of(loaded) == spec_of(model)


def test_pretrained_is_asked_for_by_weights():
    with pytest.raises(DataError, match=r"no setting 'pretrained' \(try: weights=\"pretrained\"\)"):
        create_model("timm/resnet18", pretrained=True)


def test_a_missing_library_is_one_line_that_names_the_extra(monkeypatch):
    for name in [n for n in sys.modules if n == "pyiqa" or n.startswith("pyiqa.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(MissingExtraError, match=r"'pyiqa' is not installed \(try: pip install 'compressvqa\[iqa\]'\)"):
        create_model("pyiqa/cnniqa")


def test_pyiqa_s_networks_are_built_without_fetching(offline, tmp_path):
    pytest.importorskip("pyiqa")
    model = create_model("pyiqa/paq2piq").eval()  # its constructor asks for a pretrained backbone
    inputs = example_inputs(model, size=64)
    assert spec_of(model).mode == "NR"
    assert not spec_of(create_model("pyiqa/stlpips")).higher_is_better
    loaded = load(save(model, tmp_path / "net"))
    with torch.no_grad():
        assert torch.equal(model(*inputs), loaded(*inputs))
    with pytest.raises(DataError, match="pickled files"):
        create_model("pyiqa/cnniqa", weights="pretrained")


def test_doors_are_closed_for_one_thread_only():
    """A network that is loaded elsewhere meanwhile gets its weights."""
    from compressvqa.models.adapters.from_pyiqa import closed

    source, here, there = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = torch.nn.Module.load_state_dict
    with closed([(torch.nn.Module, "load_state_dict", lambda *a, **k: None), (torch, "no_such_thing", None)]):
        other = threading.Thread(target=lambda: there.load_state_dict(source.state_dict()))
        other.start()
        other.join()
        here.load_state_dict({})
    assert torch.equal(there.weight, source.weight) and not torch.equal(here.weight, source.weight)
    assert torch.nn.Module.load_state_dict is before
