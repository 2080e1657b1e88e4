"""Networks of which one example reaches only a part, in the ways in which people write them.

Each states `examples`, of which the first is what `prune` is given, and `also`, the ways with which all of it runs.
`kept` are layers whose outputs must stay whole with the first example alone; `cut` are layers that must shrink.
"""

# People write branches in these ways.
# ruff: noqa: E701, RET504, SIM102

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def conv(a: int, b: int) -> nn.Conv2d:
    return nn.Conv2d(a, b, 3, padding=1)


class Net(nn.Module):
    """A stem, a part of its own, a tail; pictures of 8 pixels take the short way."""

    kept: ClassVar[tuple[str, ...]] = ("stem",)
    cut: ClassVar[tuple[str, ...]] = ("tail",)
    unreached: ClassVar[tuple[str, ...]] = ("big",)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.tail, self.head = conv(3, 8), conv(8, 10), nn.Linear(10, 1)
        self.build()

    def build(self) -> None:
        self.big = conv(8, 8)

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 3, 8, 8),), (torch.rand(2, 3, 16, 16),)]

    def also(self) -> list[Any]:
        return self.examples()[1:]

    def part(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Any:
        x = self.part(self.stem(x).relu())
        return self.head(self.tail(x).relu().mean((2, 3)))


class Block(Net):
    def part(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 8:
            x = self.big(x)
        return x


class OneLine(Net):
    def part(self, x: Tensor) -> Tensor:
        # fmt: off
        if x.shape[-1] > 8: x = x + self.big(x)
        # fmt: on
        return x


class Expression(Net):
    def part(self, x: Tensor) -> Tensor:
        return x + self.big(x) if x.shape[-1] > 8 else x


class Other(Net):
    """The way taken makes 8 channels of its own, that the other way makes too."""

    kept = ("stem", "small")

    def build(self) -> None:
        self.big, self.small, self.wide, self.inner = conv(8, 8), conv(6, 8), conv(8, 6), conv(6, 6)

    cut = ("tail", "wide", "inner")

    def part(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 8:
            y = self.big(x)
        else:
            y = self.wide(x).relu()
            y = self.small(self.inner(y))
        return y


class Returns(Net):
    def part(self, x: Tensor) -> Tensor:
        if x.shape[-1] <= 8:
            return x
        x = self.big(x).relu()
        return x


class LateReturn(nn.Module):
    """What comes after an early return reads what was there before it, and its own layers."""

    unreached = ("big", "late")
    kept: ClassVar[tuple[str, ...]] = ("a",)
    cut: ClassVar[tuple[str, ...]] = ("first", "b")

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b = conv(3, 6), conv(6, 8), conv(8, 10)
        self.big, self.late, self.head = conv(8, 8), nn.Linear(8, 1), nn.Linear(10, 1)

    examples, also = Net.examples, Net.also

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(self.first(x).relu()).relu()
        if x.shape[-1] <= 8:
            x = self.b(x).relu()
            return self.head(x.mean((2, 3)))
        x = self.big(x).relu()
        return self.late(x.mean((2, 3)))


class Kernel(Net):
    """A filter that is a parameter of the network itself."""

    unreached = ("kernel",)

    def build(self) -> None:
        self.kernel = nn.Parameter(torch.randn(8, 8, 3, 3))

    def part(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 8:
            x = F.conv2d(x, self.kernel, padding=1)
        return x


class Scale(Net):
    unreached = ("gain",)

    def build(self) -> None:
        self.gain = nn.Parameter(torch.randn(8, 1, 1))

    def part(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 8:
            x *= self.gain
        return x


class Later(Net):
    """What the other way made is none here, and is added three lines later."""

    def part(self, x: Tensor) -> Tensor:
        more = None
        if x.shape[-1] > 8:
            more = self.big(x)
        x = x * 2
        return x if more is None else x + more


class Elsewhere(Net):
    """The other way's result leaves the part beside the usual one, as None here."""

    kept = ("stem", "tail")
    cut = ("mid",)

    def build(self) -> None:
        self.big, self.mid = conv(8, 10), conv(8, 8)

    def part(self, x: Tensor) -> Any:
        more = self.big(x) if x.shape[-1] > 8 else None
        return self.mid(x).relu(), more

    def forward(self, x: Tensor) -> Tensor:
        x, more = self.part(self.stem(x).relu())
        x = self.tail(x).relu()
        if more is not None:
            x = x + more
        return self.head(x.mean((2, 3)))


class Kept(Net):
    """The other way reads an early feature that was put aside."""

    kept = ("stem", "tail")
    cut = ("mid",)

    def build(self) -> None:
        self.big, self.mid = conv(8, 10), conv(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        features = {"early": self.stem(x).relu()}
        y = self.tail(self.mid(features["early"]).relu()).relu()
        if x.shape[-1] > 8:
            y = y + self.big(features["early"])
        return self.head(y.mean((2, 3)))


class SideResult(Net):
    """A layer whose result only the other way reads is not dead."""

    kept = ("side",)
    cut = ("stem", "tail")

    def build(self) -> None:
        self.side, self.big = conv(8, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y = self.side(x).relu()
        score = self.head(self.tail(x).relu().mean((2, 3)))
        if x.shape[-1] > 8:
            score = score + self.big(y.mean((2, 3)))
        return score


class Helper(Net):
    """The way lies through a method that did not run, and through a layer that did."""

    kept = ("stem", "tail")
    cut = ("head.0",)

    def build(self) -> None:
        self.big, self.mid = conv(8, 8), conv(8, 8)
        self.head = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 1))

    def large(self, x: Tensor) -> Tensor:
        return self.tail(self.big(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y = self.large(x) if x.shape[-1] > 8 else self.tail(self.mid(x).relu())
        return self.head(y.relu().mean((2, 3)))


class Frames(nn.Module):
    """A clip of one frame has no motion."""

    unreached = ("motion",)
    kept: ClassVar[tuple[str, ...]] = ("b",)
    cut: ClassVar[tuple[str, ...]] = ("a",)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.motion, self.head = conv(3, 6), conv(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 1, 3, 8, 8),), (torch.rand(2, 4, 3, 8, 8),)]

    also = Net.also

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.shape[1]
        x = self.b(self.a(clip.flatten(0, 1)).relu()).relu().mean((2, 3)).unflatten(0, (-1, frames))
        score = self.head(x).mean(1)
        if frames > 1:
            score = score + self.motion((x[:, 1:] - x[:, :-1]).abs()).mean(1)
        return score


class Reference(nn.Module):
    """A reference is optional."""

    unreached = ("compare",)
    kept: ClassVar[tuple[str, ...]] = ("b",)
    cut: ClassVar[tuple[str, ...]] = ("a",)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head, self.compare = conv(3, 6), conv(6, 8), nn.Linear(8, 1), nn.Linear(8, 1)

    def examples(self) -> list[Any]:
        return [{"dist": torch.rand(2, 3, 8, 8)}, {"dist": torch.rand(2, 3, 8, 8), "ref": torch.rand(2, 3, 8, 8)}]

    also = Net.also

    def features(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu()).relu().mean((2, 3))

    def forward(self, dist: Tensor, ref: Tensor | None = None) -> Tensor:
        x = self.features(dist)
        if ref is None:
            return self.head(x)
        return self.head(x) + self.compare((x - self.features(ref)).abs())


class Text(nn.Module):
    """A second tower behind a method of its own, which shares a layer with the first."""

    unreached = ("token", "text", "log")
    kept: ClassVar[tuple[str, ...]] = ("b",)
    cut: ClassVar[tuple[str, ...]] = ("a",)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.proj = conv(3, 6), conv(6, 8), nn.Linear(8, 4)
        self.token, self.text, self.log = nn.Embedding(11, 5), nn.Linear(5, 8), nn.Parameter(torch.ones(()))

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 3, 8, 8),)]

    def also(self) -> list[Any]:
        return [(self.encode_text, (torch.randint(0, 11, (2, 7)),))]

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.proj(self.text(self.token(tokens)).relu().mean(1)) * self.log.exp()

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.b(self.a(x).relu()).relu().mean((2, 3)))


class Auxiliary(nn.Module):
    """A head for training only, as torchvision's GoogLeNet has."""

    unreached = ("aux",)
    kept: ClassVar[tuple[str, ...]] = ("b",)
    cut: ClassVar[tuple[str, ...]] = ("a", "c")

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c, self.head = (
            conv(3, 6),
            nn.BatchNorm2d(6),
            conv(6, 8),
            conv(8, 8),
            nn.Linear(8, 1),
        )
        self.drop, self.aux = (
            nn.Dropout(0.5),
            nn.Sequential(nn.Flatten(), nn.Linear(8 * 64, 5), nn.ReLU(), nn.Linear(5, 1)),
        )

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 3, 8, 8),)]

    def also(self) -> list[Any]:
        return ["train"]

    def forward(self, x: Tensor) -> Any:
        x = self.b(self.norm(self.a(x)).relu()).relu()
        aux = None
        if self.aux is not None:
            if self.training:
                aux = self.aux(self.drop(x))
        x = self.head(self.drop(self.c(x).relu().mean((2, 3))))
        return (x, aux) if self.training else x


