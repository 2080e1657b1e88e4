"""The stage that trains STANet: it learns where the quality is, and what it learnt is in the network it returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data.scored import write_scored
from lightning_fabric import Fabric
from pydantic import ValidationError

import compressvqa as cv
from compressvqa.data.mos_pairs import MosClips, MosPairSampler
from compressvqa.errors import CompressVQAError, DataError
from compressvqa.metrics import correlation
from compressvqa.models import RankDVQASTANet
from compressvqa.opinions import Item, Manifest
from compressvqa.pruning import prune
from compressvqa.registry import stages
from compressvqa.running.pipeline import run
from compressvqa.running.recipe import Recipe, shipped
from compressvqa.stages import PoolStage, StageContext
from compressvqa.stages.descriptions import DescribedPairs, Descriptions
from compressvqa.training import MosDifferenceObjective

torch.set_num_threads(1)
TINY = {"widths": (4, 5, 6, 5, 4, 7), "merge_width": 4, "mlp_width": 4}
GRID = {"patch": 96, "stride": (48, 64)}


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return cv.create_model("rankdvqa", **TINY).eval()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> MosClips:
    """12 clips of 15 frames, each of 2 blocks of 4 patches."""
    manifest = write_scored(tmp_path_factory.mktemp("scored"), frames=15)
    return MosClips(manifest, manifest.items, (15,) * len(manifest.items), 12, 2)


def context(folder: Path, clips: Any, **changes: Any) -> StageContext:
    settings: dict[str, Any] = {
        "folder": folder,
        "objective": MosDifferenceObjective(MosDifferenceObjective.Config()),
        "batches": lambda batch: MosPairSampler(clips, batch=batch, seed=1),
        "network_of": lambda name: None,
        "inputs": cv.example_inputs("rankdvqa", size=96),
        "fabric": lambda: Fabric(accelerator="cpu", devices=1),
        "log": lambda step, steps, figures: None,
        "seed": 3,
    }
    return StageContext(**settings | changes)


def stage(**settings: Any) -> PoolStage:
    return PoolStage(PoolStage.Config(**{"name": "pool", "steps": 3, "batch": 2, "options": GRID, **settings}))


def planted(folder: Path, network: RankDVQASTANet, count: int, seed: int, patches: int = 5) -> Descriptions:
    """Clips in which one patch, told by its features, has the quality that viewers see; the others say nothing."""
    rng, folder = np.random.default_rng(seed), folder / str(seed)
    folder.mkdir(parents=True)
    quality = rng.normal(size=count)
    items = tuple(Item(f"{n}.mp4", float(q), "reference.mkv") for n, q in enumerate(quality))
    for name in ("reference.mkv", *(item.distorted for item in items)):
        (folder / name).write_bytes(b"not decoded")
    found = Descriptions(
        MosClips(Manifest(f"planted{seed}", folder, items), items, (12,) * count, 12, 1), network, folder
    )
    found.folder.mkdir()
    for index in range(count):
        scores = rng.normal(0, 2, patches)
        features = rng.normal(0, 0.3, (patches, 12, network.pooling.weigh[0].in_channels, 4, 4))
        told = rng.integers(patches)
        scores[told], features[told, :, 2] = quality[index], features[told, :, 2] + 1
        np.save(found._named(index, "features"), features.astype(np.float16))
        np.save(found._named(index, "scores"), scores.astype(np.float32))
    return found


@torch.no_grad()
def pooled_and_mean(network: RankDVQASTANet, found: Descriptions) -> tuple[float, float]:
    """SROCC of both poolings."""
    pooled, mean = [], []
    for index in range(len(found.clips)):
        scores = torch.from_numpy(np.array(found.scores(index)))
        part = torch.stack([scores, network.pooling.saliency(found.features(index))], dim=-1)
        pooled.append(float(network.pool([part[None]])))
        mean.append(float(scores.mean()))
    return tuple(correlation(each, found.clips.opinions, "none").srocc for each in (pooled, mean))


def test_it_learns_which_region_carries_the_quality(network: torch.nn.Module, tmp_path: Path) -> None:
    """Trained on 60 clips, judged on 40 others; nothing but the stage's own run is used."""
    fresh = RankDVQASTANet.around(network, **GRID)
    train, held = (planted(tmp_path / "planted", fresh, *facts) for facts in ((60, 1), (40, 2)))
    settings = context(tmp_path / "stage", train.clips)
    # The stage finds the descriptions made, and so decodes nothing.
    made = Descriptions(train.clips, fresh, settings.folder / "patches", patches=64, seed=settings.seed)
    made.folder.parent.mkdir(parents=True)
    train.folder.rename(made.folder)
    result = stage(steps=60, batch=8, patches_per_step=None, optimizer={"lr": 1e-2}).run(network, settings)
    pooled, mean = pooled_and_mean(result.network, held)
    assert mean < 0.5
    assert pooled > 0.9
    assert result.figures["srocc_on_training_clips"] > 0.9
    assert result.figures["effective_share_of_patches"] < 0.4
    untrained, _ = pooled_and_mean(fresh, held)
    assert abs(untrained - mean) < 0.2


