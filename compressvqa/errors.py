"""The errors that a user can cause, each one line: what is wrong, where, and what to do.

Those about what was given, a setting, a file, a network, are ValueErrors too, so that code that knows nothing of this
package catches them as such.
"""

from __future__ import annotations

import re

# Codes that a terminal obeys instead of showing: C0 (but for the line's end and the tab), DEL, C1, marks that turn the
# direction of writing or can't be seen, and halves of characters, which stand for bytes that are no UTF-8.
_NOT_SHOWN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff\\ud800-\\udfff]"
)
LONGEST_LINE = 1000  # of an error
_LINES_TOO = re.compile("[\\n\\t]|" + _NOT_SHOWN.pattern)


def printable(text: object, *, one_line: bool = False) -> str:
    """A text as it may be shown: what a terminal would obey is written as an escape.

    Args:
        text: whatever a file is called or holds.
        one_line: also write line ends and tabs so.

    >>> printable("a\\x1b[31m.mp4"), printable("a\\nb", one_line=True)
    ('a\\\\x1b[31m.mp4', 'a\\\\nb')
    """
    return (_LINES_TOO if one_line else _NOT_SHOWN).sub(lambda found: ascii(found[0])[1:-1], str(text))


def _told(text: str) -> str:
    """A text of an error: lines below the first are ours where they are indented; any other line end came with a name.

    What stands in a file may be as long as the file: of a line so much is told as can be read.
    """
    lines = printable(re.sub(r"\n(?!  )", r"\\n", str(text))).split("\n")
    return "\n".join(line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…" for line in lines)


class CompressVQAError(Exception):
    """A mistake that the user can mend. The command line prints it in one line and exits with code 2.

    Args:
        what: the fault, in one clause, naming the thing at fault.
        where: file, line, module path or setting that it was found at.
        hint: what to do about it.
    """

    def __init__(self, what: str, *, where: object = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, None if where is None else str(where), hint
        super().__init__(what)

    def __str__(self) -> str:
        what = _told(self.what)
        text = what if self.where is None else f"{printable(self.where, one_line=True)}: {what}"
        return text if self.hint is None else f"{text} (try: {_told(self.hint)})"


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM, as clusters send it); it stops as by Ctrl-C, and can go on later."""


class RecipeError(CompressVQAError, ValueError):
    """A recipe that does not parse, or that asks for something impossible."""


class RegistryError(CompressVQAError, LookupError):
    """An unknown or clashing name, or a plugin that breaks the promise of its kind."""


class DataError(CompressVQAError, ValueError):
    """A video, folder or manifest that is missing, unreadable or does not fit."""


class WeightsError(CompressVQAError, ValueError):
    """A checkpoint or model folder that is missing, damaged or of another network."""


class PruneError(CompressVQAError, ValueError):
    """A network that can't be pruned as asked; nothing was changed."""


class TargetError(PruneError):
    """A size, cost or latency that no allowed pruning reaches."""


class VerifyError(CompressVQAError, ValueError):
    """What was given to `verify` is not two networks and inputs that the first one takes."""


class RuntimeRefusedError(CompressVQAError):
    """A runtime can't run a network, or differs from PyTorch by more than it may."""


class TrainingError(CompressVQAError):
    """A training that can't go on, for example because the loss is not a number."""


class MissingExtraError(CompressVQAError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"the package {package!r} is not installed", hint=f"pip install 'compressvqa[{extra}]'")
