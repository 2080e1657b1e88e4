"""What a saved network must bring back: plain attributes, ties, parametrised weights, recurrent layers."""

from __future__ import annotations

import enum
import json
from pathlib import Path

import pytest
import torch
from pruning.patterns import PATTERNS
from torch import nn

from compressvqa.errors import WeightsError
from compressvqa.models import STANet, create_model, load, save
from compressvqa.models.plain import pack, same, unpack
from compressvqa.pruning import prune
from compressvqa.registry import models

torch.set_num_threads(1)
OLD = Path(__file__).parent / "written_by_0_1_0" / "stanet"
HARD = (
    "DeadBranch",
    "DictInputs",
    "GRUFrames",
    "GroupedConv",
    "LibraryAttention",
    "LSTMFrames",
    "RelativePositionTable",
    "SpectralNorm",
    "TiedLayers",
    "TransposedConv",
    "WeightNorm",
)


@pytest.fixture
def registered():
    """Registers a network for one test and builds it."""
    names = []

    def register(value, **kwargs):
        names.append("test-net")
        models.register("test-net", mode="NR", inputs="tensors")(value)
        torch.manual_seed(0)
        return create_model("test-net", **kwargs).eval()

    yield register
    for name in names:
        models._entries.pop(name, None)


def call(model, inputs):
    with torch.no_grad():
        return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def assert_same(a, b, inputs):
    assert list(a.state_dict()) == list(b.state_dict())
    assert all(torch.equal(t, b.state_dict()[name]) for name, t in a.state_dict().items())
    torch.testing.assert_close(call(a, inputs), call(b, inputs), rtol=0, atol=0)


@pytest.mark.parametrize("name", HARD)
def test_hard_networks_pruned_once_and_twice(name, registered, tmp_path):
    model = registered(PATTERNS[name])
    inputs = model.inputs()
    once = prune(model, inputs, target_macs=0.6).model.eval()
    loaded = load(save(once, tmp_path / "once"))
    assert_same(once, loaded, inputs)
    twice = prune(loaded, inputs, ratios=0.3).model.eval()
    again = load(save(twice, tmp_path / "twice"))
    assert_same(twice, again, inputs)
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in loaded.parameters())


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


class Holder(nn.Module):
    """Holds attributes of every kind, a plain tensor, two layers and a recurrent one."""

    def __init__(self, widths=(4, 6), names=("a",)):
        super().__init__()
        self.widths, self.names = widths, names
        self.splits, self.by_stage, self.limit, self.heads = [3, 1], {0: [2, 2], 1: (4,)}, 1.0, None
        self._hidden = 4
        self.kind = Kind.ONE
        self.cache = {}
        self.mean = torch.zeros(3)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.gru = nn.GRU(4, 6, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, x):
        self.cache["last"] = x
        return self.gru(self.second(self.first(x)))[0]


def test_attributes_of_every_plain_kind_keep_value_and_type(registered, tmp_path):
    model = registered(Holder)
    changed = {
        "splits": [2, 1],
        "by_stage": {0: [1, 2], 1: (3, (4, True))},
        "limit": float("inf"),
        "heads": 2,
        "_hidden": 3,
        "added": {"text": [None, -0.5]},
    }
    for name, value in changed.items():
        setattr(model, name, value)
    model.mean = torch.arange(5.0)
    loaded = load(save(model, tmp_path / "net"))
    assert all(same(getattr(loaded, name), value) for name, value in changed.items())
    assert torch.equal(loaded.mean, model.mean)
    stored = json.loads((tmp_path / "net" / "config.json").read_text())["changes"]["attributes"]
    assert set(stored[""]) == set(changed)


@pytest.mark.parametrize("value", [1, -2.5, float("-inf"), "x", None, (), [[]], {1: {"1": (2, [3])}}])
def test_packed_values_come_back_through_json(value):
    assert same(unpack(json.loads(json.dumps(pack(value)))), value)


@pytest.mark.parametrize(
    ("name", "value", "words"), [("kind", Kind.TWO, "attribute 'kind' has become"), ("limit", object(), "an? object")]
)
def test_what_cannot_be_stored_raises_before_writing(name, value, words, registered, tmp_path):
    model = registered(Holder)
    setattr(model, name, value)
    with pytest.raises(WeightsError, match=words):
        save(model, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_state_that_is_no_tensor_is_refused(registered, tmp_path):
    class Extra(Holder):
        """With state of its own kind."""

        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state):
            pass

    with pytest.raises(WeightsError, match="not a tensor"):
        save(registered(Extra), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_an_infinite_mask_comes_back_and_no_other_tensor_may_be_unsound(registered, tmp_path):
    class Masked(Holder):
        """With a mask that is saved."""

        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.zeros(4))

    model = registered(Masked)
    model.mask[1] = float("-inf")
    assert torch.equal(load(save(model, tmp_path / "net")).mask, model.mask)
    model.mask[1] = float("nan")
    with pytest.raises(WeightsError, match="mask holds NaN"):
        load(save(model, tmp_path / "net"))
    model.mask[1] = 0
    model.first.weight.data[0, 0] = float("inf")
    with pytest.raises(WeightsError, match=r"first\.weight holds NaN or infinite"):
        load(save(model, tmp_path / "net"))


