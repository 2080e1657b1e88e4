"""Attention as people write it: heads shared, grouped, learnt, pooled, rotated, normed; and heads of detectors."""

# ruff: noqa: D102, D106  (a class is what its name and its forward say)

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pruning_coverage.patterns.base import Network

DIM, HEADS, HEAD = 32, 4, 8


class _Tokens(Network):
    """Pictures to 16 tokens of width 32; two blocks of `attend` and a perceptron around a residual; a head."""

    kind = "heads"
    shape = (2, 3, 16, 16)
    others: ClassVar[tuple[tuple[int, ...], ...]] = ((3, 3, 16, 16), (1, 3, 24, 16))
    settings: ClassVar[dict[str, Any]] = {"attention": "heads"}
    wanted: ClassVar[tuple[str, ...]] = ("attentions.0", "mlps.0", "embed")
    blocks = 2

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, DIM, 4, 4)
        self.attentions = nn.ModuleList(self.make() for _ in range(self.blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(2 * self.blocks))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(DIM, 96), nn.GELU(), nn.Linear(96, DIM)) for _ in range(self.blocks)
        )
        self.head = nn.Linear(DIM, 1)

    def make(self) -> nn.Module:
        """One attention."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Any:
        return self.head(self.tokens(self.embed(x).flatten(2).mT).mean(1))

    def tokens(self, t: Tensor) -> Tensor:
        """The blocks."""
        for k, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            t = t + attention(self.norms[2 * k](t))
            t = t + mlp(self.norms[2 * k + 1](t))
        return t


class _Attention(nn.Module):
    """Queries, keys and values in layers of their own; numbers of heads as attributes."""

    def __init__(self, dim: int = DIM, heads: int = HEADS, kv_heads: int | None = None, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = heads, kv_heads or heads, dim // heads
        self.num_groups = self.num_heads // self.num_kv_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(dim, heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(dim, self.num_kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(dim, self.num_kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(heads * self.head_dim, dim, bias=bias)


def repeat_kv(t: Tensor, groups: int) -> Tensor:
    """(b, kv, n, d) to (b, kv * groups, n, d): each of them `groups` times in a row."""
    b, kv, n, d = t.shape
    return t if groups == 1 else t[:, :, None].expand(b, kv, groups, n, d).reshape(b, kv * groups, n, d)


def rotate_half(t: Tensor) -> Tensor:
    """The second half, negated, before the first."""
    half = t.shape[-1] // 2
    return torch.cat([-t[..., half:], t[..., :half]], -1)


class GroupedQueries(_Tokens):
    """Grouped queries as the decoders of transformers have them, with a rotary embedding."""

    kv_heads: ClassVar[int] = 2

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            shape = (*x.shape[:-1], -1, self.head_dim)
            q, k, v = (f(x).view(shape).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
            angle = torch.arange(x.shape[1], device=x.device).to(x.dtype)[:, None]
            angle = angle / 100 ** (torch.arange(0, self.head_dim, 2).to(x.dtype) / self.head_dim)
            cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
            q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
            k, v = repeat_kv(k, self.num_groups), repeat_kv(v, self.num_groups)
            weights = (torch.matmul(q, k.transpose(2, 3)) * self.scaling).softmax(-1, dtype=torch.float32).to(q.dtype)
            return self.o_proj(torch.matmul(weights, v).transpose(1, 2).reshape(*x.shape[:-1], -1).contiguous())

    def make(self) -> nn.Module:
        return self.Attention(kv_heads=self.kv_heads)


class MultiQuery(GroupedQueries):
    """One key and one value for all heads."""

    kv_heads = 1


class GroupedInterleaved(GroupedQueries):
    """Keys and values repeated by repeat_interleave."""

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q = self.q_proj(x).view(b, n, self.num_heads, self.head_dim).transpose(1, 2)
            k, v = (
                f(x).view(b, n, self.num_kv_heads, self.head_dim).transpose(1, 2) for f in (self.k_proj, self.v_proj)
            )
            k, v = (t.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1) for t in (k, v))
            return self.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1))


class GroupedByLibrary(GroupedQueries):
    """enable_gqa of torch's own attention."""

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q = self.q_proj(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            k, v = (f(x).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2) for f in (self.k_proj, self.v_proj))
            y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
            return self.o_proj(y.transpose(1, 2).reshape(b, n, self.num_heads * self.head_dim))


