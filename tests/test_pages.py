"""Every block of every page runs, and prints what the page says it prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page_blocks.compare import agrees
from tests.page_blocks.parse import RUN, blocks, commands, documents

ROOT = Path(__file__).parent.parent
DOCUMENTS = documents(ROOT)
FIRST = ROOT / "docs" / "index.md"  # its first block makes the files that the other pages score


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """{(document, line): what came of it}, of all blocks that run."""
    files = tmp_path_factory.mktemp("files")
    maker = next(block for block in blocks(FIRST.read_text(encoding="utf-8")) if block.language == "python")
    subprocess.run([sys.executable, "-c", maker.text], cwd=files, check=True)
    (files / "distorted.mp4").symlink_to(files / "good.mp4")
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    settings["COMPRESSVQA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    command = [sys.executable, "-m", "tests.page_blocks.runner", str(ROOT), str(files), *map(str, DOCUMENTS)]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["document"], row["line"]): row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_blocks_run_and_print_what_they_say(document, found):
    name = document.relative_to(ROOT).as_posix()
    for block in blocks(document.read_text(encoding="utf-8")):
        if not block.runs:
            continue
        lines = [block.line] if block.language == "python" else [line for line, _, _ in commands(block)]
        for line in lines:
            came = found[name, line]
            assert came["code"] == 0, f"{name}:{line}\n{came['printed']}"
            if came["said"] is not None:
                assert agrees(came["said"], came["printed"]), f"{name}:{line} prints\n{came['printed']}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_not_run_says_why(document):
    for block in blocks(document.read_text(encoding="utf-8")):
        assert block.language in (*RUN, "yaml", "text", "json", "toml", "bibtex", ""), (block.line, block.language)
        if block.language in RUN and not block.runs:
            assert len(block.reason) > 10, block.line


def test_the_comparison_can_fail():
    assert agrees("1.50 of 3 files\n...\nend", "1.49 of 3 files\nx\ny\nend\n")
    assert not agrees("1.50 of 3 files", "1.47 of 3 files")
    assert not agrees("1.50 of 3 files", "1.50 of 4 files")
    assert not agrees("a\nb", "a")
    assert not agrees("", "a")
    assert agrees("took ... ms", "took 31 ms") and not agrees("took ... ms", "took 31 s")
