"""The site is built without a warning, its links lead somewhere, and what is generated is what the code says."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scripts.pages import __main__ as pages
from scripts.pages.site import build, linked, places

pytest.importorskip("zensical", reason="it needs Python 3.11")
pytestmark = pytest.mark.slow  # processes of their own

ROOT = Path(__file__).parent.parent
UNLISTED = ("results/",)  # reached from the pages that quote them


class Links(HTMLParser):
    """Anchors of a page, and what it refers to."""

    def __init__(self, page: Path):
        super().__init__()
        self.anchors, self.targets, self.nav = set(), [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        self.targets += [values[key] for key in ("href", "src") if values.get(key)]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    assert build(ROOT, place) == 0
    return place / "html"


def test_generated_pages_are_what_the_code_says():
    """In a process of its own, which no other test has registered anything in."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "scripts.pages", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_late_is_told(tmp_path, capsys):
    kept, late = tmp_path / "kept.md", tmp_path / "late.md"
    kept.write_text("as it is")
    late.write_text("as it was")
    new = tmp_path / "new.md"
    assert pages.differing({kept: "as it is", late: "as it is", new: "as it is"}) == [late, new]


def test_every_link_and_picture_leads_somewhere(html):
    found = {page: Links(page) for page in html.rglob("*.html") if page.name != "404.html"}
    assert len(found) > 20
    dead = []
    for page, links in found.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = there / "index.html" if there.is_dir() else there
            if not there.exists() or (parts.fragment and there in found and parts.fragment not in found[there].anchors):
                dead.append(f"{page.relative_to(html)}: {target}")
    assert not dead


def test_every_page_is_in_the_navigation(html):
    listed = {urlsplit(target).path.removeprefix("./") for target in Links(html / "index.html").targets}
    every = {page.with_suffix(".html").as_posix() for page in places(ROOT).values() if page.suffix == ".md"}
    assert {page for page in every if not page.startswith(UNLISTED)} <= listed | {"index.html"}


def test_nothing_is_fetched_from_elsewhere(html):
    """Scripts, styles, fonts and pictures are the site's own."""
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe|source)[^>]*src=.?https?:", text), page
        assert not re.findall(r"<link[^>]*stylesheet[^>]*href=.?https?:", text), page


def test_links_out_of_the_site_are_words(tmp_path):
    page = tmp_path / "docs" / "a.md"
    page.parent.mkdir()
    (tmp_path / "code.py").write_text("")
    (tmp_path / "docs" / "b.md").write_text("")
    page.write_text(
        "[code](../code.py), [page](b.md#x), [out](https://example.org)\n\n```md\n[code](../code.py)\n```\n"
    )
    text = linked(page, {page: Path("in/a.md"), tmp_path / "docs" / "b.md": Path("b.md")})
    assert text == "code, [page](../b.md#x), [out](https://example.org)\n\n```md\n[code](../code.py)\n```\n"