class GroupedByShape(GroupedQueries):
    """Queries shaped into groups that share a key."""

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q = self.q_proj(x).view(b, n, self.num_kv_heads, self.num_groups, self.head_dim)
            k, v = (f(x).view(b, n, self.num_kv_heads, self.head_dim) for f in (self.k_proj, self.v_proj))
            weights = (torch.einsum("bnkgd,bmkd->bkgnm", q, k) * self.scaling).softmax(-1)
            return self.o_proj(torch.einsum("bkgnm,bmkd->bnkgd", weights, v).flatten(2))


class MultiQueryEinsum(GroupedQueries):
    """One key and value for all heads, without a dimension of heads."""

    kv_heads = 1

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            q = self.q_proj(x).unflatten(-1, (self.num_heads, self.head_dim))
            weights = (torch.einsum("bnhd,bmd->bhnm", q, self.k_proj(x)) * self.scaling).softmax(-1)
            return self.o_proj(torch.einsum("bhnm,bmd->bnhd", weights, self.v_proj(x)).flatten(2))


class ComplexRotary(_Tokens):
    """Rotary embedding by complex numbers, from a table that is a buffer."""

    class Attention(_Attention):
        def __init__(self) -> None:
            super().__init__()
            angle = torch.arange(64.0)[:, None] / 100 ** (torch.arange(0, self.head_dim, 2) / self.head_dim)
            self.register_buffer("turns", torch.polar(torch.ones_like(angle), angle), persistent=False)

        def turned(self, t: Tensor) -> Tensor:
            pairs = torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous())
            return torch.view_as_real(pairs * self.turns[: t.shape[1], None]).flatten(3)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = (f(x).view(b, n, self.num_heads, self.head_dim) for f in (self.q_proj, self.k_proj, self.v_proj))
            q, k, v = (t.transpose(1, 2) for t in (self.turned(q), self.turned(k), v))
            return self.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1))

    def make(self) -> nn.Module:
        return self.Attention()


