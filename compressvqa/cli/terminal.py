"""What reaches the terminal: text, and never codes that a file's name or content brings along.

A terminal obeys escape codes wherever they come from: a file may be called so that listing it retitles the window or
hides a line. Errors and tables write such codes out (`errors.printable`); the streams here catch what else is printed.
"""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

from compressvqa.errors import printable

# What rich and typer colour with, and move a progress bar by; only where the stream is a terminal.
_OURS = re.compile(r"(\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AGK]|\x1b\[2K|\r)")


class ShownStream:
    """A text stream that writes codes out instead of passing them on; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text.

        Raises:
            TypeError: it is bytes; typer finds out so whether a stream takes them.
        """
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        parts = _OURS.split(text) if self._stream.isatty() else [text]
        self._stream.write("".join(part if place % 2 else printable(part) for place, part in enumerate(parts)))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes lines one by one."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def show_text_only() -> None:
    """From here on standard output and standard error are such streams."""
    if not isinstance(sys.stdout, ShownStream):
        sys.stdout = ShownStream(sys.stdout)
    if not isinstance(sys.stderr, ShownStream):
        sys.stderr = ShownStream(sys.stderr)
