"""The count of the table's script against layers worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: names of tests come first

from table1_complexity import agrees, by_layers, by_profile, lpips

torch.set_num_threads(1)


class TwoNames(nn.Module):
    """conv 3->4, k3, on 5x6: 30 * 108 = 3,240; transposed 4->2, k2, stride 2, to 10x12: 120 * 4 * 2 * 4 = 3,840 by its
    output, a quarter of it by its input; linear 2->3, twice: 12; a filter that is no layer: nothing by layers."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.grow = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.fc = nn.Linear(2, 3)
        self.all = nn.ModuleList([self.fc])
        self.scale = nn.Parameter(torch.ones(2, 1, 1))

    def forward(self, x):
        x = self.grow(self.conv(x)) * self.scale
        x = nn.functional.conv2d(x, torch.ones(2, 1, 1, 1), groups=2)
        x = x.mean(dim=(2, 3))
        return self.fc(x) + self.all[0](x)


def test_two_counts_of_a_small_network():
    inputs = (torch.rand(1, 3, 5, 6),)
    conv, grow, linear, scale = 3 * 4 * 9 + 4, 4 * 2 * 4 + 2, 2 * 3 + 3, 2
    assert by_layers(TwoNames(), inputs) == (conv + grow + 2 * linear, 3_240 + 3_840 + 12)
    assert by_profile(TwoNames(), inputs) == (conv + grow + linear + scale, 3_240 + 960 + 12 + 240)


def test_groups_count_what_a_group_reads():
    network = nn.Sequential(nn.Conv2d(4, 8, 3, groups=4, padding=1))
    inputs = (torch.rand(2, 4, 9, 9),)
    assert by_layers(network, inputs)[1] == 2 * 81 * 8 * 9 == by_profile(network, inputs)[1]
    grouped = nn.Sequential(nn.ConvTranspose2d(4, 8, 2, stride=2, groups=4))
    assert by_layers(grouped, inputs)[1] == 2 * 18 * 18 * 8 * 4


def test_lpips_has_the_size_that_the_facts_give():
    images = (torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256))
    network = lpips()
    assert by_layers(network, images) == (2_472_000, by_profile(network, images)[1])
    params, macs = by_profile(network, images)
    assert params == 2_470_848
    assert round(12 * macs / 1e9, 3) == 20.852


def test_a_printed_figure_is_ours_rounded_or_cut_off():
    assert agrees(14.9768, 14.977, 3)
    assert agrees(14.9768, 14.976, 3)
    assert not agrees(14.9768, 14.978, 3)
    assert not agrees(14.9768, 14.975, 3)
    assert agrees(104.0363, 104.04, 2)
