"""The proof: what it tries, what it measures against, what it would notice, and that it leaves no traces."""

from __future__ import annotations

import collections
import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import find_groups, prune, trace
from compressvqa.pruning.cutting.choice import Cut
from compressvqa.pruning.cutting.proof.check import Proof
from compressvqa.pruning.cutting.proof.compare import Seen, distance
from compressvqa.pruning.cutting.proof.inputs import fresh_inputs, other_sizes
from compressvqa.pruning.cutting.proof.power import noticed_by_halves, other_channels


class Scorer(nn.Module):
    """Features of two pictures, compared by `compare`."""

    def __init__(self, compare: Any) -> None:
        super().__init__()
        self.compare = compare
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        score: Tensor = self.compare(self.features(a), self.features(b))
        return score


def pictures(*, equal: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.rand(2, 1, 3, 8, 8, generator=generator)
    return (a, a.clone()) if equal else (a, b)


DISTANCES = {
    "over the root of the width": lambda a, b: (a - b).pow(2).sum(1).sqrt().mean((1, 2)) / float(a.shape[1]) ** 0.5,
    "of Gram matrices": lambda a, b: (gram(a) - gram(b)).pow(2).sum((1, 2)),
    "behind an offset": lambda a, b: 80 - 1e-4 * (a - b).abs().sum((1, 2, 3)) / float(a.shape[1]),
}


def gram(x: Tensor) -> Tensor:
    flat = x.flatten(2)
    return flat @ flat.transpose(1, 2) / float(x.shape[1] * x.shape[2] * x.shape[3])


@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("equal", [False, True])
def test_a_distance_that_counts_its_width_keeps_it(kind: str, equal: bool) -> None:
    torch.manual_seed(0)
    pruned = prune(Scorer(DISTANCES[kind]), pictures(equal=equal), ratios=0.5)
    assert "features.2" not in pruned.removed
    assert "features.0" in pruned.removed


class StructureAndTexture(Scorer):
    """A small DISTS: similarities of means and of covariances of each channel, weighted by numbers that are learnt."""

    def __init__(self) -> None:
        super().__init__(None)
        self.alpha = nn.Parameter(torch.rand(1, 12, 1, 1) + 0.1)
        self.beta = nn.Parameter(torch.rand(1, 12, 1, 1) + 0.1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = self.features(a).relu(), self.features(b).relu()
        total = self.alpha.sum() + self.beta.sum()
        means = [x.mean((2, 3), keepdim=True) for x in (a, b)]
        spreads = [((x - m) ** 2).mean((2, 3), keepdim=True) for x, m in zip((a, b), means, strict=True)]
        shared = (a * b).mean((2, 3), keepdim=True) - means[0] * means[1]
        texture = (2 * means[0] * means[1] + 1e-6) / (means[0] ** 2 + means[1] ** 2 + 1e-6)
        structure = (2 * shared + 1e-6) / (spreads[0] + spreads[1] + 1e-6)
        return 1 - (self.alpha / total * texture + self.beta / total * structure).sum((1, 2, 3))


@pytest.mark.parametrize("equal", [False, True])
def test_a_distance_that_is_zero_for_equal_pictures_is_pruned(equal: bool) -> None:
    torch.manual_seed(0)
    pruned = prune(StructureAndTexture(), pictures(equal=equal), ratios=0.5)
    assert {"features.0", "features.2"} <= set(pruned.removed)


def test_tensors_are_drawn_independently_and_items_differ() -> None:
    same = torch.linspace(-1, 2, 2 * 3 * 4 * 4).view(2, 3, 4, 4)
    a, b, mask, index = fresh_inputs((same, same.clone(), torch.tensor([0.0, -torch.inf]), torch.arange(2)), 0)
    assert not torch.equal(a, b)
    assert -1 <= float(a.min()) < float(a.max()) <= 2
    assert abs(float(a[0].mean() - a[1].mean())) > 1e-3
    assert mask.tolist() == [0.0, -torch.inf]
    assert index.tolist() == [0, 1]


def test_other_sizes_change_all_tensors_that_belong_together() -> None:
    clip, mask, gain = torch.rand(2, 3, 8, 16), torch.ones(2, 8, 16, dtype=torch.bool), torch.tensor(0.5)
    most, *_, least = other_sizes({"a": clip, "b": clip, "mask": mask, "gain": gain})
    drawn = most.draw({"a": clip, "b": clip, "mask": mask, "gain": gain}, 0)
    assert drawn["a"].shape == drawn["b"].shape
    assert drawn["a"].shape[0] != 2 and drawn["a"].shape[2:] != clip.shape[2:]
    assert drawn["mask"].shape == (drawn["a"].shape[0], *drawn["a"].shape[2:])
    assert drawn["gain"].shape == ()
    assert least.draw({"a": clip}, 0)["a"].shape == clip.shape


def test_words_are_moved_and_masks_are_not() -> None:
    words, mask = torch.tensor([[4, 2, 7, 1]]), torch.tensor([[1, 1, 1, 0]])
    sizes = other_sizes((words, mask))
    moved, still = sizes[0].draw((words, mask), 0)
    assert moved.tolist() == [[1, 4, 2, 7], [7, 1, 4, 2]]
    assert still.tolist() == [[1, 1, 1, 0]] * 2
    assert [t.tolist() for t in sizes[-1].draw((words, mask), 0)] == [words.tolist(), mask.tolist()]


def test_a_network_of_words_is_proven() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.a, self.b = nn.Embedding(9, 6), nn.Linear(6, 8), nn.Linear(8, 2)

        def forward(self, words: Tensor) -> Tensor:
            return self.b(self.a(self.words(words)).relu()).cumsum(1)[:, -1]

    torch.manual_seed(0)
    pruned = prune(Reads(), (torch.tensor([[4, 2, 7, 1]]),), ratios=0.5)
    assert set(pruned.power.noticed) == {"words", "a"} or set(pruned.power.noticed) == {"a"}


def test_another_size_is_tried_where_the_network_takes_one() -> None:
    class Sized(nn.Module):
        """A plain number that is right for pictures of 8 by 8 only: features are read as 6 maps of 64."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            y = y / (1.0 if x.shape[2] == 8 else float(y.shape[1]))  # counts its channels for other sizes
            return self.head(self.b(y).mean((2, 3)))

    torch.manual_seed(0)
    pruned = prune(Sized(), (torch.rand(2, 3, 8, 8),), ratios=0.5)
    assert set(pruned.removed) == {"b"}


def test_a_network_of_one_size_is_still_proven() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Flatten(0), nn.Linear(6 * 16, 1))
    pruned = prune(net, (torch.rand(1, 3, 4, 4),), ratios=0.5)
    assert pruned.max_error is not None and pruned.max_error <= 1e-5
    assert set(pruned.power.noticed) == {"0"}


def seen(*outputs: Tensor) -> Seen:
    return Seen(list(outputs))


def test_errors_are_measured_against_how_much_an_output_moves() -> None:
    offset = torch.tensor([100.0, 100.01], dtype=torch.float64)
    found = distance([(seen(offset), seen(offset + 0.001))])
    assert found.error == pytest.approx(0.1, rel=1e-3)
    assert found.of_size == pytest.approx(1e-5, rel=1e-2)
    assert not found.still
    still = distance([(seen(torch.ones(3)), seen(torch.ones(3) + 1e-3))])
    assert still.still and still.error == pytest.approx(1e-3, rel=1e-2)
    # Scores side by side have scales of their own.
    table = torch.tensor([[1000.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    off = table + torch.tensor([0.0, 0.5], dtype=torch.float64)
    assert distance([(seen(table), seen(off))]).error == pytest.approx(0.5)


def test_equal_infinities_are_no_difference_and_others_are() -> None:
    a = torch.tensor([1.0, torch.inf, torch.nan, 3.0])
    assert distance([(seen(a), seen(a.clone()))]).error == 0
    assert distance([(seen(a), seen(torch.tensor([1.0, 2.0, torch.nan, 3.0])))]).error == torch.inf


class Behind(nn.Module):
    """A layer behind an output that shows nothing of it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.a, self.head = form, nn.Conv2d(3, 6, 1), nn.Linear(3, 1)
        self.gate: Tensor
        self.register_buffer("gate", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).abs().sum((1, 2, 3)) / float(6 if self.form == "right" else self.a.weight.shape[0])
        score = self.head(x.mean((2, 3))).squeeze(1)
        if self.form == "gated":
            return score + self.gate * y
        return (y + 1e6).clamp(0, 100) + 0 * score


@pytest.mark.parametrize("form", ["gated", "clamped"])
def test_what_could_not_be_noticed_is_kept_and_said(form: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(PruneError, match="a wrong cut would go unnoticed") as refusal:
        prune(Behind(form), (torch.rand(2, 3, 4, 4),), ratios=0.5)
    assert ("the output is the same for all inputs" in str(refusal.value)) == (form == "clamped")
    asked = prune(Behind(form), (torch.rand(2, 3, 4, 4),), ratios=0.5, unobservable="prune")
    assert asked.unobservable == ("a",)
    assert "not proven, a: a wrong cut would go unnoticed" in str(asked)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 0.0])
def test_a_layer_that_starts_at_nothing_is_noticed(scale: float) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.b, self.head = nn.Linear(3, 4), nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 1)
            self.scale = nn.Parameter(torch.full((4,), scale))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x + self.scale * F.dropout(self.b(self.a(x).relu()), 0.5, self.training))

    torch.manual_seed(0)
    pruned = prune(Scaled(), (torch.randn(5, 3),), ratios=0.5)
    assert set(pruned.power.noticed) == {"stem", "a"}
    assert min(pruned.power.noticed.values()) > 1e-4
    assert "a wrong cut of each of 2 groups would be noticed" in str(pruned)


