"""Where a block stands in a tensor, against blocks that were cut out of it by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compressvqa.pruning.verification.locate import block, locate


def cut(size: tuple[int, ...], left: tuple[int, ...], seed: int, *, ordered: bool) -> tuple[Tensor, ...]:
    """For each dimension, random positions that are kept."""
    dice = torch.Generator().manual_seed(seed)
    drawn = (torch.randperm(n, generator=dice)[:m] for n, m in zip(size, left, strict=True))
    return tuple(k.sort().values if ordered else k for k in drawn)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("size", "left"),
    [
        ((7,), (3,)),
        ((8, 6), (8, 2)),
        ((40, 30), (24, 17)),
        ((12, 8, 3, 3), (5, 8, 3, 3)),
        ((64, 32, 1, 1), (40, 9, 1, 1)),
    ],
)
def test_a_block_is_found(size: tuple[int, ...], left: tuple[int, ...], dtype: torch.dtype) -> None:
    large = torch.randn(size, generator=torch.Generator().manual_seed(1)).to(dtype)
    kept = cut(size, left, 2, ordered=True)
    place = locate(large, block(large, kept))
    assert place is not None and not place.open
    assert [k.tolist() for k in place.kept] == [k.tolist() for k in kept]
    assert place.cut == tuple(d for d in range(len(size)) if left[d] < size[d])
    assert all(sorted([*place.gone(d), *kept[d].tolist()]) == list(range(size[d])) for d in range(len(size)))


def test_the_order_may_be_another() -> None:
    large = torch.randn(9, 7, generator=torch.Generator().manual_seed(1))
    kept = cut((9, 7), (9, 4), 3, ordered=False)
    place = locate(large, block(large, kept))
    assert place is not None and [k.tolist() for k in place.kept] == [k.tolist() for k in kept]


def test_complex_values_and_single_numbers() -> None:
    large = torch.randn(5, 4, dtype=torch.complex64)
    place = locate(large, large[1:3])
    assert place is not None and place.kept[0].tolist() == [1, 2]
    assert locate(torch.tensor(3.0), torch.tensor(3.0)) is not None
    assert locate(torch.tensor(3.0), torch.tensor(4.0)) is None


def test_what_is_no_block_is_not_found() -> None:
    large = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    mixed = torch.stack([large[0, :3], large[1, [0, 1, 3]]])  # every value is there, in two rows of other columns
    for small in (large[:3] + 1e-6, mixed, large.flatten()[:4], torch.zeros(7, 5), large[:0], large.double()[:2]):
        assert locate(large, small) is None


def test_repeated_values_leave_a_choice_only_where_they_do() -> None:
    place = locate(torch.ones(6), torch.ones(4))
    assert place is not None and place.open == {0} and len(set(place.kept[0].tolist())) == 4
    place = locate(torch.zeros(5, 4), torch.zeros(3, 2))
    assert place is not None and place.open == {0, 1}
    # Both ones stay, so nothing is left to choose.
    place = locate(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([1.0, 1.0]))
    assert place is not None and not place.open and place.kept[0].tolist() == [0, 1]
    # Rows of few values differ as a whole.
    large = torch.tensor([[0.0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
    place = locate(large, large[[0, 2]])
    assert place is not None and not place.open and place.kept[0].tolist() == [0, 2]


@pytest.mark.parametrize("seed", range(30))
def test_few_values_never_give_a_wrong_place(seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    large = torch.randint(0, 4, (6, 5, 2), generator=dice).float()
    small = block(large, cut((6, 5, 2), (4, 3, 2), seed, ordered=True))
    place = locate(large, small)
    assert place is None or torch.equal(place.of(large), small)
