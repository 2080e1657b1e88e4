"""The result of a scoring: one number, what it means, its course over time, and how it is written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from compressvqa.environment import own_version
from compressvqa.scoring.pooling import Length, Part, parts, pool, pool_by
from compressvqa.scoring.scorer import Segment
from compressvqa.video.difference import Difference
from compressvqa.video.info import VideoInfo

SCHEMA = 1  # of Score.to_dict; a new number where a key changes its meaning or goes away


@dataclass(frozen=True)
class Score:
    """What `score` found.

    Args:
        score: as the metric itself pools its frames or blocks (mostly their mean), or by the first of `pools`; not a
            number where that is not defined. Its direction is a fact of the metric.
        per_segment: the segments, in order.
        model: facts of the metric, as `Facts.to_dict` gives them: name, mode, direction, range, what identical files
            get, where it came from.
        reference: facts of the reference; None for a no-reference network.
        distorted: facts of the distorted video.
        differences: in what the two files differ although they can be compared.
        settings: block, subsample, frames, skipped frames, tiles and device of this scoring.
        pools: poolings that were asked for, the first of which gives `score`.
        per: the stretches that were asked for.
        identical: the score of the reference against itself, where it was asked for.
        raw_score: as the network gave it, where it has a scale by which that is read.
    """

    score: float
    per_segment: tuple[Segment, ...]
    model: dict[str, Any]
    reference: VideoInfo | None
    distorted: VideoInfo
    differences: tuple[Difference, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    per: Length | None = None
    identical: float | None = None
    raw_score: float | None = None

    @property
    def name(self) -> str:
        """What the metric is called."""
        return str(self.model["name"])

    @property
    def pooling(self) -> str:
        """How `score` comes from the frames."""
        return self.pools[0] if self.pools else str(self.model.get("pooling", "mean"))

    @property
    def pooled(self) -> dict[str, float | None]:
        """Min, max, mean, harmonic mean over the segments as libvmaf's logs hold them, and `pools`; see `pool`."""
        return pool([segment.score for segment in self.per_segment], self.pools)

    @property
    def parts(self) -> list[Part]:
        """The scores stretch by stretch; by default each segment is one."""
        if self.per is None:
            return [Part(one.first_frame, one.last_frame, (one.score,)) for one in self.per_segment]
        return parts(self.per_segment, self.per, self.frame_rate)

    @property
    def frame_rate(self) -> Fraction | None:
        """That of the compared frames."""
        return (self.reference or self.distorted).frame_rate

    @property
    def unit_of_time(self) -> str:
        """What a segment is: "frame" or "block"."""
        return "frame" if all(part.first_frame == part.last_frame for part in self.per_segment) else "block"

    @property
    def meaning(self) -> str:
        """How the score is to be read, in a line: unit, direction, range, what identical files get."""
        known = str(self.model.get("meaning", ""))
        if self.identical is None:
            return known
        return f"{known.partition('; identical')[0]}; the reference against itself: {figure(self.identical)}"

    @property
    def remarks(self) -> list[str]:
        """What a reader of the score has to know beyond its meaning."""
        found = [str(self.model["note"])] if self.model.get("note") else []
        if any(value is None for value in self.pooled.values()) and self.per_segment:
            found.append("no harmonic mean: it is defined for positive scores only")
        low = [name for name in self.pools if name == "min" or (name[:1] == "p" and float(name[1:]) < 50)]
        if low and self.model.get("higher_is_better") is False:
            found.append(f"{', '.join(low)} is the good end of a score of which lower is better: "
                         f"{', '.join(other_end(name) for name in low)} is the bad one")  # fmt: skip
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values that read like libvmaf's JSON log: ``frames[].frameNum``, ``.metrics`` and ``pooled_metrics``.

        A segment is listed under its first frame; ``lastFrameNum`` says where it ends.
        """
        name = self.model["name"]
        return {
            "schema": SCHEMA,
            "version": own_version(),
            "model": self.model,
            "reference": None if self.reference is None else _facts(self.reference),
            "distorted": _facts(self.distorted),
            "differences": [
                {"what": found.what, "reference": found.reference, "distorted": found.distorted, "note": found.hint}
                for found in self.differences
            ],
            "settings": self.settings,
            "frames": [
                {"frameNum": part.first_frame, "lastFrameNum": part.last_frame, "metrics": {name: part.score}}
                | ({} if part.raw is None else {"raw": {name: part.raw}})
                for part in self.per_segment
            ],
            **self._stretches(),
            "pooled_metrics": {name: self.pooled},
            "pool": self.pooling,
            "score": self.score,
            "raw_score": self.raw_score,
            "meaning": self.meaning,
            "notes": self.remarks,
        }

    def _stretches(self) -> dict[str, Any]:
        """The parts that were asked for, each pooled in all ways that were asked for."""
        if self.per is None:
            return {}
        names = self.pools or ("mean",)
        return {
            "parts": [
                {"frameNum": part.first_frame, "lastFrameNum": part.last_frame, "time": self.time(part),
                 "metrics": {self.name: {name: pool_by(name, part.scores) for name in names}}}
                for part in self.parts
            ]
        }  # fmt: skip

    def time(self, part: Part) -> float | None:
        """Seconds from the first compared frame to the first of a part; None where the rate is not known."""
        return None if self.frame_rate is None else float(part.first_frame / self.frame_rate)

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads: (name, value), the score first."""
        pooled, count = self.pooled, len(self.per_segment)
        found = [(self.name, figure(self.score)), ("meaning", self.meaning)]
        if self.pools:
            found[0] = (f"{self.name} ({self.pooling})", figure(self.score))
            found += [(title(name), figure(pooled[name])) for name in self.pools[1:]]
        if count:
            rest = [name for name in ("mean", "harmonic_mean") if name not in self.pools]
            found.append(("min / max", f"{figure(pooled['min'])} / {figure(pooled['max'])} over {count} "
                                       f"{self.unit_of_time}{'' if count == 1 else 's'}"))  # fmt: skip
            found += [
                (title(name), figure(pooled[name])) for name in rest if figure(pooled[name]) != figure(self.score)
            ]
        if self.raw_score is not None:
            found.append(("raw score", figure(self.raw_score)))
        if self.reference is not None:
            found.append(("reference", str(self.reference)))
        found.append(("distorted", str(self.distorted)))
        if "compared as" in self.settings:
            found.append(("compared as", str(self.settings["compared as"])))
        if self.settings.get("tiles", 1) > 1:
            found.append(("tiles", f"{self.settings['tiles']} a frame, mean weighted by area"))
        if "sampled" in self.settings:
            what = self.settings["sampled"]
            size = (
                "whole pictures" if what["patches"] == 1 else f"{what['patches']} patches of {what['patch'][0]} pixels"
            )
            found.append(("sampled", f"{what['blocks']} blocks, {size}: {what['share_of_pixels']:.1%} of the pixels, "
                                     f"seed {what['seed']}"))  # fmt: skip
        notes = {found.hint for found in self.differences} | set(self.settings.get("notes", ()))
        notes |= {
            f"{info.path.name}: {note}" for info in (self.reference, self.distorted) if info for note in info.notes
        }
        found += [("differs", str(one)) for one in self.differences]
        return found + [("note", note) for note in [*sorted(note for note in notes if note), *self.remarks]]

    def to_text(self) -> str:
        """`lines` in two columns, without colour."""
        width = max(len(name) for name, _ in self.lines())
        return "".join(f"{name.ljust(width)}  {value}\n" for name, value in self.lines())


