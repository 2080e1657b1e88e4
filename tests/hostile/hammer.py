"""Feeds damaged input to our readers, in a process of its own with limits on time and memory.

``python -m hostile.hammer media --cases 2000 --seed 1 --folder F`` prints one JSON object: how many cases were
read and refused, and every one that ended in another way, with the number that makes it again. It ends itself where a
case takes too long, by the processor's clock or, if it only waits, by the one on the wall, so that a hang shows as a
case number and a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import math
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MEMORY_MB = 1500  # beyond what the process has once everything is imported
SECONDS = 120  # of the processor, for one case; counted in ticks, which are too many on a busy machine
WAITING = 600  # on the wall, on however busy a machine
LONGEST_MESSAGE = 3000

FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.", "os.system", "os.exec",
             "os.posix_spawn", "os.startfile", "webbrowser.", "ftplib.", "urllib.")  # fmt: skip
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "shutil.rmtree")

Case = Callable[[random.Random], Callable[[], Any]]


def forbid_all_but(folder: Path) -> list[str]:
    """Notes whatever a case does outside of its folder: connections, programs, files written elsewhere."""
    deeds: list[str] = []
    allowed = (str(folder), "/dev/null")

    def watch(event: str, arguments: Any) -> None:
        opened = event == "open" and bool(set(str(arguments[1])) & set("wax+"))
        if event.startswith(FORBIDDEN) or ((opened or event in CHANGES) and _outside(arguments[0], allowed)):
            deeds.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(watch)
    return deeds


def _outside(path: Any, allowed: tuple[str, ...]) -> bool:
    return isinstance(path, (str, bytes, Path)) and not os.fsdecode(path).startswith(allowed)


def run(
    case: Case, *, name: str, cases: int, seed: int, first: int, folder: Path, stop_at: float | None
) -> dict[str, Any]:
    """Runs cases `first` up to `cases` and says how they ended."""
    from compressvqa.errors import CompressVQAError, printable

    deeds = forbid_all_but(folder)
    for number in range(20):  # what is imported late, and caches, are there before memory is limited
        _quietly(case(random.Random(f"{name}/warm/{number}")), CompressVQAError)
    before = _resident()
    _limit_memory()
    ended: dict[str, Any] = {"cases": 0, "read": 0, "refused": 0, "faults": []}
    marker = os.open(folder / "case", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    armed = -math.inf
    faulthandler.register(signal.SIGPROF, chain=True)  # tells where it is; then the signal ends the process
    for number in range(first, cases):
        now, used = time.monotonic(), time.process_time()
        if stop_at is not None and now > stop_at:
            break
        os.pwrite(marker, f"{name} {seed} {number}".encode(), 0)  # numbers only grow
        if used - armed > 1:  # not for each case: that costs as much as a small one
            faulthandler.dump_traceback_later(WAITING, exit=True)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            armed = used
        deeds.clear()
        try:
            case(random.Random(f"{name}/{seed}/{number}"))()
            ended["read"] += 1
        except CompressVQAError as error:
            ended["refused"] += 1
            said = str(error)
            lines = said.split("\n")
            if said != printable(said) or len(said) > LONGEST_MESSAGE or any(not line.strip() for line in lines):
                ended["faults"].append({"case": number, "message": said[:300]})
            if len(lines) > 1 and not lines[1].startswith("  "):  # a recipe's faults, a line each
                ended["faults"].append({"case": number, "lines": said[:300]})
        except BaseException as error:  # whatever it is, it is what is looked for
            told = traceback.format_exc().splitlines()
            ended["faults"].append(
                {"case": number, "error": f"{type(error).__name__}: {error}"[:300], "trace": told[-12:]}
            )
        if deeds:
            ended["faults"].append({"case": number, "deeds": deeds[:3]})
        ended["cases"] += 1
        if len(ended["faults"]) >= 25:
            break
    faulthandler.cancel_dump_traceback_later()
    signal.setitimer(signal.ITIMER_PROF, 0)
    os.close(marker)
    gc.collect()
    ended["grown_mb"] = round((_resident() - before) / 2**20)
    ended["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return ended


def _quietly(work: Callable[[], Any], refusal: type[Exception]) -> None:
    with contextlib.suppress(refusal):
        work()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _limit_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (MEMORY_MB << 20), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    from hostile import subjects

    options = argparse.ArgumentParser()
    options.add_argument("subjects", nargs="+", metavar="SUBJECT[=CASES]")
    options.add_argument("--cases", type=int, default=1000)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--seconds", type=float)
    options.add_argument("--folder", type=Path, required=True)
    given = options.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    for subject in given.subjects:
        name, _, count = subject.partition("=")
        started = time.monotonic()
        stop_at = None if given.seconds is None else started + given.seconds
        case = subjects.SUBJECTS[name](given.folder)
        ended = run(case, name=name, cases=int(count or given.cases), seed=given.seed, first=given.first,
                    folder=given.folder, stop_at=stop_at)  # fmt: skip
        print(json.dumps({"subject": name, **ended, "seconds": round(time.monotonic() - started, 1)}), flush=True)


def results(text: str) -> Iterator[dict[str, Any]]:
    """What the command printed."""
    yield from (json.loads(line) for line in text.splitlines() if line.startswith("{"))


if __name__ == "__main__":
    main()
