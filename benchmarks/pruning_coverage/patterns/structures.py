"""Structures of whole layers: outer products, kernels that are mixed, shuffles, shortcuts of zeros, iterations."""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pruning_coverage.patterns.base import Network, backbone

WIDTH = 32


class _Structure(Network):
    """Backbone to 32 channels, `middle` to 32 channels, a convolution and a head."""

    kind = "structures"
    reads: ClassVar[int] = WIDTH
    wanted: ClassVar[tuple[str, ...]] = ("features.2",)

    def __init__(self) -> None:
        super().__init__()
        self.features = backbone(24, WIDTH)
        self.last, self.head = nn.Conv2d(self.reads, 28, 3, padding=1), nn.Linear(28, 1)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.last(self.middle(self.features(x))).relu().mean((2, 3)))

    def middle(self, y: Tensor) -> Tensor:
        raise NotImplementedError


# --- outer products ------------------------------------------------------------------------------------------------


class BilinearPooling(_Structure):
    """Outer product of the channels, flattened, signed root, unit length, a linear layer (DBCNN)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH * WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).flatten(2)
        z = torch.bmm(y, y.mT).flatten(1) / y.shape[2]
        return self.head(F.normalize((z + 1e-8).sqrt()))


class TwoStreamBilinear(_Structure):
    """Outer product of two backbones of other widths."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.head = backbone(16, 20), nn.Linear(WIDTH * 20, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.features(x).flatten(2), self.second(x).flatten(2)
        return self.head(torch.einsum("bin,bjn->bij", a, b).reshape(len(x), -1) / a.shape[2])


class OuterByBroadcast(_Structure):
    """The outer product of two vectors, by broadcasting, through two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(WIDTH, 12), nn.Linear(WIDTH, 10)
        self.mix, self.head = nn.Linear(120, 24), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.features(x).mean((2, 3))
        outer = (self.u(z).relu()[:, :, None] * self.v(z).relu()[:, None]).flatten(1)
        return self.head(self.mix(outer).relu())


class UpperTriangle(_Structure):
    """The upper triangle of a covariance, picked by indices."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.head = nn.Conv2d(WIDTH, 12, 1), nn.Linear(78, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(self.features(x)).relu().flatten(2)
        cov = y @ y.mT / y.shape[2]
        row, column = torch.triu_indices(cov.shape[1], cov.shape[1])
        return self.head(cov[:, row, column])


class LowRankBilinear(_Structure):
    """Two projections multiplied: a bilinear pooling of low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v, self.head = nn.Linear(WIDTH, 64), nn.Linear(WIDTH, 64), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.features(x).flatten(2).mT
        return self.head((self.u(z).tanh() * self.v(z).tanh()).sum(1))


# --- kernels that are mixed or made ---------------------------------------------------------------------------------


class MixedKernels(_Structure):
    """CondConv: a weighted sum of four kernels for every picture, as one grouped convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.route = nn.Linear(WIDTH, 4)
        self.kernels, self.biases = (
            nn.Parameter(torch.randn(4, WIDTH, WIDTH, 3, 3) / 17),
            nn.Parameter(torch.randn(4, WIDTH)),
        )

    def middle(self, y: Tensor) -> Tensor:
        b, c, h, w = y.shape
        r = self.route(y.mean((2, 3))).sigmoid()
        kernel = torch.einsum("bk,koihw->boihw", r, self.kernels)
        out = F.conv2d(
            y.reshape(1, b * c, h, w), kernel.flatten(0, 1), (r @ self.biases).flatten(), padding=1, groups=b
        )
        return out.view(b, -1, h, w).relu()