def test_settings_keep_their_types_and_functions_are_refused(registered, tmp_path):
    model = registered(Holder, widths=(1, (2, 3)), names=["b", "c"])
    loaded = load(save(model, tmp_path / "net"))
    assert (loaded.widths, loaded.names) == ((1, (2, 3)), ["b", "c"])
    odd = create_model("test-net", names=nn.ReLU)
    with pytest.raises(WeightsError, match=r"setting 'names' is a type.*register a function"):
        save(odd, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


def test_ties_made_or_undone_after_construction(registered, tmp_path):
    model = registered(Holder)
    model.second.weight = model.first.weight
    loaded = load(save(model, tmp_path / "tied"))
    assert loaded.second.weight is loaded.first.weight

    class Tied(Holder):
        """Ties its layers itself."""

        def __init__(self):
            super().__init__()
            self.second.weight = self.first.weight

    models._entries.pop("test-net")
    model = registered(Tied)
    model.second.weight = nn.Parameter(torch.rand(4, 4))
    loaded = load(save(model, tmp_path / "untied"))
    assert_same(model, loaded, (torch.rand(2, 3, 4),))
    assert loaded.second.weight is not loaded.first.weight


def test_a_recurrent_layer_that_was_cut(registered, tmp_path):
    """Hidden width 6 to 5, as surgery leaves it: smaller weights under the same names, and the new number."""
    model, small = registered(Holder), nn.GRU(4, 5, num_layers=2, bidirectional=True, batch_first=True)
    for name, weight in small.named_parameters():
        setattr(model.gru, name, nn.Parameter(weight.detach().clone()))
    model.gru.hidden_size = 5
    model.gru.flatten_parameters()
    x = torch.rand(2, 3, 4)
    loaded = load(save(model, tmp_path / "net"))
    assert loaded(x).shape == (2, 3, 10)
    assert_same(model, loaded, (x,))


def test_attention_of_torch_that_was_cut(registered, tmp_path):
    class Attention(nn.Module):
        """A layer of torch's own attention."""

        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 4, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    model, small = registered(Attention), nn.MultiheadAttention(6, 3, batch_first=True)
    for name in ("in_proj_weight", "in_proj_bias"):
        setattr(model.attention, name, nn.Parameter(getattr(small, name).detach().clone()))
    out = model.attention.out_proj
    out.weight, out.bias = nn.Parameter(small.out_proj.weight.detach()), nn.Parameter(small.out_proj.bias.detach())
    out.in_features = out.out_features = 6
    for name in ("embed_dim", "kdim", "vdim"):
        setattr(model.attention, name, 6)
    model.attention.num_heads, model.attention.head_dim = 3, 2
    x = torch.rand(2, 5, 6)
    torch.testing.assert_close(call(model, (x,)), small.eval()(x, x, x)[0])
    assert_same(model, load(save(model, tmp_path / "net")), (x,))


# --- folders of other versions ------------------------------------------------------------------------------------


def old_scores():
    draw = torch.Generator().manual_seed(3)
    inputs = torch.rand(2, 2, 3, generator=draw), torch.randn(2, 2, 3, 5, 4, 4, 4, generator=draw)
    return inputs, torch.tensor(json.loads((OLD / "config.json").read_text())["facts"]["scores"])


def test_a_folder_of_an_earlier_version_still_loads():
    inputs, scores = old_scores()
    model = load(OLD)
    assert model.weigh[2].out_channels == model.weigh[4].in_channels == 2
    torch.testing.assert_close(call(model, inputs), scores)


def test_a_class_that_gained_or_lost_a_harmless_attribute(monkeypatch, tmp_path):
    model = load(OLD)
    model.remark = "old"
    save(model, tmp_path / "net")
    original = STANet.__init__

    def later(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.flavour = "new"

    monkeypatch.setattr(STANet, "__init__", later)
    inputs, scores = old_scores()
    loaded = load(tmp_path / "net")
    assert (loaded.flavour, loaded.remark) == ("new", "old")
    torch.testing.assert_close(call(loaded, inputs), scores)


def test_widths_come_back_where_the_same_parameter_has_two_names():
    """lpips: five heads, each also in a list. No new parameter may be taken for one that has just gone."""
    from compressvqa.models.changes import apply_changes, find_changes, stored_tensors

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(24))
            self.heads = nn.ModuleList(reversed(self.layers))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x).relu()
            return x

    network = Heads()
    pruned = prune(network, (torch.randn(1, 8, 4, 4),), ratios=0.5, importance="random").model
    changes = find_changes(Heads(), pruned)
    for _ in range(5):
        again = Heads()
        again.load_state_dict(apply_changes(again, changes, stored_tensors(pruned, changes), where="here"))
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), pruned.parameters(), strict=True))


def test_what_a_forward_fills_in_is_no_state():
    from compressvqa.models.changes import find_changes

    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.seen = nn.Linear(4, 2), None

        def forward(self, x):
            self.seen = self.layer(x)
            return self.seen

    network = Keeps()
    network(torch.randn(3, 4))
    assert find_changes(Keeps(), network).constants == []
