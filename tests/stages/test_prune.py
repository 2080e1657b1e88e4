"""The prune stage: its steps, what it may be asked for, and that a killed one goes on to the same network."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.data import RankBatch
from compressvqa.pruning import Schedule, find_groups, trace
from compressvqa.stages import PruneStage, StageContext, StageResult
from compressvqa.training import RankPairsObjective

SMALL = {"widths": (4, 4, 6, 6, 8, 8), "merge_width": 8, "mlp_width": 8}
STEPS: dict[str, Any] = {
    "name": "pruned", "rule": None, "target_params": 0.3, "steps": 3, "batch": 2, "gradient_batches": 1,
    "finetune": {"steps": 3, "batch": 2, "checkpoint_seconds": 1e-6, "optimizer": {"lr": 1e-3}},
}  # fmt: skip


class Noise:
    """Pairs in which the clip with less noise is better; may end the process at some batch, as a kill would."""

    def __init__(self, batch: int, seen: list[int], fatal: int | None) -> None:
        self.batch, self._seen, self._fatal = batch, seen, fatal

    def batch_at(self, step: int) -> RankBatch:
        self._seen.append(step)
        if len(self._seen) - 1 == self._fatal:
            raise MemoryError
        dice = torch.Generator().manual_seed(step)
        clip = torch.rand(self.batch, 12, 3, 96, 96, generator=dice)
        noise = torch.rand(2, self.batch, 1, 1, 1, 1, generator=dice)
        a, b = ((clip + n * torch.randn(clip.shape, generator=dice)).clamp(0, 1) for n in noise)
        keys = [f"{step}/{i}" for i in range(self.batch)]
        return RankBatch(clip, a, clip, b, (noise[0] < noise[1]).float().flatten(), keys, keys)


def network() -> nn.Module:
    torch.manual_seed(0)
    return cv.create_model("rankdvqa", **SMALL)


def run(folder: Path, fatal: int | None = None, **settings: Any) -> tuple[StageResult, list[int], list[int]]:
    """The stage's result, the batches that were read, and the training steps that were logged."""
    net, seen, logged = network(), [], []
    context = StageContext(
        folder=folder,
        objective=RankPairsObjective(RankPairsObjective.Config()),
        batches=lambda batch: Noise(batch, seen, fatal),
        network_of=lambda name: net,
        inputs=cv.example_inputs(net, size=96),
        fabric=lambda: Fabric(accelerator="cpu", devices=1),
        log=lambda step, steps, figures: logged.append(step),
        seed=3,
    )
    return PruneStage(PruneStage.Config(**settings)).run(net, context), seen, logged


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_steps_with_fine_tuning_end_at_the_target(tmp_path: Path) -> None:
    result, seen, logged = run(tmp_path, **STEPS)
    before = sum(p.numel() for p in network().parameters())
    sizes = [step["params"][1] / before for step in result.figures["steps"]]
    assert len(sizes) == 3 and sizes[0] > sizes[1] > sizes[2]
    assert 0.9 * 0.3 <= sum(p.numel() for p in result.network.parameters()) / before <= 0.3
    assert result.figures["max_error"] <= 1e-5
    # Two trainings of three steps, each on batches of its own.
    assert seen == [0, 1, 2, 3, 4, 5] and logged == [1, 2, 3, 4, 5, 6]
    removed, widths = result.figures["removed"], result.figures["widths_before"]
    layers = dict(result.network.named_modules())
    for path, width in widths.items():
        assert removed[path] + layers[path].weight.shape[0] == width  # type: ignore[union-attr, index, operator]
    assert not same(result.network, run(tmp_path / "other", **STEPS | {"finetune": {"steps": 0}})[0].network)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], StageResult]:
    """What a stage that nothing disturbs ends with, by importance."""
    return functools.cache(lambda name: run(tmp_path_factory.mktemp(name), **STEPS | {"importance": name})[0])


@pytest.mark.parametrize(("importance", "fatal"), [("l1", 1), ("l1", 5), ("taylor", 2), ("activation", 6)])
def test_a_stage_that_was_killed_goes_on_to_the_same_network(
    tmp_path: Path, importance: str, fatal: int, whole: Callable[[str], StageResult]
) -> None:
    settings = STEPS | {"importance": importance}
    with pytest.raises(MemoryError):
        run(tmp_path, fatal, **settings)
    again, seen, _ = run(tmp_path, **settings)
    assert same(again.network, whole(importance).network)
    assert again.figures == whole(importance).figures
    assert fatal != 5 or seen == [5]  # everything before was done


def test_a_kill_between_the_steps_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[[str], StageResult]
) -> None:
    """Killed after the first fine-tuning, where the second step's pruning begins."""
    honest: Callable[..., Any] = Schedule.prune

    def dies(self: Schedule, number: int, model: nn.Module) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return honest(self, number, model)

    with monkeypatch.context() as patch:
        patch.setattr(Schedule, "prune", dies)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, **STEPS)
    again, seen, _ = run(tmp_path, **STEPS)
    # The first training is at its end in its checkpoint; only the second one is done.
    assert same(again.network, whole("l1").network) and seen == [3, 4, 5]


def test_what_is_left_in_the_folder_can_be_read(tmp_path: Path) -> None:
    run(tmp_path, **STEPS)
    assert set(json.loads((tmp_path / "steps.json").read_text())) == {"ratios", "step-1", "step-2"}
    assert isinstance(cv.load(tmp_path / "step-1" / "model"), nn.Module)


def test_zeros_are_removed_without_a_loss(tmp_path: Path) -> None:
    net = network().eval()
    inputs = cv.example_inputs(net, size=96)
    facts = trace(net, inputs)
    group = next(
        g for g in find_groups(facts) if g.frozen is None and g.channels >= 6 and not facts.is_dead(g.producers)
    )
    tensors = dict(net.named_parameters())
    with torch.no_grad():
        for slot in group.slots:
            tensors[slot.leaf].index_fill_(slot.dim, torch.from_numpy(slot.indices[[1, 3]].ravel()), 0)
    context = StageContext(tmp_path, None, None, None, inputs, None, None, 0)  # type: ignore[arg-type]
    result = PruneStage(PruneStage.Config(name="pruned", rule="zeros")).run(net, context)
    assert result.figures["removed"][group.name] == 2
    expected: Tensor = net(*inputs)
    assert torch.allclose(result.network.eval()(*inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_global_ranking_and_a_latency_are_settings(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, name="pruned", rule=None, scope="global", target_latency=0.8, min_channels=2)
    latency = result.figures["latency"]
    assert latency["runtime"] == "eager" and latency["share"] > 0 and latency["rounds"] >= 6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scope": "global"}, "takes no rule: `rule: null`"),
        ({"rule": "zeros", "target_macs": 0.5}, "takes no target"),
        ({"rule": "zeros", "steps": 2, "finetune": {"steps": 1}}, "takes one step"),
        ({"steps": 2}, "`steps` above 1 and `finetune` go together"),
        ({"finetune": {"steps": 1}}, "`steps` above 1 and `finetune` go together"),
        ({"max_ratio": 1.5}, "less than or equal to 1"),
        ({"runtime": "fast"}, "'eager', 'compile' or 'onnxruntime'"),
    ],
)
def test_settings_that_do_not_fit_are_faults_of_the_recipe(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PruneStage.Config(name="pruned", **settings)
