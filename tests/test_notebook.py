"""The notebook runs from the first cell to the last, in a kernel of its own, and shows what it says it shows."""

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "compress.ipynb"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    folder = str(tmp_path_factory.mktemp("notebook"))
    nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute(env=settings)
    return notebook


def printed(notebook) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def test_it_shows_a_trade_off_and_a_map(done):
    pictures = [
        output for cell in done.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
    text = printed(done)
    assert text.count("exact: True") == 3
    mean, score = text.split("is the score: ")[1].split("\n")[0].split(" and ")
    assert mean == score
    assert text.splitlines()[-1].startswith("True [")


def test_it_is_kept_without_outputs_and_its_page_has_them():
    """The file holds code alone, so that a change of it can be read; docs/notebook.md shows what it gave."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    page = (ROOT / "docs" / "notebook.md").read_text(encoding="utf-8")
    for cell in cells:
        assert cell.source.strip() in page, cell.source[:60]
