"""Small networks, one for each pattern that pruners get wrong. Each says which groups of channels may go.

`expected_groups` is {producers of a group: its channels} for the groups that can be cut; it is worked out by hand from
the forward beside it. Whatever is not named must be kept, and `frozen` names layers whose reason must hold a word.
"""

# ruff: noqa: RUF012  (tables of constants, read only)

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

REGISTRY: dict[str, type[Net]] = {}


class Net(nn.Module):
    """A network with a known answer."""

    expected_groups: ClassVar[dict[tuple[str, ...], int]] = {}
    frozen: ClassVar[dict[str, str]] = {}
    dead: ClassVar[tuple[str, ...]] = ()
    unknown: ClassVar[tuple[str, ...]] = ()
    shape: ClassVar[tuple[int, ...]] = (2, 3, 8, 8)

    def __init_subclass__(cls) -> None:
        REGISTRY[cls.__name__] = cls

    def inputs(self) -> Any:
        return (torch.randn(self.shape, generator=torch.Generator().manual_seed(1)),)


class Plain(Net):
    expected_groups = {("a",): 6, ("b",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()).mean((2, 3)))


class _Fold(Net):
    """Frames folded into channels: conv `merge` reads channel c of frame t at position c + 4 t or t + 3 c."""

    expected_groups = {("frame",): 4, ("merge",): 5}
    shape = (2, 3, 3, 8, 8)  # batch, frames, channels, height, width

    def __init__(self) -> None:
        super().__init__()
        self.frame, self.merge, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(12, 5, 3), nn.Conv2d(5, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.frame(x.flatten(0, 1)).relu()
        return self.head(self.merge(self.fold(frames, len(x))).relu())

    def fold(self, frames: Tensor, batch: int) -> Tensor:
        raise NotImplementedError


class FoldView(_Fold):
    def fold(self, frames: Tensor, batch: int) -> Tensor:
        return frames.view(batch, -1, *frames.shape[2:])


class FoldPermute(_Fold):
    def fold(self, frames: Tensor, batch: int) -> Tensor:
        n, c, h, w = frames.shape
        return frames.view(batch, n // batch, c, h, w).permute(0, 2, 1, 3, 4).reshape(batch, -1, h, w)


class FoldCat(_Fold):
    def fold(self, frames: Tensor, batch: int) -> Tensor:
        return torch.cat(frames.unflatten(0, (batch, -1)).unbind(1), dim=1)


class FoldUnfold(_Fold):
    """Im2col patches read by a linear layer."""

    expected_groups = {("frame",): 4, ("merge",): 5}
    shape = (2, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.merge, self.head = nn.Linear(16, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(self.frame(x), 2, stride=2)
        return self.head(self.merge(patches.transpose(1, 2)).relu())


class PixelShuffle(Net):
    expected_groups = {("a",): 3}  # four outputs of `a` make one channel

    def __init__(self) -> None:
        super().__init__()
        self.a, self.shuffle, self.b = nn.Conv2d(3, 12, 3), nn.PixelShuffle(2), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.shuffle(self.a(x)).relu())


class PixelUnshuffle(Net):
    expected_groups = {("a",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3), nn.Conv2d(20, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.pixel_unshuffle(self.a(x), 2))


class TemporalShift(Net):
    """Channels moved along time by a share of their number: each part loses the same share."""

    expected_groups = {("a",): 8, ("inner",): 6}
    shape = (2, 4, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.inner, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = x.shape[:2]
        y = self.a(x.flatten(0, 1)).unflatten(0, (batch, frames))
        shifted, fold = torch.zeros_like(y), y.shape[2] // 4
        shifted[:, :-1, :fold] = y[:, 1:, :fold]
        shifted[:, 1:, fold : 2 * fold] = y[:, :-1, fold : 2 * fold]
        shifted[:, :, 2 * fold :] = y[:, :, 2 * fold :]
        return self.b(self.inner(shifted.flatten(0, 1)).relu())


class WriteFrames(Net):
    """Frames written one by one into a tensor of zeros: the channels stay free."""

    expected_groups = {("a",): 6}
    shape = (2, 3, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv3d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.a(x[:, 0])
        out = first.new_zeros(first.shape[0], first.shape[1], 3, *first.shape[2:])
        for frame in range(3):
            out[:, :, frame] = self.a(x[:, frame])
        return self.b(out)


class BorrowedWeight(Net):
    """F.conv2d on another module's weight; the module itself never runs."""

    expected_groups = {("a",): 5, ("b",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(x, self.a.weight * 0.5, self.a.bias).relu()
        return self.head(F.conv2d(y, self.b.weight, self.b.bias))


class Siamese(Net):
    expected_groups = {("backbone.0",): 6, ("backbone.2",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 6, 3), nn.LeakyReLU(0.1), nn.Conv2d(6, 5, 3))
        self.head = nn.Conv2d(15, 2, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = self.backbone(x), self.backbone(y)
        return self.head(torch.cat([a, b, (a - b).abs()], 1))

    def inputs(self) -> Any:
        return (*super().inputs(), torch.zeros(self.shape))


class FrozenBackbone(Net):
    expected_groups = {("backbone",): 6, ("a",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.a, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 1, 1)
        self.backbone.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = self.backbone(x).relu()
        return self.head(self.a(y.detach()))


class RawParameters(Net):
    """A position embedding, a layer scale and a query."""

    expected_groups = {("a",): 6, ("b",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 1)
        self.position, self.scale = nn.Parameter(torch.randn(1, 4, 6)), nn.Parameter(torch.randn(5))
        self.query = nn.Parameter(torch.randn(5))
        self.register_buffer("shift", torch.randn(6))

    shape = (2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.b((self.a(x) + self.position + self.shift).relu()) * self.scale
        weights = (tokens @ self.query).softmax(1)
        return self.head((tokens * weights[..., None]).sum(1))


class Attention(Net):
    """Heads are hard-coded, so the width of attention stays; the residual width and the MLP are free."""

    expected_groups = {("stem", "proj", "fc2"): 12, ("fc1",): 10}
    frozen = {"qkv": "heads are kept"}
    shape = (2, 5, 3)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.qkv, self.proj = nn.Linear(3, 12), nn.Linear(12, 36), nn.Linear(12, 12)
        self.norm, self.fc1, self.fc2, self.head = (
            nn.LayerNorm(12),
            nn.Linear(12, 10),
            nn.Linear(10, 12),
            nn.Linear(12, 1),
        )
        self.table = nn.Parameter(torch.randn(9, 2))
        self.register_buffer("index", torch.arange(25) % 9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        q, k, v = self.qkv(x).view(len(x), 5, 3, 2, 6).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index].view(5, 5, 2).permute(2, 0, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.proj(y.transpose(1, 2).reshape(len(x), 5, -1))
        return self.head(x + self.fc2(F.gelu(self.fc1(self.norm(x)))))


class SingleHead(Net):
    """Without heads the width of queries and keys, and that of values, can go."""

    expected_groups = {("q", "k"): 6, ("v",): 4}
    shape = (2, 5, 3)

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = (self.q(x) @ self.k(x).transpose(1, 2)).softmax(-1)
        return self.out(scores @ self.v(x))


class Einsum(Net):
    expected_groups = {("a",): 6, ("b", "c"): 5}
    shape = (2, 4, 3)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).tanh()
        return torch.einsum("bnc,bmc->bnm", self.b(y), self.c(y))


class Correlation(Net):
    """Cosine correlation of two maps: channels end in a sum of squares."""

    expected_groups = {("a",): 6}

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = self.a(x), self.a(y)
        a = a / (a.square().sum(1, keepdim=True).sqrt() + 1e-10)
        b = b / b.norm(dim=1, keepdim=True).clamp_min(1e-10)
        return (a * b).sum(1)

    def inputs(self) -> Any:
        return (*super().inputs(), torch.rand(self.shape))


class CatSelf(Net):
    expected_groups = {("a",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3), nn.Conv2d(13, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(torch.cat([y, y.abs(), x[..., 1:-1, 1:-1]], 1))


class DenseCat(Net):
    expected_groups = {("a",): 4, ("b",): 5, ("c",): 6}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(9, 6, 1)
        self.norm, self.head = nn.BatchNorm2d(15), nn.Conv2d(15, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a)
        c = self.c(torch.cat([a, b], 1))
        return self.head(self.norm(torch.cat([a, b, c], 1)).relu())


class GatedChunk(Net):
    """A gated unit: position i of one half goes with position i of the other."""

    expected_groups = {("a",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.a(x).chunk(2, 1)
        return self.b(left * right.sigmoid())


class UnevenSplit(Net):
    expected_groups = {("b",): 3}
    frozen = {"a": "number"}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(5, 3, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.a(x).split([5, 3], 1)
        return self.c(torch.cat([self.b(left), right], 1))


class ChannelShuffle(Net):
    """Grouped convolutions with a shuffle between them: input i of one half goes with input i of the other.

    The shuffle puts output k of half h at place 2k + h. Half 0 of the second convolution reads places 0 to 3, which are
    k = 0 and 1, half 1 places 4 to 7, k = 2 and 3; so k = 0 goes with 2 and 1 with 3, in both halves: two channels.
    """

    expected_groups = {("a",): 4, ("b",): 2, ("c",): 3}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=2)
        self.c, self.head = nn.Conv2d(8, 6, 1, groups=2), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.a(x))
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(self.c(y))


class SqueezeExcite(Net):
    expected_groups = {("a", "excite"): 6, ("squeeze",): 3}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 3)
        self.squeeze, self.excite = nn.Conv2d(6, 3, 1), nn.Conv2d(3, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        gate = self.excite(self.squeeze(F.adaptive_avg_pool2d(y, 1)).relu()).sigmoid()
        return self.b(y * gate)


class ChannelsLastNorm(Net):
    expected_groups = {("a",): 6}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 6, 3), nn.LayerNorm(6), nn.Conv2d(6, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.norm(self.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


class GroupNorms(Net):
    """Two groups of three channels lose the same; a group norm over all and one per channel lose any."""

    expected_groups = {("a",): 3, ("b",): 6, ("c",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (
            nn.Conv2d(3, 6, 1),
            nn.Conv2d(6, 6, 1),
            nn.Conv2d(6, 4, 1),
            nn.Conv2d(4, 2, 1),
        )
        self.norm_a, self.norm_b, self.norm_c = nn.GroupNorm(2, 6), nn.GroupNorm(1, 6), nn.GroupNorm(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm_c(self.c(self.norm_b(self.b(self.norm_a(self.a(x)))))))


class InstanceNorm(Net):
    expected_groups = {("a",): 6}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.Conv2d(6, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.norm(self.a(x)))


class Depthwise(Net):
    expected_groups = {("a", "depth", "wide"): 6}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.depth = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 3, groups=6)
        self.wide, self.head = nn.Conv2d(6, 12, 3, groups=6), nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.wide(self.depth(self.a(x)).relu()))


class Transposed(Net):
    expected_groups = {("a",): 6, ("up",): 5, ("mix",): 2, ("grouped",): 2}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.up, self.mix = nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 5, 2, stride=2), nn.Conv2d(5, 4, 1)
        self.grouped, self.head = nn.ConvTranspose2d(4, 4, 2, groups=2), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.grouped(self.mix(self.up(self.a(x)).relu())))


class DeadBranch(Net):
    expected_groups = {("a",): 6}
    dead = ("unused",)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 2, 3)
        self.unused = nn.Sequential(nn.Conv2d(6, 7, 3), nn.BatchNorm2d(7))
        self.uncalled = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        self.unused(y)
        return self.b(y)


class UnknownOperator(Net):
    """An inverse of matrices of channels, which no rule knows: it is not taken for an elementwise operator."""

    expected_groups = {("b",): 4}
    frozen = {"a": "not known"}
    unknown = ("linalg_pinv",)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x) / 8
        return self.c(self.b(torch.linalg.pinv(y.movedim(1, -1)).movedim(-2, 1)))


class SoftmaxOverChannels(Net):
    expected_groups = {("b",): 4}
    frozen = {"a": "part in the result"}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x).softmax(1)))


class MeanOverChannels(Net):
    frozen = {"a": "part in the result"}

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).mean(1)


class SumOfSigmoids(Net):
    """A cut channel would leave 0.5 in the sum."""

    frozen = {"a": "part in the result"}

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x).sigmoid().sum(1)


class Dictionaries(Net):
    expected_groups = {("a",): 6, ("b",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 5, 3), nn.Conv2d(11, 2, 1)

    def forward(self, video: dict[str, list[Tensor]], *, gain: Tensor) -> dict[str, Any]:
        y = torch.cat([self.a(video["frames"][0]), self.b(video["frames"][1])], 1)
        return {"score": self.head(y) * gain, "parts": [y.square().sum(1)]}

    def inputs(self) -> Any:
        return {"video": {"frames": [torch.rand(self.shape), torch.rand(self.shape)]}, "gain": torch.tensor(2.0)}


class Residual(Net):
    expected_groups = {("stem", "b"): 6, ("a",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 6, 3, padding=1)
        self.norm_a, self.norm_b, self.head = nn.BatchNorm2d(5), nn.BatchNorm2d(6, affine=False), nn.Conv2d(6, 2, 1)
        for norm in (self.norm_a, self.norm_b):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.relu(x + self.norm_b(self.b(F.relu(self.norm_a(self.a(x)))))))


class ResidualWithInput(Net):
    """The image is added to the channels, so they can't go."""

    expected_groups = {("a",): 6}
    frozen = {"b": "fixed size"}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.b(self.a(x)))


class FlattenLinear(Net):
    expected_groups = {("a",): 6, ("fc",): 5}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.fc, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6 * 36, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc(self.a(x).flatten(1)))


class Volumes(Net):
    expected_groups = {("a",): 6, ("b",): 4}
    shape = (2, 3, 4, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv3d(3, 6, 3), nn.Conv3d(6, 4, (1, 3, 3)), nn.Conv1d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.max_pool3d(self.b(F.pad(self.a(x), (1, 1), value=2.0)), (1, 2, 2)).mean((3, 4)))


class HardCodedWidth(Net):
    """A plain number that no trace can see; the pruned network would not run, so the group is kept and said."""

    expected_groups = {("a",): 6, ("b",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.head(self.b(y.reshape(len(y), 6, y.shape[2], y.shape[3])))


class WeightNorm(Net):
    expected_groups = {("a",): 6, ("b",): 5}

    def __init__(self) -> None:
        super().__init__()
        normed, spectral = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm
        self.a, self.b = normed(nn.Conv2d(3, 6, 3)), spectral(nn.Conv2d(6, 5, 3))
        self.head = nn.Conv2d(5, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(x).relu()))


class Recurrent(Net):
    expected_groups = {("a",): 5, ("gru",): 6, ("lstm",): 7, ("b",): 4}
    shape = (2, 6, 3)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gru, self.lstm = nn.Linear(3, 5), nn.GRU(5, 6, batch_first=True), nn.LSTM(6, 7, batch_first=True)
        self.b, self.c = nn.Linear(7, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(self.a(x))
        y, _ = self.lstm(y)
        return self.c(self.b(y))


class LibraryAttention(Net):
    """torch's attention works out its inner width from the width of its queries, so `a` can't be cut alone."""

    expected_groups = {("attention.out_proj",): 8, ("b",): 4}
    frozen = {"a": "their width is a number", "attention": "heads are kept"}
    shape = (2, 6, 3)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.attention = nn.Linear(3, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.b, self.c = nn.Linear(8, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.c(self.b(self.attention(y, y, y)[0]))


class Tied(Net):
    """One weight used twice, and one module under two names."""

    expected_groups = {("a",): 4}

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 2, 1)
        self.b.weight = self.a.weight
        self.again = self.a

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.again(x), self.b(x)], 1))


class DataHandle(Net):
    """`.data` is another handle on the same weight."""

    expected_groups = {("a",): 5}
    shape = (2, 3)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.linear(x, self.a.weight.data, self.a.bias.detach()))


class Embedded(Net):
    expected_groups = {("a",): 6}

    def __init__(self) -> None:
        super().__init__()
        self.table, self.a, self.b = nn.Embedding(7, 6), nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return self.b(self.a(x) + self.table(index))

    def inputs(self) -> Any:
        return (torch.randn(4, 3), torch.tensor([0, 3, 6, 1]))


class _RMSNorm(nn.Module):
    """Scales tokens to a mean square of one, by hand, in 32 bits.

    "sum": the sum of squares times a stored number, so that channels that are zero change nothing when they go.
    "mean": the plain mean, which is taken over whatever is there; `keep` says which channels count.
    """

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.weight, self.inverse_width, self.form = nn.Parameter(torch.rand(width) + 0.5), 1 / width, form
        self.keep: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        squares = (x.float() if x.dtype != torch.float64 else x).pow(2)
        if self.form == "sum":
            size = squares.sum(-1, keepdim=True) * self.inverse_width
        else:
            size = (squares if self.keep is None else squares[..., self.keep]).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(size + 1e-6)).to(x.dtype)


class _VideoAttention(nn.Module):
    """Self-attention whose queries and keys are normalised over their full width, before they are taken apart."""

    def __init__(self, width: int, heads: int, form: str) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.q_norm, self.k_norm = _RMSNorm(width, form), _RMSNorm(width, form)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, -1).unbind(2)
        parts = (t.view(b, n, self.num_heads, self.head_dim) for t in (self.q_norm(q), self.k_norm(k), v))
        y = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in parts))
        return self.proj(y.transpose(1, 2).reshape(b, n, -1))


class _VideoBlock(nn.Module):
    def __init__(self, width: int, heads: int, form: str) -> None:
        super().__init__()
        self.norm1, self.attn = _RMSNorm(width, form), _VideoAttention(width, heads, form)
        self.norm2, self.fc1, self.fc2 = _RMSNorm(width, form), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gamma1, self.gamma2 = (nn.Parameter(torch.rand(width) + 0.5) for _ in range(2))  # LayerScale

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x)) * self.gamma1
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)))) * self.gamma2


