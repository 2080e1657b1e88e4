"""Latency: what is called, in which order, and that nothing is left changed. No timings are asserted."""

import pytest
import torch
from torch import nn

from compressvqa.cost import compare_latency, latency
from compressvqa.errors import DataError


class Named(nn.Module):
    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, x):
        self.calls.append((self.name, self.training, torch.is_grad_enabled()))
        return x


def test_networks_take_turns_after_the_warm_up():
    calls = []
    found = compare_latency({"a": Named("a", calls), "b": Named("b", calls)}, torch.zeros(2, 3), warmup=1, runs=3)
    assert "".join(name for name, _, _ in calls) == "ab" * 4
    assert not any(training or gradients for _, training, gradients in calls)
    assert found["a"].runs == 3
    assert found["a"].warmup == 1
    assert found["b"].shapes == ((2, 3),)
    assert found["a"].device == "cpu"


def test_modes_and_threads_are_put_back_also_after_a_failure():
    class Fails(nn.Sequential):
        def forward(self, x):
            assert torch.get_num_threads() == 1
            raise RuntimeError("half way")

    before = torch.get_num_threads()
    model = Fails(nn.Dropout(), nn.BatchNorm1d(3).eval())
    with pytest.raises(RuntimeError, match="half way"):
        latency(model, torch.zeros(2, 3), threads=1)
    assert torch.get_num_threads() == before
    assert [m.training for m in model.modules()] == [True, True, False]


def test_figures_are_the_median_and_the_ninth_decile(monkeypatch):
    ticks = iter([0.0, 0.1, 1.0, 1.010, 2.0, 2.020, 3.0, 3.030])  # one warm-up call, then 10, 20 and 30 ms
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    found = latency(nn.Identity(), torch.zeros(1), warmup=1, runs=3)
    assert found.median_ms == pytest.approx(20)
    assert found.p90_ms == pytest.approx(28)
    assert set(found.to_dict()) == {"median_ms", "p90_ms", "runs", "warmup", "threads", "device", "shapes"}


def test_nothing_to_measure():
    with pytest.raises(DataError, match="nothing to measure"):
        compare_latency({}, torch.zeros(1))
    with pytest.raises(DataError, match="0 runs"):
        latency(nn.Identity(), torch.zeros(1), runs=0)
