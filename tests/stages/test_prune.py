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
from lightning_fabric.utilities import move_data_to_device
from pydantic import ValidationError
from torch import Tensor, nn

import compressvqa as cv
from compressvqa.data import RankBatch
from compressvqa.pruning import Schedule, find_groups, trace
from compressvqa.stages import PruneStage, StageContext, StageResult
from compressvqa.stages import prune as prune_stage
from compressvqa.training import RankPairsObjective

SMALL = {"widths": (4, 4, 6, 6, 8, 8), "merge_width": 8, "mlp_width": 8}
STEPS: dict[str, Any] = {
    "name": "pruned", "rule": None, "target_params": 0.3, "steps": 3, "batch": 1, "gradient_batches": 1,
    "finetune": {"steps": 3, "batch": 1, "checkpoint_seconds": 1e-6, "optimizer": {"lr": 1e-3}},
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


@pytest.mark.parametrize(("importance", "fatal"), [("l1", 5), ("taylor", 2), ("activation", 6)])
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
    on_cpu = lambda: Fabric(accelerator="cpu", devices=1)
    context = StageContext(tmp_path, None, None, None, inputs, on_cpu, None, 0)  # type: ignore[arg-type]
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
        ({"runtime": "fast"}, "'openvino' or 'native'"),
        ({"attention": "head"}, "'auto', 'keep', 'heads' or 'width'"),
        ({"depth": 1.0}, "less than 1"),
        ({"depth_by": "last"}, "so they need it"),
        ({"blocks": "blocks.*"}, "so they need it"),
        ({"depth": 0.5, "rule": None, "steps": 2, "finetune": {"steps": 1}}, "no channel is to go"),
    ],
)
def test_settings_that_do_not_fit_are_faults_of_the_recipe(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PruneStage.Config(name="pruned", **settings)


def vit() -> nn.Module:
    torch.manual_seed(0)
    return cv.create_model(
        "timm/vit_tiny_patch16_224", img_size=32, num_classes=1, embed_dim=24, depth=4, num_heads=3
    ).eval()


class Images:
    """Random pictures; may end the process at some batch, as a kill would."""

    def __init__(self, batch: int, seen: list[int], fatal: int | None) -> None:
        self.batch, self._seen, self._fatal = batch, seen, fatal

    def batch_at(self, step: int) -> Tensor:
        self._seen.append(step)
        if len(self._seen) - 1 == self._fatal:
            raise MemoryError
        return torch.rand(self.batch, 3, 32, 32, generator=torch.Generator().manual_seed(step))


class Brightness:
    """Regression on the mean of a picture: small, and with a loss that blocks matter to."""

    def inputs(self, batch: Tensor) -> tuple[Tensor, ...]:
        return (batch,)

    def loss(self, scores: Tensor, batch: Tensor) -> Tensor:
        return (scores.flatten() - batch.mean((1, 2, 3))).square().mean()


def run_vit(folder: Path, fatal: int | None = None, **settings: Any) -> tuple[StageResult, list[int]]:
    net, seen = vit(), list[int]()
    context = StageContext(
        folder=folder,
        objective=Brightness(),
        batches=lambda batch: Images(batch, seen, fatal),  # type: ignore[arg-type, return-value]
        network_of=lambda name: net,
        inputs=(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(9)),),
        fabric=lambda: Fabric(accelerator="cpu", devices=1),
        log=lambda step, steps, figures: None,
        seed=3,
    )
    config = PruneStage.Config(name="pruned", batch=2, gradient_batches=2, **settings)
    return PruneStage(config).run(net, context), seen


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_depth_alone_removes_blocks_and_nothing_else(tmp_path: Path) -> None:
    result, seen = run_vit(tmp_path, depth=0.5, rule=None, depth_by="last")
    figures = result.figures["depth"]
    assert figures["removed"] == ["blocks.2", "blocks.3"] and figures["by"] == "last" and not seen
    assert figures["params"] == [size(vit()), size(result.network)] and figures["macs"][1] < figures["macs"][0]
    theirs: Any = vit()
    theirs.prune_intermediate_layers([1], prune_norm=False, prune_head=False)
    assert same(result.network, theirs)
    assert json.loads(json.dumps(result.figures)) == result.figures


def test_a_target_is_a_share_of_the_network_as_it_was_given(tmp_path: Path) -> None:
    """Half of the blocks go, and then channels and heads until a quarter of all parameters is left."""
    result, _ = run_vit(tmp_path, depth=0.5, rule=None, target_params=0.25, attention="heads")
    assert len(result.figures["depth"]["removed"]) == 2 and set(result.figures["depth"]["scores"]) == {
        f"blocks.{k}" for k in range(4)
    }
    assert 0.2 < size(result.network) / size(vit()) <= 0.25
    assert result.figures["max_error"] <= 1e-5 and result.figures["removed"]
    heads = [block.attn.num_heads for block in result.network.blocks if hasattr(block, "attn")]  # type: ignore
    assert len(heads) == 2 and max(heads) < 3
    # Where blocks alone are enough, no channel goes.
    enough, _ = run_vit(tmp_path / "enough", depth=0.5, rule=None, target_params=0.9)
    assert enough.figures["removed"] == {}
    assert size(enough.network) == enough.figures["depth"]["params"][1]