def test_groups_that_only_layers_read_are_noticed_in_these() -> None:
    class Counts(nn.Module):
        """Its answer is a whole number."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x).relu()).relu()).argmax(1)

    torch.manual_seed(0)
    pruned = prune(Counts(), (torch.randn(5, 4),), ratios=0.5)
    assert set(pruned.power.noticed) == {"a", "b"}


def test_wrong_cuts_are_other_channels() -> None:
    net = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2))
    group = find_groups(trace(net, (torch.randn(5, 3),)))[0]
    assert other_channels(Cut(group, (1, 2))).channels == (3, 4)
    assert other_channels(Cut(group, (0, 2, 4))).channels == (1, 3)  # one more would leave no channel
    assert other_channels(Cut(group, (0, 1, 2, 3, 4))).channels == (5,)


def test_halving_asks_no_more_than_it_must() -> None:
    net = nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 2))
    group = find_groups(trace(net, (torch.randn(5, 3),)))[0]
    cuts = [Cut(group, (k,)) for k in range(6)]
    asked = []

    def differs(chunk: list[Cut]) -> dict[str, float]:
        asked.append(len(chunk))
        return {"4": 1.0} if cuts[4] in chunk else {}

    assert noticed_by_halves(differs, cuts) == {"4": 1.0}
    assert len(asked) < 8
    assert noticed_by_halves(lambda chunk: {}, cuts) == {}


class Remembers(nn.Module):
    """Keeps whatever it sees, in every way that people do."""

    seen = 0
    shared: list[float] = []  # noqa: RUF012  (that is what is tried)

    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)
        self.fails_after = fails_after
        self.queue: Tensor
        self.calls: Tensor
        self.register_buffer("queue", torch.zeros(4, 2))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.log: list[Tensor] = []
        self.last: dict[str, Tensor] = {}
        self.recent: collections.deque[float] = collections.deque(maxlen=3)
        self.plain = torch.zeros(2)
        self.counts = np.zeros(2)
        self.dice = random.Random(4)
        self.generator = torch.Generator().manual_seed(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x).relu())
        type(self).seen += 1
        self.shared.append(1.0)
        self.calls += 1
        self.plain += 1
        self.counts += 1
        self.queue[:] = y.mean((0, 2, 3))
        self.log.append(y)
        self.last["y"] = y
        self.recent.append(self.dice.random() + random.random() + float(np.random.rand()))
        x -= torch.rand(1, generator=self.generator)
        self.extra = y
        if self.fails_after is not None and int(self.calls) > self.fails_after:
            raise RuntimeError("no more")
        return y.mean((1, 2, 3)) + 0 * torch.rand(1)


def state(net: nn.Module, x: Tensor) -> list[Any]:
    """All that it holds, and all random states, in a form that can be compared."""
    held = {k: v for k, v in vars(net).items() if k not in ("dice", "generator") and not k.startswith("_")}
    tensors = {k: v.tolist() for k, v in net.state_dict().items()}
    drawn = [net.dice.getstate(), net.generator.get_state().tolist(), random.getstate(), torch.get_rng_state().tolist()]
    return [str(held), tensors, drawn, str(np.random.get_state()), x.tolist(), type(net).seen, list(type(net).shared)]


@pytest.mark.parametrize("fails_after", [None, 0])
def test_nothing_is_left_behind(fails_after: int | None) -> None:
    torch.manual_seed(0)
    net, x = Remembers(fails_after), torch.rand(2, 3, 4, 4)
    net.log.append(torch.ones(1))
    before = copy.deepcopy(state(net, x))
    if fails_after is None:
        pruned = prune(net, (x,), ratios=0.5)
        assert pruned.removed == {"a": pruned.removed["a"]}
        small: Any = pruned.model
        assert len(small.log) == 1 and not small.last and not small.recent
        assert int(small.calls) == 0 and not small.queue.any() and not hasattr(small, "extra")
    else:
        with pytest.raises(PruneError, match="no more"):
            prune(net, (x,), ratios=0.5)
    assert state(net, x) == before


def test_parameters_that_a_forward_sets_anew_are_as_before() -> None:
    class Clamps(nn.Module):
        """Keeps its weights positive, as learnt normalisations do."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            self.a.weight.data = self.a.weight.data.clamp(min=0)
            self.b.weight.data.clamp_(min=0)
            return self.b(self.a(x))

    torch.manual_seed(0)
    net = Clamps()
    before, place = copy.deepcopy(net.state_dict()), net.a.weight.data_ptr()
    with pytest.raises(PruneError, match="no channel can be removed"):
        prune(net, (torch.randn(5, 4),), ratios=0.5)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert net.a.weight.data_ptr() == place