class Experts(nn.Module):
    """A mixture of experts, one of which got no token."""

    kept: ClassVar[tuple[str, ...]] = ("stem", "experts.0.2")
    cut: ClassVar[tuple[str, ...]] = ("tail",)
    unreached = ("experts.1",)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.tail, self.head = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 1)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 8)) for _ in range(2))

    def examples(self) -> list[Any]:
        return [(torch.rand(5, 4) + 0.1,), (torch.rand(5, 4) - 0.5,)]

    also = Net.also

    def forward(self, x: Tensor) -> Tensor:
        which = (x.mean(1) < 0).long()
        x = self.stem(x).relu()
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            mine = (which == number).nonzero()[:, 0]
            if mine.numel() == 0:
                continue
            out = out.index_add(0, mine, expert(x[mine]))
        return self.head(self.tail(x + out).relu())


class EarlyExit(nn.Module):
    """Blocks after an exit, and the exit's own heads."""

    kept: ClassVar[tuple[str, ...]] = ("stem",)
    cut: ClassVar[tuple[str, ...]] = ("blocks.0.0",)
    unreached = ("blocks.2", "heads.2")

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 8)) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(8, 1) for _ in range(3))

    def examples(self) -> list[Any]:
        return [(torch.rand(5, 4), 2), (torch.rand(5, 4), 3), (torch.rand(5, 4), 1)]

    also = Net.also

    def forward(self, x: Tensor, steps: int = 3) -> Tensor:
        x = self.stem(x)
        score = 0.0
        for number, block in enumerate(self.blocks):
            if number == steps:
                break
            x = x + block(x)
            score = score + self.heads[number](x)
        return score


