"""The exam that every registered distillation loss sits, ours and those of plugins.

A loss says in its registration what it compares (``on``) and may promise ``zero_at_equality=True`` (0 where student and
teacher agree, never below) or ``minimum_at_equality=True`` (least there). ``any_width=True`` and ``any_shape=True``
let the two maps differ in channels, or in all but the number of items. ``least_items=n`` says that fewer clips tell
nothing: the loss is then finite and without a gradient. A loss on scores may also be trained with opinion scores in
the teacher's place, so ties, a batch of one and scores without spread are ordinary there.
"""

import pytest
import torch

from compressvqa.errors import TrainingError
from compressvqa.registry import losses

NAMES = list(losses)


def example(on, items=6, seed=0, dtype=torch.float64):
    """(teacher, student) of the right kind."""
    generator = torch.Generator().manual_seed(seed)
    shape = {"probability": (items, 2), "score": (items,), "feature": (items, 3, 4, 5)}[on]
    pair = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return [(x.softmax(1) if on == "probability" else x).to(dtype) for x in pair]


def comparing(on):
    return [name for name in NAMES if losses[name].facts["on"] == on]


@pytest.fixture(params=NAMES)
def entry(request):
    return losses[request.param]


def test_the_built_in_losses_are_registered():
    built_in = {"instance", "batch", "class", "score-l1", "score-mse", "score-smooth-l1"}
    built_in |= {"feature-mse", "feature-smooth-l1", "feature-cosine", "feature-attention", "feature-hint"}
    built_in |= {"logit-kl", "logit-multi-level", "rank-net", "list-net", "list-mle", "rank-margin", "score-plcc"}
    built_in |= {"score-srocc", "relation-distance", "relation-angle", "similarity-preserving"}
    assert built_in | {"correlation-congruence"} <= set(NAMES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("items", [1, 6])
def test_a_finite_number_with_a_gradient_for_the_student_only(entry, items, dtype):
    teacher, student = (x.requires_grad_() for x in example(entry.facts["on"], items, dtype=dtype))
    value = entry.value(teacher, student)
    assert value.ndim == 0 and value.isfinite()
    value.backward()
    assert student.grad is not None and student.grad.isfinite().all() and student.grad.dtype == dtype
    assert teacher.grad is None


def test_too_few_items_tell_nothing(entry):
    for items in range(1, entry.facts.get("least_items", 1)):
        teacher, student = example(entry.facts["on"], items)
        entry.value(teacher, student.requires_grad_()).backward()
        assert student.grad.abs().max() < 1e-9


SCORES = {
    "ties": ([1.0, 1.0, 2.0, 2.0], [0.5, 0.5, 0.5, 3.0]),
    "a student without spread": ([1.0, 2.0, 3.0], [80.1, 80.1, 80.1]),
    "a teacher without spread": ([80.1, 80.1, 80.1], [1.0, 2.0, 3.0]),
    "nobody has spread": ([0.0, 0.0], [0.0, 0.0]),
    "far apart": ([-1e4, 1e4, 0.0], [1e4, -1e4, 1e3]),
}


@pytest.mark.parametrize("case", SCORES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("entry", comparing("score"), indirect=True)
def test_awkward_scores_give_finite_values_and_gradients(entry, case, dtype):
    teacher, student = (torch.tensor(x, dtype=dtype) for x in SCORES[case])
    value = entry.value(teacher, student.requires_grad_())
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()


@pytest.mark.parametrize("entry", comparing("feature"), indirect=True)
def test_maps_may_differ_as_far_as_it_says(entry):
    teacher, student = example("feature")
    narrow, shorter, flat = student[:, :2], student[:, :, :3], student[:, :, 0, 0]
    allowed = {"narrow": entry.facts.get("any_width") or entry.facts.get("any_shape")}
    for name, other in {"narrow": narrow, "shorter": shorter, "flat": flat}.items():
        if allowed.get(name, entry.facts.get("any_shape")):
            assert entry.value(teacher, other).isfinite()
        else:
            with pytest.raises(TrainingError, match="can't be compared"):
                entry.value(teacher, other)
    with pytest.raises(TrainingError, match="can't be compared"):
        entry.value(teacher, student[:4])


def test_a_batch_of_one_column(entry):
    if entry.facts["on"] == "probability":
        teacher, student = (x[:, :1] for x in example("probability"))
        assert entry.value(teacher, student).isfinite()


@pytest.mark.parametrize("items", [1, 6])
def test_zero_or_least_at_equality(entry, items):
    teacher, _ = example(entry.facts["on"], items)
    best = float(entry.value(teacher, teacher.clone()))
    if entry.facts.get("zero_at_equality"):
        assert best == pytest.approx(0, abs=1e-12)
    if entry.facts.get("zero_at_equality") or entry.facts.get("minimum_at_equality"):
        for seed in range(1, 6):
            assert float(entry.value(teacher, example(entry.facts["on"], items, seed)[0])) >= best - 1e-12


def test_the_gradient_leads_to_the_teacher(entry):
    teacher, student = example(entry.facts["on"])
    if not (entry.facts.get("zero_at_equality") or entry.facts.get("minimum_at_equality")):
        pytest.skip("no promise about equality")
    student.requires_grad_()
    before = entry.value(teacher, student)
    (slope,) = torch.autograd.grad(before, student)
    after = entry.value(teacher, student.detach() - 1e-4 * slope / slope.norm())
    assert after < before


def test_the_order_of_the_batch_does_not_matter(entry):
    teacher, student = example(entry.facts["on"])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.allclose(entry.value(teacher, student), entry.value(teacher[order], student[order]), atol=1e-12)


def test_the_gradient_is_right(entry):
    teacher, student = example(entry.facts["on"], 2)
    assert torch.autograd.gradcheck(lambda s: entry.value(teacher, s), student.requires_grad_())


def test_inputs_are_left_as_they_were(entry):
    teacher, student = example(entry.facts["on"])
    copies = teacher.clone(), student.clone()
    entry.value(teacher, student)
    assert torch.equal(teacher, copies[0]) and torch.equal(student, copies[1])


def test_it_works_under_autocast(entry):
    teacher, student = example(entry.facts["on"], dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = entry.value(teacher, student)
    assert torch.allclose(value.float(), entry.value(teacher, student), rtol=0.05, atol=0.05)
