"""Which elements a channel owns, against sets of elements made one by one, and what is lost when it goes: nothing."""

import copy

import pytest
import torch
from pruning.nets import REGISTRY
from torch import nn

from compressvqa.errors import RecipeError
from compressvqa.pruning import find_groups, prune, trace
from compressvqa.sparsity import Channels
from compressvqa.sparsity.aim import aim_of

# All their channels lie under layer or group normalisations.
NORMALISED = {"ChannelsLastNorm", "GroupNorms"}


def channels_of(network, inputs):
    facts = trace(network, inputs)
    return Channels.of(network, facts, find_groups(facts))


def usable():
    found = []
    for name, kind in REGISTRY.items():
        if name.startswith("_"):
            continue
        torch.manual_seed(0)
        net = kind()
        try:
            channels_of(net, net.inputs())
        except RecipeError:
            continue
        found.append(name)
    return found


USABLE = usable()


def call(network, inputs):
    with torch.no_grad():
        outputs = network(**inputs) if isinstance(inputs, dict) else network(*inputs)
    flat, _ = torch.utils._pytree.tree_flatten(outputs)
    return [t for t in flat if isinstance(t, torch.Tensor)]


def zero_some(channels, seed=0):
    """Zeroes about half of the channels of every group, never all."""
    scores = torch.rand(len(channels), generator=torch.Generator().manual_seed(seed))
    counts = torch.from_numpy(channels.counts)
    gone = channels.ranks(scores) >= ((counts + 1) // 2)[channels.group]
    channels.scale_((~gone).float())
    return gone


def test_most_patterns_have_channels_to_zero():
    assert len(USABLE) >= 30
    assert not NORMALISED & set(USABLE)


@pytest.mark.parametrize("name", USABLE)
def test_sums_are_those_over_each_channels_set_of_elements(name):
    torch.manual_seed(0)
    net = REGISTRY[name]()
    channels = channels_of(net, net.inputs())
    parameters = dict(net.named_parameters())
    values = {p: torch.randn_like(p) for p in parameters.values()}
    counted = set(channels.counted)
    expected, sizes = [], []
    for group in channels.groups:
        for channel in range(group.channels):
            masks = {}
            for slot in group.slots:
                mask = masks.setdefault(slot.leaf, torch.zeros_like(parameters[slot.leaf], dtype=torch.bool))
                for index in slot.indices[channel].tolist():
                    mask.select(slot.dim, index).fill_(True)
            masks = {leaf: mask for leaf, mask in masks.items() if parameters[leaf] in counted}
            expected.append(sum(float(values[parameters[leaf]][mask].sum()) for leaf, mask in masks.items()))
            sizes.append(sum(int(mask.sum()) for mask in masks.values()))
    assert torch.allclose(channels.sums(values.__getitem__), torch.tensor(expected), atol=1e-4)
    assert channels.sizes.tolist() == sizes


@pytest.mark.parametrize("name", USABLE)
def test_a_network_without_its_zero_channels_equals_the_network_with_them(name):
    """Not the pruner's own reference: the zeroed network itself runs, with its buffers and norms as they are."""
    torch.manual_seed(0)
    net = REGISTRY[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # so that biases are not zero by chance
    net.eval()
    inputs = net.inputs()
    channels = aim_of(net, inputs).channels
    gone = zero_some(channels)
    assert torch.equal(channels.zeros(), gone)
    pruned = prune(net, inputs, ratios="zeros")
    for one, other in zip(call(net, inputs), call(pruned.model.eval(), inputs), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=1e-5, atol=1e-5 * float(one.abs().max() + 1e-6))


class Wave(nn.Module):
    """An activation that does not map zero to zero, and a batch norm that has seen data."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 3)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(self.norm.weight, 0.5, 1)
        nn.init.uniform_(self.norm.bias, -1, 1)

    def forward(self, x):
        return self.b(self.norm(self.a(x)).cos())


def test_rows_alone_would_lose_where_activations_do_not_keep_zero():
    torch.manual_seed(0)
    net, inputs = Wave().eval(), (torch.randn(1, 3, 8, 8),)
    rows = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in (rows.a.weight, rows.a.bias, rows.norm.weight, rows.norm.bias):
            parameter[:3] = 0
    channels = channels_of(net, inputs)
    gone = torch.arange(6) < 3
    channels.scale_((~gone).float())
    pruned = prune(net, inputs, ratios={"a": 0.5}).model.eval()
    assert torch.allclose(net(*inputs), pruned(*inputs), atol=1e-5)
    # The same channels with the columns left: the pruned network is another one.
    assert not torch.allclose(rows(*inputs), pruned(*inputs), atol=1e-2)


@pytest.mark.parametrize(
    ("name", "group", "reason"),
    [
        ("ChannelsLastNorm", None, "normalisation"),
        ("RawParameters", "a", "buffer shift"),
        ("FrozenBackbone", "backbone", "not trained"),
        ("DeadBranch", None, "nothing reads it"),
        ("UnknownOperator", "a", "not known"),
    ],
)
def test_what_could_not_go_without_loss_is_left_out_and_said(name, group, reason):
    torch.manual_seed(0)
    net = REGISTRY[name]()
    try:
        left_out = channels_of(net, net.inputs()).left_out
    except RecipeError as error:
        assert reason in str(error)
        return
    said = left_out.values() if group is None else [left_out[group]]
    assert any(reason in why for why in said), left_out


def test_ranks_and_means_go_group_by_group():
    torch.manual_seed(0)
    net = REGISTRY["Plain"]()
    channels = channels_of(net, net.inputs())  # 6 and 4 channels
    scores = torch.tensor([1.0, 5.0, 3.0, 3.0, 0.0, 9.0, 2.0, 2.0, 8.0, 1.0])
    assert channels.ranks(scores).tolist() == [4, 1, 2, 3, 5, 0, 1, 2, 0, 3]
    assert channels.means(scores).tolist() == [3.5] * 6 + [3.25] * 4
    assert channels.removed(scores > 2.5).tolist() == [4, 1]
