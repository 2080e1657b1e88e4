"""What is published of a named data set: the facts that its reader is registered with, and the table made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compressvqa.errors import RegistryError


@dataclass(frozen=True)
class Published:
    """Facts of a data set as its authors publish them.

    Args:
        title: its name as the field writes it.
        media: what is judged.
        full_reference: whether references come with it.
        label: what the scores are.
        higher_is_better: their direction in the original files.
        scale: lowest and highest possible score, None where the authors state none.
        items: number of scored files, None where it is not certain.
        references: number of references, or None.
        where: where to get it.
        licence: what may be done with it, as far as its authors say.
        citation: the paper.
        layout: the files that are read.
        verified: how the layout is known.
    """

    title: str
    media: Literal["video", "image"]
    full_reference: bool
    label: str
    higher_is_better: bool
    scale: tuple[float, float] | None
    items: int | None
    references: int | None
    where: str
    licence: str
    citation: str
    layout: str
    verified: str


def published() -> dict[str, Published]:
    """The facts of all named data sets that come with some, by name."""
    from compressvqa.registry import mos_sets

    found = {name: mos_sets[name].facts.get("published") for name in mos_sets}
    return {name: facts for name, facts in found.items() if isinstance(facts, Published)}


def facts_of(name: str) -> Published | None:
    """The facts of one data set, None for one that has none or is not known."""
    from compressvqa.registry import mos_sets

    try:
        facts = mos_sets[name].facts.get("published")
    except RegistryError:
        return None
    return facts if isinstance(facts, Published) else None


def markdown_table() -> str:
    """The table of the named data sets in docs/datasets.md."""
    head = "| name | data set | scores | items (references) | files that are read | how that is known |"
    lines = [head, "|---|---|---|---|---|---|"]
    for name, facts in published().items():
        better = "higher" if facts.higher_is_better else "lower"
        scale = "" if facts.scale is None else f", {facts.scale[0]:g} to {facts.scale[1]:g}"
        count = "not certain" if facts.items is None else str(facts.items)
        references = f" ({facts.references})" if facts.references else "" if facts.full_reference else " (none)"
        lines.append(
            f"| `{name}` | {facts.title}, {facts.media}s | {facts.label}, {better} is better{scale} "
            f"| {count}{references} | {facts.layout} | {facts.verified} |"
        )
    return "\n".join(lines) + "\n"


def markdown_sources() -> str:
    """The list of sources, licences and papers in docs/datasets.md."""
    return "".join(
        f"- `{name}`: {facts.citation}. {facts.where}. {facts.licence}.\n" for name, facts in published().items()
    )
