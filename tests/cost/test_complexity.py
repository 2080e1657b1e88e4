"""MACs of small networks, worked out by hand beside each, and of PQANet as its paper counts."""

import copy
import json
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from compressvqa.cost import profile
from compressvqa.models import create_model, example_inputs

torch.set_num_threads(1)


class Nested(nn.Module):
    """conv 3->4, k3, 8x8 map: 64 * 4*3*9 = 6,912; inner linear 4->5 on 64 positions: 1,280; outer linear 5->2: 10."""

    inputs = (torch.zeros(1, 3, 8, 8),)
    macs: ClassVar = {"": 6_912 + 1_280 + 10, "conv": 6_912, "inner": 1_280, "inner.fc": 1_280, "fc": 10}

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.Sequential()
        self.inner.add_module("fc", nn.Linear(4, 5))
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(self.inner(self.conv(x).permute(0, 2, 3, 1)).mean(dim=(1, 2)))


class Unused(nn.Module):
    """Linear 6->6 on one row runs though nothing reads it: 36 each; another is never called: nothing."""

    inputs = (torch.zeros(1, 6),)
    macs: ClassVar = {"": 72, "used": 36, "dead": 36, "never": 0}
    uncalled = ("never",)

    def __init__(self):
        super().__init__()
        self.used, self.dead, self.never = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        self.dead(x)
        return self.used(x)


class Repeated(nn.Module):
    """One linear 5->5 called three times on two rows: 3 * 2 * 25."""

    inputs = (torch.zeros(2, 5),)
    macs: ClassVar = {"": 150, "fc": 150}

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 5)

    def forward(self, x):
        return self.fc(self.fc(self.fc(x)))


class Shared(nn.Module):
    """Two paths to one layer 3->3 on one row, called on each: 9 + 9; its 12 parameters count once."""

    inputs = (torch.zeros(1, 3),)
    macs: ClassVar = {"": 18, "left": 18}
    params = 12

    def __init__(self):
        super().__init__()
        self.left = nn.Linear(3, 3)
        self.right = self.left

    def forward(self, x):
        return self.left(x) + self.right(x)


class Attention(nn.Module):
    """2 clips, 3 heads, 5 queries, 7 keys of 4, values of 6: 2*3*5*7*(4+6) = 2,100."""

    inputs = (torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 7, 4), torch.zeros(2, 3, 7, 6))
    macs: ClassVar = {"": 2_100}
    conv_linear = 0

    def forward(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value)


class Recurrent(nn.Module):
    """GRU 4->3, two layers, both directions, 5 steps x 2: per step and direction 3*3*4 + 3*3*3, then 3*3*6 + 3*3*3."""

    inputs = (torch.zeros(5, 2, 4),)
    macs: ClassVar = {"": 10 * 2 * (36 + 27 + 54 + 27), "gru": 2_880}
    conv_linear = 0

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, num_layers=2, bidirectional=True)

    def forward(self, x):
        return self.gru(x)[0]


class NonForward(nn.Module):
    """A layer 4->2 used through a method, on 3 rows: 24, which count for the caller."""

    inputs = (torch.zeros(3, 4),)
    macs: ClassVar = {"": 24, "fc": 0}
    uncalled = ("fc",)

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return F.linear(x, self.fc.weight, self.fc.bias)


@pytest.mark.parametrize("kind", [Nested, Unused, Repeated, Shared, Attention, Recurrent, NonForward])
def test_counts_worked_out_by_hand(kind):
    model = kind()
    found = profile(model, kind.inputs)
    assert {path: found.by_module[path] for path in kind.macs} == kind.macs
    assert found.macs == kind.macs[""] == found.cross_check
    assert found.macs_conv_linear == getattr(kind, "conv_linear", found.macs)
    assert found.params == getattr(kind, "params", sum(p.numel() for p in model.parameters()))
    assert found.uncalled == getattr(kind, "uncalled", ())
    assert found.unsupported == {}
    assert sum(found.by_operator.values()) == found.macs


