"""Which file is it, which network? Told by what they hold: a copy under another name or date is the same one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressvqa.errors import DataError

if TYPE_CHECKING:
    from torch import nn

PIECE = 1 << 20
# A file of more pieces than this is told by so many of them, evenly spread, first and last included.
PIECES = 64


def file_digest(path: Path) -> str:
    """16 hexadecimal digits of SHA-256 over a file's length and content.

    Above 64 MiB, 64 pieces of one MiB stand for the content: two videos that agree in length and in all of these are
    taken for one, as reading terabytes whenever a recipe starts would cost more than it is worth. Where a score or a
    label hangs on the file, take `content_digest`.

    Raises:
        DataError: the file can't be read.
    """
    try:
        length = path.stat().st_size
        digest = hashlib.sha256(str(length).encode())
        with path.open("rb") as file:
            if length <= PIECE * PIECES:
                digest.update(file.read())
            else:
                for number in range(PIECES):
                    file.seek((length - PIECE) * number // (PIECES - 1))
                    digest.update(file.read(PIECE))
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror or error})", where=path) from error
    return digest.hexdigest()[:16]


def content_digest(path: Path) -> str:
    """SHA-256 of a file, every byte of it; of a folder: of the names and contents of all files below it.

    Raises:
        DataError: it can't be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "a").write_bytes(b"abc")
    ...     content_digest(Path(place) / "a")[:16]
    'ba7816bf8f01cfea'
    """
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(below for below in path.rglob("*") if below.is_file()):
                digest.update(f"{file.relative_to(path).as_posix()}\0{content_digest(file)}\0".encode())
            return digest.hexdigest()
        with path.open("rb") as opened:
            while chunk := opened.read(PIECE):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror or error})", where=path) from error
    return digest.hexdigest()


def weights_digest(network: nn.Module) -> str:
    """16 hexadecimal digits of SHA-256 over a network's parameters and buffers: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} ".encode())
        digest.update(tensor_bytes(value))
    return digest.hexdigest()[:16]


def tensor_bytes(value: Any) -> bytes:
    """Type, shape and values of a tensor as bytes; of what else a state may hold (packed weights) its text."""
    import torch

    if not isinstance(value, torch.Tensor):
        return repr(value).encode()
    head = f"{value.dtype} {tuple(value.shape)}".encode()
    if value.is_meta:
        return head
    value = value.detach().cpu()
    if value.is_quantized:
        return head + repr(value.qscheme()).encode() + tensor_bytes(value.dequantize())
    if value.layout != torch.strided:
        value = value.to_dense()
    values: bytes = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return head + values
