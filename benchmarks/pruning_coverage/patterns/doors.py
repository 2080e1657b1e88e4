"""What people hand in that is no plain network: each is refused in one clear line, or it simply works."""

# ruff: noqa: D101, D102  (a class is what its name and its forward say)

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from pruning_coverage.judging import Call
from pruning_coverage.patterns.base import Network, backbone, pictures


class _Door(Network):
    kind = "doors"

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = backbone(24, 32, 40), nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))

    @classmethod
    def example(cls) -> tuple[Tensor, ...]:
        """What it is scripted or exported with."""
        return pictures(cls.shape)


# --- refused -------------------------------------------------------------------------------------------------------


class Scripted(_Door):
    expects = "script"

    @classmethod
    def made(cls) -> nn.Module:
        return torch.jit.script(
            nn.Sequential(*backbone(24, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1)).eval()
        )


class Traced(_Door):
    expects = "script|jit"

    @classmethod
    def made(cls) -> nn.Module:
        return torch.jit.trace(cls().eval(), cls.example())


class ScriptedInside(_Door):
    """A scripted backbone in a plain network."""

    expects = "script"

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.jit.script(self.features)


class Exported(_Door):
    expects = "export"

    @classmethod
    def made(cls) -> nn.Module:
        return torch.export.export(cls().eval(), cls.example()).module()


class Lazy(_Door):
    """A lazy layer that has not seen an input."""

    expects = "lazy|uninitiali[sz]ed"

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(1)


class NumpyInputs(_Door):
    expects = "numpy|ndarray|array"

    def inputs(self) -> Any:
        return (np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32),)


class NumpyInADictionary(_Door):
    expects = "numpy|ndarray|array"

    def forward(self, batch: dict[str, Any]) -> Tensor:
        return super().forward(torch.as_tensor(batch["picture"]))

    def inputs(self) -> Any:
        return ({"picture": np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)},)

    def calls(self) -> list[Call]:
        return [Call(self.inputs())]


class BareAssert(_Door):
    """The example has a size that the forward forbids, without a word."""

    expects = "assert"

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] == 224
        return super().forward(x)


class RaisesWithoutText(_Door):
    expects = "ValueError|raise"

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError

    def calls(self) -> list[Call]:
        return []


class Quantised(_Door):
    """Layers of 8 bits: nothing that could be cut is left as weights."""

    expects = "quanti[sz]"

    @classmethod
    def made(cls) -> nn.Module:
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 1)).eval()
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)

    def inputs(self) -> Any:
        return pictures((2, 3, 4, 4))


class NotANetwork(_Door):
    """A function."""

    expects = "Module|network"

    @classmethod
    def made(cls) -> Any:
        return lambda x: x.mean()


class WrongNumberOfInputs(_Door):
    """The forward takes two pictures and the example holds one."""

    expects = "forward|argument|input"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x) - super().forward(y)

    def calls(self) -> list[Call]:
        return []


class GeneratorInputs(_Door):
    """Examples as a generator, as a data loader's."""

    expects = "generator|iterator|tuple|tensor"

    def inputs(self) -> Any:
        return (picture for picture in pictures(self.shape))


# --- simply work ---------------------------------------------------------------------------------------------------


class QuantisationAware(_Door):
    """Fake quantisation in eager mode, prepared for training: convolutions are kin of torch's own, or it is refused."""

    expects = "quanti[sz]"

    @classmethod
    def made(cls) -> nn.Module:
        net = cls()
        net.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")
        return torch.ao.quantization.prepare_qat(net.train()).eval()


class Parallel(_Door):
    """Inside nn.DataParallel; on a CPU it calls the network it holds."""

    @classmethod
    def made(cls) -> nn.Module:
        return nn.DataParallel(cls().eval())


class ParallelProtected(Parallel):
    """The same with a path that the plain network knows."""

    settings: ClassVar[dict[str, Any]] = {"protect": ["features.2"]}


class Compiled(_Door):
    """torch.compile around it: `_orig_mod` in every path."""

    @classmethod
    def made(cls) -> nn.Module:
        return torch.compile(cls().eval(), backend="eager")


class CompiledRatios(Compiled):
    settings: ClassVar[dict[str, Any]] = {"ratios": {"features.0": 0.5, "features.2": 0.5, "features.4": 0.25}}


class OldWeightNorm(_Door):
    """torch.nn.utils.weight_norm before its first run."""

    def __init__(self) -> None:
        super().__init__()
        for number in (0, 2, 4):
            nn.utils.weight_norm(self.features[number])


