"""Code of the user's own is imported without taking anybody's place, and fails each time that it is broken."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compressvqa import registry
from compressvqa.errors import CompressVQAError, RegistryError
from compressvqa.user_code import import_code


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Neither paths nor modules of one test reach the next."""
    path, modules, entries = list(sys.path), set(sys.modules), dict(registry.losses._entries)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    registry.losses._entries = entries


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_file_replaces_no_module_of_the_standard_library(tmp_path: Path) -> None:
    write(tmp_path, json="import statistics\nMINE = statistics.mean([1, 3])", statistics="raise SystemExit(3)")
    module = import_code(str(tmp_path / "json.py"))
    assert module.MINE == 2
    assert sys.modules["json"] is json and sys.modules["statistics"] is statistics
    assert sys.modules[module.__name__] is module  # pickling looks it up


def test_neighbours_do_not_replace_what_is_imported_later(tmp_path: Path) -> None:
    """In a process of its own, in which nobody has imported the module before."""
    write(tmp_path, plugin="", colorsys="print('mine')", filecmp="print('mine')")
    code = (
        "import sys; from compressvqa.user_code import import_code; import_code(sys.argv[1]); import colorsys, filecmp"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "plugin.py")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_file_is_imported_by_its_own_name_where_that_is_free(tmp_path: Path) -> None:
    write(tmp_path, my_nets="import my_parts\nVALUE = my_parts.value()", my_parts="def value():\n    return 5")
    assert import_code(str(tmp_path / "my_nets.py")).VALUE == 5
    assert "my_nets" in sys.modules and "my_parts" in sys.modules
    other = import_code(str(write(tmp_path / "other", my_nets="VALUE = 6") / "my_nets.py"))
    assert other.VALUE == 6 and sys.modules["my_nets"].VALUE == 5


def test_a_broken_file_fails_each_time(tmp_path: Path) -> None:
    file = str(write(tmp_path, broken="import no_such_package_at_all") / "broken.py")
    for _ in range(2):
        with pytest.raises(CompressVQAError, match=r"broken\.py: fails with ModuleNotFoundError"):
            import_code(file)
    assert "broken" not in sys.modules


PLUGIN = '''
import compressvqa as cv

@cv.register_loss("half-made", on="score")
def half_made(teacher, student):
    """Registered before the plugin fails."""
    return (teacher - student).abs().mean()

raise RuntimeError("out of luck")
'''


def test_a_broken_package_fails_each_time_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(registry.losses)  # what is installed was read before: another package is still seen
    facts = tmp_path / "half_made-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: half-made\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{registry.ENTRY_POINT_GROUP}]\nhalf = half_made_plugin\n")
    monkeypatch.syspath_prepend(str(write(tmp_path, half_made_plugin=PLUGIN)))
    for _ in range(3):
        with pytest.raises(RegistryError, match=r"plugin 'half' of package 'half-made' .*out of luck"):
            registry.losses["half-made"]
    with pytest.raises(RegistryError, match="out of luck"):
        registry.losses.names()
