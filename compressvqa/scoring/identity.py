"""What a kept score hangs on beside the files: the scorer's own word, its code, and the state that it is in now."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import torch
from torch import Tensor, nn

from compressvqa.code_digest import code_digest
from compressvqa.scoring.scorer import Facts, Scorer

log = logging.getLogger(__name__)


def identity(scorer: Scorer, facts: Facts) -> str:
    """A text that changes with everything that a scorer's scores depend on, but for the files and how they are paired.

    That is what the scorer says of itself (`Facts.identity`), the code that would run with the packages it calls, and
    `Scorer.state`: networks with their weights, settings, outside programs. It is taken anew for every evaluation.
    """
    try:
        now = code_digest(type(scorer), scorer.state(), _numerics(scorer))
    except Exception as error:  # an object of a plugin may refuse to be looked at in any way
        log.warning("scores of %s are not kept: its state can't be told (%s)", facts.name, error)
        now = uuid.uuid4().hex
    return f"{facts.identity}:{now}"


def _numerics(scorer: Scorer) -> tuple[Any, ...]:
    """Switches of torch that change the last digits of everything that runs on it."""
    if not any(isinstance(held, (nn.Module, Tensor)) for held in vars(scorer).values()):
        return ()
    device = getattr(scorer, "device", None)
    on_gpu = isinstance(device, torch.device) and device.type == "cuda" and torch.cuda.is_available()
    card = torch.cuda.get_device_name(device) if on_gpu else ""
    return (str(device), card, str(torch.get_default_dtype()), torch.get_float32_matmul_precision())