class DynamicConvolution(_Structure):
    """The same by a matrix product of flattened kernels, softmax over the kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = WIDTH
        self.attend = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(WIDTH, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.Flatten()
        )
        self.weight = nn.Parameter(torch.randn(3, WIDTH, WIDTH, 3, 3) / 17)

    def middle(self, y: Tensor) -> Tensor:
        b, c, h, w = y.shape
        mix = (self.attend(y) / 2).softmax(1)
        kernel = (mix @ self.weight.view(3, -1)).view(b * self.out_channels, c, 3, 3)
        return F.conv2d(y.view(1, -1, h, w), kernel, padding=1, groups=b).view(b, self.out_channels, h, w).relu()


class SummedKernels(_Structure):
    """Kernels of two sizes added before they are used, as in re-parameterised networks."""

    def __init__(self) -> None:
        super().__init__()
        self.big, self.small = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 1)

    def middle(self, y: Tensor) -> Tensor:
        weight = self.big.weight + F.pad(self.small.weight, (1, 1, 1, 1))
        return F.conv2d(y, weight, self.big.bias + self.small.bias, padding=1).relu()


class FactorisedKernel(_Structure):
    """A weight that is the product of two thin matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.randn(WIDTH, 8) / 3), nn.Parameter(torch.randn(8, WIDTH) / 5)
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def middle(self, y: Tensor) -> Tensor:
        return F.conv2d(y, (self.left @ self.right)[:, :, None, None], self.bias).relu()


class LowRankAdapter(_Structure):
    """LoRA beside a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.down, self.up = nn.Linear(WIDTH, 4, bias=False), nn.Linear(4, WIDTH, bias=False)
        self.scaling = 16 / 4

    def middle(self, y: Tensor) -> Tensor:
        z = y.permute(0, 2, 3, 1)
        return (self.base(z) + self.scaling * self.up(self.down(z))).permute(0, 3, 1, 2).relu()


class HyperNetwork(_Structure):
    """A layer's weight and bias predicted from the picture, one place after another."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.bias = nn.Linear(WIDTH, 12 * WIDTH), nn.Linear(WIDTH, 12)
        self.out = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        z = y.mean((2, 3))
        target = torch.bmm(self.weights(z).view(len(x), 12, -1), y.flatten(2)) + self.bias(z)[:, :, None]
        return self.out(target.relu().mean(2))


class Involution(_Structure):
    """Kernels for every place, shared by the channels of a group."""

    def __init__(self) -> None:
        super().__init__()
        self.groups, self.kernel = 2, nn.Sequential(nn.Conv2d(WIDTH, 8, 1), nn.ReLU(), nn.Conv2d(8, 18, 1))

    def middle(self, y: Tensor) -> Tensor:
        b, c, h, w = y.shape
        kernel = self.kernel(y).view(b, self.groups, 9, h, w).unsqueeze(2)
        patches = F.unfold(y, 3, padding=1).view(b, self.groups, c // self.groups, 9, h, w)
        return (kernel * patches).sum(3).view(b, c, h, w)


class DynamicFilters(_Structure):
    """A filter of 5 taps for every place, from a softmax, on all channels alike."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Conv2d(WIDTH, 9, 3, padding=1)

    def middle(self, y: Tensor) -> Tensor:
        weights = self.taps(y).softmax(1)[:, None].flatten(3)
        return (F.unfold(y, 3, padding=1).unflatten(1, (-1, 9)) * weights).sum(2).unflatten(2, y.shape[2:])


class FilterPerChannel(_Structure):
    """A Gaussian held as a buffer, repeated for every channel at construction (SSIM on features)."""

    def __init__(self) -> None:
        super().__init__()
        line = torch.exp(-((torch.arange(5.0) - 2) ** 2) / 2)
        window = (line[:, None] * line)[None, None] / line.sum() ** 2
        self.register_buffer("window", window.repeat(WIDTH, 1, 1, 1))

    def middle(self, y: Tensor) -> Tensor:
        return y - F.conv2d(y, self.window, padding=2, groups=y.shape[1])


class FilterGrown(_Structure):
    """The filter is made anew when the number of channels changes, and kept."""

    def __init__(self) -> None:
        super().__init__()
        self.channel, self.window = 1, self.make(1)

    def make(self, channels: int) -> Tensor:
        """A box of 3 x 3 for every channel."""
        return torch.full((channels, 1, 3, 3), 1 / 9)

    def middle(self, y: Tensor) -> Tensor:
        channels = y.size(1)
        if channels != self.channel or self.window.dtype != y.dtype:
            self.window, self.channel = self.make(channels).to(y), channels
        return y * F.conv2d(y, self.window, padding=1, groups=channels)


class BlurPool(_Structure):
    """Antialiasing: a fixed kernel in a buffer of its own for each number of channels, with stride."""

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (line[:, None] * line / 16)[None, None].repeat(WIDTH, 1, 1, 1), persistent=False)

    def middle(self, y: Tensor) -> Tensor:
        return F.conv2d(F.pad(y, (1, 1, 1, 1), mode="reflect"), self.kernel, stride=2, groups=len(self.kernel))


# --- shuffles, parts and shortcuts ----------------------------------------------------------------------------------


class ShuffleSeventeen(_Structure):
    """A channel shuffle in 17 groups between two grouped convolutions."""

    reads = 51

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(WIDTH, 68, 1)
        self.first, self.second = nn.Conv2d(68, 51, 1, groups=17), nn.Conv2d(51, 51, 3, padding=1, groups=3)

    def middle(self, y: Tensor) -> Tensor:
        y = self.first(self.enter(y).relu()).relu()
        b, c, h, w = y.shape
        return self.second(y.view(b, 17, c // 17, h, w).transpose(1, 2).reshape(b, c, h, w)).relu()


class ShuffleByModule(_Structure):
    """nn.ChannelShuffle between grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(WIDTH, 48, 1, groups=4), nn.Conv2d(48, WIDTH, 3, padding=1, groups=4)
        self.shuffle = nn.ChannelShuffle(4)

    def middle(self, y: Tensor) -> Tensor:
        return self.second(self.shuffle(self.first(y).relu())).relu()


class SplitShuffle(_Structure):
    """ShuffleNet V2: half of the channels is worked on, then all are shuffled by two."""

    def __init__(self) -> None:
        super().__init__()
        half = WIDTH // 2
        self.work = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(half, half, 1),
                nn.ReLU(),
                nn.Conv2d(half, half, 3, 1, 1, groups=half),
                nn.Conv2d(half, half, 1),
                nn.ReLU(),
            )
            for _ in range(2)
        )

    def middle(self, y: Tensor) -> Tensor:
        for work in self.work:
            a, b = y.chunk(2, 1)
            y = torch.stack([a, work(b)], 2).flatten(1, 2)
        return y


