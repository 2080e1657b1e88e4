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
    >>> sentence("manifest.csv has no sidecar")  # a file is called as it is spelled
    'manifest.csv has no sidecar.'
    """
    first = note.partition(" ")[0]
    begins_with_a_file = "." in first.rstrip(".") or "/" in first
    start = note if begins_with_a_file else note[:1].upper() + note[1:]
    return start + ("" if note.endswith((".", "!", "?")) else ".")