class Heads(nn.Module):
    """Heads of a dictionary, by the name of a task; another one is found by its attribute's name."""

    kept: ClassVar[tuple[str, ...]] = ("b",)
    cut: ClassVar[tuple[str, ...]] = ("a",)
    unreached = ("heads.motion", "head_noise")

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv(3, 6), conv(6, 8)
        self.heads = nn.ModuleDict({"blur": nn.Linear(8, 1), "motion": nn.Linear(8, 1)})
        self.head_blur, self.head_noise = nn.Linear(8, 1), nn.Linear(8, 1)

    def examples(self) -> list[Any]:
        x = torch.rand(2, 3, 8, 8)
        return [(x, "blur", "blur"), (x, "motion", "noise")]

    also = Net.also

    def forward(self, x: Tensor, task: str = "blur", name: str = "blur") -> Tensor:
        x = self.b(self.a(x).relu()).relu().mean((2, 3))
        return self.heads[task](x) + getattr(self, f"head_{name}")(x)


class Listed(Net):
    """Found through a plain list beside the attributes."""

    def build(self) -> None:
        self.small, self.big = conv(8, 8), conv(8, 8)
        self.ways = [self.small, self.big]

    kept = ("stem", "small")

    def part(self, x: Tensor) -> Tensor:
        return self.ways[int(x.shape[-1] > 8)](x).relu()