class PermutedChannels(_Structure):
    """A fixed permutation of channels in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(WIDTH, generator=torch.Generator().manual_seed(3)))

    def middle(self, y: Tensor) -> Tensor:
        return y + y[:, self.order].tanh()


class ZeroPaddedShortcut(_Structure):
    """ResNet's option A: a strided shortcut whose missing channels are zeros."""

    reads = 48

    def __init__(self) -> None:
        super().__init__()
        self.work = nn.Sequential(nn.Conv2d(WIDTH, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 48, 3, 1, 1))

    def middle(self, y: Tensor) -> Tensor:
        return (self.work(y) + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))).relu()


class ZeroPaddedBehind(_Structure):
    """The same with all zeros behind, made by a new tensor of the difference of widths."""

    reads = 48

    def __init__(self) -> None:
        super().__init__()
        self.work = nn.Conv2d(WIDTH, 48, 3, 1, 1)

    def middle(self, y: Tensor) -> Tensor:
        z = self.work(y)
        return (z + torch.cat([y, y.new_zeros(len(y), z.shape[1] - y.shape[1], *y.shape[2:])], 1)).relu()


class PyramidalShortcut(_Structure):
    """PyramidNet: every block is a little wider, and its shortcut is padded with zeros."""

    reads = 44

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv2d(w, w + 4, 3, 1, 1) for w in (32, 36, 40))

    def middle(self, y: Tensor) -> Tensor:
        for block in self.blocks:
            y = block(y.relu()) + F.pad(y, (0, 0, 0, 0, 0, 4))
        return y


class PartialWork(_Structure):
    """FasterNet: a quarter of the channels is convolved, written back in place."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.work = WIDTH // 4, nn.Conv2d(WIDTH // 4, WIDTH // 4, 3, padding=1)
        self.mlp = nn.Sequential(nn.Conv2d(WIDTH, 64, 1), nn.ReLU(), nn.Conv2d(64, WIDTH, 1))

    def middle(self, y: Tensor) -> Tensor:
        z = y.clone()
        z[:, : self.part] = self.work(z[:, : self.part])
        return y + self.mlp(z)


class HierarchicalSplit(_Structure):
    """Res2Net: quarters of the channels, each added to the next before its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.width = WIDTH // 4
        self.convs = nn.ModuleList(nn.Conv2d(self.width, self.width, 3, padding=1) for _ in range(3))

    def middle(self, y: Tensor) -> Tensor:
        parts = torch.split(y, self.width, 1)
        out, z = [parts[0]], torch.zeros_like(parts[1])
        for part, conv in zip(parts[1:], self.convs, strict=True):
            z = conv(part + z).relu()
            out.append(z)
        return torch.cat(out, 1)


