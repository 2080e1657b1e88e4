"""Heads in the ways that people write them: shared keys, learnt queries, rotations, biases and pools of heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pruning.reference import difference, gone_slots, zeroed
from torch import Tensor, nn

from compressvqa.pruning import prune

HEADS, WIDTH = 4, 24
X = (torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)),)
LONGER = (torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(1)),)


class Scorer(nn.Module):
    """Tokens, attention of some kind, a score."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.stem, self.attention, self.head = nn.Linear(5, WIDTH), attention, nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(self.stem(x))).mean((1, 2))


class Attention(nn.Module):
    """Queries, keys and values of `HEADS` heads; a subclass says what becomes of them."""

    kv_heads = HEADS

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale = HEADS, WIDTH // HEADS, (WIDTH // HEADS) ** -0.5
        for name, value in settings.items():
            setattr(self, name, value)
        self.q, self.proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.k, self.v = (nn.Linear(WIDTH, self.kv_heads * self.head_dim) for _ in range(2))
        self.make()

    def make(self) -> None:
        """Further layers."""

    def split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)

    def queries(self, x: Tensor) -> Tensor:
        return self.split(self.q(x))

    def prepare(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return q, k, v

    def weigh(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.weigh(q @ k.transpose(-2, -1) * self.scale) @ v

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        q, k, v = self.prepare(self.queries(x), self.split(self.k(x)), self.split(self.v(x)))
        y = self.attend(q, k, v).transpose(1, 2)
        return self.proj(y.reshape(*y.shape[:2], -1))


class Grouped(Attention):
    """Two heads of keys and values for four of queries."""

    kv_heads = 2
    how = "expand"

    def make(self) -> None:
        self.num_key_value_groups = HEADS // self.kv_heads

    def repeat(self, k: Tensor) -> Tensor:
        b, kv, n, d = k.shape
        if self.how == "expand":
            r = self.num_key_value_groups
            return k[:, :, None].expand(b, kv, r, n, d).reshape(b, kv * r, n, d)
        return k.repeat_interleave(self.num_key_value_groups, dim=1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.how == "torch":
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        if self.how == "five":
            b, h, n, d = q.shape
            q = q.view(b, k.shape[1], -1, n, d)
            return (self.weigh(q @ k[:, :, None].transpose(-2, -1) * self.scale) @ v[:, :, None]).reshape(b, h, n, d)
        if self.how == "broadcast":
            return super().attend(q, k, v)
        return super().attend(q, self.repeat(k), self.repeat(v))


class Multi(Grouped):
    """One head of keys and values for all."""

    kv_heads = 1


class Learnt(Attention):
    """Queries that no input has a say in."""

    how = "latent"

    def make(self) -> None:
        if self.how == "heads":
            self.per_head = nn.Parameter(torch.randn(1, HEADS, 3, WIDTH // HEADS))
            del self.q
        else:
            self.latent = nn.Parameter(torch.randn(1, 3, WIDTH))

    def queries(self, x: Tensor) -> Tensor:
        if self.how == "heads":
            return self.per_head.expand(len(x), -1, -1, -1)
        if self.how == "first":
            return self.split(self.q(self.latent)).expand(len(x), -1, -1, -1)
        return self.split(self.q(self.latent.expand(len(x), -1, -1)))


class Rotary(Attention):
    """Queries and keys turned by their place."""

    how = "half"

    def make(self) -> None:
        self.register_buffer("inverse", 100 ** (-torch.arange(0, WIDTH // HEADS, 2) / (WIDTH // HEADS)))

    def turn(self, u: Tensor) -> Tensor:
        angles = torch.arange(u.shape[2]).to(u)[:, None] * self.inverse
        if self.how == "complex":
            turned = torch.view_as_complex(u.reshape(*u.shape[:-1], -1, 2)) * torch.polar(
                torch.ones_like(angles), angles
            )
            return torch.view_as_real(turned).flatten(3)
        if self.how == "interleaved":
            cos, sin = (f(angles).repeat_interleave(2, -1) for f in (torch.cos, torch.sin))
            return u * cos + torch.stack([-u[..., 1::2], u[..., ::2]], -1).flatten(-2) * sin
        cos, sin = (f(torch.cat([angles, angles], -1)) for f in (torch.cos, torch.sin))
        first, second = u[..., : u.shape[-1] // 2], u[..., u.shape[-1] // 2 :]
        return u * cos + torch.cat([-second, first], -1) * sin

    def prepare(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.turn(q), self.turn(k), v


class Linear(Attention):
    """Attention without a softmax over tokens, as EfficientViT has it; a column of ones counts the weights."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = q.relu(), k.relu(), F.pad(v, (0, 1), value=1.0)
        y = q @ (k.transpose(-1, -2) @ v)
        return y[..., :-1] / (y[..., -1:] + 1e-3)


class Cosine(Attention):
    """Swin v2: directions are compared, each head has a scale, and a small network makes the bias of a distance."""

    def make(self) -> None:
        self.logit_scale = nn.Parameter(torch.rand(HEADS, 1, 1))
        self.bias = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, HEADS, bias=False))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        places = torch.arange(q.shape[2]).to(q)
        bias = 16 * torch.sigmoid(self.bias((places[:, None] - places)[..., None])).permute(2, 0, 1)
        return self.weigh(scores * self.logit_scale.clamp(max=4.6).exp() + bias) @ v


class Biased(Attention):
    """T5: a table of biases with a column for each head; ALiBi: a slope for each."""

    how = "t5"

    def make(self) -> None:
        if self.how == "t5":
            self.table = nn.Embedding(8, HEADS)
        else:
            self.register_buffer("slopes", 2.0 ** -torch.arange(1, HEADS + 1)[:, None, None])

    def weigh(self, scores: Tensor) -> Tensor:
        places = torch.arange(scores.shape[-1])
        apart = places[:, None] - places
        if self.how == "t5":
            return (scores + self.table(apart.clamp(-3, 4) + 3).permute(2, 0, 1)[None]).softmax(-1)
        return (scores - apart.abs() * self.slopes).softmax(-1)


class Talking(Attention):
    """Layers over the heads before and after the softmax."""

    def make(self) -> None:
        self.before, self.after = nn.Linear(HEADS, HEADS), nn.Linear(HEADS, HEADS)

    def weigh(self, scores: Tensor) -> Tensor:
        return self.after(self.before(scores.permute(0, 2, 3, 1)).softmax(-2)).permute(0, 3, 1, 2)


class Shared(Attention):
    """A gate over the width of a head that all heads share, made from the tokens, and a temperature for each head."""

    def make(self) -> None:
        self.gate, self.norm, self.heat = (
            nn.Linear(WIDTH, WIDTH // HEADS),
            nn.LayerNorm(WIDTH // HEADS),
            nn.Linear(WIDTH, HEADS),
        )

    def prepare(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.norm(q) * self.gate(self.x).sigmoid()[:, None], k, v * self.heat(self.x).mT[..., None]


class Pooled(Attention):
    """MViT: one small convolution pools keys and values of every head."""

    def make(self) -> None:
        width = WIDTH // HEADS
        self.pool, self.norm = nn.Conv1d(width, width, 3, 2, 1, groups=width, bias=False), nn.LayerNorm(width)

    def less(self, u: Tensor) -> Tensor:
        b, h, n, d = u.shape
        return self.norm(self.pool(u.reshape(b * h, n, d).mT).mT.reshape(b, h, -1, d))

    def prepare(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return q, self.less(k), self.less(v)


KINDS: dict[str, tuple[Callable[[], nn.Module], int]] = {  # and the heads that can go one by one
    **{f"grouped, {how}": (lambda how=how: Grouped(how=how), 2) for how in ("expand", "interleave", "torch", "five")},
    **{f"multi, {how}": (lambda how=how: Multi(how=how), 4) for how in ("expand", "interleave", "broadcast")},
    **{f"learnt, {how}": (lambda how=how: Learnt(how=how), 4) for how in ("latent", "first", "heads")},
    **{f"rotary, {how}": (lambda how=how: Rotary(how=how), 4) for how in ("half", "interleaved", "complex")},
    "linear": (Linear, 4), "cosine": (Cosine, 4), "talking": (Talking, 4), "shared": (Shared, 4), "pooled": (Pooled, 4),
    **{f"biased, {how}": (lambda how=how: Biased(how=how), 4) for how in ("t5", "alibi")},
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_half_of_the_heads_go(name: str) -> None:
    make, heads = KINDS[name]
    torch.manual_seed(0)
    net = Scorer(make()).eval()
    pruned = prune(net, X, ratios=0.5, attention="heads")
    (group,) = (g for g in pruned.groups if "attention.proj" in g.consumers)
    assert (group.channels, pruned.plan.kept[group.name]) == (heads, heads // 2)
    assert pruned.model.attention.proj.weight.shape == (WIDTH // 2, WIDTH // 2)
    reference, small = zeroed(net, gone_slots(pruned)), pruned.model.double()
    for given in (X, LONGER):
        assert difference(small, reference, given) < 1e-9


@pytest.mark.parametrize("name", KINDS)
def test_heads_and_their_width_are_kept_by_default(name: str) -> None:
    torch.manual_seed(0)
    pruned = prune(Scorer(KINDS[name][0]()).eval(), X, ratios=0.5, attention="keep")
    assert pruned.model.attention.k.weight.shape[0] == KINDS[name][0]().k.weight.shape[0]
    assert pruned.model.attention.proj.weight.shape[1] == WIDTH


class Decoder(nn.Module):
    """A transformer's decoder whose queries are learnt, batch or sequence first."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.first, self.queries = batch_first, nn.Embedding(3, WIDTH)
        layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 32, 0.0, batch_first=batch_first)
        self.layers = nn.TransformerDecoder(layer, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return self.layers(self.queries.weight.expand(len(x), -1, -1), x)
        return self.layers(self.queries.weight[:, None].repeat(1, len(x), 1), x.transpose(0, 1)).transpose(0, 1)


class Detector(nn.Module):
    """DETR: zeros ask, and where they ask from is added to queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Embedding(3, WIDTH)
        self.own, self.cross = nn.MultiheadAttention(WIDTH, HEADS), nn.MultiheadAttention(WIDTH, HEADS)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        place, memory = self.place.weight[:, None].repeat(1, len(x), 1), x.transpose(0, 1)
        y = torch.zeros_like(place)
        y = self.norms[0](y + self.own(y + place, y + place, y)[0])
        y = self.norms[1](y + self.cross(y + place, memory, memory, need_weights=False)[0])
        return self.norms[2](y + self.mlp(y)).transpose(0, 1)


class Whole(nn.Module):
    """nn.Transformer with a mask and learnt queries."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, WIDTH))
        self.both = nn.Transformer(WIDTH, HEADS, 1, 1, 32, 0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return self.both(x, self.queries.expand(len(x), -1, -1), src_mask=mask)


@pytest.fixture
def layers_of_layers() -> Iterator[None]:
    """Transformer layers run their layers: torch's one operator for all of them would pass by the norms below."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize(
    "make", [lambda: Decoder(True), lambda: Decoder(False), Detector, Whole], ids=["first", "last", "detr", "whole"]
)
@pytest.mark.usefixtures("layers_of_layers")
def test_learnt_queries_of_torch_layers(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = Scorer(make()).eval()
    pruned = prune(net, X, target_macs=0.5, attention="heads")
    assert pruned.model.stem.out_features in (6, 12, 18)
    assert not pruned.plan.frozen
    reference, small = zeroed(net, gone_slots(pruned)), pruned.model.double()
    norms = [m for m in reference.modules() if isinstance(m, nn.LayerNorm)]
    assert norms
    for norm in norms:
        kept(norm)
    for given in (X, LONGER):
        assert difference(small, reference, given) < 1e-9


def kept(norm: nn.LayerNorm) -> None:
    """Lets a norm take its statistics over the channels whose weight is not zero."""
    keep = norm.weight.detach() != 0

    def forward(x: Tensor) -> Tensor:
        y = F.layer_norm(x[..., keep], [int(keep.sum())], norm.weight[keep], norm.bias[keep], norm.eps)
        return torch.zeros_like(x).masked_scatter(keep.expand_as(x), y)

    norm.forward = forward  # type: ignore[method-assign]
