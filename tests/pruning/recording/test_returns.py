"""What a network would return in another case keeps its channels; what goes into a layer there does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from compressvqa.errors import PruneError
from compressvqa.pruning import prune
from compressvqa.torch_private import tree_leaves

PICTURE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Scorer(nn.Module):
    """Features, then a score."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3)
        self.head = nn.Linear(16, 1)
        self.ask = False

    def features(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()).relu()


# -- what another case would return, with the layers whose channels may go --------------------------------------------


class Choice(Scorer):
    """A conditional expression."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        score = self.head(y.mean((2, 3)))
        return (score, y) if ask else score


class Early(Scorer):
    """A return before the end."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        if ask:
            return y
        return self.head(y.mean((2, 3)))


class Late(Scorer):
    """The end is not come to."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        if not ask:
            return self.head(y.mean((2, 3)))
        score = self.head(y.mean((2, 3)))
        return score, y


class Pooled(Scorer):
    """What is worked out only there."""

    def forward(network, x: Tensor, ask: bool = False) -> Any:  # noqa: N805
        y = network.features(x)
        if ask:
            pooled = y.mean((2, 3))
            found = {"pooled": pooled}
            return found  # noqa: RET504
        return network.head(y.mean((2, 3)))


class OneLine(Scorer):
    """All of it on one line."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        if ask: return y  # noqa: E701  # fmt: skip
        return self.head(y.mean((2, 3)))


class Filled(Scorer):
    """A dictionary that gets one item more."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        out = {"score": self.head(y.mean((2, 3)))}
        if ask:
            out["features"] = y
        return out


class Replaced(Scorer):
    """The result becomes another one."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        result = self.head(y.mean((2, 3)))
        if ask:
            result = result, y
        return result


class Collected(Scorer):
    """A list that stays empty; the layers are local names."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        seen = []
        for layer in (self.first, self.second):
            x = layer(x).relu()
            if ask:
                seen.append(x)
        x = self.head(x.mean((2, 3)))
        return (x, seen) if ask else x


class Attribute(Scorer):
    """An attribute that anybody may set."""

    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        score = self.head(y.mean((2, 3)))
        return (score, y) if self.ask else score


class Training(Scorer):
    """Training mode gives more."""

    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        score = self.head(y.mean((2, 3)))
        if self.training:
            return score, y
        return score


class Helper(Scorer):
    """A method that is told."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        return self.finish(self.head(y.mean((2, 3))), y, ask)

    def finish(self, score: Tensor, y: Tensor, more: bool) -> Any:
        return {"score": score, "y": y} if more else score


class Backbone(Scorer):
    """A module inside that hands back more."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        return (self.head(y.mean((2, 3))), y) if ask else self.head(y.mean((2, 3)))


class Wrapped(nn.Module):
    """All that it is given goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Backbone()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.net(*args, **kwargs)


class Optional(Scorer):
    """With a second picture, a distance."""

    def forward(self, x: Tensor, other: Tensor | None = None) -> Any:
        y = self.features(x)
        if other is not None:
            return (y - self.features(other)).abs().mean((1, 2, 3))
        return self.head(y.mean((2, 3)))


class LayerGives(Scorer):
    """A layer that ran is the result."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        if ask:
            return self.second(self.first(x.flip(-1)))
        return self.head(y.mean((2, 3)))


class Normed(Scorer):
    """A norm hands on the channels that it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(16)

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.second(self.first(x).relu())
        if ask:
            return self.norm(y)
        return self.head(self.norm(y).mean((2, 3)))


