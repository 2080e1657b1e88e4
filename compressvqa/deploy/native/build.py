"""Compiling the kernel with the machine's compiler, once, into the user's cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from compressvqa.errors import CompressVQAError
from compressvqa.files import replacing

SOURCES = ("rankdvqa.cpp", "lanes.h")
HERE = Path(__file__).parent

# Instruction sets, the best first: what a processor must say that it has, and what the compiler is told.
SETS: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "avx512-vnni": (
        frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma"}),
        ("-O3", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma"),
    ),
    "avx2": (frozenset({"avx2", "fma"}), ("-O3", "-mavx2", "-mfma")),
    "neon": (frozenset({"asimd"}), ("-O3",)),
    "portable": (frozenset(), ("-O2", "-DNATIVE_PORTABLE")),
}  # fmt: skip
COMMON = ("-std=c++17", "-fPIC", "-shared", "-fno-math-errno", "-DNDEBUG")
LONGEST = 600  # seconds


class NativeUnavailableError(CompressVQAError):
    """Native code can't be had on this machine, or for this network; the message says why."""


def processor_flags() -> frozenset[str]:
    """What the processor and its operating system offer, by the names of Linux; empty where that is not known."""
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        return frozenset({"asimd"})
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def best_set() -> str:
    """The best instruction set of this processor; $COMPRESSVQA_NATIVE names another.

    Raises:
        NativeUnavailableError: the variable names none, or one that this processor does not have.
    """
    flags = processor_flags()
    asked = os.environ.get("COMPRESSVQA_NATIVE")
    if asked:
        if asked not in SETS:
            raise NativeUnavailableError(f"COMPRESSVQA_NATIVE={asked} is no instruction set", hint=", ".join(SETS))
        if not SETS[asked][0] <= flags:
            raise NativeUnavailableError(f"this processor has no {asked}", hint="unset COMPRESSVQA_NATIVE")
        return asked
    return next(name for name, (needed, _) in SETS.items() if needed <= flags)


def compiler() -> str:
    """The C++ compiler: $CXX, else the first of c++, g++ and clang++ that is there.

    Raises:
        NativeUnavailableError: there is none.
    """
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise NativeUnavailableError("there is no C++ compiler for native code", hint="install g++ or clang++, or set CXX")


def library(instructions: str | None = None) -> Path:
    """The compiled kernel for an instruction set, compiled now if that was not done before.

    It is kept under a name made of the source, the compiler's version and the flags; two processes that compile at the
    same time do the work twice and leave one whole file.

    Raises:
        NativeUnavailableError: no compiler, or it fails.
    """
    name = instructions or best_set()
    if sys.platform == "win32":
        raise NativeUnavailableError("native code is not built on Windows")
    tool = compiler()
    flags = (*COMMON, *SETS[name][1])
    key = hashlib.sha256("\0".join([_version(tool), *flags, platform.machine()]).encode())
    for source in SOURCES:
        key.update((HERE / source).read_bytes())
    path = cache_folder() / f"rankdvqa-{name}-{key.hexdigest()[:20]}.so"
    if not path.is_file():
        try:
            with replacing(path) as unfinished:
                _compile([tool, *flags, str(HERE / SOURCES[0]), "-o", str(unfinished)])
        except OSError as error:
            raise NativeUnavailableError(f"compiled code can't be kept ({error.strerror or error})", where=path.parent,
                                         hint="set COMPRESSVQA_CACHE to a folder") from error  # fmt: skip
    return path


def cache_folder() -> Path:
    """Where compiled code is kept: beneath $COMPRESSVQA_CACHE, else the user's cache folder."""
    own = os.environ.get("COMPRESSVQA_CACHE")
    if own:
        return Path(own) / "native"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compressvqa" / "native"


def _version(tool: str) -> str:
    done = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    return f"{tool} {done.stdout}"


def _compile(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST)
    except (OSError, subprocess.TimeoutExpired) as error:
        what = f"the C++ compiler does not finish ({type(error).__name__})"
        raise NativeUnavailableError(what, where=command[0]) from error
    if done.returncode:
        lines = done.stderr.splitlines()
        said = next((line.strip() for line in lines if "error" in line), lines[0] if lines else "it says nothing")
        raise NativeUnavailableError(f"the C++ compiler fails: {said}", where=command[0])
