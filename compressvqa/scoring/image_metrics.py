"""Image metrics as scorers, frame by frame: LPIPS and DISTS with torchmetrics' networks, and any metric of pyiqa."""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import importlib.metadata
import io
import logging
import os
import pickle
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from compressvqa.errors import CompressVQAError, DataError, MissingExtraError, RegistryError, WeightsError
from compressvqa.fingerprint import weights_digest
from compressvqa.models.fetching import download
from compressvqa.registry import scorers
from compressvqa.scoring.blocks import BlockScorer
from compressvqa.scoring.scorer import Facts, Scale, Scorer

# An unreachable server must not hold up a user for as long as the system would wait.


class FrameScorer(BlockScorer):
    """Base of scorers that measure one frame at a time; the score of a file is the mean over its frames.

    Args:
        network: what measures, put in evaluation mode for the time of a scoring.
        facts: what is known of the score.
    """

    block = 1

    def __init__(self, network: nn.Module, facts: Facts) -> None:
        self.device = _device()
        self.network, self.facts = network.to(self.device), (facts,)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Repeatable kernels, and no number drawn at random that differs from run to run."""
        numpy_state, python_state = np.random.get_state(), random.getstate()
        modes = [(module, module.training) for module in self.network.modules()]
        cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        try:
            with torch.random.fork_rng(), cudnn:
                self.network.eval()
                yield
        finally:
            for module, training in modes:
                module.training = training
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Lpips(FrameScorer):
    """LPIPS of frames: distance of unit-length deep features, weighted by channel and summed over layers.

    Zhang, Isola, Efros, Shechtman and Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
    CVPR 2018, equation 1; version 0.1 of its weights. The whole frame is looked at, at its own size.
    """

    def prepare(self, reference: Tensor) -> list[Tensor]:
        """Features of unit length of a frame of the reference, one map a layer."""
        return self._features(reference)

    def measure(self, prepared: Any, distorted: Tensor) -> Tensor:
        """(1,): 0 for the same frame."""
        layers = zip(prepared, self._features(distorted), self.network.lins, strict=True)  # type: ignore[arg-type]
        return torch.stack([lin((r - d) ** 2).mean(dim=(1, 2, 3)) for r, d, lin in layers]).sum(dim=0)

    def _features(self, frame: Tensor) -> list[Tensor]:
        network: Any = self.network
        maps = network.net(network.scaling_layer(2 * frame[0].to(self.device) - 1))
        return [each / torch.sqrt(1e-8 + (each**2).sum(dim=1, keepdim=True)) for each in maps]


class Dists(FrameScorer):
    """DISTS of frames: one minus the weighted similarity of means (texture) and of covariances (structure) of features.

    Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022,
    equations 5 to 7. The whole frame is looked at, at its own size; the authors' program first brings the shorter side
    to 256, which other programs do not do.
    """

    def prepare(self, reference: Tensor) -> list[Tensor]:
        """Features of a frame of the reference, the frame itself first."""
        return self._features(reference)

    def measure(self, prepared: Any, distorted: Tensor) -> Tensor:
        """(1,): 0 for the same frame."""
        network: Any = self.network
        whole = network.alpha.sum() + network.beta.sum()
        weights = zip(
            network.alpha.flatten().split(network.chns), network.beta.flatten().split(network.chns), strict=True
        )
        similarity = torch.zeros(1, device=self.device)
        for r, d, (alpha, beta) in zip(prepared, self._features(distorted), weights, strict=True):
            r_mean, d_mean = r.mean(dim=(2, 3)), d.mean(dim=(2, 3))
            r_variance, d_variance = r.var(dim=(2, 3), correction=0), d.var(dim=(2, 3), correction=0)
            covariance = (r * d).mean(dim=(2, 3)) - r_mean * d_mean
            texture = (2 * r_mean * d_mean + 1e-6) / (r_mean**2 + d_mean**2 + 1e-6)
            structure = (2 * covariance + 1e-6) / (r_variance + d_variance + 1e-6)
            similarity = similarity + (alpha * texture + beta * structure).sum(dim=1) / whole
        return 1 - similarity

    def _features(self, frame: Tensor) -> list[Tensor]:
        network: Any = self.network
        maps: list[Tensor] = network.forward_once(frame[0].to(self.device))
        return maps


# A distance of features: 0 for the same frame.
_one_at_a_time = threading.Lock()
DISTANCE = Scale(higher_is_better=False, score_range=(0.0, None), identical="0")


@scorers.register("lpips", mode="FR", scale=DISTANCE)
def lpips() -> Scorer:
    """LPIPS with the AlexNet backbone, frame by frame."""
    return _lpips("lpips", "alex", smallest_side=31)


@scorers.register("lpips-vgg", mode="FR", scale=DISTANCE)
def lpips_vgg() -> Scorer:
    """LPIPS with the VGG16 backbone, frame by frame."""
    return _lpips("lpips-vgg", "vgg", smallest_side=16)


@scorers.register("dists", mode="FR", scale=DISTANCE)
def dists() -> Scorer:
    """DISTS, frame by frame."""
    from torchmetrics.functional.image.dists import DISTSNetwork
    from torchvision.models import VGG16_Weights

    network = _with_backbone("dists", DISTSNetwork, VGG16_Weights.DEFAULT)
    scorer = Dists(network, _facts("dists", network))
    scorer.smallest_side = 16
    return scorer


def _lpips(name: str, backbone: str, *, smallest_side: int) -> Scorer:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    from torchvision.models import AlexNet_Weights, VGG16_Weights

    published = {"alex": AlexNet_Weights.DEFAULT, "vgg": VGG16_Weights.DEFAULT}[backbone]
    make = LearnedPerceptualImagePatchSimilarity
    network: nn.Module = _with_backbone(name, lambda: make(net_type=backbone).net, published)  # type: ignore[arg-type]
    scorer = Lpips(network, _facts(name, network))
    scorer.smallest_side = smallest_side
    return scorer


def _facts(name: str, network: nn.Module) -> Facts:
    return Facts(
        name,
        identity=f"{name}:1:{weights_digest(network)}",
        **DISTANCE.fields(),
        source=f"torchmetrics {importlib.metadata.version('torchmetrics')}, backbone of torchvision",
        params=sum(parameter.numel() for parameter in network.parameters()),
    )


def _with_backbone(name: str, make: Callable[[], nn.Module], published: Any) -> nn.Module:
    """Builds a network whose backbone torchvision fetches, or takes from where it was put.

    Raises:
        WeightsError: the file can't be fetched, or is damaged.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rsplit("/", 1)[-1]
    try:
        if not file.is_file():
            download(published.url, file)  # not by torch's hub, which waits for ever
        return make()
    except CompressVQAError:
        raise
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        if file.is_file():
            raise WeightsError(f"is damaged or of another network ({_line(error)})", where=file,
                               hint=f"delete it; {published.url} is the right one") from error  # fmt: skip
        what = f"{name} needs the weights of its backbone, and {published.url} can't be fetched ({_line(error)})"
        raise WeightsError(what, hint=f"put that file at {file}") from error


