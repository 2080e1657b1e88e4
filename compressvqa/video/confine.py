"""What a process gives up before it decodes a stranger's file: memory, time, files, the network.

Each is taken away as far as the system can: limits of resources wherever POSIX has them, other files and the network on
Linux only (Landlock, since 5.13; an own network namespace where the system allows one). What is given up can't be taken
back by code that breaks out of a decoder.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

MEMORY_BYTES = 2 << 30  # beyond what the process has when it is confined
CPU_SECONDS = 3600
OPEN_FILES = 64

# Numbers of system calls and flags that Python does not name; the same on all machines of Linux that it runs on.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS_SINCE = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version of Landlock: rights over files that it knows
_NO_NEW_PRIVILEGES, _NEW_NETWORK, _NEW_USER = 38, 0x40000000, 0x10000000


def confine(readable: Sequence[Path]) -> list[str]:
    """Confines this process, and returns in words what it has given up.

    Args:
        readable: files and folders that it may still read, beside the Python installation.
    """
    given_up = _resources()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if libc.unshare(_NEW_NETWORK) == 0 or libc.unshare(_NEW_USER | _NEW_NETWORK) == 0:
            given_up.append("the network")
        if _files(libc, readable):
            given_up.append("other files, and programs")
    return given_up


def _resources() -> list[str]:
    import resource

    limits = [(resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, OPEN_FILES),
              (resource.RLIMIT_CORE, 0)]  # fmt: skip
    given_up = [f"more than {CPU_SECONDS} s of processor time", "writing to files"]
    with contextlib.suppress(OSError, ValueError):  # macOS does not say what is mapped, and does not hold to it either
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits.append((resource.RLIMIT_AS, mapped + MEMORY_BYTES))
        given_up.insert(0, f"more than {MEMORY_BYTES >> 30} GiB of memory")
    for kind, wanted in limits:
        _, hard = resource.getrlimit(kind)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (most, most))
    return given_up


def _files(libc: ctypes.CDLL, readable: Sequence[Path]) -> bool:
    """Lets the process read these and the Python installation only, by Landlock; whether that is in force."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = (1 << _RIGHTS_SINCE.get(min(version, 5), 13)) - 1
    network = 3 if version >= 4 else 0  # TCP: to bind, to connect
    attributes = struct.pack("=QQ" if version >= 4 else "=Q", *((rights, network) if version >= 4 else (rights,)))
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    for path in [*readable, *_installation()]:
        with contextlib.suppress(OSError):
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = _READ_FILE | (_READ_FOLDER if path.is_dir() else 0)
            libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", allowed, file), 0)
            os.close(file)
    done = libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return bool(done)


def _installation() -> list[Path]:
    """Where modules and libraries are that may be loaded late."""
    from compressvqa.packages import sites

    ours = Path(__file__).parent.parent
    places = {Path(place) for place in (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())}
    return [ours, *sites(), *sorted(places), Path("/usr/lib"), Path("/lib"), Path("/lib64"), Path("/usr/local/lib")]
