import pytest
import torch
from torch import nn

from compressvqa.distillation import DistillationLoss, FeatureTaps, Outputs, batch, class_, instance, to_probabilities
from compressvqa.distillation.features import feature_attention, feature_mse
from compressvqa.distillation.scores import score_l1
from compressvqa.distillation.similarity import similarity_preserving
from compressvqa.errors import RecipeError, RegistryError, TrainingError

T = Outputs(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 4.0]), {"a": torch.ones(2, 3, 4), "b": torch.ones(2, 5)})
S = Outputs(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 4.0]), {"a": torch.zeros(2, 3, 4), "b": torch.zeros(2, 5)})


def test_equation_7_is_three_weights_of_one():
    total, parts = DistillationLoss({"instance": 1.0, "batch": 1.0, "class": 1.0}, symmetric=False)(T, S)
    p, q = (to_probabilities(x.margins, symmetric=False) for x in (T, S))
    expected = [instance(p, q), batch(p, q), class_(p, q)]
    assert torch.allclose(total, sum(expected))
    assert list(parts.values()) == pytest.approx([float(e) for e in expected])
    assert list(parts) == ["instance", "batch", "class"]


def test_temperatures_are_summed_and_the_instance_loss_is_scaled_back():
    loss = DistillationLoss({"instance": 2.0, "batch": 0.5}, temperatures=(1.0, 3.0))
    total, _ = loss(T, S)
    expected = 0.0
    for t in (1.0, 3.0):
        p, q = to_probabilities(T.margins, temperature=t), to_probabilities(S.margins, temperature=t)
        expected += 2.0 * t**2 * instance(p, q) + 0.5 * batch(p, q)
    assert torch.allclose(total, expected)


def test_scores_features_and_settings():
    loss = DistillationLoss({"score-l1": 1.0, "feature-mse": 10.0}, settings={"score-l1": {"standardise": True}})
    total, parts = loss(T, S)
    assert parts["feature-mse"] == pytest.approx(1.0)
    assert parts["score-l1"] == pytest.approx(float(score_l1(T.scores, S.scores, standardise=True)))
    assert float(total) == pytest.approx(parts["score-l1"] + 10 * parts["feature-mse"])
    assert loss.needs == {"score", "feature"}


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3))).flatten()


def outputs(network, x):
    with FeatureTaps(network, ["body"]) as taps:
        scores = network(x)
        return Outputs(scores=scores, features=taps.take())


def test_a_learnable_projection_where_the_widths_differ():
    torch.manual_seed(0)
    teacher, student, x = Net(8), Net(3), torch.rand(2, 3, 8, 8)
    loss = DistillationLoss({"feature-mse": 1.0, "feature-attention": 1.0})
    ours, theirs = outputs(student, x), outputs(teacher, x)
    with pytest.raises(TrainingError):
        loss(theirs, ours)
    assert loss.add_projections(theirs, ours) == ["body"]
    [(name, weight)] = loss.named_parameters()
    assert weight.shape == (8, 3) and "body" in name
    total, parts = loss(theirs, ours)
    total.backward()
    assert weight.grad is not None and student.body.weight.grad is not None and teacher.body.weight.grad is None
    projected = torch.einsum("oc,bchw->bohw", weight, ours.features["body"])
    assert parts["feature-mse"] == pytest.approx(feature_mse(theirs.features["body"], projected).item())
    # a loss that takes any width sees the student's own map
    assert parts["feature-attention"] == pytest.approx(
        feature_attention(theirs.features["body"], ours.features["body"]).item()
    )
    half = Outputs(features={"body": ours.features["body"].bfloat16()})
    assert loss(theirs, half)[1]["feature-mse"] == pytest.approx(parts["feature-mse"], rel=0.02)
    assert DistillationLoss({"feature-attention": 1.0}).add_projections(theirs, ours) == []


