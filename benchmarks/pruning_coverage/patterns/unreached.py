"""Modules that the example does not reach: other sizes, other arguments, other methods, training mode.

Each stands twice: as it is, pruned with one example, and as NAME+examples, pruned with examples of every branch. Both
are judged on every branch.
"""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pruning_coverage.judging import Call
from pruning_coverage.patterns.base import NETWORKS, Network, backbone, pictures


class _Branches(Network):
    """`ways()` are the examples of every branch; the first one is the common one."""

    kind = "unreached"
    every = False

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = backbone(24, 32, 40), nn.Linear(40, 1)

    def ways(self) -> list[Call]:
        """The branches' arguments, the common one first."""
        raise NotImplementedError

    def inputs(self) -> Any:
        first, *rest = self.ways()
        plain = [call.args for call in rest if not call.method and not call.train]
        return [first.args, *plain] if self.every and plain else first.args

    def also(self) -> list[tuple[str, tuple[Any, ...]]]:
        other = [call for call in self.ways() if call.method or call.train]
        return [("train" if call.train else call.method, call.args) for call in other] if self.every else []

    def calls(self) -> list[Call]:
        return self.ways()


def _picture(size: int, batch: int = 2, *, seed: int = 3, frames: int | None = None) -> Tensor:
    shape = (batch, 3, size, size) if frames is None else (batch, frames, 3, size, size)
    return pictures(shape, seed=seed)[0]


class LargePictures(_Branches):
    """A layer more for pictures from 32 pixels on."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(40, 40, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        if x.shape[-1] >= 32:
            y = self.down(y).relu()
        return self.head(y.mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(32),)), Call((_picture(40, 1),)), Call((_picture(20, 3),))]


class LargeIsOtherWidth(_Branches):
    """Large pictures go through a path of its own, which meets the small one's only in the head."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.Sequential(nn.Conv2d(3, 28, 5, 4, 2), nn.ReLU(), nn.Conv2d(28, 40, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.coarse(x) if min(x.shape[-2:]) > 24 else self.features(x)
        return self.head(y.mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(32),)), Call((_picture(28, 3),))]


class SmallIsPadded(_Branches):
    """A learnt frame around small pictures only."""

    def __init__(self) -> None:
        super().__init__()
        self.pad = nn.Parameter(torch.rand(1, 40, 1, 1))
        self.deep = nn.Sequential(nn.Conv2d(40, 40, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        if y.shape[-1] < 8:
            y = torch.cat([y, self.pad.expand(len(y), -1, y.shape[2], 8 - y.shape[3])], 3)
        return self.head(self.deep(y).mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(10),)), Call((_picture(12, 1),))]


class MoreFrames(_Branches):
    """A convolution over time, for more than one frame."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Conv1d(40, 40, 3, padding=1)

    def forward(self, clip: Tensor) -> Tensor:
        b, t = clip.shape[:2]
        y = self.features(clip.flatten(0, 1)).mean((2, 3)).unflatten(0, (b, t))
        if t > 1:
            y = y + self.time(y.mT).mT.relu()
        return self.head(y.mean(1))

    def ways(self) -> list[Call]:
        return [Call((_picture(12, frames=t, batch=b),)) for t, b in ((1, 2), (4, 2), (3, 1))]


class MotionBranch(_Branches):
    """Differences of frames through layers of their own, concatenated; zeros for a single frame."""

    def __init__(self) -> None:
        super().__init__()
        self.motion, self.head = backbone(20, 28), nn.Linear(68, 1)

    def forward(self, clip: Tensor) -> Tensor:
        b, t = clip.shape[:2]
        still = self.features(clip.flatten(0, 1)).mean((2, 3)).unflatten(0, (b, t)).mean(1)
        if t == 1:
            moving = still.new_zeros(b, 28)
        else:
            moving = self.motion(clip.diff(dim=1).flatten(0, 1)).mean((2, 3)).unflatten(0, (b, t - 1)).mean(1)
        return self.head(torch.cat([still, moving], 1))

    def ways(self) -> list[Call]:
        return [Call((_picture(12, frames=t, batch=b),)) for t, b in ((1, 2), (4, 2), (2, 1))]


class LongClips(_Branches):
    """A recurrent layer sums up clips of more than four frames."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(40, 40, batch_first=True)

    def forward(self, clip: Tensor) -> Tensor:
        b, t = clip.shape[:2]
        y = self.features(clip.flatten(0, 1)).mean((2, 3)).unflatten(0, (b, t))
        return self.head(y.mean(1) if t <= 4 else self.memory(y)[0][:, -1])

    def ways(self) -> list[Call]:
        return [Call((_picture(12, frames=t, batch=b),)) for t, b in ((3, 2), (6, 2), (5, 1))]