class _AttentionPooling(nn.Module):
    """Cross-attention from the mean token to all, with layers that share no bias with their weight."""

    def __init__(self, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.num_heads, self.scale = heads, (width // heads) ** -0.5
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.randn(width)) for _ in range(3))
        self.norm, self.proj = nn.LayerNorm(width), nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        b, n, x = len(x), x.shape[1], self.norm(x)
        q = self.part(F.linear(x.mean(1, keepdim=True), self.q.weight, self.q_bias), b, 1)
        k = self.part(F.linear(x, self.k.weight, self.k_bias), b, n)
        v = self.part(F.linear(x, self.v.weight, self.v_bias), b, n)
        y = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(b, 1, -1)).squeeze(1)

    def part(self, x: Tensor, b: int, n: int) -> Tensor:
        return x.reshape(b, n, 1, self.num_heads, -1).permute(2, 0, 3, 1, 4).squeeze(0)


_RESIDUAL = ("stem", "blocks.0.attn.proj", "blocks.0.fc2", "blocks.1.attn.proj", "blocks.1.fc2")


class VideoTransformer(Net):
    """InternVideo2's kind: RMS norms by hand, also on queries and keys, LayerScale, attention pooling."""

    form = "sum"
    expected_groups = {_RESIDUAL: 24, ("blocks.0.fc1",): 48, ("blocks.1.fc1",): 48, ("pool.proj",): 10}
    frozen = {"blocks.0.attn.qkv": "heads are kept", "pool.q": "heads are kept", "pool.v": "heads are kept"}
    shape = (2, 7, 5)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 24)
        self.blocks = nn.ModuleList(_VideoBlock(24, 4, self.form) for _ in range(2))
        self.pool, self.head = _AttentionPooling(24, 4, 10), nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.pool(x))