class AxialRotary(_Tokens):
    """Half of a head's width turns with the row, half with the column."""

    others = ((3, 3, 16, 16),)

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, c = x.shape
            q, k, v = (
                f(x).reshape(b, n, self.num_heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
            )
            place = torch.arange(n)
            rates = torch.tensor([1.0, 0.1]).to(x)
            angle = torch.cat([(place // 4)[:, None] * rates, (place % 4)[:, None] * rates], -1).repeat_interleave(
                2, -1
            )
            pairs = lambda t: torch.stack([-t[..., 1::2], t[..., ::2]], -1).flatten(-2)  # noqa: E731
            q, k = (t * angle.cos() + pairs(t) * angle.sin() for t in (q, k))
            return self.o_proj((F.softmax(q @ k.mT * self.scaling, -1) @ v).transpose(1, 2).reshape(b, n, c))

    def make(self) -> nn.Module:
        return self.Attention()


class FusedProjection(_Tokens):
    """ViT: one layer for queries, keys and values; `c // num_heads` in the forward."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads, self.scale = HEADS, HEAD**-0.5
            self.qkv, self.proj = nn.Linear(DIM, 3 * DIM, bias=False), nn.Linear(DIM, DIM)

        def forward(self, x: Tensor) -> Tensor:
            b, n, c = x.shape
            q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
            return self.proj(((q * self.scale @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))

    def make(self) -> nn.Module:
        return self.Attention()


class HeadsInBatch(_Tokens):
    """Heads folded into the batch."""

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            b, n, c = x.shape
            fold = lambda t: t.view(b, n, self.num_heads, -1).transpose(1, 2).reshape(b * self.num_heads, n, -1)  # noqa: E731
            q, k, v = (fold(f(x)) for f in (self.q_proj, self.k_proj, self.v_proj))
            y = torch.bmm(torch.baddbmm(x.new_zeros(len(q), n, n), q, k.mT, alpha=self.scaling).softmax(-1), v)
            return self.o_proj(y.view(b, self.num_heads, n, -1).transpose(1, 2).reshape(b, n, c))

    def make(self) -> nn.Module:
        return self.Attention()


class HeadsByChunk(_Tokens):
    """Each head by itself, in a loop over chunks."""

    class Attention(_Attention):
        def forward(self, x: Tensor) -> Tensor:
            parts = [f(x).chunk(self.num_heads, -1) for f in (self.q_proj, self.k_proj, self.v_proj)]
            heads = [((q @ k.mT) * self.scaling).softmax(-1) @ v for q, k, v in zip(*parts, strict=True)]
            return self.o_proj(torch.cat(heads, -1))

    def make(self) -> nn.Module:
        return self.Attention()


class EinopsHeads(_Tokens):
    """The same in einops' words, heads by keyword."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = HEADS
            self.to_qkv, self.to_out = nn.Linear(DIM, 3 * DIM, bias=False), nn.Linear(DIM, DIM)

        def forward(self, x: Tensor) -> Tensor:
            from einops import rearrange

            q, k, v = (rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in self.to_qkv(x).chunk(3, -1))
            y = (torch.einsum("b h i d, b h j d -> b h i j", q, k) * HEAD**-0.5).softmax(-1) @ v
            return self.to_out(rearrange(y, "b h n d -> b n (h d)"))

    def make(self) -> nn.Module:
        return self.Attention()


class NormedQueries(_Tokens):
    """Queries and keys normalised over one head's width."""

    class Attention(_Attention):
        def __init__(self) -> None:
            super().__init__()
            self.q_norm, self.k_norm = nn.RMSNorm(HEAD, eps=1e-6), nn.LayerNorm(HEAD)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = (
                f(x).view(b, n, -1, self.head_dim).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
            )
            y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
            return self.o_proj(y.transpose(1, 2).flatten(2))

    def make(self) -> nn.Module:
        return self.Attention()


class CosineAttention(_Tokens):
    """Swin v2: cosine similarity, a learnt temperature and a bias from a small network for each head."""

    others = ((3, 3, 16, 16),)

    class Attention(_Attention):
        def __init__(self) -> None:
            super().__init__()
            self.logit_scale = nn.Parameter(torch.log(10 * torch.ones(HEADS, 1, 1)))
            self.bias_mlp = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, HEADS, bias=False))
            place = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij"), -1).view(-1, 2)
            self.register_buffer("offsets", (place[:, None] - place[None]) / 3, persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            b, n, c = x.shape
            q, k, v = (
                f(x).view(b, n, self.num_heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
            )
            scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * self.logit_scale.clamp(max=4.6).exp()
            scores = scores + 16 * self.bias_mlp(self.offsets.to(x)).sigmoid().permute(2, 0, 1)[None]
            return self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))

    def make(self) -> nn.Module:
        return self.Attention()


class TalkingHeads(_Tokens):
    """A linear layer over the heads, before the softmax and after it."""

    class Attention(_Attention):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = nn.Linear(HEADS, HEADS), nn.Linear(HEADS, HEADS)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = (
                f(x).view(b, n, self.num_heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
            )
            scores = self.before((q @ k.mT * self.scaling).permute(0, 2, 3, 1)).softmax(2)
            weights = self.after(scores).permute(0, 3, 1, 2)
            return self.o_proj((weights @ v).transpose(1, 2).flatten(2))

    def make(self) -> nn.Module:
        return self.Attention()


class LinearAttention(_Tokens):
    """EfficientViT: ReLU for a softmax, keys and values multiplied first, a column of ones for the divisor."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dim = HEAD
            self.qkv, self.proj = nn.Linear(DIM, 3 * DIM, bias=False), nn.Linear(DIM, DIM)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            qkv = self.qkv(x).mT.reshape(b, -1, 3 * self.dim, n).mT
            q, k, v = qkv[..., : self.dim].relu(), qkv[..., self.dim : 2 * self.dim].relu(), qkv[..., 2 * self.dim :]
            v = F.pad(v, (0, 1), value=1.0)
            y = q @ (k.mT @ v)
            y = y[..., :-1] / (y[..., -1:] + 1e-6)
            return self.proj(y.mT.reshape(b, -1, n).mT)

    def make(self) -> nn.Module:
        return self.Attention()


class PooledAttention(_Tokens):
    """MViT: queries, keys and values of every head are pooled by one depthwise convolution."""

    others = ((3, 3, 16, 16),)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads, self.head_dim, self.scale = HEADS, HEAD, HEAD**-0.5
            self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
            self.pool_q, self.pool_k, self.pool_v = (
                nn.Conv2d(HEAD, HEAD, 3, stride, 1, groups=HEAD, bias=False) for stride in (1, 2, 2)
            )
            self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(HEAD) for _ in range(3))

        def pooled(self, t: Tensor, pool: nn.Module, norm: nn.Module) -> Tensor:
            b, h, n, d = t.shape
            maps = pool(t.reshape(b * h, 4, n // 4, d).permute(0, 3, 1, 2))
            return norm(maps.flatten(2).mT.reshape(b, h, -1, d))

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).transpose(1, 3).unbind(2)
            q, k, v = (
                self.pooled(t, p, m)
                for t, p, m in (
                    (q, self.pool_q, self.norm_q),
                    (k, self.pool_k, self.norm_k),
                    (v, self.pool_v, self.norm_v),
                )
            )
            y = (self.scale * q) @ k.mT
            return self.proj((y.softmax(-1) @ v + q).transpose(1, 2).reshape(b, n, -1))

    def make(self) -> nn.Module:
        return self.Attention()


class ReducedKeys(_Tokens):
    """PVT: keys and values from a map made smaller by a strided convolution."""

    others = ((3, 3, 16, 16),)

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads, self.scale = HEADS, HEAD**-0.5
            self.q, self.kv, self.proj = nn.Linear(DIM, DIM), nn.Linear(DIM, 2 * DIM), nn.Linear(DIM, DIM)
            self.sr, self.norm = nn.Conv2d(DIM, DIM, 2, 2), nn.LayerNorm(DIM)

        def forward(self, x: Tensor) -> Tensor:
            b, n, c = x.shape
            side = math.isqrt(n)
            q = self.q(x).reshape(b, n, self.num_heads, c // self.num_heads).permute(0, 2, 1, 3)
            small = self.norm(self.sr(x.permute(0, 2, 1).reshape(b, c, side, side)).reshape(b, c, -1).permute(0, 2, 1))
            k, v = self.kv(small).reshape(b, -1, 2, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
            return self.proj(((q @ k.mT * self.scale).softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))

    def make(self) -> nn.Module:
        return self.Attention()


class LatentKeys(_Tokens):
    """Keys and values from one narrow latent (multi-head latent attention)."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads, self.head_dim = HEADS, HEAD
            self.q, self.down, self.norm = nn.Linear(DIM, DIM), nn.Linear(DIM, 20), nn.RMSNorm(20)
            self.up, self.out = nn.Linear(20, 2 * DIM), nn.Linear(DIM, DIM)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q = self.q(x).view(b, n, self.num_heads, self.head_dim).transpose(1, 2)
            k, v = self.up(self.norm(self.down(x))).view(b, n, self.num_heads, -1).transpose(1, 2).chunk(2, -1)
            return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1))

    def make(self) -> nn.Module:
        return self.Attention()


