"""What a check of a data set found, in words and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from compressvqa.plurals import count

# So many names are given of what is wrong.
NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        kind: what it is about, one word that a program can test.
        text: the sentence.
        level: "fault" where results would be wrong or absent, "remark" for what one should know.
        count: how many items or files it is about.
        examples: the first of them.
    """

    kind: str
    text: str
    level: Literal["fault", "remark"] = "remark"
    count: int = 1
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = "" if not self.examples else f": {', '.join(self.examples)}"
        more = f", ... ({self.count} in all)" if self.examples and self.count > len(self.examples) else ""
        return f"{self.level}: {self.text}{shown}{more}"


def about(kind: str, text: str, names: Iterable[str] = (), *, fault: bool = False, count: int = 0) -> Finding:
    """A finding about some files, of which the first few are shown."""
    names = list(names)
    return Finding(kind, text, "fault" if fault else "remark", count or len(names) or 1, tuple(names[:NAMED]))


@dataclass(frozen=True)
class Report:
    """What a check found.

    Args:
        name: the data set.
        folder: where it is.
        items: number of scored files.
        references: number of different references.
        looked: number of items whose files were opened.
        findings: faults first.
        notes: what the manifest itself says.
    """

    name: str
    folder: Path
    items: int = 0
    references: int = 0
    looked: int = 0
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not any(finding.level == "fault" for finding in self.findings)

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What is wrong."""
        return tuple(finding for finding in self.findings if finding.level == "fault")

    @property
    def remarks(self) -> tuple[Finding, ...]:
        """What one should know."""
        return tuple(finding for finding in self.findings if finding.level == "remark")

    def lines(self) -> list[str]:
        """The report as lines of text: what was read, each finding, what came of it."""
        references = f", {count(self.references, 'reference')}" if self.references else ", no references"
        head = f"{self.name} in {self.folder}: {count(self.items, 'item')}{references}; {self.looked} of them opened"
        said = [f"note: {note}" for note in self.notes]
        verdict = count(len(self.faults), "fault") if self.faults else "complete and readable"
        return [head, *said, *map(str, self.findings), verdict]

    def to_dict(self) -> dict[str, Any]:
        """The report for a program."""
        return {
            "name": self.name, "folder": self.folder.as_posix(), "ok": self.ok, "items": self.items,
            "references": self.references, "looked": self.looked, "notes": list(self.notes), **self.facts,
            "findings": [
                {"kind": found.kind, "level": found.level, "text": found.text, "count": found.count,
                 "examples": list(found.examples)} for found in self.findings
            ],
        }  # fmt: skip
