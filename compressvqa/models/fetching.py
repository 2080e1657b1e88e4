"""Published weights come from the hub through the ordinary libraries; when they can't, one clear line says so."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compressvqa.errors import CompressVQAError, WeightsError
from compressvqa.files import replacing

SECONDS = 30.0  # that a server has for an answer, and for each further piece
PIECE = 1 << 20


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


def download(url: str, file: Path) -> None:
    """Fetches a published file, whole or not at all.

    Args:
        url: where it is; a name such as ``vgg16-397923af.pth`` holds the first digits of its SHA-256.
        file: where to put it.

    Raises:
        WeightsError: it is not the file that its name promises.
        OSError: it can't be fetched or written.
    """
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=SECONDS) as answer, replacing(file) as temporary:
        with temporary.open("wb") as out:
            while piece := answer.read(PIECE):
                digest.update(piece)
                out.write(piece)
        promised = re.search(r"-([0-9a-f]{8,})\.", url.rsplit("/", 1)[-1])
        if promised is not None and not digest.hexdigest().startswith(promised[1]):
            raise WeightsError(f"what {url} sends is not what its name promises", hint="try again later")
