"""Commands and scripts as forks of a process that has imported PyTorch: processes of their own that need not.

A fork begins with modules imported and nothing else done: no plugin, no thread, no tensor. It has its own streams,
folder and environment, finds modules where `python -m compressvqa` would, and ends as an interpreter ends. What depends
on how an interpreter begins (hash seed, threads of PyTorch, late imports) needs a fresh one instead.

Asked on standard input, a line of JSON each: {"start": ...} is answered by the fork's id, {"pid", "wait"} by its exit
code, null while it runs. Ends, and its forks with it, when standard input does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading

# What commands import, early or late.
WARM = (
    "compressvqa.cli",
    "compressvqa.report",
    "compressvqa.running.pipeline",
    "compressvqa.scoring.engine",
    "fvcore.nn",
    "lightning_fabric",
    "matplotlib.backends.backend_agg",
    "scipy.stats",
    "torch._dynamo",
    "torch.utils.tensorboard",
)


def main() -> list[str] | None:
    """Serves; returns in a fork, with what the fork is to run: `-c` and Python code, or `-m`, and its arguments."""
    for name in WARM:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a fork would lack the threads"
    gc.freeze()  # a fork's collections would copy every page that objects of modules lie in
    atexit.register(gc.unfreeze)  # bindings count what is left at the end, and print it as leaked
    running: set[int] = set()
    with os.fdopen(os.dup(0)) as asks, os.fdopen(os.dup(1), "w") as tells:
        for line in asks:
            asked = json.loads(line)
            if "start" in asked:
                child = os.fork()
                if child == 0:
                    return _become(**asked["start"])
                running.add(child)
                answer: int | None = child
            else:
                found, status = os.waitpid(asked["pid"], 0 if asked["wait"] else os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if found else None
                running -= {found}
            tells.write(json.dumps(answer) + "\n")
            tells.flush()
    for child in running:
        os.kill(child, signal.SIGKILL)
    return None


def _become(arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> list[str]:
    """Gives the fork what a new process would have."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = cwd
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (file, how) in enumerate(((os.devnull, os.O_RDONLY), (out, write), (err, write))):
        opened = os.open(file, how)
        os.dup2(opened, number)
        os.close(opened)
    return arguments


if __name__ == "__main__":
    given = main()
    if given is not None:
        how, what, *sys.argv[1:] = given
        if how == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
