"""A hub that can't be reached is known by one look, not by most of a minute of retries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub
from huggingface_hub import constants

SECONDS = 5.0  # that the hub has for an answer
_lock = threading.Lock()
_offline: list[bool] = []  # what the flag was before each of the blocks that run now, the first of them first


@contextmanager
def known_files_if_unreachable() -> Iterator[None]:
    """While the hub can't be reached, files that were fetched before are used, and others are missing at once.

    huggingface_hub asks six times for each of the names that a file of weights may have, with growing pauses. It has a
    flag for that, one for the process: it is set while the block runs, in however many threads, and put back then.
    """
    if _reachable():
        yield
        return
    with _lock:
        _offline.append(constants.HF_HUB_OFFLINE if not _offline else _offline[0])
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        with _lock:
            before = _offline.pop()
            if not _offline:
                constants.HF_HUB_OFFLINE = before


def _reachable() -> bool:
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # of whichever HTTP library this version of huggingface_hub is built on
        return False
    return True
