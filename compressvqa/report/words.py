"""Sentences of a report."""

from __future__ import annotations

import re

NOISY = (
    "Noisy: one call in ten took over a quarter longer than the median, so that something else ran on the machine; "
    "measure again when it is quiet."
)

NAME_WORDS = 4  # of a file's name that are looked at
_FILE = re.compile(r"\w\.[A-Za-z]\w{1,4}[:,]?$")


def sentence(note: str) -> str:
    """A note as a sentence, so that several can stand in a row.

    >>> sentence("vvc codes 10 bit"), sentence("Done.")
    ('Vvc codes 10 bit.', 'Done.')
    >>> sentence("manifest.csv has no sidecar")  # a file is called as it is spelled
    'manifest.csv has no sidecar.'
    >>> sentence("my clip.mp4 has no frame rate"), sentence("two of the clips have none")
    ('my clip.mp4 has no frame rate.', 'Two of the clips have none.')
    """
    # A name may hold spaces ("my clip.mp4 has no sound"): any of the first words may be its end.
    words = note.split()[:NAME_WORDS]
    dotted = "." in note.partition(" ")[0].rstrip(".")
    begins_with_a_file = dotted or any("/" in word or _FILE.search(word) for word in words)
    start = note if begins_with_a_file else note[:1].upper() + note[1:]
    return start + ("" if note.endswith((".", "!", "?")) else ".")
