"""A hub that can't be reached is known by one look, not by most of a minute of retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import huggingface_hub
from huggingface_hub import constants

SECONDS = 5.0  # that the hub has for an answer


@contextmanager
def known_files_if_unreachable() -> Iterator[None]:
    """While the hub can't be reached, files that were fetched before are used, and others are missing at once.

    huggingface_hub asks six times for each of the names that a file of weights may have, with growing pauses.
    """
    if constants.HF_HUB_OFFLINE or _reachable():
        yield
        return
    with patch.object(constants, "HF_HUB_OFFLINE", True):
        yield


def _reachable() -> bool:
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # of whichever HTTP library this version of huggingface_hub is built on
        return False
    return True
