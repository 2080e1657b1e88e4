"""What kind of thing a path is, and the bytes and text of a file, of bounded size.

A path that is no file is refused in words that say what it is, before it is opened: opening a pipe waits for ever, and
a device never ends.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from compressvqa.errors import CompressVQAError, DataError

# A text larger than this is none of ours; it would only fill the memory.
MAX_TEXT = 1 << 26

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}[^/]")
# What ffmpeg would take for more than a file name.
_PROTOCOL = re.compile(
    r"(?P<scheme>async|cache|concat|concatf|crypto|data|fd|ftp|http|https|hls|ipfs|md5|mmsh|pipe|rtmp|rtp|rtsp|sftp|"
    r"srt|subfile|tcp|tee|tls|udp|unix)[:,]",
    re.IGNORECASE,
)
_ODD_KINDS = (
    (stat.S_ISDIR, "is a folder, not a file"),
    (stat.S_ISFIFO, "is a pipe (FIFO), not a file"),
    (stat.S_ISCHR, "is a device, not a file"),
    (stat.S_ISBLK, "is a device, not a file"),
    (stat.S_ISSOCK, "is a socket, not a file"),
)
_REFUSALS = {
    errno.ELOOP: "is a link that leads round in a circle",
    errno.ENAMETOOLONG: "has a longer name than this file system takes",
    errno.EACCES: "may not be read: no permission",
    errno.EPERM: "may not be read: no permission",
    errno.ENOTDIR: "no such file: a part of its path is a file, not a folder",
}


def local_file(path: str | Path, error: type[CompressVQAError] = DataError, *, missing: str = "no such file") -> Path:
    """The path, once it is known to be a regular file that is there.

    Args:
        path: what a user, a manifest or a recipe named.
        error: the class of the refusal.
        missing: what to say where nothing is there.

    Raises:
        CompressVQAError: of the class `error`: a URL, a folder, a pipe, a device, a socket, a link that leads nowhere
            or in a circle, a name that no file system takes, no permission, or nothing.

    >>> local_file("https://example.org/a.mp4")
    Traceback (most recent call last):
    compressvqa.errors.DataError: https://example.org/a.mp4: is a URL (https), and only local files are read
    """
    fault = _address(str(path)) if not Path(path).is_absolute() and not os.path.lexists(path) else None
    fault = fault or not_a_file(Path(path), missing=missing)
    if fault is not None:
        raise error(fault, where=path)  # as it was given: a Path of a URL has lost a slash
    return Path(path)


def not_a_file(path: Path, *, missing: str = "no such file") -> str | None:
    """Why a path is no regular file, in words; None where it is one."""
    try:
        mode = path.stat().st_mode
    except ValueError:
        return "has a zero byte in its name"
    except OSError as error:
        if error.errno == errno.ENOENT and path.is_symlink():
            return f"is a link to {path.readlink()}, which is not there"
        if error.errno == errno.ENOENT:
            return _address(str(path)) or missing
        return _REFUSALS.get(error.errno or 0, f"can't be read ({(error.strerror or str(error)).lower()})")
    return next((words for is_kind, words in _ODD_KINDS if is_kind(mode)), None)


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there; False for whatever no file system takes, where `Path.is_dir` raises."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def _address(text: str) -> str | None:
    """What to say of a text that is meant as an address and not as a path."""
    found = _URL.match(text) or _PROTOCOL.match(text)
    if found is None or len(found["scheme"]) < 2:  # one letter is a drive
        return None
    return f"is a URL ({found['scheme'].lower()}), and only local files are read"


def read_bytes(path: Path, error: type[CompressVQAError] = DataError, *, limit: int = MAX_TEXT) -> bytes:
    """A whole file of at most `limit` bytes.

    Raises:
        CompressVQAError: of the class `error`: no file (`local_file`), too large, or it can't be read.
    """
    local_file(path, error)
    try:
        # What has become a pipe since it was looked at does not make the open wait.
        with os.fdopen(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as f:
            if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
                raise error("is no file any more", where=path)
            data = f.read(limit + 1)
    except OSError as fault:
        raise error(
            _REFUSALS.get(fault.errno or 0, f"can't be read ({fault.strerror or fault})"), where=path
        ) from fault
    if len(data) > limit:
        raise error(f"is larger than {_size(limit)}, the most that is read of such a file", where=path)
    return data


def read_text(path: Path, error: type[CompressVQAError] = DataError, *, limit: int = MAX_TEXT) -> str:
    """A whole text file of at most `limit` bytes: UTF-8, with or without byte-order mark.

    Raises:
        CompressVQAError: of the class `error`: as `read_bytes`, or no such text; with the line.
    """
    data = read_bytes(path, error, limit=limit)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise error("is not UTF-8 text", where=f"{path}:{line}", hint="save it as UTF-8") from fault
    if "\0" in text:
        raise error("holds zero bytes: not a text file", where=path)
    return text


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