class SharedBias(_Tokens):
    """T5: the first layer makes a bias of relative positions for every head, and all layers use it."""

    class Attention(_Attention):
        def forward(self, x: Tensor, bias: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = (
                f(x).view(b, n, self.num_heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
            )
            return self.o_proj(((q @ k.mT + bias).softmax(-1) @ v).transpose(1, 2).reshape(b, n, -1))

    def __init__(self) -> None:
        super().__init__()
        self.relative = nn.Embedding(32, HEADS)

    def make(self) -> nn.Module:
        return self.Attention()

    def tokens(self, t: Tensor) -> Tensor:
        place = torch.arange(t.shape[1])
        bias = self.relative((place[:, None] - place).clamp(-15, 15) + 15).permute(2, 0, 1)[None]
        for k, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            t = t + attention(self.norms[2 * k](t), bias)
            t = t + mlp(self.norms[2 * k + 1](t))
        return t


class Slopes(_Tokens):
    """ALiBi: a slope for each head, in a buffer that no layer owns."""

    class Attention(_Attention):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("slopes", 2.0 ** -torch.arange(1, HEADS + 1), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            b, n, _ = x.shape
            q, k, v = (
                f(x).view(b, n, self.num_heads, -1).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
            )
            place = torch.arange(n).to(x)
            bias = -self.slopes.to(x)[:, None, None] * (place[:, None] - place).abs()
            return self.o_proj(F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None]).transpose(1, 2).flatten(2))

    def make(self) -> nn.Module:
        return self.Attention()


class LibraryAttention(_Tokens):
    """nn.MultiheadAttention, with its weights asked for."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y, weights = self.attention(x, x, x, need_weights=True)
            return y * weights.amax(-1).mean(1)[:, None, None]

    def make(self) -> nn.Module:
        return self.Attention()


class MaskedByHeads(_Tokens):
    """A mask repeated for every head, as nn.MultiheadAttention wants it."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.num_heads, self.attention = HEADS, nn.MultiheadAttention(DIM, HEADS, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            far = (torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])).abs() > 5
            mask = far.expand(len(x), -1, -1).repeat_interleave(self.num_heads, 0)
            return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]

    def make(self) -> nn.Module:
        return self.Attention()


