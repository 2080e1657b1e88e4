"""Arithmetic of trainings and teachers: which one `auto` is on a device, and a word where the one asked for crawls."""

from __future__ import annotations

import functools
import logging
from typing import Annotated, Literal

from pydantic import BeforeValidator

from compressvqa.environment import fast_bf16

log = logging.getLogger(__name__)

Arithmetic = Literal["32", "bf16"]
# YAML reads a plain 32 as a number.
Precision = Annotated[
    Literal["auto", "32", "bf16"], BeforeValidator(lambda given: str(given) if isinstance(given, int) else given)
]


def arithmetic_on(precision: Precision, device: str) -> Arithmetic:
    """What a precision comes to on a device; `bf16` is taken everywhere, and logged once where it crawls.

    Args:
        precision: "auto": bf16 where the device has instructions for it.
        device: its kind, "cpu" or "cuda", as `torch.device.type`.
    """
    slow = device == "cpu" and not fast_bf16()
    if precision == "auto":
        return "32" if slow else "bf16"
    if precision == "bf16" and slow:
        _warn()
    return precision


@functools.cache
def _warn() -> None:
    # RankDVQA on 96x96, an EPYC of 2021 (AVX2): 17.2 s in bf16, .31 s in 32 bits.
    log.warning("bf16 on a processor without instructions for it is tens of times slower than 32 bits; 'auto' takes 32")