class OptionalReference(_Branches):
    """Scores with a reference where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.compare = nn.Sequential(nn.Conv2d(80, 40, 1), nn.ReLU())

    def forward(self, distorted: Tensor, ref: Tensor | None = None) -> Tensor:
        y = self.features(distorted)
        if ref is not None:
            y = y + self.compare(torch.cat([y, self.features(ref) - y], 1))
        return self.head(y.mean((2, 3)))

    def ways(self) -> list[Call]:
        x, r = _picture(16), _picture(16, seed=4)
        return [Call((x,)), Call((x, r)), Call((_picture(20, 3), _picture(20, 3, seed=5)))]


class OptionalMask(_Branches):
    """A mask of saliency weighs the map, after a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.saliency = nn.Conv2d(1, 40, 3, 2, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.features(x)
        if mask is not None:
            y = y * self.saliency(mask).sigmoid()
        return self.head(y.mean((2, 3)))

    def ways(self) -> list[Call]:
        x = _picture(16)
        return [Call((x,)), Call((x, _picture(16)[:, :1])), Call((_picture(20, 1), _picture(20, 1)[:, :1]))]


class EncodeText(_Branches):
    """CLIP's two towers: the forward sees pictures only, `encode_text` tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.text = nn.Embedding(30, 36), nn.Linear(36, 48)
        self.image, self.project = nn.Linear(40, 48), nn.Linear(48, 16)
        self.prompt = nn.Parameter(torch.randn(2, 48))

    def forward(self, x: Tensor) -> Tensor:
        z = F.normalize(self.project(self.image(self.features(x).mean((2, 3))).relu()), dim=1)
        return (z @ F.normalize(self.project(self.prompt.relu()), dim=1).t()).softmax(1)[:, 0]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L) to (B, 16)."""
        return self.project(self.text(self.words(tokens).mean(1)).relu())

    def ways(self) -> list[Call]:
        tokens = torch.arange(12).view(2, 6)
        return [Call((_picture(16),)), Call((tokens,), "encode_text"), Call((tokens[:1] + 9,), "encode_text")]


class CompareMethod(_Branches):
    """The forward scores one picture; `compare` two, with a layer of its own on their shared features."""

    def __init__(self) -> None:
        super().__init__()
        self.rank = nn.Sequential(nn.Linear(80, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))

    def embed(self, x: Tensor) -> Tensor:
        """Pooled features (B, 40)."""
        return self.features(x).mean((2, 3))

    def compare(self, a: Tensor, b: Tensor) -> Tensor:
        """Which of the two is better."""
        return self.rank(torch.cat([self.embed(a), self.embed(b)], 1)).sigmoid()

    def ways(self) -> list[Call]:
        a, b = _picture(16), _picture(16, seed=4)
        return [Call((a,)), Call((a, b), "compare"), Call((a,), "embed")]


class TrainingHead(_Branches):
    """A second head that only training sees, as GoogLeNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Sequential(nn.Conv2d(32, 20, 1), nn.ReLU(), nn.Conv2d(20, 1, 1))

    def forward(self, x: Tensor) -> Any:
        middle = self.features[:4](x)
        score = self.head(self.features[4:](middle).mean((2, 3)))
        return (score, self.auxiliary(middle).mean((2, 3))) if self.training else score

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(20, 3),)), Call((_picture(16),), train=True)]


class TrainingDistortion(_Branches):
    """A head that names the distortion, and a projection for a contrastive loss, in training."""

    def __init__(self) -> None:
        super().__init__()
        self.kind_of, self.project = nn.Linear(40, 5), nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Any:
        z = self.features(x).mean((2, 3))
        if not self.training:
            return self.head(z)
        return {"score": self.head(z), "kind": self.kind_of(z), "z": F.normalize(self.project(z), dim=1)}

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(16),), train=True)]


class Experts(_Branches):
    """A mixture of experts by a number that the caller gives; the example has nothing for the third."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 40)) for _ in range(3))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        z = self.features(x).mean((2, 3))
        out = torch.zeros_like(z)
        for number, expert in enumerate(self.experts):
            chosen = which == number
            if chosen.any():
                out[chosen] = expert(z[chosen])
        return self.head(z + out)

    def ways(self) -> list[Call]:
        x, y = _picture(16, 4), _picture(20, 3)
        return [
            Call((x, torch.tensor([0, 1, 0, 1]))),
            Call((x, torch.tensor([2, 1, 0, 2]))),
            Call((y, torch.tensor([2] * 3))),
        ]


class RoutedExperts(_Branches):
    """A router chooses one expert for each picture; some get none."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(3, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(40, 32), nn.GELU(), nn.Linear(32, 40)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        z, out = self.features(x).mean((2, 3)), 0
        weights = self.router(x.mean((2, 3)) * 20 - 10).softmax(1)
        top, which = weights.max(1)
        out = torch.zeros_like(z)
        for number in which.unique().tolist():
            rows = (which == number).nonzero()[:, 0]
            out.index_add_(0, rows, self.experts[number](z[rows]) * top[rows, None])
        return self.head(z + out)

    def ways(self) -> list[Call]:
        tints = [
            torch.tensor(t).view(1, 3, 1, 1) for t in ([1, 0.1, 0.1], [0.1, 1, 0.1], [0.1, 0.1, 1], [1.0, 1.0, 1.0])
        ]
        return [Call((_picture(16) * tint,)) for tint in tints]


class NamedTask(_Branches):
    """A head for each data set, chosen by name."""

    def __init__(self) -> None:
        super().__init__()
        make = lambda: nn.Sequential(nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 1))  # noqa: E731
        self.heads = nn.ModuleDict({"koniq": make(), "kadid": make(), "live": make()})

    def forward(self, x: Tensor, task: str = "koniq") -> Tensor:
        return self.heads[task](self.features(x).mean((2, 3)))

    def ways(self) -> list[Call]:
        x = _picture(16)
        return [Call((x,)), Call((x, "kadid")), Call((x, "live")), Call((_picture(20, 1), "kadid"))]


class ReturnsFeatures(_Branches):
    """Hands back its features when asked to."""

    def forward(self, x: Tensor, return_features: bool = False) -> Any:
        y = self.features(x)
        score = self.head(y.mean((2, 3)))
        return (score, y) if return_features else score

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(16), True))]


class ModalityMissing(_Branches):
    """Sound joins the picture where there is some: an embedding stands for what is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.sound, self.silence = (
            nn.Sequential(nn.Linear(10, 30), nn.ReLU(), nn.Linear(30, 24)),
            nn.Parameter(torch.randn(24)),
        )
        self.head = nn.Linear(64, 1)

    def forward(self, x: Tensor, audio: Tensor | None = None) -> Tensor:
        z = self.features(x).mean((2, 3))
        a = self.silence.expand(len(z), -1) if audio is None else self.sound(audio).relu()
        return self.head(torch.cat([z, a], 1))

    def ways(self) -> list[Call]:
        x = _picture(16)
        return [
            Call((x,)),
            Call((x, pictures((2, 10), seed=9)[0])),
            Call((_picture(20, 1), pictures((1, 10), seed=8)[0])),
        ]


class LevelsBySize(_Branches):
    """As many levels of a pyramid as the picture is large."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(40, 40, 3, 2, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y, number = self.features(x), 0
        while min(y.shape[-2:]) > 6:
            y, number = self.levels[number](y).relu(), number + 1
        return self.head(y.mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(32),)), Call((_picture(64, 1),))]


class EarlyExit(_Branches):
    """Stops early where the first head is sure."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.more = nn.Linear(40, 1), nn.Sequential(nn.Conv2d(40, 36, 3, 1, 1), nn.ReLU())
        self.head = nn.Linear(36, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        quick = self.first(y.mean((2, 3)))
        return quick if float(x.mean()) < 0.5 else self.head(self.more(y).mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16) * 0.8,)), Call((_picture(16) * 0.5 + 0.5,)), Call((_picture(20, 1) * 0.5 + 0.5,))]


