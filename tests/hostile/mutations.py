"""Ways to damage bytes and data, drawn from a seed, so that every case can be made again from its number."""

from __future__ import annotations

import copy
import random
import struct
from typing import Any

INTEGERS = (
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 64) - 1,
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3.5,
    -0.0,
    1e308,
    -1e308,
    1e-320,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**25,
    10**400,
    "",
    " ",
    "0",
    "-1",
    "nan",
    "inf",
    "1e999",
    "auto",
    "x" * 300,
    "../../../etc/passwd",
    "/dev/zero",
    "\x1b[31m",
    "a\nb",
    "\u202e",
    "日本",
    "http://127.0.0.1:9/x",
    "%s%n",
    "${HOME}",
    "{0}",
    [],
    {},
    [[]],
    [{}],
    [None],
    [1, "a"],
    {"": 1},
    {"a": {}},
    [0] * 300,
    [[[[[[1]]]]]],
)


def mutated_bytes(data: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """A copy with one to four damages: bits, numbers, cuts, copies, parts of other files."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        _damage(out, dice, others)
    return bytes(out)


def _damage(out: bytearray, dice: random.Random, others: list[bytes]) -> None:
    if not out:
        out += dice.randbytes(8)
    # Headers are where formats are decided: half of all damage is done there.
    place = dice.randrange(min(len(out), 512) if dice.random() < 0.5 else len(out))
    kind, length = dice.randrange(8), min(dice.choice((1, 2, 4, 8, 64, 1024)), len(out) - place)
    if kind == 0:
        out[place] ^= 1 << dice.randrange(8)
    elif kind == 1:
        out[place : place + length] = dice.randbytes(length)
    elif kind == 2:
        form = dice.choice((">B", ">H", ">I", ">Q", "<H", "<I", "<Q"))
        number = struct.pack(form, dice.choice(INTEGERS) & ((1 << 8 * struct.calcsize(form)) - 1))
        out[place : place + len(number)] = number
    elif kind == 3:
        del out[place : place + length]
    elif kind == 4:
        del out[place:]
    elif kind == 5:
        out[place:place] = out[place : place + length] * dice.choice((1, 2, 50))
    elif kind == 6:
        out[place : place + length] = bytes([dice.choice((0, 0xFF))]) * length
    else:
        other = dice.choice(others)
        start = dice.randrange(len(other))
        out[place : place + length] = other[start : start + dice.choice((4, 16, 256, 4096))]


SNIPPETS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"'",
    b'"',
    b"\n",
    b"\t",
    b"\r",
    b"\0",
    b"#",
    b"&a ",
    b"*a",
    b"!!python/name:os.system ",
    b"<<: *a\n",
    b"- ",
    b"? ",
    b"| \n",
    b"%",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"null",
    b"9" * 40,
    b"9" * 5000,
    b"[" * 300,
    b"{" * 300,
    b"[" * 3000,
    b'{"a":' * 1500,
    b"&a [*a, *a]",
    b"<!DOCTYPE x>",
    b"<!ENTITY a 'b'>",
    b"&a;",
    b"<a>",
    b"1e400",
    b"1e-400",
    b"0x",
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"\x1b]0;x\x07",
    b";",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"2026-99-99",
    b"~",
    b"=",
    b"\xc2\x9b",
)


def mutated_text(data: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """A copy of a text with words of its grammar put in wrong places, lines lost, doubled and exchanged."""
    if dice.random() < 0.2:
        return mutated_bytes(data, dice, others)
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        place = dice.randrange(len(out) + 1)
        kind = dice.randrange(5)
        if kind == 0:
            out[place:place] = dice.choice(SNIPPETS)
        elif kind == 1:
            out[place : place + dice.randrange(1, 9)] = dice.choice(SNIPPETS)
        elif kind == 2:
            lines = bytes(out).split(b"\n")
            one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
            lines[one], lines[other] = lines[other], lines[one]
            out = bytearray(b"\n".join(lines))
        elif kind == 3:
            lines = bytes(out).split(b"\n")
            at = dice.randrange(len(lines))
            lines[at : at + 1] = [lines[at]] * dice.choice((0, 2, 3, 40))
            out = bytearray(b"\n".join(lines))
        else:
            del out[place : place + dice.randrange(1, 200)]
    return bytes(out)


def mutated_data(data: Any, dice: random.Random) -> Any:
    """A copy of nested data with one to three values exchanged, lost, wrapped, or put elsewhere."""
    out = copy.deepcopy(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        places = list(_places(out))
        if not places:
            return dice.choice(VALUES)
        holder, key = dice.choice(places)
        kind = dice.randrange(6)
        if kind <= 2:
            holder[key] = copy.deepcopy(dice.choice(VALUES))
        elif kind == 3:
            del holder[key]
        elif kind == 4:
            other, at = dice.choice(places)
            value = copy.deepcopy(other[at]) if _still(other, at) else None
            holder[key] = value if dice.random() < 0.5 else [value]
        elif isinstance(holder, dict):
            holder[str(dice.choice(VALUES))[:200]] = (
                holder.pop(key) if dice.random() < 0.5 else copy.deepcopy(holder[key])
            )
        else:
            holder.insert(key, copy.deepcopy(dice.choice(VALUES)))
    return out


def _still(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(data: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    todo = [data]
    while todo:
        holder = todo.pop()
        items = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        found += [(holder, key) for key, _ in items]
        todo += [value for _, value in items if isinstance(value, (dict, list)) and value]
    return found
