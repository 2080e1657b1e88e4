"""What is built is whole: the wheel, installed elsewhere, brings its recipes, types and command."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # processes of their own

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (source,) = folder.glob("*.tar.gz")  # the wheel is built from it, so nothing that it needs is missing there
    assert source.stat().st_size < 5_000_000
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_what_users_need_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {path.name for path in (ROOT / "recipes").rglob("*.yaml")}
    assert recipes == {Path(name).name for name in names if name.endswith(".yaml")}
    assert "compressvqa/py.typed" in names
    templates = {path.name for path in (ROOT / "compressvqa" / "report" / "templates").iterdir()}
    assert {f"compressvqa/report/templates/{name}" for name in templates} <= set(names) and "page.html" in templates
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]


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
