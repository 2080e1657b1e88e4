"""Results go where they were sent, and never into somebody's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import inside

PRUNE = ("prune", "timm/test_vit", "--size", "160", "--ratio", "0.25", "--out")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Somebody's folder."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("text")
    return tmp_path / "thesis"


def test_prune_replaces_a_network_when_asked_to(tmp_path: Path) -> None:
    out = tmp_path / "small"
    assert inside(*PRUNE, str(out)).returncode == 0
    before = (out / "model.safetensors").read_bytes()
    done = inside(*PRUNE, str(out))
    assert done.returncode == 2 and "holds a network already (try: --overwrite" in done.stderr
    assert (out / "model.safetensors").read_bytes() == before
    assert inside(*PRUNE, str(out), "--overwrite").returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        (*PRUNE, "{out}"),
        (*PRUNE, "{out}", "--overwrite"),
        ("run", "rankdvqa_mini", "--out", "{out}"),
        ("run", "rankdvqa_mini", "--dry-run", "--out", "{out}"),
        ("evaluate", "psnr", "{clips}/set.csv", "--out", "{out}"),
        ("data", "prepare", "rankdvqa_mini", "{out}"),
        ("data", "proxy", "{clips}", "--out", "{out}"),
        ("report", "{judged}", "--out", "{out}"),
        ("export", "rankdvqa-pico", "--out", "{out}"),
    ],
    ids=lambda line: "_".join(line[:2]),
)
def test_no_command_mixes_into_a_foreign_folder(
    line: tuple[str, ...], foreign: Path, clips: Path, tmp_path: Path
) -> None:
    (clips / "set.csv").write_text("ref,dist,mos\ndog.y4m,encodes/dog_1.y4m,4\ndog.y4m,encodes/dog_2.y4m,3\n")
    judged = tmp_path / "judged"
    judged.mkdir()
    (judged / "evaluation.json").write_text("{}")
    done = inside(*(text.format(out=foreign, clips=clips, judged=judged) for text in line))
    assert done.returncode == 2, done.stderr
    assert "holds chapter.tex, which is not" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in foreign.iterdir()] == ["chapter.tex"]


def test_a_run_of_another_recipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: other\n")
    done = inside("run", "rankdvqa_mini", "--dry-run", "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and "holds a run of 'other'" in done.stderr
    (tmp_path / "run" / "recipe.yaml").write_text("name: rankdvqa-mini\n")
    done = inside("run", "rankdvqa_mini", "--dry-run", "--out", str(tmp_path / "run"), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["holds_a_run"]


def test_a_folder_of_work_that_was_killed_is_gone_on_with(foreign: Path, tmp_path: Path) -> None:
    """A run that was killed before it wrote its recipe, a report killed before its page: no folders of somebody's."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "log.txt").write_text("")
    plan = ("run", "first_steps", "--dry-run", "--out", str(run))
    assert inside(*plan).returncode == 2  # a log alone is anybody's
    (run / ".lock").touch()
    assert inside(*plan).returncode == 0
    page = ("report", str(Path(__file__).parent.parent / "results" / "older.json"), "--out", str(foreign))
    (foreign / "table.csv").write_text("of the thesis")
    assert "which is not a report" in inside(*page).stderr
    assert (foreign / "table.csv").read_text() == "of the thesis"
    (foreign / "table.csv").rename(foreign / "tradeoff.svg")
    assert inside(*page).returncode == 0
