"""The teacher scores a clip once, alone, and remembers it over a restart."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressvqa.distillation import FeatureTaps, Teacher


class Counting(nn.Module):
    """A tiny full-reference network that counts the clips it has seen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 4, 3)
        self.dropout = nn.Dropout(0.5)
        self.clips = 0

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        self.clips += len(reference)
        error = self.features(reference.flatten(0, 1)) - self.features(distorted.flatten(0, 1))
        return -self.dropout(error).square().mean((1, 2, 3)).unflatten(0, reference.shape[:2]).mean(1)


def clips(*seeds: int) -> tuple[list[Tensor], list[str]]:
    made = [torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return [torch.stack([clip[which] for clip in made]) for which in (0, 1)], [f"clip-{seed}" for seed in seeds]


def test_a_clip_is_scored_once(tmp_path: Path) -> None:
    network = Counting()
    teacher = Teacher(network, tmp_path)
    first = teacher(*clips(1, 2, 3)).scores
    second = teacher(*clips(3, 1, 4, 3)).scores
    assert network.clips == 4
    assert first is not None and second is not None
    assert torch.equal(second[[1, 0]], first[[0, 2]]) and second[0] == second[3]


def test_a_restarted_teacher_remembers(tmp_path: Path) -> None:
    before = Teacher(Counting(), tmp_path)
    scores = before(*clips(1, 2)).scores
    before.state_dict()  # what the training loop calls at a checkpoint
    network = Counting()
    again = Teacher(network, tmp_path)(*clips(2, 1)).scores
    assert network.clips == 0 and scores is not None and again is not None
    assert torch.equal(again, scores.flip(0))


def test_another_network_is_not_answered_for(tmp_path: Path) -> None:
    teacher = Teacher(Counting(), tmp_path)
    teacher(*clips(1))
    teacher.state_dict()
    other = Counting()
    with torch.no_grad():
        other.features.weight.mul_(2)
    Teacher(other, tmp_path)(*clips(1))
    assert other.clips == 1


def test_a_score_does_not_depend_on_its_company() -> None:
    alone = Teacher(Counting(), None)(*clips(5)).scores
    company = Teacher(Counting(), None)(*clips(1, 2, 5, 3)).scores
    assert alone is not None and company is not None and torch.equal(alone[0], company[2])


def test_it_is_frozen_and_leaves_no_graph() -> None:
    network = Counting()
    scores = Teacher(network, None)(*clips(1, 2)).scores
    assert scores is not None and not scores.requires_grad
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("size", [1, 3])
def test_features_come_with_the_scores(size: int) -> None:
    network = Counting()
    inputs, keys = clips(*range(size))
    answer = Teacher(network, None, features=["features"])(inputs, keys)
    assert answer.scores is not None
    assert torch.allclose(answer.scores, network(*inputs))
    expected = torch.cat([network.features(value.flatten(0, 1)) for value in inputs])
    assert torch.allclose(answer.features["features"], expected, atol=1e-6)


# --- features are remembered as a run on the whole batch gives them ---------------------------------------------------


class Twice(Counting):
    """Runs `features` on the frames of the reference, then on those of the distorted clip: two calls, T rows a clip."""


class Together(Counting):
    """Runs `features` once, on references and distorted clips in one batch: rows of a clip lie far apart."""

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        self.clips += len(reference)
        both = self.features(torch.cat([reference, distorted]).flatten(0, 1))
        return both.mean((1, 2, 3)).unflatten(0, (2, -1)).diff(dim=0)[0].unflatten(0, reference.shape[:2]).mean(1)


class OneByOne(Counting):
    """Loops over the clips, two calls for each."""

    def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
        self.clips += len(reference)
        errors = [self.features(r) - self.features(d) for r, d in zip(reference, distorted, strict=True)]
        return -torch.stack([error.square().mean() for error in errors])


def whole(network: Counting, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad(), FeatureTaps(network, ["features"]) as taps:
        network(*inputs)
        return taps.take()["features"]


@pytest.mark.parametrize(("kind", "frames"), [(Twice, 1), (Twice, 3), (OneByOne, 1), (OneByOne, 3), (Together, 1)])
def test_remembered_features_lie_as_those_of_a_whole_batch(kind: type[Counting], frames: int, tmp_path: Path) -> None:
    dice = torch.Generator().manual_seed(frames)
    inputs = [torch.rand(4, frames, 3, 8, 8, generator=dice) for _ in range(2)]
    network, keys = kind(), ["a", "b", "c", "d"]
    teacher = Teacher(network.eval(), tmp_path, features=["features"])
    order = [2, 0, 0, 3]
    first = teacher([value[order] for value in inputs], [keys[i] for i in order])
    assert teacher.whole_because == ""
    assert torch.allclose(first.features["features"], whole(network, [v[order] for v in inputs]), atol=1e-6)
    network.clips = 0
    again = teacher([value[[0, 3, 2]] for value in inputs], ["a", "d", "c"])
    assert network.clips == 0  # nothing is run again
    assert torch.allclose(again.features["features"], whole(network, [v[[0, 3, 2]] for v in inputs]), atol=1e-6)
    # A restarted teacher gives the same bits, from the files or computed again.
    teacher.state_dict()
    for folder in (tmp_path, None):
        restarted = Teacher(kind(), folder, features=["features"])
        answer = restarted([value[[0, 3, 2]] for value in inputs], ["a", "d", "c"])
        assert answer.scores is not None and again.scores is not None
        assert torch.equal(answer.features["features"], again.features["features"])
        assert torch.equal(answer.scores, again.scores)
        assert restarted.whole_because == ""
        # Two of the clips are always shown together once, to see how their rows follow each other.
        assert restarted.network.clips == (2 if folder else 5)


def test_a_network_that_is_not_made_of_its_clips_runs_on_whole_batches(tmp_path: Path) -> None:
    class Mixed(Counting):
        def forward(self, reference: Tensor, distorted: Tensor) -> Tensor:
            self.clips += len(reference)
            return self.features((reference - reference.mean(0)).flatten(0, 1)).mean((1, 2, 3)).view(-1, 2).mean(1)

    dice = torch.Generator().manual_seed(0)
    inputs = [torch.rand(3, 2, 3, 8, 8, generator=dice) for _ in range(2)]
    for network in (Mixed(), Together()):  # of Together, frames of a clip lie between other clips' frames
        teacher = Teacher(network, tmp_path, features=["features"])
        answer = teacher(inputs, ["a", "b", "c"])
        assert "influence each other" in teacher.whole_because
        assert torch.equal(answer.features["features"], whole(network, inputs))


def test_large_features_are_not_kept(tmp_path: Path) -> None:
    inputs, keys = clips(1, 2)
    size = 2 * 4 * 6 * 6 * 4  # two calls, four channels, 6 x 6 positions, four bytes
    kept, large = (Teacher(Counting(), tmp_path, features=["features"], clip_bytes=limit) for limit in (size, size - 1))
    assert torch.allclose(kept(inputs, keys).features["features"], large(inputs, keys).features["features"], atol=1e-6)
    assert kept.whole_because == "" and f"take {size} bytes" in large.whole_because
    assert len(kept.feature_cache) == 2 and len(large.feature_cache) == 0


def test_averages_are_kept_where_only_they_are_wanted(tmp_path: Path) -> None:
    inputs, keys = clips(1, 2)
    network = Counting()
    teacher = Teacher(network, tmp_path, features=["features"], mean=True, clip_bytes=2 * 4 * 4)
    answer = teacher(inputs, keys)
    assert teacher.whole_because == ""
    assert torch.allclose(answer.features["features"], whole(network, inputs).mean((2, 3)), atol=1e-6)


def test_bf16_is_another_teacher(tmp_path: Path) -> None:
    inputs, keys = clips(1, 2, 3)
    exact = Teacher(Counting(), tmp_path, features=["features"])(inputs, keys)
    network = Counting()
    teacher = Teacher(network, tmp_path, features=["features"], precision="bf16")
    rounded = teacher(inputs, keys)
    assert exact.scores is not None and rounded.scores is not None
    assert rounded.scores.dtype == rounded.features["features"].dtype == torch.float32
    assert network.features.weight.dtype == torch.float32
    for a, b in ((exact.scores, rounded.scores), (exact.features["features"], rounded.features["features"])):
        assert not torch.equal(a, b) and torch.allclose(a, b, atol=0.02, rtol=0.05)
    assert torch.equal(rounded.features["features"].bfloat16().float(), rounded.features["features"])
