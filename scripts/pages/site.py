"""The site: the pages of docs/ and the documents beside it in one folder, with links that lead to one another.

On a checkout a link leads to any file of it. On the site a link leads to a page or a picture; what is neither, such as
a Python file, is named without a link.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# What stands outside docs/ and has a page: {file, or pattern of files: where its page is}.
BESIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "recipes/README.md": "recipes/index.md",
    "recipes/**/*.yaml": "recipes",
    "benchmarks/results/*.md": "results",
    "benchmarks/results/*.svg": "results",
}
ASSETS = (".svg", ".png", ".css", ".csv", ".ipynb")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
PLACE = Path("build") / "site"  # pages/ is what is built, html/ what becomes of it


def build(root: Path, place: Path | None = None) -> int:
    """Builds `place`/html with Zensical, in build/site by default; its exit code, or 1 where it warned of anything."""
    place = place or root / PLACE
    stage(root, place / "pages")
    config = (root / "mkdocs.yml").read_text(encoding="utf-8").replace("paths: [.]", f"paths: [{root}]")
    (place / "mkdocs.yml").write_text(config, encoding="utf-8")
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    print(said, end="")
    return done.returncode or int("griffe:" in said or "Warning" in said)


def stage(root: Path, place: Path) -> None:
    """Copies every page and picture of the site to `place`, links of pages rewritten."""
    shutil.rmtree(place, ignore_errors=True)
    pages = places(root)
    for file, page in pages.items():
        target = place / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            target.write_text(linked(file, pages), encoding="utf-8")
        else:
            shutil.copyfile(file, target)


def places(root: Path) -> dict[Path, Path]:
    """{file of the checkout: its place on the site}."""
    docs = root / "docs"
    found = {file: file.relative_to(docs) for file in sorted(docs.rglob("*")) if file.suffix in (".md", *ASSETS)}
    for pattern, where in BESIDE.items():
        for file in sorted(root.glob(pattern)):
            folder = Path(pattern.split("*", 1)[0])
            single = Path(where).suffix == ".md"
            found[file] = Path(where) if single else Path(where) / file.relative_to(root / folder)
    return found


def linked(file: Path, pages: dict[Path, Path]) -> str:
    """The text of a page whose links lead to pages of the site, or are no links."""
    here = pages[file].parent

    def rewrite(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or not path:
            return found[0]
        there = (file.parent / path).resolve()
        there = there / "README.md" if there.is_dir() else there
        if there not in pages:
            return text if not picture else found[0]
        return f"{picture}[{text}]({os.path.relpath(pages[there], here)}{'#' * bool(anchor)}{anchor})"

    parts = re.split(r"(^```.*?^```$)", file.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)