class Many(nn.Module):
    """Holds a function of tensors, so that one operator can be counted alone."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def rand(*shape):
    return torch.rand(shape)


OPERATORS = {
    "conv1d": (nn.Conv1d(4, 6, 3), rand(2, 4, 9)),
    "conv2d same": (nn.Conv2d(4, 6, 3, padding="same"), rand(2, 4, 9, 9)),
    "conv2d unbatched": (nn.Conv2d(4, 6, 3, stride=2), rand(4, 9, 9)),
    "conv2d groups": (nn.Conv2d(4, 8, 3, groups=4), rand(2, 4, 9, 9)),
    "conv3d": (nn.Conv3d(2, 3, (1, 3, 3), stride=2), rand(1, 2, 4, 9, 9)),
    "transposed": (nn.ConvTranspose2d(4, 6, 4, stride=2), rand(2, 4, 5, 5)),
    "matmul": (Many(torch.matmul), rand(3, 1, 4, 5), rand(2, 5, 6)),
    "mm": (Many(torch.mm), rand(4, 5), rand(5, 6)),
    "bmm": (Many(torch.bmm), rand(2, 4, 5), rand(2, 5, 6)),
    "baddbmm": (Many(torch.baddbmm), rand(2, 4, 6), rand(2, 4, 5), rand(2, 5, 6)),
    "addmm": (Many(torch.addmm), rand(4, 6), rand(4, 5), rand(5, 6)),
    "einsum": (Many(lambda a, b: torch.einsum("bij,bjk->bik", a, b)), rand(2, 4, 5), rand(2, 5, 6)),
    "einsum with dots": (Many(lambda a, b: torch.einsum("...ij,jk", a, b)), rand(2, 3, 4, 5), rand(5, 6)),
    "einsum of three": (Many(lambda *t: torch.einsum("ij,jk,kl->il", *t)), rand(3, 4), rand(4, 5), rand(5, 6)),
    "tensordot": (Many(lambda a, b: torch.tensordot(a, b, dims=([1, 2], [1, 0]))), rand(3, 4, 5), rand(5, 4, 6)),
    "lstm": (nn.LSTM(4, 5, num_layers=2, batch_first=True), rand(2, 7, 4)),
    "lstm with projection": (nn.LSTM(4, 5, proj_size=3), rand(7, 2, 4)),
    "rnn": (nn.RNN(4, 5, bidirectional=True), rand(7, 2, 4)),
    "gru cell": (nn.GRUCell(4, 5), rand(2, 4)),
    "lstm cell": (nn.LSTMCell(4, 5), rand(2, 4)),
    "multi-head attention": (nn.MultiheadAttention(8, 2), rand(5, 2, 8), rand(7, 2, 8), rand(7, 2, 8)),
    "transformer layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), rand(2, 5, 8)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_rule_agrees_with_torchs_own_counter(name):
    model, *inputs = OPERATORS[name]
    found = profile(model, inputs)
    assert found.macs > 0
    assert found.macs == found.cross_check
    assert found.unsupported == {}


def test_products_that_torchs_counter_does_not_know():
    for function, inputs, macs in (
        (torch.dot, (rand(5), rand(5)), 5),
        (torch.matmul, (rand(5), rand(5)), 5),
        (torch.matmul, (rand(3, 4, 5), rand(5)), 60),
        (torch.mv, (rand(4, 5), rand(5)), 20),
        (torch.outer, (rand(4), rand(5)), 20),
        (nn.Bilinear(3, 4, 2), (rand(6, 3), rand(6, 4)), 6 * (2 * 3 * 4 + 2 * 4)),
    ):
        assert profile(Many(function), inputs).macs == macs


def test_packed_sequences():
    class Packed(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 2]), batch_first=True)
            return nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0]

    for layer, gates in ((nn.GRU(3, 4, batch_first=True), 3), (nn.LSTM(3, 4, batch_first=True), 4)):
        assert profile(Packed(layer), rand(2, 5, 3)).macs == (5 + 2) * gates * 4 * (3 + 4)


def test_layers_that_count_as_nothing_and_operators_that_are_not_known():
    free = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.Flatten(), nn.Softmax(1))
    found = profile(free, rand(1, 3, 4, 4))
    assert (found.macs, found.unsupported) == (0, {})
    unknown = Many(lambda x: torch.linalg.pinv(x).sum() + torch.fft.rfft(torch.fft.rfft(x).real).real.sum())
    assert profile(unknown, rand(4, 3)).unsupported == {"aten::linalg_pinv": 1, "aten::fft_rfft": 2}
    distances = profile(Many(lambda x: torch.cdist(x, x)), rand(4, 3))
    assert (distances.by_operator, distances.unsupported) == ({"matmul": 4 * 4 * 3}, {})


def test_pqanet_as_the_paper_counts():
    model = create_model("rankdvqa")
    found = profile(model, example_inputs(model))
    assert found.params == 4_594_938
    assert round(found.macs_conv_linear / 1e9, 4) == 10.7285
    assert round(found.macs / 1e9, 3) == 10.751
    assert found.cross_check == found.macs
    assert (found.unsupported, found.uncalled) == ({}, ())
    stages = [round(found.by_module[f"extractor.stages.{i}"] / 1e9, 3) for i in range(6)]
    assert stages == [1.076, 1.359, 1.359, 0.849, 0.396, 0.212]  # the last one runs, read or not
    merges = [round(found.by_module[f"scales.{i}.conv_in"] / 1e9, 3) for i in range(5)]
    assert merges == [2.718, 1.359, 0.679, 0.255, 0.085]
    assert found.shapes == ((1, 12, 3, 256, 256),) * 2


class Failing(Unused):
    def forward(self, x):
        super().forward(x)
        raise RuntimeError("half way")


@pytest.mark.parametrize("kind", [Unused, Failing])
def test_the_network_is_left_as_it_was(kind):
    model = kind().train()
    model.used.eval()
    calls = []
    model.used.register_forward_hook(lambda *_: calls.append(1))
    modules = dict(model.named_modules())
    hooks = {path: [copy.copy(getattr(m, a)) for a in vars(m) if "hooks" in a] for path, m in modules.items()}
    weights = copy.deepcopy(model.state_dict())
    try:
        profile(model, Unused.inputs)
    except RuntimeError as error:
        assert kind is Failing and "half way" in str(error)
    assert model.training and model.dead.training and not model.used.training
    assert hooks == {path: [getattr(m, a) for a in vars(m) if "hooks" in a] for path, m in modules.items()}
    assert dict(model.named_modules()) == modules
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled()
    with FlopCounterMode(display=False) as counter:
        model.used(torch.zeros(1, 6))
    assert counter.get_total_flops() == 72


def test_dictionary_reads_as_json():
    found = json.loads(json.dumps(profile(Nested(), Nested.inputs).to_dict()))
    assert found["macs"] == 8_202
    assert "multiply-accumulate" in found["convention"]


def test_a_parameter_that_is_looked_at_without_gradients():
    """A class token handed on as a view: torch's counter alone raises on it."""

    class Inner(nn.Module):
        def forward(self, x):
            return x[0] + x[1]

    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.inner, self.head = nn.Parameter(torch.zeros(1, 1, 4)), Inner(), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.inner((x, self.token.expand(len(x), -1, -1))))

    net = Token()
    assert profile(net, (torch.randn(3, 5, 4),)).macs == 3 * 5 * 4 * 2
    assert all(p.requires_grad for p in net.parameters())


def test_a_forward_that_rounds_a_size_is_counted():
    class Halved(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            size = round(x.shape[2] / 2)
            return self.conv(nn.functional.interpolate(x, (size, round(x.shape[3] * 0.55, 0).__int__())))

    assert profile(Halved(), torch.rand(1, 3, 10, 20)).macs == 12 * 5 * 11
    assert not hasattr(torch.Tensor, "__round__")
