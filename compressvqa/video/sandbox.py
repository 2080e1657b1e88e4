"""Decoding in another process that has given up what it does not need: a decoder that breaks does so alone.

While `sandboxed()` lasts, `probe` and `read_frames` ask a process for the facts and frames of each file. That process
is started once; for each request it makes a copy of itself, which confines itself (`confine.py`), decodes one file and
ends. What it says is checked (`wire.py`): frames come as samples, never as objects.

It works on Linux and macOS; on macOS without what is Linux's own. Windows has no such limits, and is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressvqa.errors import DataError
from compressvqa.video import wire
from compressvqa.video.clip import Clip
from compressvqa.video.frames import Planes
from compressvqa.video.info import MAX_PIXELS, VideoInfo

CHILD = "compressvqa.video.sandbox_child"
STALL_SECONDS = 300.0  # without a word from the process
START_SECONDS = 300.0
LARGEST = 6 * MAX_PIXELS  # bytes of a frame: three planes of two bytes


@dataclass
class _State:
    depth: int = 0
    door: _Door | None = None


_state, _lock = _State(), threading.Lock()


@contextlib.contextmanager
def sandboxed(wanted: bool = True) -> Iterator[None]:
    """While this lasts, all threads of this process decode in confined processes.

    Args:
        wanted: False: they decode here, as ever.

    Raises:
        DataError: this system has no such limits.
    """
    if not wanted:
        yield
        return
    if sys.platform == "win32":
        raise DataError("there is no sandbox on Windows", hint="Linux or macOS, or without --sandbox")
    with _lock:
        _state.depth += 1
    try:
        yield
    finally:
        with _lock:
            _state.depth -= 1
            door, _state.door = (_state.door, None) if _state.depth == 0 else (None, _state.door)
        if door is not None:
            door.close()


def is_on() -> bool:
    """Whether files are to be decoded in confined processes."""
    return _state.depth > 0


def ask_info(clip: Clip, *, count: bool) -> VideoInfo:
    """`probe` of a confined process; damage is in what it returns.

    Raises:
        DataError: as `probe`; or the process broke.
    """
    header, samples = next(_messages({"ask": "info", "count": count}, clip, 8 * wire.MAX_FRAMES))
    with _believing(clip.path):
        return wire.to_info(header, samples, clip.path)


def ask_frames(clip: Clip, *, start: int, stop: int | None, threads: int) -> Iterator[Planes]:
    """`read_frames` of a confined process.

    Raises:
        DataError: as `read_frames`; or the process broke.
    """
    for header, samples in _messages(
        {"ask": "frames", "start": start, "stop": stop, "threads": threads}, clip, LARGEST
    ):
        with _believing(clip.path):
            yield wire.to_frame(header, samples)


def given_up() -> list[str]:
    """What a confined process has given up on this system, in words."""
    header, _ = next(_messages({"ask": "limits"}, Clip(Path(os.devnull)), 0))
    return [str(word) for word in header["given_up"]]


@contextlib.contextmanager
def _believing(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, ZeroDivisionError) as error:
        raise DataError(f"the sandbox gave an answer that makes no sense ({error})", where=path) from error


def _messages(request: dict[str, Any], clip: Clip, largest: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What a confined process answers, up to the end that it states."""
    raw = None if clip.raw is None else {
        "width": clip.raw.width, "height": clip.raw.height, "pixel_format": clip.raw.pixel_format,
        "bitdepth": clip.raw.bitdepth, "frame_rate": None if clip.raw.frame_rate is None else str(clip.raw.frame_rate),
        "full_range": clip.raw.full_range, "matrix": clip.raw.matrix,
    }  # fmt: skip
    rate = None if clip.frame_rate is None else str(clip.frame_rate)
    request |= {"path": os.fsencode(clip.path.absolute()).hex(), "given": os.fsencode(clip.path).hex(), "raw": raw,
                "stream": clip.stream, "frame_rate": rate}  # fmt: skip
    with _lock:
        _state.door = _state.door or _Door()
        answer, process = _state.door.ask(request)
    try:
        while True:
            with _believing(clip.path):
                found = wire.receive(lambda count: _read(answer, count, clip.path), largest)
            if found is None:
                raise DataError("the sandbox ended without an answer: the file broke its decoder, or asked for more "
                                "memory or time than it has", where=clip.path)  # fmt: skip
            kind = found[0].get("kind")
            if kind == "end":
                return
            if kind == "error":
                with _believing(clip.path):
                    refusal = wire.to_error(found[0], clip.path)
                raise refusal
            yield found
    finally:
        os.close(answer)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _read(answer: int, count: int, path: Path) -> bytes:
    parts, left = [], count
    while left:
        ready, _, _ = select.select([answer], [], [], STALL_SECONDS)
        if not ready:
            raise DataError(
                f"the sandbox was silent for {STALL_SECONDS:g} s: the file keeps its decoder busy", where=path
            )
        part = os.read(answer, min(left, 1 << 20))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class _Door:
    """The process that copies itself for each request."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", CHILD, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self.socket = ours
        self.socket.settimeout(START_SECONDS)

    def ask(self, request: dict[str, Any]) -> tuple[int, int]:
        """The end of a pipe that the answer comes from, and the number of the process that gives it."""
        answer, theirs = os.pipe()
        try:
            text = json.dumps(request).encode()
            socket.send_fds(self.socket, [len(text).to_bytes(4, "little") + text], [theirs])
            number = self.socket.recv(4)
        except OSError as error:
            os.close(answer)
            raise DataError(f"the sandbox can't be started ({error})") from error
        finally:
            os.close(theirs)
        if len(number) < 4:
            os.close(answer)
            raise DataError("the sandbox can't be started: its process ended")
        return answer, int.from_bytes(number, "little")

    def close(self) -> None:
        """Ends the process."""
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
            return
        self.process.kill()
        self.process.wait()
