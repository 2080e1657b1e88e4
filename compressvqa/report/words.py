"""Sentences of a report."""

from __future__ import annotations

NOISY = (
    "Noisy: one call in ten took over a quarter longer than the median, so that something else ran on the machine; "
    "measure again when it is quiet."
)


def sentence(note: str) -> str:
    """A note as a sentence, so that several can stand in a row.

    >>> sentence("vvc codes 10 bit"), sentence("Done.")
    ('Vvc codes 10 bit.', 'Done.')
    """
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")
