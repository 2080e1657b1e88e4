"""Numbers in sentences: 1 file, 2 files."""

from __future__ import annotations


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun.

    >>> count(1, "file"), count(1200, "file"), count(2, "patch", "patches")
    ('1 file', '1,200 files', '2 patches')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def count_are(number: int, noun: str) -> str:
    """A number, its noun and the verb.

    >>> count_are(1, "file"), count_are(2, "file")
    ('1 file is', '2 files are')
    """
    return f"{count(number, noun)} {verb(number, 'is', 'are')}"


def count_have(number: int, noun: str) -> str:
    """Likewise.

    >>> count_have(1, "item"), count_have(2, "item")
    ('1 item has', '2 items have')
    """
    return f"{count(number, noun)} {verb(number, 'has', 'have')}"


def verb(number: int, one: str, several: str) -> str:
    """The form of a verb that goes with a number.

    >>> verb(1, "is", "are"), verb(0, "is", "are")
    ('is', 'are')
    """
    return one if number == 1 else several
