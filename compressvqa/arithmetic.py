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
        precision: "auto": bf16 on CUDA, and on a processor that has instructions for it.
        device: its kind, as `torch.device.type`: "cpu", "cuda", "mps".
    """
    if precision == "auto":
        return "bf16" if device == "cuda" or (device == "cpu" and fast_bf16()) else "32"
    if precision == "bf16" and device == "cpu" and not fast_bf16():
        _warn()
    return precision


@functools.cache
def _warn() -> None:
    # RankDVQA on 96x96, an EPYC of 2021 (AVX2): 17.2 s in bf16, .31 s in 32 bits.
    log.warning("bf16 on a processor without instructions for it is tens of times slower than 32 bits; 'auto' takes 32")