def test_sizes_are_found_out_once() -> None:
    calls: list[tuple[int, ...]] = []

    class Notes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(64, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(tuple(x.shape))
            return self.b(self.a(x.flatten(1)))

    torch.manual_seed(0)
    net, x = Notes(), torch.rand(2, 1, 8, 8)
    facts = trace(net, (x,))
    proof = Proof(net, facts, (x,), 0)
    (group,) = (g for g in find_groups(facts) if g.name == "a")
    assert proof.verdict([Cut(group, (0, 1))], []).passed
    assert [s for s in calls if s[2:] != (8, 8)] and proof.candidates[0][0].sides is None
    calls.clear()
    assert proof.verdict([Cut(group, (2, 3))], []).passed
    assert all(shape[2:] == (8, 8) for shape in calls)
    assert {shape[0] for shape in calls} == {2, 3}


class Faint(nn.Module):
    """The difference of two scores that hardly depend on their pictures, as at random initialisation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 3), nn.Linear(24, 1)

    def score(self, x: Tensor) -> Tensor:
        score: Tensor = self.head(self.b(self.a(x) * 3e-6 + 1).mean((2, 3)))
        return score

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return 1e6 * (self.score(a) - self.score(b))


def test_64_bits_decide_however_large_an_error_is_in_32() -> None:
    torch.manual_seed(0)
    net, inputs = Faint(), pictures()
    with torch.no_grad():  # half of what it says is rounding
        exact = copy.deepcopy(net).double()(*(t.double() for t in inputs))
        assert float((net(*inputs) - exact).abs().max() / exact.abs().max()) > 1e-2
    pruned = prune(net, inputs, ratios=0.5)
    assert pruned.model.a.out_channels == pruned.model.b.out_channels == 12
    assert pruned.max_error is not None and pruned.max_error < 1e-6
