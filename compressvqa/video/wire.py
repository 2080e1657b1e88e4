"""What a process that decodes tells the one that asked: JSON and raw samples, never a pickle.

The one that asks believes nothing: what comes over the wire may have been written by whoever made the file. A message
is two lengths, a JSON object, and samples.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np

from compressvqa.errors import DataError
from compressvqa.video.frames import Chroma, Colour, Planes, plane_shapes, sample_type, split_planes
from compressvqa.video.info import Damage, VideoInfo, check_size
from compressvqa.video.matrices import Matrix
from compressvqa.video.posture import Scan

_HEAD = struct.Struct("<IQ")
MAX_HEADER = 1 << 20
MAX_FRAMES = 1 << 24  # whose times are told
MAX_NOTES, MAX_TEXT = 50, 2000


def send(out: BinaryIO, header: dict[str, Any], samples: bytes = b"") -> None:
    """Writes a message."""
    text = json.dumps(header).encode()
    out.write(_HEAD.pack(len(text), len(samples)) + text)
    out.write(samples)
    out.flush()


def receive(read: Callable[[int], bytes], largest: int) -> tuple[dict[str, Any], bytes] | None:
    """Reads a message; None where there is no whole one.

    Args:
        read: gives so many bytes, or fewer at the end.
        largest: bytes of samples that are taken.

    Raises:
        ValueError: it is no message.
    """
    head = read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    lengths = _HEAD.unpack(head)
    if lengths[0] > MAX_HEADER or lengths[1] > largest:
        raise ValueError("a message that is too long")
    text, samples = read(lengths[0]), read(lengths[1])
    if (len(text), len(samples)) != lengths:
        return None
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("a message that is no object")
    return header, samples


def frame_header(planes: Planes) -> dict[str, Any]:
    """What is told of a frame beside its samples, `Planes.to_bytes`."""
    return {"kind": "frame", "size": list(planes.size), "chroma": planes.chroma, "colour": _colour(planes.colour)}


def to_frame(header: dict[str, Any], samples: bytes) -> Planes:
    """The frame of a message.

    Raises:
        ValueError: it is none.
        DataError: it is larger than any that is read.
    """
    height, width = (_whole(side, 1) for side in header["size"])
    check_size(width, height, "the sandbox")
    chroma, colour = _one_of(header["chroma"], Chroma), _to_colour(header["colour"])
    kind = sample_type(colour.bitdepth)
    count = sum(math.prod(shape) for shape in plane_shapes(height, width, chroma))
    if len(samples) != count * kind.itemsize:
        raise ValueError("a frame of another length")
    return split_planes(np.frombuffer(samples, kind), height, width, chroma, colour)


def info_message(info: VideoInfo) -> tuple[dict[str, Any], bytes]:
    """What is told of a file."""
    header: dict[str, Any] = {
        "kind": "info", "codec": info.codec, "size": [info.height, info.width], "chroma": info.chroma,
        "colour": _colour(info.colour), "frame_rate": _ratio(info.frame_rate), "frames": info.frames,
        "transfer": info.transfer, "variable_rate": info.variable_rate, "rotation": info.rotation,
        "matrix_stated": info.matrix_stated, "notes": [note[:MAX_TEXT] for note in info.notes[:MAX_NOTES]],
        "damage": None if info.damage is None else [info.damage.frame, info.damage.what], "rgb": info.rgb,
        "alpha": info.alpha, "gamut": info.gamut, "mirrored": info.mirrored, "scan": info.scan,
        "pixel_aspect": _ratio(info.pixel_aspect), "timed": info.times is not None,
    }  # fmt: skip
    return header, b"" if info.times is None else np.asarray(info.times, "<f8").tobytes()


def to_info(header: dict[str, Any], samples: bytes, path: Path) -> VideoInfo:
    """The facts of a message.

    Raises:
        ValueError: they are none.
        DataError: a picture larger than any that is read.
    """
    height, width = (_whole(side, 1) for side in header["size"])
    check_size(width, height, path)
    frames, damage = header["frames"], header["damage"]
    times = np.frombuffer(samples, "<f8").astype(np.float64) if header["timed"] is True else None
    if times is not None and not np.isfinite(times).all():
        raise ValueError("a time that is none")
    return VideoInfo(
        path=path, codec=_text(header["codec"]), width=width, height=height, chroma=_one_of(header["chroma"], Chroma),
        colour=_to_colour(header["colour"]), frame_rate=_to_ratio(header["frame_rate"]),
        frames=None if frames is None else _whole(frames, 0), transfer=_one_of(header["transfer"], "sdr", "pq", "hlg"),
        variable_rate=None if header["variable_rate"] is None else header["variable_rate"] is True,
        rotation=_whole(header["rotation"], -360), matrix_stated=header["matrix_stated"] is True, times=times,
        notes=tuple(_text(note) for note in header["notes"][:MAX_NOTES]),
        damage=None if damage is None else Damage(_whole(damage[0], 0), _text(damage[1])), rgb=header["rgb"] is True,
        alpha=header["alpha"] is True, gamut=_one_of(header["gamut"], "", "BT.2020", "P3", "BT.709"),
        mirrored=header["mirrored"] is True, scan=_one_of(header["scan"], Scan),
        pixel_aspect=_to_ratio(header["pixel_aspect"]) or Fraction(1),
    )  # fmt: skip


def error_header(error: DataError) -> dict[str, Any]:
    """What is told of a refusal."""
    return {"kind": "error", "what": error.what, "hint": error.hint, "where": error.where}


def to_error(header: dict[str, Any], path: Path) -> DataError:
    """The refusal of a message; of its place only what begins with the file's own is believed."""
    where, hint = header["where"], header["hint"]
    inside = isinstance(where, str) and where.startswith(str(path))
    return DataError(_text(header["what"]), where=_text(where) if inside else path,
                     hint=None if hint is None else _text(hint))  # fmt: skip


def _colour(colour: Colour) -> list[Any]:
    return [colour.bitdepth, colour.matrix, colour.full_range]


def _to_colour(found: Any) -> Colour:
    depth, matrix, full = found
    if not 1 <= _whole(depth, 1) <= 16:
        raise ValueError("a bit depth that is none")
    return Colour(depth, _one_of(matrix, Matrix), full is True)


def _ratio(value: Fraction | None) -> list[int] | None:
    return None if value is None else [value.numerator, value.denominator]


def _to_ratio(found: Any) -> Fraction | None:
    return None if found is None else Fraction(_whole(found[0], -(2**63)), _whole(found[1], 1))


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or not least <= value < 2**63:
        raise ValueError("a whole number that is none")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2 * MAX_TEXT:
        raise ValueError("a text that is none")
    return value


def _one_of(value: Any, *known: Any) -> Any:
    words = get_args(known[0]) if len(known) == 1 else known
    if value not in words:
        raise ValueError(f"a word that is none of {words}")
    return value