class Mapped(Scorer):
    """A function that `torch.vmap` runs."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        def one(y: Tensor) -> Tensor:
            return self.second(y[None])[0].relu()

        y = torch.vmap(one)(self.first(x).relu())
        score = self.head(y.mean((2, 3)))
        return (score, y) if ask else score


class Tried(Scorer):
    """An error gives something else."""

    def forward(self, x: Tensor, ask: Any = None) -> Any:
        y = self.features(x)
        try:
            out = self.head(y.mean((2, 3)))
            if ask:
                raise ValueError
        except ValueError:
            out = y
        return out


MORE = [
    Choice,
    Early,
    Late,
    Pooled,
    OneLine,
    Filled,
    Replaced,
    Attribute,
    Training,
    Helper,
    Wrapped,
    LayerGives,
    Normed,
]
MORE += [Tried, Optional, Mapped]


def built(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def asked(network: nn.Module) -> list[tuple[int, ...]]:
    """Sizes of what it returns when it is asked for more."""
    with torch.no_grad():
        if isinstance(network, Training):
            found = network.train()(PICTURE)
        elif isinstance(network, Attribute):
            network.ask = True
            found = network(PICTURE)
        else:
            found = network(PICTURE, PICTURE.flip(-1) if isinstance(network, Optional) else True)
    return [tuple(tensor.shape) for tensor in tree_leaves(found)]


@pytest.mark.parametrize("kind", MORE)
def test_what_it_would_return_is_kept(kind: type[nn.Module]) -> None:
    network = built(kind)
    pruned = prune(network, PICTURE, ratios=0.5)
    inner = "net." if kind is Wrapped else ""
    assert set(pruned.removed) == {f"{inner}first"}
    reason = pruned.plan.frozen[f"{inner}second"]
    assert reason.startswith("the network may return these channels in another case (test_returns.py:")
    assert asked(pruned.model) == asked(network)


def test_all_that_would_be_collected_is_kept() -> None:
    with pytest.raises(PruneError, match="first: the network may return these channels in another case"):
        prune(built(Collected), PICTURE, ratios=0.5)


@pytest.mark.parametrize("kind", [Choice, Early, Pooled, OneLine, Filled, Helper])
def test_with_an_example_of_each_it_is_an_output_like_the_score(kind: type[nn.Module]) -> None:
    pruned = prune(built(kind), [(PICTURE,), (PICTURE, True)], ratios=0.5)
    assert set(pruned.removed) == {"first"}
    assert pruned.plan.frozen["second"] == "the network returns these channels"


# -- what another case does not return --------------------------------------------------------------------------------


class TwoWays(Scorer):
    """Another way to the same score: the features go into the head, and nowhere else."""

    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        if x.shape[-1] > 64:
            return self.head(y.amax((2, 3)))
        return self.head(y.mean((2, 3)))


class OneName(Scorer):
    """Everything has one name, and is made smaller on the way at times."""

    def forward(self, x: Tensor) -> Any:
        x = self.first(x).relu()
        if x.shape[-1] > 64:
            x = F.avg_pool2d(x, 2)
        x = self.second(x).relu()
        x = x[..., :8] if x.shape[-1] > 64 else x
        x = self.head(x.mean((2, 3)))
        return x  # noqa: RET504


class Checkpointed(Scorer):
    """A function is given the layers, as those that save memory in training are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.save = nn.Sequential(nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1)), False

    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        if self.save:  # noqa: SIM108
            y = torch.utils.checkpoint.checkpoint_sequential(self.layers, 2, y)
        else:
            y = self.layers(y)
        return y.mean((2, 3)) + 0 * self.head.bias


class OneByOne(Scorer):
    """The same layers, all at once or one by one with an option, as timm's transformers run their blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return self.last(self.middle(self.features(x), mask=mask))

    def middle(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            for block in self.blocks:
                y = block(y) if self.ask else torch.utils.checkpoint.checkpoint(block, y)
        else:
            y = self.blocks(y)
        return y

    def last(self, y: Tensor) -> Tensor:
        return self.head(y.mean((2, 3)))


class NotTold(Scorer):
    """A method with an option that this network never gives."""

    def forward(self, x: Tensor) -> Any:
        return self.finish(self.features(x))

    def finish(self, y: Tensor, raw: bool = False) -> Tensor:
        y = y.mean((2, 3))
        return y if raw else self.head(y)


class Checked(Scorer):
    """What raises returns nothing."""

    def forward(self, x: Tensor, ask: bool = False) -> Any:
        y = self.features(x)
        if ask:
            message = f"{y} can't be asked for"
            raise ValueError(message)
        return self.head(y.mean((2, 3)))


@pytest.mark.parametrize("kind", [TwoWays, OneName, Checkpointed, OneByOne, NotTold, Checked])
def test_what_only_goes_into_a_layer_is_cut(kind: type[nn.Module]) -> None:
    pruned = prune(built(kind), PICTURE, ratios=0.5)
    assert {"first", "second"} <= set(pruned.removed)
    assert pruned.model(torch.rand(1, 3, 72, 72)).shape == (1, 1)
