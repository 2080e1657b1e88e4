import math

import pytest
import torch

from compressvqa.distillation import batch, class_, instance, to_probabilities
from compressvqa.errors import TrainingError

# --- a second implementation: plain Python, sums written out as in the paper ---------------------------------------


def naive_instance(teacher, student):
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        if len(t) == 1:
            total += -(t[0] * math.log(s[0]) + (1 - t[0]) * math.log(1 - s[0]))
        else:
            total += -sum(a * math.log(b) for a, b in zip(t, s, strict=True))
    return total / len(teacher)


def naive_gram(rows):
    return [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]


def naive_difference(teacher, student):
    pairs = zip(naive_gram(teacher), naive_gram(student), strict=True)
    return sum((a - b) ** 2 for x, y in pairs for a, b in zip(x, y, strict=True))


def naive_batch(teacher, student):
    return naive_difference(teacher, student) / len(teacher)


def naive_class(teacher, student):
    columns = [list(zip(*rows, strict=True)) for rows in (teacher, student)]
    return naive_difference(*columns) / len(teacher[0])


def random_probabilities(items, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(items, classes, generator=generator, dtype=torch.float64) * 2
    return logits.sigmoid() if classes == 1 else logits.softmax(1)


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("items", [1, 4, 9])
@pytest.mark.parametrize(("ours", "naive"), [(instance, naive_instance), (batch, naive_batch), (class_, naive_class)])
def test_equals_the_second_implementation(ours, naive, items, classes):
    teacher, student = random_probabilities(items, classes, 0), random_probabilities(items, classes, 1)
    assert float(ours(teacher, student)) == pytest.approx(naive(teacher.tolist(), student.tolist()), rel=1e-12)


# --- worked by hand ---------------------------------------------------------------------------------------------------

TEACHER, STUDENT = torch.tensor([[0.9, 0.1], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.2, 0.8]])


def test_instance_by_hand():
    rows = [0.9 * math.log(0.6) + 0.1 * math.log(0.4), 0.5 * math.log(0.2) + 0.5 * math.log(0.8)]
    assert float(instance(TEACHER, STUDENT)) == pytest.approx(-sum(rows) / 2, rel=1e-6)


def test_batch_by_hand():
    # teacher's Gram [[.82, .5], [.5, .5]], student's [[.52, .44], [.44, .68]]: differences .30, .06, .06, -.18
    assert float(batch(TEACHER, STUDENT)) == pytest.approx((0.09 + 2 * 0.0036 + 0.0324) / 2, rel=1e-5)


def test_class_by_hand():
    # teacher's Gram [[1.06, .34], [.34, .26]], student's [[.40, .40], [.40, .80]]: differences .66, -.06, -.06, -.54
    expected = (0.4356 + 2 * 0.0036 + 0.2916) / 2
    assert float(class_(TEACHER, STUDENT)) == pytest.approx(expected, rel=1e-5)
    assert float(class_(TEACHER, STUDENT, normalise=True)) == pytest.approx(expected / 4, rel=1e-5)


# --- properties -------------------------------------------------------------------------------------------------------


def test_instance_equals_torchs_binary_cross_entropy():
    teacher, student = random_probabilities(8, 1, 2), random_probabilities(8, 1, 3)
    expected = torch.nn.functional.binary_cross_entropy(student, teacher)
    assert torch.allclose(instance(teacher, student), expected, atol=1e-12)


def test_symmetric_rows_give_the_same_instance_loss_as_the_column():
    teacher, student = torch.randn(6), torch.randn(6)
    forms = [
        instance(to_probabilities(teacher, symmetric=symmetric), to_probabilities(student, symmetric=symmetric))
        for symmetric in (False, True)
    ]
    assert torch.allclose(*forms)


@pytest.mark.parametrize("loss", [instance, batch, class_])
def test_swapping_the_clips_of_every_pair_changes_nothing_in_the_symmetric_form(loss):
    teacher, student = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    here = loss(to_probabilities(teacher), to_probabilities(student))
    assert torch.allclose(here, loss(to_probabilities(-teacher), to_probabilities(-student)), atol=1e-12)


def test_kl_is_zero_at_equality_and_shares_the_gradient():
    margins = torch.randn(5, dtype=torch.float64)
    teacher = to_probabilities(margins)
    gradients = []
    for kl in (False, True):
        student = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        instance(teacher, to_probabilities(student), kl=kl).backward()
        gradients.append(student.grad)
    assert torch.allclose(*gradients)
    assert float(instance(teacher, teacher, kl=True)) == pytest.approx(0, abs=1e-15)
    entropy = torch.distributions.Categorical(probs=teacher).entropy().mean()
    assert torch.allclose(instance(teacher, teacher), entropy)


def test_a_student_that_is_sure_of_the_wrong_answer_still_learns():
    for size in (20.0, 60.0, -60.0):
        student = torch.tensor([size], requires_grad=True)
        loss = instance(to_probabilities(torch.tensor([-size])), to_probabilities(student))
        loss.backward()
        assert loss.item() == pytest.approx(abs(size), rel=1e-5)
        assert float(student.grad) == pytest.approx(math.copysign(1, size), rel=1e-5)


def test_margins_that_overflow_stay_finite():
    for symmetric in (False, True):
        student = torch.tensor([1e4], requires_grad=True)
        probabilities = to_probabilities(student, symmetric=symmetric)
        loss = instance(to_probabilities(torch.tensor([-1e4]), symmetric=symmetric), probabilities)
        loss.backward()
        assert loss.isfinite() and student.grad.isfinite().all()


def test_class_term_grows_with_the_square_of_the_batch_unless_normalised():
    teacher, student = random_probabilities(4, 1, 4), random_probabilities(4, 1, 5)
    twice = [p.repeat(2, 1) for p in (teacher, student)]
    assert torch.allclose(class_(*twice), 4 * class_(teacher, student))
    assert torch.allclose(class_(*twice, normalise=True), class_(teacher, student, normalise=True))


@pytest.mark.parametrize("loss", [instance, batch, class_])
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 1), (3, 2)), ((0, 1), (0, 1))])
def test_wrong_shapes_are_named(loss, shapes):
    with pytest.raises(TrainingError, match="probabilities, not"):
        loss(*(torch.full(shape, 0.5) for shape in shapes))


def test_temperature_softens_and_is_checked():
    cold, warm = (to_probabilities(torch.tensor([3.0]), temperature=t)[0, 0] for t in (1.0, 4.0))
    assert cold > warm > 0.5
    assert float(warm) == pytest.approx(1 / (1 + math.exp(-0.75)))
    with pytest.raises(TrainingError, match="temperature"):
        to_probabilities(torch.zeros(2), temperature=0.0)
    with pytest.raises(TrainingError, match="shape"):
        to_probabilities(torch.zeros(2, 1))
    assert to_probabilities(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("loss", [instance, batch, class_])
def test_autocast_does_not_round_them(loss):
    teacher, student = (random_probabilities(5, 2, seed).float() for seed in (6, 7))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss(teacher, student)
    assert torch.equal(rounded, loss(teacher, student))