def test_pairs_join_paths_of_other_names():
    teacher = Outputs(features={"trunk.4": torch.ones(2, 3)})
    student = Outputs(features={"body": torch.zeros(2, 3)})
    loss = DistillationLoss({"feature-mse": 1.0}, pairs={"body": "trunk.4"})
    assert float(loss(teacher, student)[0]) == 1
    with pytest.raises(TrainingError, match=r"no feature 'body'.*trunk\.4"):
        DistillationLoss({"feature-mse": 1.0})(teacher, student)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"weights": {}}, RecipeError, "no distillation loss"),
        ({"weights": {"instnace": 1.0}}, RegistryError, "instance"),
        ({"weights": {"batch": -1.0}}, RecipeError, "negative"),
        ({"weights": {"batch": 1.0}, "settings": {"class": {}}}, RecipeError, "no weight"),
        ({"weights": {"class": 1.0}, "settings": {"class": {"normalize": True}}}, RecipeError, "normalise"),
        ({"weights": {"batch": 1.0}, "temperatures": (0.0,)}, RecipeError, "temperatures"),
    ],
)
def test_mistakes_are_named(arguments, error, match):
    with pytest.raises(error, match=match):
        DistillationLoss(**arguments)


@pytest.mark.parametrize(("name", "what"), [("batch", "margins"), ("score-l1", "scores"), ("feature-mse", "tapped")])
def test_a_missing_output_is_named(name, what):
    with pytest.raises(TrainingError, match=what):
        DistillationLoss({name: 1.0})(Outputs(), Outputs())


def test_maps_of_different_size_are_refused_averaged_or_resized():
    teacher = Outputs(features={"body": torch.rand(2, 8, 6, 6)})
    student = Outputs(features={"body": torch.rand(2, 3, 3, 3)})
    with pytest.raises(TrainingError, match=r"features, body with body: .*\(2, 8, 6, 6\).*\(2, 3, 3, 3\)"):
        DistillationLoss({"feature-attention": 1.0})(teacher, student)
    with pytest.raises(TrainingError, match="features, body with body"):
        loss = DistillationLoss({"feature-mse": 1.0})
        loss.add_projections(teacher, student)
        loss(teacher, student)
    for positions, expected in {"mean": (2, 3), "resize": (2, 3, 9)}.items():
        loss = DistillationLoss({"feature-mse": 1.0, "similarity-preserving": 1.0}, positions=positions)
        loss.add_projections(teacher, student)
        _, parts = loss(teacher, student)
        [weight] = loss.parameters()
        maps = [x.features["body"] for x in (teacher, student)]
        if positions == "mean":
            theirs, ours = (x.mean((2, 3)) for x in maps)
            by_items = similarity_preserving(theirs, ours)
        else:
            theirs, ours = torch.nn.functional.avg_pool2d(maps[0], 2).flatten(2), maps[1].flatten(2)
            by_items = similarity_preserving(*maps)
        assert ours.shape == expected
        projected = torch.einsum("oc,bc...->bo...", weight, ours)
        assert parts["feature-mse"] == pytest.approx(feature_mse(theirs, projected).item(), rel=1e-5)
        assert parts["similarity-preserving"] == pytest.approx(by_items.item(), rel=1e-4)


def test_losses_of_relations_take_any_maps_and_need_no_projection():
    teacher, student = (
        Outputs(features={"body": torch.rand(4, 9, 5)}),
        Outputs(features={"body": torch.rand(8, 3, 2, 2)}),
    )
    loss = DistillationLoss({"relation-distance": 1.0, "correlation-congruence": 1.0})
    assert loss.add_projections(teacher, student) == []
    assert loss(teacher, student)[0].isfinite()  # two frames of each clip in the student's batch


@pytest.mark.parametrize(("name", "least"), [("rank-net", 2), ("relation-angle", 3)])
def test_a_batch_too_small_to_compare_is_refused(name, least):
    few = Outputs(scores=torch.zeros(least - 1), features={"a": torch.zeros(least - 1, 2)})
    with pytest.raises(TrainingError, match=f"{name}.*at least {least} items.*try: a larger `batch`"):
        DistillationLoss({name: 1.0})(few, few)
