"""Work that is shared out: to processes, to shards of a job, to a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressvqa.plurals import count

if TYPE_CHECKING:
    from compressvqa.executors import Executor, Results, Unit, Work


def spread(
    executor: Executor, work: Work, units: Sequence[Unit], folder: Path, *, what: str, pieces: str = "piece"
) -> dict[str, Any] | None:
    """Does units and shows how far it is.

    Args:
        executor: what runs them.
        work: what does one.
        units: the units.
        folder: where results of units are kept.
        what: goes on, for the progress.
        pieces: what a unit is called.

    Returns:
        {name of a unit: its result}; None where this was one share of several: the command ends here, after a line
        that says what is done and what to do next.

    Raises:
        CompressVQAError: a unit can't be done; those that are done stay.
    """
    from compressvqa.executors import Results
    from compressvqa.progress import bar

    results, found = Results(folder), {}
    share = executor.share(units)
    with bar(what, len(share)) as progress:
        progress.update(0, len(share))
        for unit, result in executor.run(work, units, results):
            found[unit.name] = result
            progress.update(len(found), len(share))
    if executor.whole:
        return found
    _say(results, units, len(found), pieces)
    return None


def _say(results: Results, units: Sequence[Unit], done: int, pieces: str) -> None:
    """What stands after a share."""
    left = len(results.missing(unit.name for unit in units))
    here = f"this share is done: {count(done, pieces)} of {len(units)}"
    if left:
        are = "is" if left == 1 else "are"
        print(f"{here}; {left} of other shares {are} left. When all have ended, run the command without --shard.")
    else:
        print(f"{here}; all shares are done. Run the command without --shard: it puts them together.")
