"""A `Score` as plain values, and back to the bit: how one process hands it to another."""

from __future__ import annotations

from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from compressvqa.scoring.pooling import Length
from compressvqa.scoring.result import Score
from compressvqa.scoring.scorer import Segment
from compressvqa.video.difference import Difference
from compressvqa.video.frames import Colour
from compressvqa.video.info import Damage, VideoInfo

_FRACTIONS = ("frame_rate", "pixel_aspect")


def to_plain(score: Score) -> dict[str, Any]:
    """A score as values that JSON can hold.

    Moments of frames are left out: they serve the comparison, and what was found out by them is in the differences.
    """
    return {
        "score": score.score,
        "per_segment": [[one.first_frame, one.last_frame, one.score, one.raw] for one in score.per_segment],
        "model": score.model,
        "reference": None if score.reference is None else _plain_info(score.reference),
        "distorted": _plain_info(score.distorted),
        "differences": [asdict(one) for one in score.differences],
        "settings": score.settings,
        "pools": list(score.pools),
        "per": None if score.per is None else [score.per.frames, _text(score.per.seconds)],
        "identical": score.identical,
        "raw_score": score.raw_score,
    }


def from_plain(held: dict[str, Any]) -> Score:
    """The score that `to_plain` was given.

    Raises:
        KeyError: it is none; likewise TypeError and ValueError.
    """
    per = held["per"]
    return Score(
        held["score"],
        tuple(Segment(*one) for one in held["per_segment"]),
        held["model"],
        None if held["reference"] is None else _info(held["reference"]),
        _info(held["distorted"]),
        tuple(Difference(**one) for one in held["differences"]),
        held["settings"],
        tuple(held["pools"]),
        None if per is None else Length(per[0], _fraction(per[1])),
        held["identical"],
        held["raw_score"],
    )


def _plain_info(info: VideoInfo) -> dict[str, Any]:
    held = {field.name: getattr(info, field.name) for field in fields(VideoInfo) if field.name != "times"}
    held |= {name: _text(held[name]) for name in _FRACTIONS}
    damage = None if info.damage is None else asdict(info.damage)
    return held | {
        "path": str(info.path), "colour": asdict(info.colour), "notes": list(info.notes), "damage": damage,
    }  # fmt: skip


def _info(held: dict[str, Any]) -> VideoInfo:
    told = held | {name: _fraction(held[name]) for name in _FRACTIONS}
    told |= {"path": Path(held["path"]), "colour": Colour(**held["colour"]), "notes": tuple(held["notes"])}
    told["damage"] = None if held["damage"] is None else Damage(**held["damage"])
    return VideoInfo(**told)


def _text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _fraction(text: str | None) -> Fraction | None:
    return None if text is None else Fraction(text)