def _line(error: BaseException) -> str:
    """The first line of what an error says."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].strip("<>: ")[:200]


# --- pyiqa ------------------------------------------------------------------------------------------------------

# Metrics of sets of pictures, of pictures with a caption, and of several scores at once.
_one_at_a_time = threading.Lock()
_NOT_OF_FRAMES = {"FID": "sets of pictures", "InceptionScore": "sets of pictures", "CLIPScore": "pictures with a text"}


class PyiqaScorer(FrameScorer):
    """A metric of pyiqa, frame by frame. It is called as pyiqa wants it: the distorted frame first."""

    def measure(self, prepared: Any, distorted: Tensor) -> Tensor:
        """(1,): what pyiqa gives for the frame."""
        frames = [distorted[0].to(self.device)]
        if prepared is not None:
            frames.append(prepared[0].to(self.device))
        # Some metrics draw patches at random: every frame is given the same draw.
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        name, (height, width) = self.facts[0].name, distorted.shape[-2:]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                value = self.network(*frames)
        except CompressVQAError:
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError, NotImplementedError) as error:
            raise DataError(f"{name} can't score a frame of {width}x{height} ({_line(error)})") from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise DataError(f"{name} gives no single number for a frame")
        if not bool(torch.isfinite(value)):
            raise DataError(f"{name} gives {float(value)} for a frame of {width}x{height}, which is no score")
        return value.detach().reshape(1)


def pyiqa_scorer(name: str) -> Scorer:
    """A metric of pyiqa by its name there; ``pyiqa/NAME`` is what its score is called.

    Direction and range are those of pyiqa's table, where a range of rough bounds counts as none. Weights are fetched by
    pyiqa itself; of its files only tensors are read, never other pickled objects.

    Args:
        name: one of ``pyiqa.list_models()``.

    Raises:
        MissingExtraError: pyiqa is not installed.
        RegistryError: pyiqa has no such metric.
        DataError: a metric that is not of single frames.
        WeightsError: what it needs can't be fetched.
    """
    import difflib

    known: dict[str, Any] = _pyiqa("default_model_configs").DEFAULT_CONFIGS
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = ", ".join(f"pyiqa/{one}" for one in near) or "pyiqa.list_models() lists them"
        raise RegistryError(f"pyiqa has no metric {name!r}", hint=hint)
    config = known[name]
    kind = config["metric_opts"]["type"]
    if kind in _NOT_OF_FRAMES:
        raise DataError(f"pyiqa/{name} is a metric of {_NOT_OF_FRAMES[kind]}, not of frames")
    network = _create(name)
    version = importlib.metadata.version("pyiqa")
    facts = Facts(
        f"pyiqa/{name}",
        identity=f"pyiqa:{name}:{version}:{weights_digest(network)}",
        mode=config["metric_mode"],
        **pyiqa_scale(config).fields(),
        source=f"pyiqa {version}",
        params=sum(parameter.numel() for parameter in network.parameters()),
    )
    return PyiqaScorer(network, facts)


def pyiqa_listed(pattern: str) -> list[tuple[str, str, Scale]]:
    """Name, mode and scale of the metrics of pyiqa that are of frames and match ``pyiqa/PATTERN``.

    Raises:
        MissingExtraError: pyiqa is not installed.
    """
    known: dict[str, Any] = _pyiqa("default_model_configs").DEFAULT_CONFIGS
    return [
        (f"pyiqa/{name}", config["metric_mode"], pyiqa_scale(config))
        for name, config in sorted(known.items())
        if fnmatch.fnmatch(f"pyiqa/{name}", pattern) and config["metric_opts"]["type"] not in _NOT_OF_FRAMES
    ]


def pyiqa_scale(config: Mapping[str, Any]) -> Scale:
    """How a metric of pyiqa is to be read, as pyiqa's own table says; its rough bounds are a note, no range."""
    text = str(config.get("score_range", "")).strip()
    known = _range(text)
    return Scale(
        higher_is_better=not config.get("lower_better", False),
        score_range=known,
        note=f"pyiqa gives its range as {text}" if text and known is None else "",
    )