def test_the_patch_network_stays_as_it_was_and_stanet_does_not(
    network: torch.nn.Module, clips: MosClips, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = stage().run(network, context(tmp_path, clips))
    inner = result.network.patch_network.state_dict()
    assert inner.keys() == before.keys()
    assert all(torch.equal(inner[name], tensor) for name, tensor in before.items())
    untrained = stage(steps=0).run(network, context(tmp_path / "other", clips)).network
    moved = [
        not torch.equal(a, b)
        for a, b in zip(result.network.pooling.parameters(), untrained.pooling.parameters(), strict=True)
    ]
    assert sum(moved) >= len(moved) - 1  # the last bias shifts every patch alike
    assert result.figures["clips"] == 12
    assert result.figures["patches"] == 12 * 2 * 4


@torch.no_grad()
def test_descriptions_are_what_the_network_says_of_the_whole_clip(
    network: torch.nn.Module, clips: MosClips, tmp_path: Path
) -> None:
    pooled = RankDVQASTANet.around(network, **GRID)
    described = Descriptions(clips, pooled, tmp_path)
    described.make(pooled, torch.device("cpu"))
    for index in (0, 7):
        parts = [pooled.partial(pooled.prepare(r), d) for r, d in clips.read(index) if r is not None]
        whole = torch.cat(parts, dim=1)[0]
        np.testing.assert_allclose(described.scores(index), whole[:, 0].numpy(), rtol=1e-5, atol=1e-6)
        saliency = pooled.pooling.saliency(described.features(index))
        torch.testing.assert_close(saliency, whole[:, 1], rtol=2e-3, atol=2e-3)  # kept in half precision
        assert len(whole) == 2 * 4


def test_a_clip_is_described_once(network: torch.nn.Module, clips: MosClips, tmp_path: Path, monkeypatch: Any) -> None:
    read, original = [], MosClips.read
    monkeypatch.setattr(MosClips, "read", lambda self, index: read.append(index) or original(self, index))
    first = stage().run(network, context(tmp_path, clips))
    assert sorted(read) == list(range(12))
    (tmp_path / "checkpoint.pt").unlink()
    again = stage().run(network, context(tmp_path, clips))
    assert len(read) == 12
    for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(a, b)
    # Another network's descriptions are others, and one that is damaged is said so.
    with torch.no_grad():
        network.scales[0].head.weight.mul_(2)
    stage().run(network, context(tmp_path / "second", clips))
    assert len(read) == 24
    for file in tmp_path.glob("patches/*/*.features.npy"):
        file.write_bytes(b"damaged")
    (tmp_path / "checkpoint.pt").unlink()
    with torch.no_grad():
        network.scales[0].head.weight.div_(2)
    with pytest.raises(DataError, match="missing or damaged"):
        stage().run(network, context(tmp_path, clips))


@torch.no_grad()
def test_some_patches_of_each_clip(network: torch.nn.Module, clips: MosClips, tmp_path: Path) -> None:
    pooled = RankDVQASTANet.around(network, **GRID)
    every, some = Descriptions(clips, pooled, tmp_path), Descriptions(clips, pooled, tmp_path, patches=3)
    for descriptions in (every, some):
        descriptions.make(pooled, torch.device("cpu"))
    places = []
    for index in range(12):
        assert len(some.scores(index)) == 3
        gaps = np.abs(every.scores(index)[None] - some.scores(index)[:, None])
        assert (gaps.min(axis=1) < 1e-5).all()
        places.append(tuple(gaps.argmin(axis=1)))
    assert len({places[index] for index in clips.by_reference()[0]}) == 1
    assert len(set(places)) > 1


def test_clips_of_fewer_patches_are_filled_up_and_weigh_nothing(network: torch.nn.Module, tmp_path: Path) -> None:
    from compressvqa.stages.pool import _Task

    pooled = RankDVQASTANet.around(network, **GRID)
    few, many = planted(tmp_path, pooled, 4, 1, patches=3), planted(tmp_path, pooled, 4, 2, patches=7)
    task, wanted = _Task(pooled.pooling, 2.0), []
    for found in (few, many):
        batch = DescribedPairs(MosPairSampler(found.clips, batch=1), found, None).batch_at(0)
        assert batch.there.all()
        wanted.append(task(batch.scores, batch.features, batch.there))
    batches = [DescribedPairs(MosPairSampler(f.clips, batch=1), f, None).batch_at(0) for f in (few, many)]
    scores, features, there = (
        torch.nn.utils.rnn.pad_sequence([*a, *b], batch_first=True)
        for a, b in zip(batches[0][:3], batches[1][:3], strict=True)
    )
    assert there.sum(dim=1).tolist() == [3, 3, 7, 7]
    torch.testing.assert_close(task(scores, features, there), torch.cat(wanted))


def test_mean_pooling_trains_nothing_and_reads_nothing(network: torch.nn.Module, tmp_path: Path) -> None:
    result = stage(pooling="mean").run(network, context(tmp_path, None))
    assert result.network.pooling is None
    assert stage(pooling="mean").run(result.network, context(tmp_path, None)).network.stride == GRID["stride"]


def test_the_size_of_features_does_not_matter(network: torch.nn.Module, tmp_path: Path) -> None:
    """STANet begins with weights that fit its features: a hundredth of them give the same saliency."""
    from compressvqa.stages.pool import _fit_to_features

    pooled = RankDVQASTANet.around(network, **GRID)
    for number, factor in enumerate((1.0, 0.01)):
        found = planted(tmp_path / str(number), pooled, 3, 1)
        for index in range(3):
            file = found._named(index, "features")
            np.save(file, (np.load(file) * factor).astype(np.float16))
        torch.manual_seed(0)
        stanet = RankDVQASTANet.around(network, **GRID).pooling
        _fit_to_features(stanet, found)
        with torch.no_grad():
            saliency = stanet.saliency(found.features(0))
        if number == 0:
            wanted = saliency
    torch.testing.assert_close(saliency, wanted, rtol=0.01, atol=1e-3)


def test_a_pruned_network(network: torch.nn.Module, clips: MosClips, tmp_path: Path) -> None:
    small = prune(network, cv.example_inputs(network, size=96), ratios=0.5).model
    result = stage(steps=1).run(small, context(tmp_path, clips))
    assert result.figures["stages_read"] == [3, 5]
    again = cv.load(cv.save(result.network, tmp_path / "model"))
    reference, distorted = torch.rand(2, 1, 14, 3, 100, 170)
    with torch.no_grad():
        assert torch.equal(again(reference, distorted), result.network.eval()(reference, distorted))


def test_mistakes(network: torch.nn.Module, clips: MosClips, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="learns from scored clips"):
        stage().run(network, context(tmp_path, clips, batches=lambda batch: object()))
    with pytest.raises(ValidationError, match="'widths' is none of"):
        stage(options={"widths": [1]})
    items = tuple(Item(item.distorted, item.mos) for item in clips.items)
    alone = MosClips(Manifest("alone", clips.manifest.folder, items), items, clips.frames, 12, 2)
    with pytest.raises(DataError, match="without a reference"):
        stage().run(network, context(tmp_path, alone))
    with pytest.raises(CompressVQAError, match="no sixth stage"):
        small = prune(network, cv.example_inputs(network, size=96), ratios=0.5).model
        stage(features=[3, 6]).run(small, context(tmp_path, clips))


def test_the_recipe_runs_whole(network: torch.nn.Module, clips: MosClips, tmp_path: Path) -> None:
    """The shipped recipe, with a small network on the small data set; then the network is trained on pixels too."""
    manifest = clips.manifest.folder / "manifest.csv"
    rows = [f"{item.reference},{item.distorted},{item.mos},{item.split}" for item in clips.items]
    manifest.write_text("\n".join(["ref,dist,mos,split", *rows, ""]))
    assert "pool" in stages
    weights = cv.save(network, tmp_path / "pqanet")
    overrides = [
        f"model.weights={weights}", f"data.source={manifest}", "clip.size=96", "data.validation=split",
        "data.blocks=1", "stages.stanet.steps=4", "stages.stanet.batch=2",
        "stages.mean.options={patch: 96, stride: [96, 96]}", "runtime.precision='32'", "runtime.threads=1",
    ]  # fmt: skip
    recipe = Recipe.load(shipped()["rankdvqa_stanet"], overrides)
    result = run(recipe, out=tmp_path / "run")
    rows = {row["stage"]: row for row in result.table}
    assert list(rows) == ["mean", "stanet"]
    assert all(row["n"] == 3 and -1 <= row["srocc"] <= 1 for row in rows.values())
    stanet = 8 * 27 * (6 + 7 + 8 + 8 + 1) + 25  # four convolutions of kernel 3 and their biases
    assert rows["stanet"]["params"] - rows["mean"]["params"] == stanet
    loaded = cv.load(result.model)
    assert isinstance(loaded, RankDVQASTANet)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["data"]["train"]["label"] == "MOS"
    again = run(recipe, out=tmp_path / "run").table  # of stages that are done already
    assert [row["srocc"] for row in again] == [row["srocc"] for row in result.table]


def test_a_train_stage_after_it_reaches_the_patch_network(
    network: torch.nn.Module, clips: MosClips, tmp_path: Path
) -> None:
    from compressvqa.stages import TrainStage

    pooled = stage(steps=0).run(network, context(tmp_path / "pool", clips)).network
    before = {name: tensor.clone() for name, tensor in pooled.state_dict().items()}
    pixels = context(tmp_path / "train", clips, batches=lambda n: MosPairSampler(clips, batch=n, size=None, seed=1))
    (tmp_path / "train").mkdir()
    after = TrainStage(TrainStage.Config(name="both", steps=2, batch=1)).run(pooled, pixels).network.state_dict()
    changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == {"patch_network", "pooling"}
