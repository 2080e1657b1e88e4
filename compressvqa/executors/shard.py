"""One share of the units: for Slurm arrays, Kubernetes' indexed jobs, and whoever starts programs by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from compressvqa.errors import CompressVQAError
from compressvqa.executors.processes import Processes
from compressvqa.executors.results import Results
from compressvqa.executors.unit import Executor, Outcome, Unit, Work


class Shard:
    """Runs every `count`-th unit, beginning with number `index`, in the order of the units' names.

    Names are hashes, so each share is a fair draw, and which share a unit falls to does not hang on the machine. All
    shares over, a run without this class finds every result.

    Args:
        index: of this share, 1 to `count`.
        count: shares in all.
        inner: what runs the share; None: one process.
    """

    def __init__(self, index: int, count: int, inner: Executor | None = None) -> None:
        if not 1 <= index <= count:
            raise CompressVQAError(f"there is no shard {index} of {count}", hint="1/4 to 4/4")
        self.index, self.count = index, count
        self.inner = inner or Processes(1)
        self.whole = count == 1

    @classmethod
    def parse(cls, text: str, inner: Executor | None = None) -> Shard:
        """A shard written as ``I/N``, the first one 1/N.

        Raises:
            CompressVQAError: it is not written so.

        >>> Shard.parse("2/8").count
        8
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None:
            raise CompressVQAError(f"{text!r} is no shard", hint="1/4 is the first of four")
        return cls(int(found[1]), int(found[2]), inner)

    def share(self, units: Sequence[Unit]) -> list[Unit]:
        """See `Executor.share`."""
        return sorted(units, key=lambda unit: unit.name)[self.index - 1 :: self.count]

    def run(self, work: Work, units: Sequence[Unit], results: Results) -> Iterator[Outcome]:
        """See `Executor.run`: those of this share."""
        yield from self.inner.run(work, self.share(units), results)
