"""What is disturbed by `interrupted.py`: what of ours writes. Whole commands are in commands.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.interrupted import Work
from hostile.subjects import MANIFEST


def model() -> Work:
    """A network saved over another one."""
    import torch

    from compressvqa.models import create_model, load, save

    def network(seed: int) -> Any:
        torch.manual_seed(seed)
        return create_model("stanet", channels=4, hidden=3)

    nets = [network(0), network(1)]
    first = [next(net.parameters()).detach().clone() for net in nets]

    def check(folder: Path) -> str:
        found = next(load(folder / "net").parameters())
        held = [torch.equal(found, one) for one in first]
        assert any(held), "another network"
        assert (folder / "net" / "notes.txt").read_text() == "kept", "a file of the user's is gone"
        return "old" if held[0] else "new"

    def prepare(folder: Path) -> None:
        save(nets[0], folder / "net")
        (folder / "net" / "notes.txt").write_text("kept")

    return Work(prepare, lambda folder: save(nets[1], folder / "net") and None, check)


def manifest() -> Work:
    """A manifest and its sidecar written over others."""
    from compressvqa.opinions import read_manifest
    from compressvqa.opinions.manifest_file import write_manifest

    def write(folder: Path, label: str) -> None:
        (folder / "in.json").write_text(json.dumps({**MANIFEST, "label": label}))
        write_manifest(read_manifest(folder / "in.json"), folder / "out.csv")

    def check(folder: Path) -> str:
        found = read_manifest(folder / "out.csv")
        assert len(found.items) == 4
        return {"MOS": "old", "quality": "new"}[found.label]

    return Work(lambda folder: write(folder, "MOS"), lambda folder: write(folder, "quality"), check)


def kept() -> Work:
    """Scores put into a store that holds others."""
    from compressvqa.evaluation.cache import ScoreCache
    from compressvqa.scoring.scorer import Course, Facts, Segment
    from compressvqa.video.clip import Clip, Pairing

    facts = Facts("mine", "mine 1", higher_is_better=True)

    def put(folder: Path, names: list[str]) -> None:
        store = ScoreCache(folder / "store")
        for number, name in enumerate(names):
            clip = Clip(folder / name)
            store.put(facts, clip, clip, Pairing(), Course(float(number), (Segment(0, 9, float(number)),), {"a": 1}))
        store.close()

    def prepare(folder: Path) -> None:
        for name in "abcd":
            (folder / name).write_text(name * 100)
        put(folder, ["a", "b"])

    def check(folder: Path) -> str:
        store = ScoreCache(folder / "store")
        courses = [store.get(facts, Clip(folder / name), Clip(folder / name), Pairing()) for name in "abcd"]
        store.close()
        assert courses[0] is not None and courses[1] is not None, "a kept score is gone"
        for number, course in enumerate(courses):
            assert course is None or course.score in (float(number), float(number - 2)), "another score"
        return "new" if all(courses) else "old"

    # SQLite lays its pages out by what happened before: it is what can be read that counts.
    return Work(prepare, lambda folder: put(folder, ["a", "b", "c", "d"]), check, lambda path: path.suffix != ".sqlite")


def evaluation() -> Work:
    """The files of an evaluation written over those of another."""
    from compressvqa.results import Evaluation

    source = Path(__file__).parent.parent / "results" / "older.json"
    held = Evaluation.read(source)

    other = held.model_copy(update={"created": "2031-01-01T00:00:00"})

    def check(folder: Path) -> str:
        found = Evaluation.read(folder / "out" / "evaluation.json")
        assert found.created in (held.created, other.created)
        assert (folder / "out" / "scores.csv").read_text().endswith("\n")
        return "new" if found.created == other.created else "old"

    return Work(
        lambda folder: held.write(folder / "out") and None, lambda folder: other.write(folder / "out") and None, check
    )


WORKS: dict[str, Callable[[], Work]] = {
    "model": model, "manifest": manifest, "kept": kept, "evaluation": evaluation,
}  # fmt: skip