class GhostFeatures(_Structure):
    """Half of the features by a cheap depthwise convolution of the other half, cut to the number wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted, self.first = WIDTH, nn.Conv2d(WIDTH, 17, 1)
        self.cheap = nn.Conv2d(17, 17, 3, padding=1, groups=17)

    def middle(self, y: Tensor) -> Tensor:
        y = self.first(y).relu()
        return torch.cat([y, self.cheap(y).relu()], 1)[:, : self.wanted]


class SelectiveKernels(_Structure):
    """Two branches of other kernels, mixed by a softmax between them for every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=2, dilation=2)
        self.squeeze, self.excite = nn.Linear(WIDTH, 10), nn.Linear(10, 2 * WIDTH)

    def middle(self, y: Tensor) -> Tensor:
        both = torch.stack([self.a(y).relu(), self.b(y).relu()], 1)
        weights = self.excite(self.squeeze(both.sum(1).mean((2, 3))).relu()).view(len(y), 2, -1).softmax(1)
        return (both * weights[..., None, None]).sum(1)


class EfficientChannelAttention(_Structure):
    """A convolution over neighbouring channels: their order means something."""

    def __init__(self) -> None:
        super().__init__()
        self.over = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def middle(self, y: Tensor) -> Tensor:
        return y * self.over(y.mean((2, 3))[:, None]).sigmoid()[:, 0, :, None, None]


class Maxout(_Structure):
    """The larger of two channels."""

    reads = WIDTH // 2

    def middle(self, y: Tensor) -> Tensor:
        return y.unflatten(1, (-1, 2)).amax(2)


class CrissCross(_Structure):
    """Axial attention along rows, and along columns by the same layers."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Conv2d(WIDTH, 12, 1), nn.Conv2d(WIDTH, 12, 1), nn.Conv2d(WIDTH, WIDTH, 1)

    def middle(self, y: Tensor) -> Tensor:
        for turn in (False, True):
            z = y.mT if turn else y
            q, k, v = (f(z).permute(0, 2, 3, 1) for f in (self.q, self.k, self.v))
            z = ((q @ k.mT * 12**-0.5).softmax(-1) @ v).permute(0, 3, 1, 2)
            y = y + (z.mT if turn else z)
        return y


# --- tensors that nobody owns --------------------------------------------------------------------------------------


class PlainTable(_Structure):
    """A table of positions that is a plain tensor, no buffer."""

    def __init__(self) -> None:
        super().__init__()
        place = torch.arange(64.0)[:, None] / 50 ** (torch.arange(WIDTH // 2) / WIDTH)
        self.table = torch.cat([place.sin(), place.cos()], 1)

    def middle(self, y: Tensor) -> Tensor:
        return y + self.table[: y.shape[2]].to(y).T[None, :, :, None]


class TableInList(PlainTable):
    """The same in a list, one for rows and one for columns."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = [self.table, self.table.flip(0)]

    def middle(self, y: Tensor) -> Tensor:
        rows, columns = (t.to(y).T for t in self.tables)
        return y + rows[:, : y.shape[2], None] + columns[:, None, : y.shape[3]]