class SwitchedOff(_Branches):
    """A refinement that a flag turns on: nothing that the forward is given reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.refine, self.use_refine = nn.Conv2d(40, 40, 3, padding=1), False

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        if self.use_refine:
            y = y + self.refine(y)
        return self.head(y.mean((2, 3)))

    def refined(self, x: Tensor) -> Tensor:
        """With the refinement."""
        y = self.features(x)
        return self.head((y + self.refine(y)).mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(16),), "refined"), Call((_picture(20, 3),))]


class GrayPictures(_Branches):
    """A stem for one channel and another for three."""

    def __init__(self) -> None:
        super().__init__()
        self.gray = nn.Conv2d(1, 24, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.gray(x).relu() if x.shape[1] == 1 else self.features[:2](x)
        return self.head(self.features[2:](y).mean((2, 3)))

    def ways(self) -> list[Call]:
        return [Call((_picture(16),)), Call((_picture(16)[:, :1],)), Call((_picture(20, 1)[:, :1],))]


class CrossFade(_Branches):
    """With two clips a cross-attention joins them; with one, the clip attends to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(40, 24) for _ in range(3))
        self.own, self.head = nn.Linear(40, 24), nn.Linear(24, 1)

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        a = self.features(x).flatten(2).mT
        if other is None:
            return self.head(self.own(a).relu().mean(1))
        b = self.features(other).flatten(2).mT
        return self.head(((self.q(a) @ self.k(b).mT / 5).softmax(-1) @ self.v(b)).mean(1))

    def ways(self) -> list[Call]:
        x, y = _picture(16), _picture(16, seed=7)
        return [Call((x,)), Call((x, y)), Call((_picture(20, 1), _picture(12, 1)))]


for _name, _network in list(NETWORKS.items()):
    if _network.kind == "unreached":
        NETWORKS[f"{_name}+examples"] = type(
            f"_{_network.__name__}Examples",
            (_network,),
            {"every": True, "__doc__": _network.__doc__, "__module__": __name__},
        )