class VideoTransformerMean(VideoTransformer):
    """The same with plain means, which are taken over the channels kept."""

    form = "mean"


class PerHeadWeights(Net):
    """Attention whose norms and rotary embedding are the same for every head."""

    expected_groups = {("stem",): 24, ("proj",): 7}
    frozen = {"qkv": "heads are kept"}
    shape = (2, 5, 3)

    def __init__(self, norm: str = "layer", fused: bool = True) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.fused = 4, 6, fused
        make = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}[norm]
        self.stem, self.qkv, self.q_norm, self.k_norm = nn.Linear(3, 24), nn.Linear(24, 72), make(6), make(6)
        for norm_ in (self.q_norm, self.k_norm):
            nn.init.uniform_(norm_.weight, 0.5, 1.5)
        self.register_buffer("angles", torch.randn(5, 6))
        self.proj, self.head = nn.Linear(24, 7), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        qkv = self.qkv(self.stem(x)).reshape(b, n, 3, self.num_heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.turn(self.q_norm(q)), self.turn(self.k_norm(k))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v)
        else:
            y = (q * 6**-0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.head(self.proj(y.transpose(1, 2).reshape(b, n, -1))).mean(1)

    def turn(self, x: Tensor) -> Tensor:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).reshape(x.shape)
        return x * self.angles.cos() + turned * self.angles.sin()


class PerHeadRMSNorm(PerHeadWeights):
    """The same with an RMS norm, which torch takes apart: its mean makes one of each head's width."""

    def __init__(self) -> None:
        super().__init__("rms", fused=False)