class Children(nn.Module):
    """Walks over its children, as a dense block does."""

    kept: ClassVar[tuple[str, ...]] = ("walk.one",)
    cut: ClassVar[tuple[str, ...]] = ("tail",)
    unreached = ("walk.two",)

    class Walk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = conv(8, 8), conv(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            for number, layer in enumerate(self.children()):
                if number < x.shape[-1] // 8:
                    x = layer(x).relu()
            return x

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.walk, self.tail, self.head = conv(3, 8), self.Walk(), conv(8, 10), nn.Linear(10, 1)

    examples, also = Net.examples, Net.also

    def forward(self, x: Tensor) -> Tensor:
        x = self.walk(self.stem(x).relu())
        return self.head(self.tail(x).relu().mean((2, 3)))


class Unmentioned(Net):
    """No code says its name: it stays, and keeps nothing."""

    kept = ()
    cut = ("stem", "tail")

    def also(self) -> list[Any]:
        return []

    def part(self, x: Tensor) -> Tensor:
        return x


def _fuse(net: Any, x: Tensor) -> Tensor:
    return net.big(x) + x


class Function(Net):
    """A function outside the class."""

    def part(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 8:
            return _fuse(self, x)
        return x


class Stateful(Net):
    """What the other way made waits in an attribute."""

    kept = ("stem", "tail")
    cut = ("mid",)

    def build(self) -> None:
        self.big, self.mid, self.more = conv(8, 10), conv(8, 8), None

    def part(self, x: Tensor) -> Tensor:
        self.more = None
        if x.shape[-1] > 8:
            self.more = self.big(x)
        return self.mid(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        x = self.tail(self.part(self.stem(x).relu())).relu()
        if self.more is not None:
            x = x + self.more
        return self.head(x.mean((2, 3)))


class Lambda(Net):
    """The way is a lambda that the network keeps."""

    def build(self) -> None:
        self.big = conv(8, 8)
        self.way = lambda net, x: net.big(x) if x.shape[-1] > 8 else x.relu()

    def part(self, x: Tensor) -> Tensor:
        return self.way(self, x)


class Decorated(Net):
    """The branch stands in a method with a decorator."""

    @torch.no_grad()
    def part(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            try:
                if x.shape[-1] > 8:
                    return self.big(x)
            finally:
                x = x * 1
        return x


class Hook(Net):
    """The branch stands in a hook of another layer."""

    def build(self) -> None:
        self.big = conv(8, 8)
        self.stem.register_forward_hook(self.after)

    def after(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return self.big(output) if output.shape[-1] > 8 else output

    def part(self, x: Tensor) -> Tensor:
        return x.relu()


class Loop(Net):
    """As many turns of a loop as the picture is large; the last turns have layers of their own."""

    kept = ("stem", "turns.0")
    unreached = ("turns.1",)

    def build(self) -> None:
        self.turns = nn.ModuleList([conv(8, 8), conv(8, 8)])

    def part(self, x: Tensor) -> Tensor:
        turn = 0
        while turn < x.shape[-1] // 8:
            x = self.turns[turn](x).relu()
            turn += 1
        return x


class Comprehension(Net):
    kept = ("stem", "turns.0")
    unreached = ("turns.1",)

    def build(self) -> None:
        self.turns = nn.ModuleList([conv(8, 8), conv(8, 8)])

    def part(self, x: Tensor) -> Tensor:
        return sum(turn(x) for turn in self.turns[: x.shape[-1] // 8])


class Match(Net):
    def part(self, x: Tensor) -> Tensor:
        match x.shape[-1]:
            case 8:
                y = x
            case _:
                y = self.big(x)
        return y


class Built(Net):
    """Whether a layer is there is how the network was built: no call comes to the other branch."""

    unreached = ("spare",)
    kept = ()
    cut = ("stem", "tail", "mid")

    def build(self) -> None:
        self.mid, self.spare = conv(8, 8), conv(8, 8)

    def also(self) -> list[Any]:
        return []

    def part(self, x: Tensor) -> Tensor:
        if self.mid is None:
            x = self.spare(x)
        if self.mid is not None:
            return self.mid(x)
        return self.spare(x)


class Memory(Net):
    """A layer for all but the first call: whether there is a memory changes while the network runs."""

    def build(self) -> None:
        self.big, self.memory = conv(8, 8), None

    def also(self) -> list[Any]:
        return [(self.twice, (torch.rand(2, 3, 8, 8),))]

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 3, 8, 8),)]

    def twice(self, x: Tensor) -> Tensor:
        self.memory = None
        y = self(x) + self(x * 2)
        self.memory = None
        return y

    def part(self, x: Tensor) -> Tensor:
        if self.memory is not None:
            x = x + self.big(self.memory)
        self.memory = x
        return x


class Compare(Net):
    """A method that did not run compares what a method that did has made."""

    kept = ("tail",)
    cut = ("stem",)
    unreached = ("rank",)

    def build(self) -> None:
        self.rank = nn.Linear(20, 1)

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 3, 8, 8),)]

    def also(self) -> list[Any]:
        return [(self.compare, (torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)))]

    def embed(self, x: Tensor) -> Tensor:
        return self.tail(self.stem(x).relu()).relu().mean((2, 3))

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        return self.rank(torch.cat([self.embed(a), self.embed(b)], 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


class Stems(Net):
    """A stem for gray pictures and one for coloured ones, in one expression."""

    kept = ("features.0",)
    cut = ("features.2", "tail")
    unreached = ("gray",)

    def build(self) -> None:
        self.features = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), conv(6, 8))
        self.gray = conv(1, 8)
        del self.stem

    def examples(self) -> list[Any]:
        return [(torch.rand(2, 3, 8, 8),), (torch.rand(2, 1, 8, 8),)]

    def forward(self, x: Tensor) -> Tensor:
        y = self.gray(x).relu() if x.shape[1] == 1 else self.features[:2](x)
        return self.head(self.tail(self.features[2:](y)).relu().mean((2, 3)))


NETS: list[Callable[[], Any]] = [
    Block, OneLine, Expression, Other, Returns, LateReturn, Kernel, Scale, Later, Elsewhere, Kept, SideResult, Helper,
    Frames, Reference, Text, Auxiliary, Experts, EarlyExit, Heads, Listed, Children, Unmentioned, Function, Stateful,
    Lambda, Decorated, Hook, Loop, Comprehension, Match,
    Built, Memory, Compare, Stems,
]  # fmt: skip
