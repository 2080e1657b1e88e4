"""Work that is killed, or whose writes fail, at every moment that matters: before each thing that it does to a folder.

Each attempt is a copy of this process (fork; this one only imports and reads, a copy of threads would hang), whose own
audit hook counts what it does: files opened for writing, renamed and removed, folders made. At the n-th deed it is
killed (-9), or the deed fails, once or from there on as on a full disk. Then the folder must hold the old or the new
state whole, and the same work, undisturbed, must come to the bytes of work that nothing ever disturbed.

``python -m hostile.interrupted model kept --moments 50 --folder F`` prints one JSON object for each.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import gc
import hashlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fork_server

HOWS = ("kill", "fail", "full")
DONE, REFUSED, FAULT = 0, 3, 4
LIBRARY = ("compressvqa.models", "compressvqa.scoring", "compressvqa.evaluation.cache")


@dataclass(frozen=True)
class Work:
    """One thing that is done to a folder.

    Args:
        prepare: makes the state before it.
        do: the work.
        check: raises where the folder holds neither the old nor the new state whole; returns which it is.
        compared: whether a file's bytes are to be the same in the end.
    """

    prepare: Callable[[Path], None]
    do: Callable[[Path], None]
    check: Callable[[Path], str]
    compared: Callable[[Path], bool] = lambda path: True


class _Watch:
    """Counts deeds below a folder in this process, and ends or fails one."""

    def __init__(self, folder: Path, how: str | None, at: int, counted: Path) -> None:
        self.folder, self.how, self.at, self.count = str(folder), how, at, 0
        self.counted = os.open(counted, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.busy = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: Any) -> None:
        if self.busy or not self._is_deed(event, arguments):
            return
        self.busy = True
        self.count += 1
        os.pwrite(self.counted, b"%08d" % self.count, 0)
        self.busy = False
        if self.how is None or self.count < self.at or (self.how != "full" and self.count > self.at):
            return
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "fail":
            raise OSError(errno.EIO, "made to fail", None)
        elif event not in ("os.remove", "os.rmdir", "os.rename", "shutil.rmtree"):  # those need no room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), None)

    def _is_deed(self, event: str, arguments: Any) -> bool:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) if mode is None else bool(set(mode) & set("wax+"))
            return writes and isinstance(path, (str, bytes, Path)) and os.fsdecode(path).startswith(self.folder)
        if event == "ctypes.dlsym":
            return arguments[1] == "renameat2"
        if event in (
            "os.rename",
            "os.remove",
            "os.rmdir",
            "os.mkdir",
            "os.truncate",
            "os.link",
            "os.symlink",
            "sqlite3.connect",
        ):
            return (
                os.fsdecode(arguments[0]).startswith(self.folder)
                if isinstance(arguments[0], (str, bytes, Path))
                else True
            )
        return False


def attempt(work: Work, folder: Path, how: str | None, at: int, counted: Path) -> tuple[int, int]:
    """Does the work in a copy of this process; how it ended, and how many deeds it came to."""
    counted.write_bytes(b"00000000")
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        code = FAULT
        try:
            code = _in_child(work, folder, how, at, counted)
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)  # an encoder that it had started
    return os.waitstatus_to_exitcode(status), int(counted.read_bytes() or b"0")


def _in_child(work: Work, folder: Path, how: str | None, at: int, counted: Path) -> int:
    from compressvqa.errors import CompressVQAError

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout = sys.stderr = (counted.parent / "said").open("w", buffering=1)
    _Watch(folder, how, at, counted)
    try:
        work.do(folder)
    except (CompressVQAError, OSError) as error:  # the command makes one line of both
        print(error)
        return REFUSED
    except SystemExit as end:
        return DONE if not end.code else REFUSED if end.code == 2 else FAULT
    except BaseException:
        traceback.print_exc()
        return FAULT
    return DONE


def bytes_of(folder: Path, compared: Callable[[Path], bool]) -> dict[str, str]:
    """{file: digest} of what is not hidden: names of unfinished files begin with a dot."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and compared(path)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def disturb(work: Work, place: Path, *, moments: int, hows: tuple[str, ...] = HOWS, twice: int = 0) -> dict[str, Any]:
    """Disturbs work at up to so many moments in each way, and in some of them again while it is done again.

    Returns:
        {"deeds": of undisturbed work, "attempts": how many, "faults": what was wrong}.
    """
    counted, before, folder = place / "count", place / "before", place / "folder"
    shutil.rmtree(place, ignore_errors=True)
    before.mkdir(parents=True)
    code, _ = attempt(replace(work, do=work.prepare), before, None, 0, counted)
    if code != DONE:
        return {
            "deeds": 0,
            "attempts": 0,
            "faults": [{"preparing": code, "said": (place / "said").read_text()[-2000:]}],
        }
    shutil.copytree(before, folder)
    code, deeds = attempt(work, folder, None, 0, counted)
    wanted = bytes_of(folder, work.compared)
    found: dict[str, Any] = {"deeds": deeds, "attempts": 0, "faults": []}
    if code != DONE or work.check(folder) != "new":
        return found | {"faults": [{"undisturbed": code, "said": (place / "said").read_text()[-2000:]}]}
    spread = (
        range(1, deeds + 1)
        if deeds <= moments
        else [1 + round(n * (deeds - 1) / (moments - 1)) for n in range(moments)]
    )
    for how in hows:
        for at in spread:
            again = [(how, at), *([(how, 1 + (at * 7 + n) % deeds) for n in range(twice)])]
            shutil.rmtree(folder)
            shutil.copytree(before, folder)
            for way, moment in again:  # the first disturbance, then others while it recovers
                code, _ = attempt(work, folder, way, moment, counted)
                found["attempts"] += 1
                fault = None if code in (DONE, REFUSED, -signal.SIGKILL) else f"ended with {code}"
                try:
                    work.check(folder)
                except Exception as error:  # whatever it is: the folder is not whole
                    fault = f"{type(error).__name__}: {error}"
                if fault is not None:
                    said = (place / "said").read_text()[-1500:]
                    found["faults"].append({"how": way, "at": moment, "what": fault, "said": said})
                    break
            code, _ = attempt(work, folder, None, 0, counted)
            if code != DONE:
                said = (place / "said").read_text()[-1500:]
                found["faults"].append({"how": how, "at": at, "what": f"does not recover: {code}", "said": said})
            elif bytes_of(folder, work.compared) != wanted:
                got = bytes_of(folder, work.compared)
                differ = [name for name in {*got, *wanted} if got.get(name) != wanted.get(name)]
                found["faults"].append({"how": how, "at": at, "what": f"other bytes: {differ[:5]}"})
            if len(found["faults"]) > 20:
                return found
    return found


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    from hostile.commands import COMMANDS
    from hostile.works import WORKS

    works = {**WORKS, **COMMANDS}
    options = argparse.ArgumentParser()
    options.add_argument("works", nargs="+", choices=sorted(works))
    options.add_argument("--moments", type=int, default=50)
    options.add_argument("--twice", type=int, default=1)
    options.add_argument("--how", choices=HOWS, action="append")
    options.add_argument("--folder", type=Path, required=True)
    given = options.parse_args(arguments)
    for name in fork_server.WARM if set(given.works) & set(COMMANDS) else LIBRARY:  # once, not in each attempt
        importlib.import_module(name)
    gc.freeze()  # nor are their objects walked over, which would copy their pages
    atexit.register(gc.unfreeze)
    for name in given.works:
        started = time.monotonic()
        hows = tuple(given.how or HOWS)
        found = disturb(works[name](), given.folder / name, moments=given.moments, hows=hows, twice=given.twice)
        print(json.dumps({"work": name, **found, "seconds": round(time.monotonic() - started, 1)}), flush=True)


if __name__ == "__main__":
    main()
