"""The mutation exam, in short: faults put into the pruner are refused or taken back. benchmarks/mutation_exam.py: long.

A proof that is blinded on purpose fails the same exam.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from pruning.faults import grammar_sitting

from compressvqa.pruning.cutting.proof import check, compare
from compressvqa.pruning.cutting.proof.verdict import Verdict


def test_faults_are_caught() -> None:
    outcomes = [grammar_sitting(seed, most=2) for seed in range(30)]
    endings = Counter(o.ending for o in outcomes)
    assert endings["refused"] + endings["kept"] >= 12
    assert not [str(o) for o in outcomes if o.ending == "uncaught"]
    assert len({o.fault.room for o in outcomes if o.counts}) >= 4


@pytest.fixture(params=["a tolerance of anything", "the pruned network is held against itself"])
def blinded(request: pytest.FixtureRequest) -> Iterator[None]:
    right = compare.distance

    def with_itself(pairs: Any, **settings: Any) -> Any:
        return right([(found, found) for _, found in pairs], **settings)

    if request.param == "a tolerance of anything":
        blinding = patch.object(Verdict, "passed", property(lambda self: self.failure is None))
    else:
        blinding = patch.object(check, "distance", with_itself)
    with blinding:
        yield


@pytest.mark.usefixtures("blinded")
def test_a_blinded_proof_fails_the_exam() -> None:
    assert "uncaught" in {grammar_sitting(seed, most=2).ending for seed in range(12)}
