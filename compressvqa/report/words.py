"""Sentences of a report."""

from __future__ import annotations


def sentence(note: str) -> str:
    """A note as a sentence, so that several can stand in a row.

    >>> sentence("vvc codes 10 bit"), sentence("Done.")
    ('Vvc codes 10 bit.', 'Done.')
    """
    return note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".")
