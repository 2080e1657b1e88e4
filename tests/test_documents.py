"""The documents tell the truth: their links lead somewhere, commands exist, pictures are their scripts'."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*.md")])


def test_readme_and_contributing_have_examples():
    assert (ROOT / "README.md").read_text().count("```python\n") >= 3
    kinds = set(re.findall(r"^@cv\.register_(\w+)", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE))
    every = {
        "model",
        "loss",
        "ratio_rule",
        "importance",
        "sparsifier",
        "objective",
        "dataset",
        "stage",
        "scorer",
        "mos_set",
    }
    assert kinds == every, "a smallest plugin of each kind"


def test_the_recipe_of_the_readme_is_one_and_its_fault_is_said_so(tmp_path):
    from compressvqa.errors import RecipeError
    from compressvqa.running.recipe import Recipe

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    recipe, said = (re.search(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)[1] for kind in ("yaml", "text"))
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe)
    assert [stage.name for stage in Recipe.load(file).stages] == ["teacher", "pruned", "distilled"]
    file.write_text(recipe.replace("target_macs:", "target_mac:"))
    with pytest.raises(RecipeError) as caught:
        Recipe.load(file)
    assert f"error: {caught.value}".replace(f"{tmp_path}/", "") == said.strip()


def test_commands_that_are_named_exist():
    """Every `compressvqa VERB` and every make target of the documents."""
    from typer.main import get_command

    from compressvqa.cli import app

    verbs = set(get_command(app).commands)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        code = re.findall(r"```(?:sh|console)\n(.*?)```", text, flags=re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
        for line in "\n".join(code).splitlines():
            if found := re.match(r"(?:\$ )?compressvqa ([a-z]+)", line):
                assert found[1] in verbs, (document, line)
            if found := re.match(r"make ([a-z]+)", line):
                assert found[1] in targets, (document, line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_to_files_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), target


def test_paths_that_are_named_exist():
    """`package/` and `file.py` in backticks in the architecture are places of the package."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for place in re.findall(r"`([a-z_]+/(?:[a-z_]+\.py)?|[a-z_]+\.py)`", text):
        assert (ROOT / "compressvqa" / place).exists() or (ROOT / place).exists(), place


def test_the_picture_is_what_its_script_draws():
    names: dict = {"__name__": "draw"}
    exec((ROOT / "docs" / "draw_architecture.py").read_text(encoding="utf-8"), names)
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == names["draw"]()


def test_the_pictures_of_the_concepts_are_what_their_script_draws():
    names: dict = {"__name__": "draw", "__file__": str(ROOT / "docs" / "concepts" / "draw.py")}
    exec((ROOT / "docs" / "concepts" / "draw.py").read_text(encoding="utf-8"), names)
    for name, draw in names["PICTURES"].items():
        assert (ROOT / "docs" / "concepts" / f"{name}.svg").read_text(encoding="utf-8") == draw(), name


def definitions(code: str) -> str:
    """The imports, classes and functions of a block, without the lines that try them out."""
    tree = ast.parse(code)
    tree.body = [
        part for part in tree.body if isinstance(part, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef))
    ]
    return ast.unparse(tree)


@pytest.mark.slow
def test_the_plugins_of_contributing_sit_the_exam(tmp_path):
    """They are made an installed package, and the contracts find them as they find any plugin."""
    document = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = [code for code in re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL) if "@cv.register_" in code]
    for number, code in enumerate(map(definitions, found)):
        (tmp_path / f"smallest_{number}.py").write_text(code, encoding="utf-8")
    facts = tmp_path / "smallest-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: smallest\nVersion: 1.0\n")
    points = "".join(f"p{number} = smallest_{number}\n" for number in range(len(found)))
    (facts / "entry_points.txt").write_text(f"[compressvqa.plugins]\n{points}")
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    names = " or ".join(re.findall(r'@cv\.register_\w+\("([^"]+)"', document))
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(ROOT / "tests" / "contracts"),
        "-vv",
        "-k",
        names,
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    for name in ("frame-error", "score-huber", "ista"):
        assert re.search(rf"\[(.*-)?{name}(-.*)?\] PASSED", done.stdout), name
