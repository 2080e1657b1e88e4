"""What the tests of executors do with units: functions of a module that another process can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from compressvqa.errors import DataError


def note(log: str, number: int, seconds: float = 0.0) -> dict[str, int]:
    """Writes down that it ran, and by which process, then squares a number."""
    with Path(log).open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    time.sleep(seconds)
    return {"number": number, "square": number**2}


def dies_once(log: str, number: int) -> int:
    """A process that is killed the first time that it does unit 3."""
    marker = Path(f"{log}.{number}")
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies(log: str, number: int) -> int:
    """A process that is killed whenever it does unit 3."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuses(log: str, number: int) -> int:
    """A unit with a fault of the user's."""
    if number == 3:
        raise DataError("is no video", where="three.mp4")
    return number