Subject = tuple[Path | None, Path]
"""What scores are of: a distorted file; where it was held against several references, also which."""


def subjects(scores: Sequence[Score]) -> list[Subject]:
    """What each score is of. The reference is None where the file was held against one only, or the metric reads none.

    Scores of one distorted file by several metrics have one subject, also where some of these read no reference.
    """
    held: dict[Path, set[Path]] = {}
    for score in scores:
        if score.reference is not None:
            held.setdefault(score.distorted.path, set()).add(score.reference.path)
    several = {path for path, references in held.items() if len(references) > 1}
    return [
        (one.reference.path if one.reference and one.distorted.path in several else None, one.distorted.path)
        for one in scores
    ]


def file_names(scores: Sequence[Score]) -> dict[Subject, str]:
    """What each subject is called: the distorted file's name, and where it must be told too, its reference's.

    A name has as many folders as tell it apart from the others.
    """
    found = list(dict.fromkeys(subjects(scores)))
    distorted = _short_names([path for _, path in found])
    references = _short_names([path for path, _ in found if path is not None])
    return {
        (reference, path): distorted[path] + (f" ({references[reference]})" if reference is not None else "")
        for reference, path in found
    }


def _short_names(paths: Sequence[Path]) -> dict[Path, str]:
    names = {}
    for path in dict.fromkeys(paths):
        parts = path.absolute().parts
        ends = (Path(*parts[-count:]) for count in range(1, len(parts) + 1))
        names[path] = str(next((end for end in ends if sum(_ends(other, end) for other in set(paths)) == 1), path))
    return names


def _ends(path: Path, end: Path) -> bool:
    return path.absolute().parts[-len(end.parts) :] == end.parts


def figure(value: float | None) -> str:
    """A score as it is printed; "-" where it is not defined."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"


def title(pooling: str) -> str:
    """What a pooling is called in a table."""
    return pooling.replace("_", " ")


def other_end(pooling: str) -> str:
    """The pooling as far from the other end.

    >>> other_end("p5"), other_end("min")
    ('p95', 'max')
    """
    return "max" if pooling == "min" else f"p{100 - float(pooling[1:]):g}"


def _facts(info: VideoInfo) -> dict[str, Any]:
    return {
        "path": str(info.path),
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "pixel_format": info.chroma,
        "bitdepth": info.colour.bitdepth,
        "matrix": "rgb" if info.rgb else info.colour.matrix,
        "matrix_stated": info.rgb or info.matrix_stated,
        "full_range": info.colour.full_range,
        "transfer": info.transfer,
        "frame_rate": None if info.frame_rate is None else float(info.frame_rate),
        "frames": info.frames,
        "notes": list(info.notes),
    }