class TableMade(_Structure):
    """Sine and cosine made in the forward, from a stored number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = WIDTH

    def middle(self, y: Tensor) -> Tensor:
        rate = 1 / 50 ** (torch.arange(0, self.channels, 2).to(y) / self.channels)
        angle = torch.arange(y.shape[2]).to(y)[:, None] * rate
        table = torch.zeros(y.shape[2], self.channels).to(y)
        table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
        return y + table.T[None, :, :, None]


class MeanPerChannel(_Structure):
    """Means and deviations of features measured on a data set, as plain tensors."""

    def __init__(self) -> None:
        super().__init__()
        dice = torch.Generator().manual_seed(4)
        self.mean, self.std = torch.rand(WIDTH, generator=dice), torch.rand(WIDTH, generator=dice) + 0.5

    def middle(self, y: Tensor) -> Tensor:
        return (y - self.mean.to(y).view(1, -1, 1, 1)) / self.std.to(y).view(1, -1, 1, 1)


class Codebook(_Structure):
    """The nearest of 12 code words for every place; distances count every channel."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(12, WIDTH)

    def middle(self, y: Tensor) -> Tensor:
        flat = y.permute(0, 2, 3, 1)
        distance = (
            flat.square().sum(-1, keepdim=True) - 2 * flat @ self.words.weight.T + self.words.weight.square().sum(1)
        )
        return (-distance).softmax(-1).matmul(self.words.weight).permute(0, 3, 1, 2) + y


class ResidualEncoding(_Structure):
    """NetVLAD: softly assigned residuals to centres, summed and normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.assign, self.centres = nn.Conv2d(WIDTH, 6, 1), nn.Parameter(torch.rand(6, WIDTH))
        self.head = nn.Linear(6 * WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        weights, flat = self.assign(y).softmax(1).flatten(2), y.flatten(2)
        residual = weights @ flat.mT - weights.sum(2, keepdim=True) * self.centres
        return self.head(F.normalize(F.normalize(residual, dim=2).flatten(1), dim=1))


# --- iterations ----------------------------------------------------------------------------------------------------


class Converging(_Structure):
    """A fixed point: iterated until it moves no more, or thirty times."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Conv2d(WIDTH, WIDTH, 1)

    def middle(self, y: Tensor) -> Tensor:
        z = torch.zeros_like(y)
        for _ in range(30):
            new = (0.2 * self.step(z) + y).tanh()
            moved = float((new - z).norm() / (new.norm() + 1e-6))
            z = new
            if moved < 1e-2:
                break
        return z


class Unrolled(_Structure):
    """Four steps of one layer, with a recurrent state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.new = nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1), nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1)

    def middle(self, y: Tensor) -> Tensor:
        state = torch.zeros_like(y)
        for _ in range(4):
            both = torch.cat([state, y], 1)
            gate = self.gate(both).sigmoid()
            state = (1 - gate) * state + gate * self.new(both).tanh()
        return state


class Routing(_Structure):
    """Three rounds of routing between capsules: agreement over the capsule's width."""

    def __init__(self) -> None:
        super().__init__()
        self.votes, self.head = nn.Linear(8, 6 * 12), nn.Linear(72, 1)

    def forward(self, x: Tensor) -> Tensor:
        capsules = self.features(x).mean((2, 3)).view(len(x), 4, 8)
        votes = self.votes(capsules).view(len(x), 4, 6, 12)
        logits = torch.zeros(len(x), 4, 6, 1).to(x)
        for _ in range(3):
            out = (logits.softmax(2) * votes).sum(1, keepdim=True)
            length = out.square().sum(-1, keepdim=True)
            out = out * length.sqrt() / (1 + length)
            logits = logits + (votes * out).sum(-1, keepdim=True)
        return self.head(out.flatten(1))


class PowerIteration(_Structure):
    """The largest direction of the features by power iteration, multiplied in."""

    def middle(self, y: Tensor) -> Tensor:
        flat = y.flatten(2)
        v = flat.sum(1, keepdim=True)
        for _ in range(3):
            v = F.normalize((v @ flat.mT) @ flat, dim=2)
        return y + (flat @ v.mT)[..., None]


class Recursive(_Structure):
    """The same block on smaller and smaller maps, added up again."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.ReLU())

    def middle(self, y: Tensor) -> Tensor:
        return self.level(y, 2)

    def level(self, y: Tensor, depth: int) -> Tensor:
        """One level of the recursion."""
        out = self.block(y)
        if depth:
            out = out + F.interpolate(self.level(F.avg_pool2d(y, 2), depth - 1), size=y.shape[2:])
        return out


class LearntNumberOfSteps(_Structure):
    """A number of steps that a stored tensor says."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.register_buffer("steps", torch.tensor(3))

    def middle(self, y: Tensor) -> Tensor:
        for _ in range(int(self.steps)):
            y = y + 0.1 * self.step(y).relu()
        return y