class OldSpectralNorm(_Door):
    def __init__(self) -> None:
        super().__init__()
        nn.utils.spectral_norm(self.features[2])


class NewWeightNorm(_Door):
    def __init__(self) -> None:
        super().__init__()
        for number in (2, 4):
            parametrizations.weight_norm(self.features[number])


class Orthogonal(_Door):
    """An orthogonal weight ties everything of its layer; the others can go."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = parametrizations.orthogonal(nn.Linear(40, 40))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.features(x).mean((2, 3))).relu())


class PruneMasks(_Door):
    """torch.nn.utils.prune has masked single weights, before the first run."""

    def __init__(self) -> None:
        super().__init__()
        for number in (0, 2, 4):
            prune.random_unstructured(self.features[number], "weight", amount=0.3)


class StructuredMasks(_Door):
    """Whole channels masked by torch.nn.utils.prune."""

    def __init__(self) -> None:
        super().__init__()
        for number in (0, 2):
            prune.ln_structured(self.features[number], "weight", amount=0.25, n=1, dim=0)


class Mapped(_Door):
    """torch.vmap over the pictures of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.vmap(lambda picture: self.head(self.features(picture[None]).mean((2, 3)))[0])(x)


class MappedDistance(_Door):
    """torch.vmap over pairs of feature maps."""

    count = 2

    def forward(self, r: Tensor, d: Tensor) -> Tensor:
        return self.head(torch.vmap(lambda a, b: (a - b).abs().amax((1, 2)))(self.features(r), self.features(d)))


class WhereMasked(_Door):
    """torch.where with a mask: both branches are judged."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Conv2d(40, 40, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        mask = F.avg_pool2d(x, 2).mean(1, keepdim=True) > 0.5
        return self.head(torch.where(mask, y, self.other(y)).mean((2, 3)))


class WhereByScalar(_Door):
    """torch.where with one number for a mask: the example sees one branch only."""

    def __init__(self) -> None:
        super().__init__()
        self.dark = nn.Conv2d(3, 40, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean((1, 2, 3), keepdim=True) > 0.3
        return self.head(torch.where(bright, self.features(x), self.dark(x)).mean((2, 3)))

    def calls(self) -> list[Call]:
        x = pictures(self.shape, seed=8)[0]
        return [Call((x,)), Call((x * 0.4,)), Call((x * torch.tensor([1, 0.3]).view(2, 1, 1, 1),))]


class WhereToZero(_Door):
    """torch.where against a plain number."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        return self.head(torch.where(y > y.mean((2, 3), keepdim=True), y, 0.0).mean((2, 3)))


class WhereToOne(_Door):
    """Against a number that is not zero: what is cut would not be zero."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        return self.head(torch.where(y > 0.01, y, 1.0).mean((2, 3)))


class OneTensor(_Door):
    """The example is a tensor, not a tuple."""

    def inputs(self) -> Any:
        return pictures(self.shape)[0]


class NamedInputs(_Door):
    """The example is a dictionary."""

    def forward(self, *, picture: Tensor, gain: float = 1.0) -> Tensor:
        return super().forward(picture) * gain

    def inputs(self) -> Any:
        return {"picture": pictures(self.shape)[0], "gain": 2.0}

    def calls(self) -> list[Call]:
        return [Call({"picture": pictures(shape, seed=60)[0], "gain": 0.5}) for shape in (self.shape, *self.others)]


class InitialisedLazy(_Door):
    """A lazy layer that has seen its input is a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(1)
        self(pictures(self.shape)[0])


class HookedFeatures(_Door):
    """A forward hook takes the features from inside, as feature extractors do."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Tensor] = []
        self.features[3].register_forward_hook(self.keep)
        self.side = nn.Linear(32, 1)

    def keep(self, module: nn.Module, args: Any, out: Tensor) -> None:
        """The hook."""
        self.taken.append(out)

    def forward(self, x: Tensor) -> Tensor:
        self.taken.clear()
        y = self.features(x)
        return self.head(y.mean((2, 3))) + self.side(self.taken.pop().mean((2, 3)))


class HalfPrecisionInside(_Door):
    """The backbone in bfloat16, the head in 32 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.features.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x.to(self.features[0].weight.dtype)).mean((2, 3)).to(self.head.weight.dtype))


class Checkpointed(_Door):
    """Gradient checkpointing around the backbone."""

    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        return self.head(checkpoint(self.features, x, use_reentrant=False).mean((2, 3)))


class AutocastInside(_Door):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.features[0].weight.dtype == torch.float32):
            y = self.features(x)
        return self.head(y.mean((2, 3)).to(self.head.weight.dtype))
