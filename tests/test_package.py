"""What is built is whole: the wheel, installed elsewhere, brings its recipes, types and command."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from compressvqa.fingerprint import content_digest
from compressvqa.models.shipped import read_index

pytestmark = pytest.mark.slow  # processes of their own

ROOT = Path(__file__).parent.parent
WEIGHTS = ROOT / "compressvqa" / "weights"
TEACHERS = {"rankdvqa"}  # the others are small
SMALL_TOGETHER = 5_000_000  # bytes


def shipped_size(*names: str) -> int:
    return sum(path.stat().st_size for name in names for path in (WEIGHTS / name).iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (source,) = folder.glob("*.tar.gz")  # the wheel is built from it, so nothing that it needs is missing there
    assert source.stat().st_size < 5_000_000 + shipped_size(*read_index(WEIGHTS))
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_what_users_need_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {path.name for path in (ROOT / "recipes").rglob("*.yaml")}
    assert recipes == {Path(name).name for name in names if name.endswith(".yaml")}
    assert "compressvqa/py.typed" in names
    templates = {path.name for path in (ROOT / "compressvqa" / "report" / "templates").iterdir()}
    assert {f"compressvqa/report/templates/{name}" for name in templates} <= set(names) and "page.html" in templates
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/", "scripts/"))]
    assert "compressvqa/weights/index.json" in names
    for network, facts in read_index(WEIGHTS).items():
        assert {f"compressvqa/weights/{network}/{file}" for file in facts.files} <= set(names)


def test_networks_that_ship_are_whole_licensed_and_small() -> None:
    found = read_index(WEIGHTS)
    assert {path.name for path in WEIGHTS.iterdir() if path.is_dir()} == set(found), "a folder without its entry"
    for name, facts in found.items():
        files = {path.name: content_digest(path) for path in (WEIGHTS / name).iterdir()}
        assert files == facts.files and {"config.json", "model.safetensors", "README.md"} <= set(files)
        card = (WEIGHTS / name / "README.md").read_text(encoding="utf-8")
        assert f"license: {facts.licence}" in card and "## Limits" in card and "## How to train it again" in card
        assert facts.licence == "Apache-2.0" or "LICENSE" in files, "what others wrote comes with their licence"
        assert json.loads((WEIGHTS / name / "config.json").read_text(encoding="utf-8"))["random_weights"] is False
    assert shipped_size(*set(found) - TEACHERS) < SMALL_TOGETHER


def test_an_installed_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*arguments: str) -> str:
        line = [sys.executable, "-m", "compressvqa", *arguments]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    home = [sys.executable, "-c", "import compressvqa; print(compressvqa.__file__)"]
    where = subprocess.run(home, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert where.startswith(str(tmp_path))
    assert "rankdvqa_mini" in run("recipes", "list")
    assert "1. teacher" in run("run", "rankdvqa_mini", "--dry-run")
    assert run("--version").startswith("compressvqa ")
    listed = {line.split()[0] for line in run("models", "--pretrained").splitlines()}
    assert listed == set(read_index(WEIGHTS))
