"""The verifier sits the exam, and verifiers that were broken on purpose fail it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pruning.verification.exam import mistakes

from compressvqa.pruning import Verification, verify
from compressvqa.pruning.verification import proof, zeroed


def test_right_results_are_confirmed_and_every_breakage_is_refused() -> None:
    assert list(mistakes(verify)) == []


Patch = pytest.MonkeyPatch


def always_yes(patch: Patch) -> Callable[..., Verification]:
    return lambda *arguments, **settings: replace(verify(*arguments, **settings), passed=True)


def always_no(patch: Patch) -> Callable[..., Verification]:
    return lambda *arguments, **settings: replace(verify(*arguments, **settings), passed=False)


def no_difference(patch: Patch) -> Callable[..., Verification]:
    patch.setattr(proof, "difference", lambda *_: 0.0)
    return verify


def nothing_is_zeroed(patch: Patch) -> Callable[..., Verification]:
    patch.setattr(zeroed.Zeroed, "zero", lambda *_: None)
    return verify


def zeros_count_in_norms(patch: Patch) -> Callable[..., Verification]:
    patch.setattr(zeroed.KeptStatistics, "__torch_function__", lambda self, f, t, a=(), k=None: f(*a, **(k or {})))
    return verify


def compares_the_smaller_with_itself(patch: Patch) -> Callable[..., Verification]:
    patch.setattr(proof, "answers", lambda model, inputs, seed: [])
    return verify


@pytest.mark.parametrize(
    "sabotage",
    [always_yes, always_no, no_difference, nothing_is_zeroed, zeros_count_in_norms, compares_the_smaller_with_itself],
)
def test_a_broken_verifier_fails(sabotage: Callable[[Patch], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert next(mistakes(sabotage(monkeypatch)), None) is not None
