"""docs/architecture.md says who may import whom: every import of the package is held against it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "compressvqa"
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(source: str) -> Iterator[tuple[int, list[str]]]:
    """(line, names that may be modules, the nearest first) of every import, also one that is late or for types."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, [alias.name]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                yield node.lineno, [f"{node.module}.{alias.name}", str(node.module)]


def edges(module: str) -> Iterator[tuple[int, str]]:
    """(line, module of ours) of every import of a file."""
    for line, names in imports_of(FILES[module].read_text(encoding="utf-8")):
        found = next((name for name in names if name in FILES), None)
        if found is not None and found != module:
            yield line, found


def lists() -> list[dict[str, int]]:
    """The lists of the document: the number of the line that each room stands on."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Who may import whom", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"(?:^    \S.*\n)+", section, re.MULTILINE)
    return [dict(_rooms(block)) for block in blocks]


def _rooms(block: str) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(block.splitlines()):
        names, *_ = re.split(r" {3,}", line.strip())
        yield from ((room, number) for room in names.split(", "))


PACKAGE_ROOMS, PRUNING_ROOMS = lists()


def room_of(module: str, of: str) -> str | None:
    """The room of a package that a module stands in; None for the package's own face and for what is elsewhere."""
    if not module.startswith(f"{of}."):
        return None
    return module.removeprefix(f"{of}.").split(".")[0]


@pytest.mark.parametrize(("package", "rooms"), [("compressvqa", PACKAGE_ROOMS), ("compressvqa.pruning", PRUNING_ROOMS)])
def test_rooms_import_what_stands_above_them_in_the_list(package: str, rooms: dict[str, int]) -> None:
    standing = {room_of(module, package) for module in FILES} - {None, "__main__"}
    assert standing == set(rooms), "docs/architecture.md lists other rooms than there are"
    wrong = []
    for module in FILES:
        here = room_of(module, package)
        for line, other in edges(module) if here in rooms else ():
            there = room_of(other, package)
            if other == package and rooms[str(here)] < max(rooms.values()):
                wrong.append(f"{module}:{line} imports the face of its own package")
            elif there is not None and there != here and rooms[there] >= rooms[str(here)]:
                wrong.append(f"{module}:{line} imports {other}, which stands no higher in the list")
    assert not wrong, "\n".join(wrong)


def test_pruning_can_be_used_alone() -> None:
    """It takes from the package only what the document says: what stands above it."""
    base = {room for room, number in PACKAGE_ROOMS.items() if number < PACKAGE_ROOMS["pruning"]}
    assert base >= {"errors", "registry", "metrics"}
    assert not base & {"models", "data", "stages", "cli", "running"}


def test_no_files_import_each_other_in_a_circle() -> None:
    below = {module: {other for _, other in edges(module)} for module in FILES}
    while True:
        ground = {module for module, others in below.items() if not others}
        if not ground:
            break
        below = {module: others - ground for module, others in below.items() if module not in ground}
    assert not below, f"in a circle, or above one: {sorted(below)}"


def test_late_imports_and_imports_for_types_are_seen() -> None:
    source = "if TYPE_CHECKING:\n    from a.b import C\ndef f():\n    import d.e\n    from a import b as x\n"
    assert list(imports_of(source)) == [(2, ["a.b.C", "a.b"]), (4, ["d.e"]), (5, ["a.b", "a"])]


def test_the_package_itself_imports_nothing_at_once() -> None:
    """`import compressvqa` is quick: all that is ours is behind `TYPE_CHECKING` or looked up by name."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert {getattr(node, "module", None) or node.names[0].name for node in at_once} <= {
        "__future__",
        "importlib",
        "typing",
    }