def _pyiqa(module: str) -> ModuleType:
    try:
        return importlib.import_module(f"pyiqa.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyiqa":
            raise
        raise MissingExtraError("pyiqa", "iqa") from error


def _range(text: str) -> tuple[float, float] | None:
    """Bounds as pyiqa's table writes them, None where it calls one rough.

    >>> _range("0, 1"), _range("~0, ~40"), _range("quality: 0, 1")
    ((0.0, 1.0), None, None)
    """
    found = re.fullmatch(r"\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*", text)
    return None if found is None else (float(found[1]), float(found[2]))


def _create(name: str) -> nn.Module:
    """`pyiqa.create_metric`, without what it prints, reading nothing but tensors.

    One at a time: the streams, the log handlers and the variable are the process's, and each is put back.
    """
    said = io.StringIO()
    create = _pyiqa("api_helpers").create_metric
    with _one_at_a_time, ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(said))
        stack.enter_context(contextlib.redirect_stderr(said))
        # The hub's library tells each of its many retries; what it tells is kept for our one line.
        stack.enter_context(
            patch.object(logging.getLogger("huggingface_hub"), "handlers", [logging.StreamHandler(said)])
        )
        # pyiqa loads its own files with weights_only=False, which this turns round.
        stack.enter_context(patch.dict(os.environ, {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}))
        try:
            network: nn.Module = create(name, device=_device())
        except Exception as error:  # a metric may fail in any way: in a download, a file, an import
            raise _cannot_build(name, said.getvalue(), error) from error
    return network


def _cannot_build(name: str, said: str, error: Exception) -> WeightsError:
    """One line that names what could not be fetched or read, out of what pyiqa said before it failed."""
    reason = _line(error)
    if isinstance(error, ModuleNotFoundError):
        hint = "pip install 'setuptools<81'" if error.name == "pkg_resources" else None
        return WeightsError(f"pyiqa/{name} needs the package {error.name!r}, which is not installed", hint=hint)
    files = re.findall(r"Loading pretrained model \S+ from (.+)", said)
    if files:
        return WeightsError(f"pyiqa/{name} can't read its weights ({type(error).__name__}: {reason})", where=files[-1])
    fetched = re.findall(r'Downloading: "([^"]+)" to (\S+)', said)
    if fetched:
        url, file = fetched[-1]
        return WeightsError(
            f"pyiqa/{name} needs {url}, which can't be fetched ({reason})", hint=f"put that file at {file}"
        )
    asked = re.findall(r"requesting \w+ (https?://[^\s')]+)", said)
    if asked:
        from huggingface_hub.constants import HF_HUB_CACHE

        return WeightsError(f"pyiqa/{name} needs {asked[0]}, which can't be fetched",
                            hint=f"the hub's cache {HF_HUB_CACHE}, copied from a machine that reaches it")  # fmt: skip
    return WeightsError(f"pyiqa/{name} can't be built ({type(error).__name__}: {reason})")
