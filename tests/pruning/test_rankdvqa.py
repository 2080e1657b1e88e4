"""RankDVQA, the network that other pruners cut wrongly or not at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressvqa.cost import profile
from compressvqa.models import create_model, example_inputs
from compressvqa.pruning import Trace, compare_rules, density, density_ratios, find_groups, prune, trace

WIDTHS = (16, 32, 64, 96, 128, 192)
PARAMETERS = 4_594_938
DEAD = 553_344


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("rankdvqa")


@pytest.fixture(scope="module")
def clips() -> tuple[torch.Tensor, ...]:
    return example_inputs("rankdvqa", size=96)


@pytest.fixture(scope="module")
def facts(network: nn.Module, clips: tuple[torch.Tensor, ...]) -> Trace:
    return trace(network, clips)


def test_the_sixth_stage_is_dead(facts: Trace) -> None:
    assert facts.dead == {"extractor.stages.5": DEAD}
    assert facts.unknown_ops == ()
    assert facts.uncalled == ()


def test_an_extractor_channel_takes_its_36_slices_along(facts: Trace) -> None:
    groups = {g.name: g for g in find_groups(facts)}
    for stage in range(5):
        group, width = groups[f"extractor.stages.{stage}.2"], WIDTHS[stage]
        assert group.channels == width
        assert group.consumers == {f"extractor.stages.{stage + 1}.0": 1, f"scales.{stage}.conv_in": 36}
        slots = {(s.leaf, s.dim): s.indices for s in group.slots}
        assert slots[f"extractor.stages.{stage}.2.weight", 0].tolist() == [[c] for c in range(width)]
        assert slots[f"extractor.stages.{stage + 1}.0.weight", 1].tolist() == [[c] for c in range(width)]
        # Frame t holds [reference, distorted, |difference|], so part p of channel c lies at (3 t + p) width + c.
        folded = slots[f"scales.{stage}.conv_in.weight", 1]
        for c in range(width):
            assert folded[c].tolist() == [(3 * t + p) * width + c for t in range(12) for p in range(3)]


def test_attention_keeps_its_width_and_says_so(facts: Trace) -> None:
    groups = find_groups(facts)
    for scale in range(5):
        path = f"scales.{scale}.attention.qkv"
        kept = [g for g in groups if path in g.producers]
        assert sum(g.channels * g.producers[path] for g in kept) == 96
        assert all(g.frozen is not None and "heads are kept" in g.frozen for g in kept)


def test_predicted_cost_is_what_the_profiler_counts(network: nn.Module, clips: tuple[torch.Tensor, ...]) -> None:
    pruned = prune(network, clips, ratios=0.7)
    before, after = pruned.complexity_before, pruned.complexity_after
    assert pruned.plan.params == (before.params, after.params)
    assert pruned.plan.params[0] == PARAMETERS
    assert pruned.plan.macs == (before.macs, after.macs) == (profile(network, clips).macs, after.macs)


@pytest.mark.parametrize(
    ("params", "macs"), [(0.0987, None), (None, 0.1357), (0.0987, 0.1357)], ids=["params", "macs", "both"]
)
def test_targets(network: nn.Module, clips: tuple[torch.Tensor, ...], params: float | None, macs: float | None) -> None:
    pruned = prune(network, clips, target_params=params, target_macs=macs)
    assert pruned.max_error is not None
    assert pruned.max_error <= 1e-5
    assert pruned.dead == ("extractor.stages.5",)
    used = []
    if params is not None:
        used.append(sum(p.numel() for p in pruned.model.parameters()) / (params * PARAMETERS))
    if macs is not None:
        used.append(pruned.complexity_after.macs / (macs * pruned.complexity_before.macs))
    assert max(used) <= 1
    assert max(used) >= 0.98


def test_a_stage_that_is_read_after_all_stays(network: nn.Module, clips: tuple[torch.Tensor, ...]) -> None:
    pruned = prune(network, clips, ratios={"scales": 0.5}, remove_dead=False)
    assert pruned.dead == ()
    assert pruned.model.get_submodule("extractor.stages.5.0").out_channels == 192
    assert set(pruned.removed) == {
        f"scales.{i}.{layer}"
        for i in range(5)
        for layer in ("conv_in", "attention.proj", "mlp.fc1", "mlp.fc2", "conv_out")
    }


def test_ratio_rules_on_a_sparse_network(clips: tuple[torch.Tensor, ...]) -> None:
    torch.manual_seed(0)
    sparse = create_model("rankdvqa")
    for parameter in sparse.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(torch.rand_like(parameter) < 0.2)
    reports = {report.rule: report for report in compare_rules(sparse, clips)}
    # A layer keeps about D_in * D_out of its weights under `in`, and about D under `sqrt`.
    assert reports["in"].params < 0.06
    assert reports["sqrt"].params == pytest.approx(0.2, abs=0.04)
    alive = [p for name, p in sparse.named_parameters() if "stages.5" not in name]
    nonzero = sum(int(p.count_nonzero()) for p in alive) / PARAMETERS
    assert reports["budget"].params == pytest.approx(nonzero, rel=0.03)
    ratios = density_ratios(sparse, "in", inputs=clips)
    # The channels of stage 1 are read by stage 2 and by the merge of scale 1; the denser one has its way.
    layers = density(sparse)
    readers = layers["extractor.stages.2.0"].density, layers["scales.1.conv_in"].density
    assert ratios["extractor.stages.1.2"] == pytest.approx(1 - max(readers))
    assert "extractor.stages.5.0" not in ratios
    assert not any("qkv" in path for path in ratios)
    assert prune(sparse, clips, ratios=ratios).max_error is not None


def test_a_dead_reader_demands_nothing(clips: tuple[torch.Tensor, ...]) -> None:
    """No gradient reaches the sixth stage, so sparsity training leaves it dense; it must not keep the fifth whole."""
    torch.manual_seed(0)
    sparse = create_model("rankdvqa")
    for name, parameter in sparse.named_parameters():
        if parameter.ndim > 1 and "stages.5" not in name:
            parameter.data.mul_(torch.rand_like(parameter) < 0.1)
    ratios = density_ratios(sparse, "in", inputs=clips)
    assert ratios["extractor.stages.4.2"] == pytest.approx(1 - density(sparse)["scales.4.conv_in"].density)
    alive = [p for name, p in sparse.named_parameters() if "stages.5" not in name]
    nonzero = sum(int(p.count_nonzero()) for p in alive) / PARAMETERS
    reports = {report.rule: report for report in compare_rules(sparse, clips)}
    assert reports["budget"].params == pytest.approx(nonzero, rel=0.03)


def test_dead_layers_that_are_kept_shrink_too():
    """The sixth stage is read by nothing, so that no weight of it can say which of its channels matter."""
    model = create_model("rankdvqa", widths=(8, 8, 8, 8, 8, 8), merge_width=8, mlp_width=8)
    pruned = prune(model, example_inputs(model, size=96), ratios=0.5, remove_dead=False)
    assert pruned.max_error < 1e-5
    assert pruned.model.extractor.stages[5][0].out_channels == 4
