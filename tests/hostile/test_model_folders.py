"""Model folders whose SHA-256 was made anew by whoever changed them: each ends in one line, none in a crash."""

import hashlib
import json

import pytest
import safetensors.torch
import torch

import compressvqa as cv
from compressvqa.errors import CompressVQAError, WeightsError
from compressvqa.models import bounds, create_model, load, save

WIDTHS = (4, 5, 6, 7, 8, 9)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    torch.manual_seed(0)
    model = create_model("rankdvqa", widths=WIDTHS, merge_width=8, mlp_width=6).eval()
    return save(model, tmp_path_factory.mktemp("hostile") / "net")


def changed(sound, folder, edit=None, tensors=None):
    """A copy of the folder with another config or other weights, and a digest that fits them."""
    config = json.loads((sound / "config.json").read_text())
    state = safetensors.torch.load_file(sound / "model.safetensors")
    if tensors is not None:
        tensors(state)
    payload = safetensors.torch.save(state, metadata={"format": "pt"})
    config["sha256"] = hashlib.sha256(payload).hexdigest()
    if edit is not None:
        edit(config)
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(payload)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def put(*path, to):
    def edit(config):
        node = config
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = to

    return edit


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


CONFIGS = {
    "huge widths": (put("kwargs", "widths", to=[200_000] * 6), "too large"),
    "one huge width": (put("kwargs", "mlp_width", to=2**30), "too large"),
    "a number beyond all": (put("kwargs", "mlp_width", to=10**17), "has no valid 'kwargs'"),
    "a number of 300 digits": (put("kwargs", "mlp_width", to=10**300), "whole number of 301 digits"),
    "a negative width": (put("kwargs", "mlp_width", to=-3), "does not take|too large|NaN|not the weights"),
    "no width": (put("kwargs", "widths", to=[]), "does not take"),
    "a word for a width": (put("kwargs", "mlp_width", to="wide"), "does not take"),
    "a setting that is not there": (put("kwargs", "surprise", to=1), "surprise"),
    "the constructor's self": (put("kwargs", "self", to=1), "self"),
    "weights to fetch": (put("kwargs", "weights", to="DEFAULT"), "brings its own weights"),
    "pretrained": (put("kwargs", "pretrained", to=True), "brings its own weights"),
    "nested kwargs": (put("kwargs", "widths", to=nested(40)), "does not take"),
    "deeply nested config": (put("facts", "x", to=nested(500)), "nested more than"),
    "many kwargs": (put("kwargs", "widths", to=[1] * 20_000), "more than 10000 values"),
    "kwargs that are no object": (put("kwargs", to=[]), "has no valid 'kwargs'"),
    "an unpacked mapping": (put("kwargs", "widths", to={"dict": [[[1], 2]]}), "kwargs hold"),
    "mode": (put("spec", "mode", to="XX"), "has no valid 'spec.mode'"),
    "another mode": (put("spec", "mode", to="NR"), "says mode NR"),
    "a NaN range": (put("spec", "score_range", to=[float("nan"), 1]), "NaN"),
    "a range upside down": (put("spec", "score_range", to=[5, 1]), "score_range"),
    "a range of words": (put("spec", "score_range", to=["a", "b"]), "score_range"),
    "an infinite range": (put("spec", "score_range", to=[0, float("inf")]), "Infinity"),
    "direction": (put("spec", "higher_is_better", to="yes"), "higher_is_better"),
    "stride 0": (put("changes", "attributes", "extractor.stages.0.0", to={"stride": [0, 0]}), "stride"),
    "padding": (put("changes", "attributes", "extractor.stages.0.0", to={"padding": [90_000, 0]}), "padding"),
    "channels": (put("changes", "attributes", "extractor.stages.0.0", to={"in_channels": 9}), "in_channels"),
    "groups": (put("changes", "attributes", "extractor.stages.0.0", to={"groups": 0}), "groups"),
    "the network itself removed": (put("changes", "removed", to=[""]), "no valid changes.removed"),
    "one layer for another": (put("changes", "shared", to={"scales.0.head.bias": "scales.0.head.weight"}), "."),
    "a name of no layer": (put("changes", "shared", to={"a.b": "c.d"}), "."),
    "format": (put("format", to=True), "has no valid 'format'"),
    "format 0": (put("format", to=0), "has no valid 'format'"),
    "format of 400 digits": (put("format", to=10**400), "digits"),
    "a scale of NaN": (put("scale", to={"raw": [float("nan"), 1], "readable": [1, 2]}), "NaN"),
    "a scale of 1e300": (put("scale", to={"raw": [0, 1e300], "readable": [1, 2]}), "scale"),
    "a scale of words": (put("scale", to={"raw": ["a"], "readable": {}}), "scale"),
    "a scale that is a number": (put("scale", to=3), "has no valid 'scale'"),
    "a name that is a path": (put("model", to="../../etc/passwd"), "unknown model"),
    "a name of 10,000 letters": (put("model", to="x" * 10_000), "has no valid 'model'"),
    "a digest of another kind": (put("sha256", to="0"), "has no valid 'sha256'"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_of_a_stranger_is_one_line(case, sound, tmp_path):
    edit, words = CONFIGS[case]
    with pytest.raises(CompressVQAError, match=words) as caught:
        load(changed(sound, tmp_path / "net", edit))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


TENSORS = {
    "weights of 1e38": (lambda s: s["scales.0.head.weight"].fill_(1e38), "1e\\+38"),
    "weights of 1e12": (lambda s: s["scales.0.head.weight"].fill_(-1e12), "1e\\+12"),
    "NaN": (lambda s: s["scales.0.head.weight"].fill_(float("nan")), "NaN or infinite"),
    "whole numbers": (lambda s: s.update({k: v.long() for k, v in s.items()}), "holds int64"),
    "truth values": (lambda s: s.update({k: v > 0 for k, v in s.items()}), "holds bool"),
    "eight bits": (lambda s: s.update({k: v.to(torch.float8_e4m3fn) for k, v in s.items()}), "float8"),
    "a key is missing": (lambda s: s.pop("scales.0.head.weight"), "lacks"),
    "a key too many": (lambda s: s.update({"x" * 9: torch.zeros(1)}), "unknown"),
    "another shape": (lambda s: s.update({"scales.0.head.weight": torch.zeros(0)}), "is \\(0,\\)"),
    "nothing": (lambda s: s.clear(), "lacks"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_weights_of_a_stranger_are_one_line(case, sound, tmp_path):
    tensors, words = TENSORS[case]
    with pytest.raises(WeightsError, match=words) as caught:
        load(changed(sound, tmp_path / "net", tensors=tensors))
    assert "\n" not in str(caught.value)


def test_a_folder_that_was_not_changed_is_read(sound, tmp_path):
    model = load(changed(sound, tmp_path / "net"))
    assert type(model).__name__ == "RankDVQA"


@pytest.mark.parametrize("key", ["weights", "weights_backbone", "pretrained_cfg", "checkpoint_path", "cache_dir"])
def test_no_setting_of_another_library_fetches_or_opens(key, tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", no_network)
    name = "torchvision/squeezenet1_1" if key.startswith("weights") else "timm/test_vit"
    folder = save(create_model(name), tmp_path / "sound")
    with pytest.raises(WeightsError, match="brings its own weights"):
        load(changed(folder, tmp_path / "net", put("kwargs", key, to="IMAGENET1K_V1")))
    if key == "weights_backbone":
        with pytest.raises(CompressVQAError, match="no setting"):
            create_model(name, **{key: "DEFAULT"})


def test_nothing_is_allocated_for_a_network_that_is_too_large(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "LEAST_BYTES", 1 << 20)
    made = []
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: made.append(empty(*a, **k)) or made[-1])
    with pytest.raises(WeightsError, match="too large"):
        load(changed(sound, tmp_path / "net", put("kwargs", "widths", to=[4, 5, 6, 7, 3_000, 3_000])))
    assert sum(tensor.nbytes for tensor in made) < 1 << 20


def test_a_constructor_that_makes_layers_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(bounds, "MAX_MODULES", 500)

    def endless():
        layers = torch.nn.Sequential()
        for _ in range(10**5):
            layers.append(torch.nn.Identity())
        return layers

    with pytest.raises(WeightsError, match="more than 500 modules"):
        bounds.built(endless, 1 << 30, "config.json")
    # The hook is gone, and other networks of the process are not counted.
    assert len(torch.nn.Sequential(*(torch.nn.Identity() for _ in range(600)))) == 600


def test_own_checkpoints_are_held_to_the_same(tmp_path):
    state = cv.create_model("stanet").state_dict()
    name = next(iter(state))
    torch.save({**state, name: torch.full_like(state[name], 1e38)}, tmp_path / "large.pth")
    with pytest.raises(WeightsError, match="no training leaves such"):
        create_model("stanet", weights=tmp_path / "large.pth")
    torch.save({key: value.long() for key, value in state.items()}, tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="holds int64"):
        create_model("stanet", weights=tmp_path / "whole.pth")
