"""What no weights of a network make possible is told by its structure: `prune` with any weights says the same."""

import pytest
import torch
from torch import nn

from compressvqa.errors import PruneError
from compressvqa.pruning import prune
from compressvqa.pruning.reach import check_reach, foreseen


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 16, 1)).eval()


INPUTS = (torch.rand(1, 3, 8, 8),)
ASKED = (
    {"target_macs": 0.5}, {"target_macs": 0.02}, {"target_params": 0.04}, {"target_params": 0.5, "target_macs": 0.01},
    {"target_macs": 0.9, "round_to": 16}, {"target_params": 0.5, "protect": ("*",)}, {"ratios": 0.5, "round_to": 16},
    {"ratios": 0.99, "min_channels": 8}, {"ratios": 0.5, "protect": ("0", "2")}, {"target_macs": 0.5, "max_ratio": 0.1},
    {"ratios": 0.5, "scope": "global"}, {"target_macs": 0.001, "scope": "global"}, {"target_macs": 1.0},
)  # fmt: skip


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_it_refuses_what_prune_refuses_and_nothing_else(asked) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outcomes = []
    for work in (
        lambda: prune(model, INPUTS, **asked),
        lambda: check_reach(model, INPUTS, **{k: v for k, v in asked.items() if k != "ratios"}),
    ):
        try:
            work()
            outcomes.append(None)
        except PruneError as error:
            outcomes.append(error)
    assert (outcomes[0] is None) == (outcomes[1] is None), outcomes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    if outcomes[1] is not None and "target_macs" in asked and "target_params" in asked:
        assert outcomes[1].where == "target_macs"


def test_the_network_to_come_is_foreseen_where_widths_hang_on_the_structure_alone() -> None:
    model = net()
    seen = foreseen(model, INPUTS, target_macs=0.5)
    real = prune(net(), INPUTS, target_macs=0.5, importance="l2").model
    assert seen is not None
    assert [tuple(p.shape) for p in seen.parameters()] == [tuple(p.shape) for p in real.parameters()]
    assert foreseen(model, INPUTS, target_macs=0.5, scope="global") is None
    assert foreseen(model, INPUTS) is None
