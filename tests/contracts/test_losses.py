"""The exam that every registered distillation loss sits, ours and those of plugins.

A loss says in its registration what it compares (``on``) and may promise ``zero_at_equality=True`` (0 where student and
teacher agree, never below) or ``minimum_at_equality=True`` (least there).
"""

import pytest
import torch

from compressvqa.registry import losses

NAMES = list(losses)


def example(on, items=6, seed=0, dtype=torch.float64):
    """(teacher, student) of the right kind."""
    generator = torch.Generator().manual_seed(seed)
    shape = {"probability": (items, 2), "score": (items,), "feature": (items, 3, 4, 5)}[on]
    pair = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return [(x.softmax(1) if on == "probability" else x).to(dtype) for x in pair]


@pytest.fixture(params=NAMES)
def entry(request):
    return losses[request.param]


def test_the_built_in_losses_are_registered():
    built_in = {"instance", "batch", "class", "score-l1", "score-mse", "score-smooth-l1"}
    assert built_in | {"feature-mse", "feature-smooth-l1", "feature-cosine", "feature-attention"} <= set(NAMES)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("items", [1, 6])
def test_a_finite_number_with_a_gradient_for_the_student_only(entry, items, dtype):
    teacher, student = (x.requires_grad_() for x in example(entry.facts["on"], items, dtype=dtype))
    value = entry.value(teacher, student)
    assert value.ndim == 0 and value.isfinite()
    value.backward()
    assert student.grad is not None and student.grad.isfinite().all() and student.grad.dtype == dtype
    assert teacher.grad is None


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
