"""The network that was scored with last, kept ready: `score` called again and again would make it anew each time.

To load a network, compile for it and hold it against PyTorch takes seconds, more than a short file takes to score.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from compressvqa.errors import CompressVQAError
from compressvqa.fingerprint import content_digest
from compressvqa.models.named import model_folder
from compressvqa.models.shipped import shipped
from compressvqa.registry import runtimes
from compressvqa.scoring.find import find_scorers
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.scorer import Scorer

INSTALLED = ("compressvqa", "torch", "timm", "torchvision")
Key = tuple[Any, ...]


@contextmanager
def scorer_of(name: str | Path, settings: Mapping[str, Any]) -> Iterator[Scorer]:
    """The scorer of a name for one call; the last one again where everything that it was made of is the same.

    It is out of reach of other threads meanwhile, which then make one of their own.

    Args:
        name: as `find_scorers` takes it.
        settings: further arguments of `find_scorers`.

    Raises:
        CompressVQAError: see `find_scorers`.
    """
    key = _key(name, settings)
    scorer = None if key is None else _kept().pop(key, None)
    if scorer is None:
        scorer = find_scorers([name], **settings)[0]
    yield scorer
    if key is not None and isinstance(scorer, NetworkScorer) and _is_ours(scorer):
        _kept().clear()  # one is enough, and its memory
        _kept()[key] = scorer


@functools.cache  # not a global dictionary: digests of code would follow what it holds
def _kept() -> dict[Key, Scorer]:
    return {}


def _key(name: str | Path, settings: Mapping[str, Any]) -> Key | None:
    """Everything that the scorer hangs on; None where that can't be told."""
    text, path = str(name), Path(name)
    try:
        if path.exists():
            folder = model_folder(path)
            content = tuple((file.name, content_digest(file)) for file in sorted(folder.iterdir()) if file.is_file())
        elif text in shipped():
            content = tuple(sorted(shipped()[text].files.items()))
        else:
            return None
    except (CompressVQAError, OSError):  # the error is told where the network is made
        return None
    return text, content, tuple(sorted(settings.items())), tuple(runtimes), torch.get_num_threads()


def _is_ours(scorer: NetworkScorer) -> bool:
    """Whether the code of a network is an installed package's: a user's own may be another one at the next call."""
    return all(type(part).__module__.partition(".")[0] in INSTALLED for part in scorer.network.modules())
