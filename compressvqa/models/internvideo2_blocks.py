"""The parts of an InternVideo2 network: its transformer block and the attention that pools its tokens.

Written so that pruning is exact: heads are counted by plain attributes, the scale of attention is a stored number, and
a norm divides by the width that it was built with, so that a channel of zeros and a removed one are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from compressvqa.models.clips import at_least_single


class Linear(nn.Linear):
    """A linear layer that starts from a normal distribution of deviation 0.02 and a bias of 0.

    The public code truncates it at 2, which is a hundred deviations: it never happens. Drawing once, and not first as
    torch does by default, halves the time that a network of a billion parameters takes to build.
    """

    def reset_parameters(self) -> None:
        """Draws the weights anew."""
        nn.init.normal_(self.weight, std=0.02)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class RMSNorm(nn.Module):
    """x / sqrt(mean of squares + eps) * weight over the last dimension (B. Zhang, R. Sennrich, NeurIPS 2019, eq. 4).

    The mean divides by the width at construction, also after pruning, and is taken in single precision at least.

    Args:
        width: channels.
        eps: added to the mean.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps, self.share = eps, 1 / width

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same, in the same precision."""
        wide = at_least_single(x)
        mean = wide.square().sum(-1, keepdim=True) * self.share
        return (wide * torch.rsqrt(mean + self.eps) * at_least_single(self.weight)).to(x.dtype)


class Attention(nn.Module):
    """Self-attention whose queries and keys are normalised over all heads together.

    Args:
        width: channels, a multiple of `heads`.
        heads: heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.qkv = Linear(width, 3 * width, bias=False)
        self.q_norm, self.k_norm = RMSNorm(width), RMSNorm(width)
        self.proj = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        parts = (self.q_norm(query), self.k_norm(key), value)
        query, key, value = (part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return found


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    Args:
        width: channels in and out.
        hidden: channels between.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = Linear(width, hidden), nn.GELU(), Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same."""
        found: Tensor = self.fc2(self.act(self.fc1(x)))
        return found


class LayerScale(nn.Module):
    """A learnt factor for each channel (H. Touvron et al., "Going Deeper with Image Transformers", 2021, eq. 4).

    Args:
        width: channels.
        start: the factors at first.
    """

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same."""
        return x * self.gamma


class DropPath(nn.Module):
    """While training, drops the whole branch of a sample at random (G. Huang et al., ECCV 2016).

    Args:
        rate: how often, in [0, 1); the branches kept are scaled so that the mean stays.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to the same."""
        if self.rate == 0 or not self.training:
            return x
        kept: Tensor = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + mlp(norm(x)), each branch scaled.

    Args:
        width: channels.
        heads: attention heads.
        hidden: channels inside the MLP.
        layer_scale: what the branches are scaled by at first.
        drop_path: how often a branch is dropped while training.
    """

    def __init__(self, width: int, heads: int, hidden: int, *, layer_scale: float, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = RMSNorm(width), Attention(width, heads), LayerScale(width, layer_scale)
        self.norm2, self.mlp, self.ls2 = RMSNorm(width), Mlp(width, hidden), LayerScale(width, layer_scale)
        self.drop_path1, self.drop_path2 = DropPath(drop_path), DropPath(drop_path)

    def forward(self, x: Tensor, recompute: bool = False) -> Tensor:
        """(B, N, width) to the same; `recompute` keeps nothing for the backward pass but x."""
        if recompute:
            # Inside the module, so that who taps its output gets the one that gradients flow through.
            found: Tensor = checkpoint(self._layer, x, use_reentrant=False)
            return found
        return self._layer(x)

    def _layer(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
        found: Tensor = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return found


class CrossAttention(nn.Module):
    """Attention between tokens of three kinds, its biases apart from its weights, as the public code names them.

    Args:
        width: channels in, a multiple of `heads`.
        heads: heads.
        features: channels out.
    """

    def __init__(self, width: int, heads: int, features: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.q, self.k, self.v = (Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(3))
        self.proj = Linear(width, features)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, M, width), (B, N, width) twice, to (B, M, features)."""
        parts = (self.q(query) + self.q_bias, self.k(key) + self.k_bias, self.v(value) + self.v_bias)
        query, key, value = (part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=self.scale)
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return found


class AttentionPooling(nn.Module):
    """All tokens to one: attention whose only query is their mean.

    Args:
        width: channels in.
        heads: heads.
        features: channels out.
    """

    def __init__(self, width: int, heads: int, features: int) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))
        self.cross_attn = CrossAttention(width, heads, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to (B, features)."""
        query = self.norm1_q(tokens.mean(1, keepdim=True))
        found: Tensor = self.cross_attn(query, self.norm1_k(tokens), self.norm1_v(tokens))
        return found.squeeze(1)
