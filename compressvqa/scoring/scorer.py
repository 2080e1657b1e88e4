"""What can give a score: the promise that networks, libvmaf, image metrics and outside programs all keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePath
from typing import Any, Literal

from compressvqa.progress import Progress
from compressvqa.video.clip import Clip, Pairing


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a score is to be read: its direction, its limits, and what a file gets that is its own reference.

    Stated once, where the score is defined; `meaning` is what every table and log says of it.

    Args:
        higher_is_better: its direction.
        direction_known: False where nobody said the direction: higher is then assumed to be better.
        score_range: lowest and highest possible score, None for an end that is open; None: no fixed range.
        unit: such as "dB"; empty for a plain number.
        identical: what identical files get, in words; empty where that is not fixed.
        pooling: how the score of a file comes from those of its frames or blocks.
        note: what else a reader has to know; empty where there is nothing.
    """

    higher_is_better: bool = True
    direction_known: bool = True
    score_range: tuple[float | None, float | None] | None = None
    unit: str = ""
    identical: str = ""
    pooling: str = "mean"
    note: str = ""

    @property
    def direction(self) -> str:
        """The direction in words."""
        if not self.direction_known:
            return "direction not stated, higher taken as better"
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    @property
    def range_text(self) -> str:
        """The range in words; empty where there is none.

        >>> Scale(score_range=(0, 100)).range_text, Scale(score_range=(0, None)).range_text, Scale().range_text
        ('0 to 100', '0 or more', '')
        """
        low, high = self.score_range or (None, None)
        if low is None:
            return "" if high is None else f"at most {high:g}"
        return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"

    @property
    def meaning(self) -> str:
        """All of it in one line, the note left out.

        >>> Scale(higher_is_better=False, score_range=(0, None), identical="0").meaning
        'lower is better, 0 or more; identical files: 0'
        """
        return f"{self._about}; identical files: {self.identical or 'no fixed score'}"

    @property
    def _about(self) -> str:
        return ", ".join(part for part in (self.unit, self.direction, self.range_text or "no fixed range") if part)

    def fields(self) -> dict[str, Any]:
        """The arguments that make it, for `Facts`."""
        return {field.name: getattr(self, field.name) for field in fields(Scale)}


@dataclass(frozen=True)
class Facts(Scale):
    """What is known of one score before it is taken: how it is to be read (`Scale`), and the following.

    Args:
        name: what it is called in tables and logs.
        identity: changes with everything that the score depends on but the files: which score it is, weights, version,
            settings. Scores are kept under it.
        mode: "FR" compares with a reference, "NR" looks at the distorted file only.
        source: where it came from: a folder, a library and its version.
        params: number of parameters, None for what is no network.
    """

    name: str
    identity: str
    mode: Literal["FR", "NR"] = "FR"
    source: str = ""
    params: int | None = None

    @property
    def meaning(self) -> str:
        """All of it in one line, the note left out; nothing of identical files where there is no reference.

        >>> Facts(name="brisque", identity="", mode="NR", higher_is_better=False).meaning
        'lower is better, no fixed range'
        """
        return super().meaning if self.mode == "FR" or self.identical else self._about

    def to_dict(self) -> dict[str, Any]:
        """As a log holds it."""
        return {
            "name": self.name,
            "mode": self.mode,
            "higher_is_better": self.higher_is_better if self.direction_known else None,
            "direction": self.direction,
            "score_range": None if self.score_range is None else list(self.score_range),
            "unit": self.unit,
            "identical_files": self.identical or None,
            "pooling": self.pooling,
            "meaning": self.meaning,
            "note": self.note or None,
            "source": self.source,
            "params": self.params,
        }


@dataclass(frozen=True)
class Segment:
    """The score of one run of frames.

    Args:
        first_frame: number of its first frame, counted from 0 in the compared part.
        last_frame: number of its last frame.
        score: the score.
        raw: as the network gave it, where it has a scale by which that is read.
    """

    first_frame: int
    last_frame: int
    score: float
    raw: float | None = None


@dataclass(frozen=True)
class Course:
    """One distorted file's score, and its course over time.

    Args:
        score: of the whole file.
        segments: of its parts.
        settings: how it was measured.
        raw: the score as the network gave it, where a scale lies between.
        in_parts: whether the files were read in parts only: of the rest it is not known whether it is whole.
    """

    score: float
    segments: tuple[Segment, ...]
    settings: Mapping[str, Any]
    raw: float | None = None
    in_parts: bool = False


class Scorer(ABC):
    """Gives one score, or several that cost one pass, to distorted files.

    Attributes:
        facts: one for each score that it gives. Their names, which a table may change, are the keys of what `score`
            returns.
        reads_files: whether it opens the files; one that looks scores up needs no file to be there.
    """

    facts: tuple[Facts, ...]
    reads_files: bool = True

    @abstractmethod
    def score(
        self,
        reference: Clip | None,
        distorted: Sequence[Clip],
        pairing: Pairing,
        progress: Progress | None = None,
    ) -> list[dict[str, Course]]:
        """Scores files against one reference, in flat memory whatever their length.

        Args:
            reference: the reference; None where every score is of mode "NR".
            distorted: the distorted files.
            pairing: how they are brought together with the reference.
            progress: called with (frames done, frames in all or None).

        Returns:
            for each distorted file, in order: {name of the score: its course}.

        Raises:
            DataError: a file can't be read or compared.
            WeightsError: a score is not a number.
        """

    def expect(self, files: Iterable[tuple[Path, str, Path | None]]) -> None:
        """Called before a data set is scored, with all its files; one that reads them need not know.

        Args:
            files: (distorted file, its path within the data set, its reference).
        """
        del files

    def state(self) -> Any:
        """What its scores depend on now, beside code and files; taken anew before each evaluation.

        By default all its attributes that are settings: networks with their weights, numbers, texts, tuples, arrays,
        functions; not lists, sets and dictionaries, in which a scorer may gather what it finds.
        """
        return {name: held for name, held in vars(self).items() if name != "facts" and _is_setting(held)}


def _is_setting(held: Any) -> bool:
    plain = (type(None), bool, int, float, complex, str, bytes, tuple, frozenset, PurePath)
    # Arrays give bytes, tensors have a storage, networks and functions can be called.
    return isinstance(held, plain) or callable(held) or hasattr(held, "tobytes") or hasattr(held, "untyped_storage")
