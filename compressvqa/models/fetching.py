"""Published weights come from the hub through the ordinary libraries; when they can't, one clear line says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compressvqa.errors import CompressVQAError, WeightsError


@contextmanager
def fetching(what: str) -> Iterator[None]:
    """Whatever a library raises while it fetches weights becomes one line.

    Args:
        what: whose weights, and from where.

    Raises:
        WeightsError: they can't be fetched.
    """
    try:
        yield
    except CompressVQAError:
        raise
    except Exception as error:  # each library, and each layer below it, has errors of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"the published weights of {what} can't be fetched: {lines[0].strip()}",
            hint="the path of a downloaded file as `weights`, or null for random weights",
        ) from error