class _Plain(Network):
    kind = "heads"
    shape = (2, 3, 16, 16)
    others: ClassVar[tuple[tuple[int, ...], ...]] = ((3, 3, 16, 16), (1, 3, 24, 16))
    settings: ClassVar[dict[str, Any]] = {"attention": "heads"}
    wanted: ClassVar[tuple[str, ...]] = ("embed",)


class LearntQueries(_Plain):
    """DETR: queries that are parameters look at the map through nn.TransformerDecoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.queries = nn.Conv2d(3, DIM, 4, 4), nn.Parameter(torch.randn(6, DIM))
        layer = nn.TransformerDecoderLayer(DIM, HEADS, 64, batch_first=True)
        self.decoder, self.head = nn.TransformerDecoder(layer, 2), nn.Linear(DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.embed(x).flatten(2).mT
        return self.head(self.decoder(self.queries.expand(len(x), -1, -1), memory).mean(1))


class EmbeddedQueries(_Plain):
    """Queries in an nn.Embedding, the batch second, position added to the queries of every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.queries = nn.Conv2d(3, DIM, 4, 4), nn.Embedding(5, DIM)
        self.cross = nn.ModuleList(nn.MultiheadAttention(DIM, HEADS) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(DIM, 80), nn.ReLU(), nn.Linear(80, DIM))
        self.head = nn.Linear(DIM, 3)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.embed(x).flatten(2).permute(2, 0, 1)
        place = self.queries.weight.unsqueeze(1).repeat(1, len(x), 1)
        target = torch.zeros_like(place)
        for attention, norm in zip(self.cross, self.norms, strict=True):
            target = norm(target + attention(target + place, memory, memory)[0])
            target = target + self.mlp(target)
        return self.head(target).softmax(-1)


class WholeTransformer(_Plain):
    """nn.Transformer: encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.queries = nn.Conv2d(3, DIM, 4, 4), nn.Parameter(torch.randn(1, 4, DIM))
        self.transformer = nn.Transformer(DIM, HEADS, 1, 1, 64, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.transformer(self.embed(x).flatten(2).mT, self.queries.repeat(len(x), 1, 1)).amax(1))


class Perceiver(_Plain):
    """A few latents read many tokens, then one another."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.latents = nn.Conv2d(3, 28, 4, 4), nn.Parameter(torch.randn(4, DIM))
        self.q, self.kv, self.out = nn.Linear(DIM, DIM), nn.Linear(28, 2 * DIM), nn.Linear(DIM, DIM)
        self.mix = nn.TransformerEncoderLayer(DIM, HEADS, 64, batch_first=True, norm_first=True)
        self.head = nn.Linear(DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        split = lambda t: t.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # noqa: E731
        k, v = self.kv(self.embed(x).flatten(2).mT).chunk(2, -1)
        q = self.q(self.latents).expand(len(x), -1, -1)
        z = self.latents + self.out(
            F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).flatten(2)
        )
        return self.head(self.mix(z).mean(1))


