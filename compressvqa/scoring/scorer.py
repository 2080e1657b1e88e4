"""What can give a score: the promise that networks, libvmaf, image metrics and outside programs all keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from compressvqa.progress import Progress
from compressvqa.video.clip import Clip, Pairing


@dataclass(frozen=True)
class Facts:
    """What is known of one score before it is taken.

    Args:
        name: what it is called in tables and logs.
        identity: changes with everything that the score depends on but the files: which score it is, weights, version,
            settings. Scores are kept under it.
        mode: "FR" compares with a reference, "NR" looks at the distorted file only.
        higher_is_better: its direction.
        score_range: lowest and highest possible score, None where there is none.
        source: where it came from: a folder, a library and its version.
        params: number of parameters, None for what is no network.
    """

    name: str
    identity: str
    mode: Literal["FR", "NR"] = "FR"
    higher_is_better: bool = True
    score_range: tuple[float, float] | None = None
    source: str = ""
    params: int | None = None


@dataclass(frozen=True)
class Segment:
    """The score of one run of frames.

    Args:
        first_frame: number of its first frame, counted from 0 in the compared part.
        last_frame: number of its last frame.
        score: the score.
    """

    first_frame: int
    last_frame: int
    score: float


@dataclass(frozen=True)
class Course:
    """One distorted file's score, and its course over time."""

    score: float
    segments: tuple[Segment, ...]
    settings: Mapping[str, Any]


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