def test_the_objective_can_choose_the_blocks(tmp_path: Path) -> None:
    result, seen = run_vit(tmp_path, depth=0.25, rule=None, depth_by="loss")
    net, objective, batches = vit(), Brightness(), Images(2, [], None)

    def loss(skipped: int | None) -> float:
        blocks: Any = net.blocks
        hook = None if skipped is None else blocks[skipped].register_forward_hook(lambda m, args, out: args[0])
        with torch.no_grad():
            losses = [objective.loss(net(batches.batch_at(k)), batches.batch_at(k)).item() for k in range(2)]
        if hook is not None:
            hook.remove()
        return sum(losses) / 2

    expected = {f"blocks.{k}": loss(k) - loss(None) for k in range(4)}
    assert result.figures["depth"]["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert result.figures["depth"]["removed"] == [min(expected, key=lambda path: expected[path])]
    assert len(seen) == 2 * 5  # the whole network, and without each of four blocks


def test_protected_blocks_stay_and_protected_layers_go_with_their_block(tmp_path: Path) -> None:
    protect = ("blocks.3", "blocks.2.mlp.fc1")
    result, _ = run_vit(tmp_path, depth=0.25, rule=None, depth_by="last", target_params=0.7, protect=protect)
    assert result.figures["depth"]["removed"] == ["blocks.2"]
    assert not any(path.startswith("blocks.3.mlp.fc1") for path in result.figures["removed"])


DEEP: dict[str, Any] = {
    "depth": 0.25, "rule": None, "target_params": 0.3, "steps": 2, "attention": "heads",
    "finetune": {"steps": 2, "batch": 2, "checkpoint_seconds": 1e-6, "optimizer": {"lr": 1e-3}},
}  # fmt: skip


@pytest.mark.parametrize("depth_by", ["influence", "loss"])
def test_a_stage_with_depth_that_was_killed_goes_on_to_the_same_network(depth_by: str, tmp_path: Path) -> None:
    settings = DEEP | {"depth_by": depth_by}
    whole, read = run_vit(tmp_path / "whole", **settings)
    assert 0.25 < size(whole.network) / size(vit()) <= 0.3
    for fatal in (1, len(read) - 1):  # while blocks are chosen, and while the last step is trained
        folder = tmp_path / str(fatal)
        with pytest.raises(MemoryError):
            run_vit(folder, fatal, **settings)
        again, seen = run_vit(folder, **settings)
        assert same(again.network, whole.network) and again.figures == whole.figures
        assert fatal == 1 or seen == [read[-1]]


class OnMeta(Fabric):
    """As if the run were on another device; numbers are not needed to see where things are."""

    @property
    def device(self) -> torch.device:
        return torch.device("meta")

    def to_device(self, obj: Any) -> Any:
        return move_data_to_device(obj, self.device)


def test_pruning_follows_the_device_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network, its inputs and the batches of gradients and activations are where `runtime.device` says."""
    net, seen = network(), list[Tensor]()
    context = StageContext(
        folder=tmp_path,
        objective=RankPairsObjective(RankPairsObjective.Config()),
        batches=lambda batch: Noise(batch, [], None),
        network_of=lambda name: net,
        inputs=cv.example_inputs(net, size=96),
        fabric=lambda: OnMeta(accelerator="cpu", devices=1),
        log=lambda step, steps, figures: None,
        seed=3,
    )

    class Recorded:
        """In the place of the schedule, which needs numbers: keeps what it is given."""

        def __init__(self, model: nn.Module, inputs: Any, **settings: Any) -> None:
            seen.extend([*model.parameters(), *inputs, *next(iter(settings["importance"].batches))])

        def prune(self, number: int, current: nn.Module) -> None:
            seen.extend(p.grad for p in current.parameters() if p.grad is not None)
            raise KeyboardInterrupt

    monkeypatch.setattr(prune_stage, "Schedule", Recorded)
    monkeypatch.setattr(prune_stage, "density", lambda network: {})
    stage = PruneStage(PruneStage.Config(name="pruned", rule=None, target_params=0.5, importance="taylor", batch=2))
    with pytest.raises(KeyboardInterrupt):
        stage.run(net, context)
    assert len(seen) > 2 * len(list(net.parameters())) * 0.9 and {tensor.device.type for tensor in seen} == {"meta"}