class ClassToken(_Plain):
    """A class token and a token for each of two distortions, in front of the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, DIM, 4, 4)
        self.cls, self.extra = nn.Parameter(torch.randn(1, 1, DIM)), nn.Parameter(torch.randn(1, 2, DIM))
        self.place = nn.Parameter(torch.randn(1, 3 + 16, DIM))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(DIM, HEADS, 64, batch_first=True), 2, enable_nested_tensor=False
        )
        self.head, self.kinds = nn.Linear(DIM, 1), nn.Linear(DIM, 5)

    def forward(self, x: Tensor) -> Any:
        tokens = self.embed(x).flatten(2).mT
        rows = F.interpolate(self.place[:, 3:].mT, size=tokens.shape[1], mode="linear").mT
        front = torch.cat([self.cls, self.extra], 1) + self.place[:, :3]
        tokens = self.encoder(torch.cat([front.expand(len(x), -1, -1), tokens + rows], 1))
        return self.head(tokens[:, 0]), self.kinds(tokens[:, 1])


class AttentionPool(_Plain):
    """CLIP's pool: the mean of a map asks its places, through torch's functional attention on layers' weights."""

    others = ((3, 3, 16, 16),)

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Conv2d(3, DIM, 4, 4), nn.Parameter(torch.randn(17, DIM) / 5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(DIM, DIM) for _ in range(3))
        self.c_proj, self.num_heads, self.head = nn.Linear(DIM, 24), HEADS, nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).relu().flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + self.place[:, None]
        y, _ = F.multi_head_attention_forward(
            query=x[:1],
            key=x,
            value=x,
            embed_dim_to_check=x.shape[-1],
            num_heads=self.num_heads,
            q_proj_weight=self.q_proj.weight,
            k_proj_weight=self.k_proj.weight,
            v_proj_weight=self.v_proj.weight,
            in_proj_weight=None,
            in_proj_bias=torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.c_proj.weight,
            out_proj_bias=self.c_proj.bias,
            use_separate_proj_weight=True,
            training=False,
            need_weights=False,
        )
        return self.head(y.squeeze(0))


class SpatialReduction(_Plain):
    """MUSIQ-like: pictures of two scales as one sequence, with a scale embedding and a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.scales = nn.Conv2d(3, DIM, 4, 4), nn.Embedding(2, DIM)
        self.encoder = nn.TransformerEncoderLayer(DIM, HEADS, 64, batch_first=True)
        self.head = nn.Linear(DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.embed(x), self.embed(F.avg_pool2d(x, 2))]
        tokens = torch.cat([m.flatten(2).mT + self.scales.weight[k] for k, m in enumerate(maps)], 1)
        padding = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        padding[:, -1] = True
        return self.head(self.encoder(tokens, src_key_padding_mask=padding)[:, 0])


class DetectionHead(_Plain):
    """Boxes and classes over two levels, concatenated and split again by stored numbers."""

    wanted = ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.classes, self.bins = 3, 4
        self.a, self.b = nn.Conv2d(3, 24, 3, 2, 1), nn.Conv2d(24, 32, 3, 2, 1)
        make = lambda i, o: nn.Sequential(nn.Conv2d(i, 16, 3, 1, 1), nn.SiLU(), nn.Conv2d(16, o, 1))  # noqa: E731
        self.boxes = nn.ModuleList(make(i, 4 * self.bins) for i in (24, 32))
        self.kinds = nn.ModuleList(make(i, self.classes) for i in (24, 32))

    def forward(self, x: Tensor) -> Any:
        a = F.silu(self.a(x))
        levels = [a, F.silu(self.b(a))]
        found = [torch.cat([f(m), g(m)], 1).flatten(2) for f, g, m in zip(self.boxes, self.kinds, levels, strict=True)]
        boxes, kinds = torch.cat(found, 2).split((4 * self.bins, self.classes), 1)
        weights = boxes.view(len(x), 4, self.bins, -1).softmax(2)
        return (weights * torch.arange(self.bins).to(x).view(1, 1, -1, 1)).sum(2), kinds.sigmoid()
