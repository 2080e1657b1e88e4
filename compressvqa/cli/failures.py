"""How a command ends: a user's mistake is one line on standard error and exit code 2."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from compressvqa.cli.general import general
from compressvqa.cli.words import in_words_of
from compressvqa.errors import CompressVQAError

# What typer is built on tells a wrong command line by this class, which it does not show in all versions.
_Misused: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
MISTAKE, FAULT, CLOSED = 2, 1, 1


def ended(command: Callable[[], Any]) -> int:  # noqa: PLR0911  (one return for each way to end)
    """Runs a command and returns its exit code.

    0: done. 1: done, and the answer is no; or output was closed. 2: a mistake, in one line. 130: stopped by Ctrl-C.
    With --debug a mistake shows its traceback before the line.
    """
    try:
        code = command()
        sys.stdout.flush()
        return int(code or 0)
    except CompressVQAError as error:
        return _said(error, str(in_words_of(general.context, error)))
    except _Misused as error:
        return _misused(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # of `| head`: what is left to say has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return CLOSED
    except OSError as error:  # a disk that is full, a folder that is not ours, a network drive that is gone
        what = error.strerror or str(error)
        return _said(error, what if error.filename is None else f"{error.filename}: {what}")
    except MemoryError as error:
        return _said(error, "there is not enough memory")
    except Exception as error:
        traceback.print_exception(error)
        print("this is a fault of compressvqa, not yours: please report it with the lines above", file=sys.stderr)
        return FAULT


def _said(error: BaseException, line: str) -> int:
    if general.debug:
        traceback.print_exception(error)
    print(f"error: {line}", file=sys.stderr)
    return MISTAKE


def _misused(error: Any) -> int:
    """A command line that can't be read."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        return MISTAKE
    what, hint = _plain(error), None if context is None else f"{context.command_path} --help"
    near = getattr(error, "possibilities", None)
    if near:
        what, hint = error.message, ", ".join(sorted(near))
    if re.match(r"[A-Z][a-z]* ", what):  # a sentence, and no name of an argument or a file
        what = what[:1].lower() + what[1:]
    return _said(error, str(CompressVQAError(what, hint=hint)))


def _plain(error: Any) -> str:
    """What was wrong with a value, without the words of the library that read it."""
    said = str(error.format_message()).rstrip(".")
    said = re.sub(r"^Invalid value for '?(.*?)'?: ", r"\1: ", said).replace("Value error, ", "")
    said = re.sub(r"^(--[\w-]+)' / '-\w: ", r"\1: ", said)  # an option of two names
    return re.sub(r"Input (should be a valid \w+).*", r"\1", said).replace("Input should", "should")
