"""Branches that the constructor decided for good, and those that somebody may still take."""

from enum import Enum

import pytest
import torch
from torch import Tensor, nn

import compressvqa as cv


class Pool(Enum):
    MEAN = "mean"
    NORM = "norm"


class Base(nn.Module):
    """`other` did not run; whether its way may be taken is what the forwards below differ in."""

    def __init__(self, how: object = "mean") -> None:
        super().__init__()
        self.how = how
        self.stem, self.other, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), nn.Linear(16, 1)

    def end(self, y: Tensor) -> Tensor:
        return self.head(y.mean((2, 3)))


class Equal(Base):
    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        if self.how == "other":
            y = self.other(y)
        return self.end(y)


class ByAName(Base):
    def forward(self, x: Tensor) -> Tensor:
        y, how = self.stem(x).relu(), self.how
        if how != "mean": y = self.other(y)  # noqa: E701  # fmt: skip
        return self.end(y)


class Among(Base):
    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        y = self.other(y) if self.how in ("other", "both") and x.shape[-1] > 2 else y
        return self.end(y)


class Matched(Base):
    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        match self.how:
            case "other" | "both":
                y = self.other(y)
            case _:
                pass
        return self.end(y)


class Member(Base):
    def __init__(self) -> None:
        super().__init__(Pool.MEAN)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        if self.how == Pool.NORM:
            return self.end(self.other(y))
        return self.end(y)


class Flag(Base):
    def __init__(self) -> None:
        super().__init__(False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        if self.how:
            y = self.other(y)
        return self.end(y)


class Number(Base):
    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        if self.how == 2:
            y = self.other(y)
        return self.end(y)


class Switched(Equal):
    def switch(self, how: str) -> None:
        self.how = how


class SetTwice(Base):
    def forward(self, x: Tensor) -> Tensor:
        y, how = self.stem(x).relu(), self.how
        if x.shape[-1] > 50:
            how = "other"
        if how == "other":
            y = self.other(y)
        return self.end(y)


class Given(Base):
    def forward(self, x: Tensor, how: str = "mean") -> Tensor:
        y = self.stem(x).relu()
        if how == "other":
            y = self.other(y)
        return self.end(y)


class AmongHeld(Base):
    def __init__(self) -> None:
        super().__init__()
        self.ways = ["other"]

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).relu()
        if self.how in self.ways:
            y = self.other(y)
        return self.end(y)


def pruned(model: nn.Module):
    torch.manual_seed(0)
    return cv.prune(model.eval(), (torch.rand(2, 3, 12, 12),), ratios={"stem": 0.5})


@pytest.mark.parametrize("kind", [Equal, ByAName, Among, Matched, Member])
def test_a_way_that_the_constructor_closed_keeps_no_channels(kind: type[nn.Module]) -> None:
    found = pruned(kind())
    assert found.model.stem.out_channels == 8
    assert found.model.other.weight.shape == (16, 16, 1, 1)  # what never runs is left as it was


@pytest.mark.parametrize("kind", [Flag, Number, Switched, SetTwice, Given, AmongHeld])
def test_a_way_that_somebody_may_take_keeps_them(kind: type[nn.Module]) -> None:
    with pytest.raises(cv.PruneError, match="other did not run, and may read or replace them"):
        pruned(kind())
