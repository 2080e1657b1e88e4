import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from compressvqa.sparsity.shrink import orthant_step, orthant_step_, soft_threshold, soft_threshold_


def test_soft_threshold_by_hand():
    u = torch.tensor([[3.0, -1.0, 0.4, -0.4], [0.0, 1.0, -2.5, 0.5]])
    expected = torch.tensor([[2.5, -0.5, 0.0, 0.0], [0.0, 0.5, -2.0, 0.0]])
    assert torch.equal(soft_threshold(u, 0.5), expected)


def test_orthant_step_by_hand():
    u = torch.tensor([[3.0, -1.0, 0.4, -0.4], [5.0, 1.0, -2.5, 0.55]])
    sign = torch.tensor([[1.0, -1.0, 1.0, 1.0], [0.0, -1.0, -1.0, 1.0]])
    # 0.4 is closer than the threshold; -0.4 and 1.0 have left their orthant; 5.0 was zero before
    expected = torch.tensor([[2.5, -0.5, 0.0, 0.0], [0.0, 0.0, -2.0, 0.05]])
    assert torch.allclose(orthant_step(u, sign, 0.5), expected)
    kept = orthant_step(u, sign, 0.5, eps=0.1)
    assert torch.allclose(kept, torch.tensor([[2.5, -0.5, 0.0, 0.0], [0.0, 0.0, -2.0, 0.0]]))


@given(st.floats(-5, 5), st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_soft_threshold_is_the_argmin_of_its_objective(u, t):
    ours = float(soft_threshold(torch.tensor([u], dtype=torch.float64), t))
    value = lambda x: 0.5 * (x - u) ** 2 + t * abs(x)
    found = minimize_scalar(value, bounds=(-8, 8), method="bounded", options={"xatol": 1e-9})
    assert value(ours) <= value(found.x) + 1e-12
    assert ours == pytest.approx(found.x, abs=1e-4)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.floats(0, 2), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_orthant_step_never_leaves_the_orthant(values, t, eps):
    u = torch.tensor(values, dtype=torch.float64)
    sign = torch.sign(u.roll(1))
    x = orthant_step(u, sign, t, eps)
    assert torch.all((x == 0) | (x.sign() == sign))
    assert torch.all((x == 0) | (x.abs() > eps))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_tensor_has_its_own_threshold_and_a_nan_is_not_hidden(dtype):
    xs = [torch.tensor([2.0, -2.0], dtype=dtype), torch.tensor([2.0, float("nan")], dtype=dtype)]
    soft_threshold_(xs, [0.5, 3.0])
    assert xs[0].tolist() == [1.5, -1.5]
    assert xs[1][0] == 0 and xs[1][1].isnan()
    ys = [torch.tensor([2.0, -2.0], dtype=dtype), torch.tensor([float("nan")], dtype=dtype)]
    orthant_step_(ys, [y.new_ones(y.shape) for y in ys], [0.5, 0.5])
    assert ys[0][0] == 1.5 and ys[0][1] == 0 and ys[1].isnan().all()
