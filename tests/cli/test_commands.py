"""The command line as a user meets it: help, plans, and one clear line with exit code 2 for each mistake."""

import json
from pathlib import Path

import pytest
import torch
from clips import make
from running import command, inside

import compressvqa as cv

ANY_WEIGHTS = "--allow-random-weights"


def said(*arguments: str, code: int = 2) -> str:
    """The one line of error that a failing command ended with; what it logged before is no traceback."""
    done = inside(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True], done.stderr
    return lines[-1]


def test_help_and_lists() -> None:
    assert "prove what it cost" in inside("--help").stdout
    assert "rankdvqa_mini" in inside("recipes", "list").stdout
    models = json.loads(inside("models", "--json").stdout)
    assert {"rankdvqa", "stanet"} <= {model["name"] for model in models}


def test_dry_run_prints_the_plan_and_makes_nothing(small_recipe: Path, tmp_path: Path) -> None:
    done = inside("run", str(small_recipe), "--dry-run", "--out", str(tmp_path / "run"))
    assert done.returncode == 0
    for word in ("1. teacher", "2. sparse", "3. pruned", "4. distilled", "target_params: 0.5", "rank-pairs"):
        assert word in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_recipe_is_copied_and_checked(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    assert inside("recipes", "copy", "rankdvqa_mini", str(copy)).returncode == 0
    assert "no fault" in inside("recipes", "check", str(copy)).stdout
    assert "can't be written" in said("recipes", "copy", "rankdvqa_mini", str(copy))


def test_the_schema_is_printed() -> None:
    assert "stages" in json.loads(inside("recipes", "schema").stdout)["properties"]


def test_profile_counts_what_the_library_counts() -> None:
    counted = json.loads(inside("profile", "rankdvqa", "--size", "96", "--json").stdout)
    assert counted["params"] == 4_594_938


@pytest.mark.parametrize("where", [(), ("--out",)])
def test_prune_saves_a_network_that_loads(where: tuple[str, ...], tmp_path: Path) -> None:
    """The folder is given by place or by name."""
    folder = (*where, str(tmp_path / "small"))
    done = inside("prune", "rankdvqa", *folder, "--target-params", "0.5", "--size", "96")
    assert done.returncode == 0, done.stderr
    kept = sum(p.numel() for p in cv.load(tmp_path / "small").parameters()) / 4_594_938
    assert 0.49 <= kept <= 0.5


def test_prune_leaves_blocks_out_first(tmp_path: Path) -> None:
    """Targets are shares of the network as it was given."""
    depth = ("--size", "160", "--depth", "0.5", "--json")
    clip = (*depth, "--attention", "heads", "--target-params", "0.5")
    done = inside("prune", "timm/test_vit", "--out", str(tmp_path / "small"), *clip)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said["blocks"]) == 3
    before, after = said["params"]
    assert before == sum(p.numel() for p in cv.create_model("timm/test_vit").parameters())
    assert after == sum(p.numel() for p in cv.load(tmp_path / "small").parameters()) <= 0.5 * before
    alone = json.loads(inside("prune", "timm/test_vit", *depth).stdout)
    assert "plan" not in alone and after < alone["params"][1] < before
    chosen = ("--size", "160", "--depth", "2", "--blocks", "blocks.1", "--blocks", "blocks.[45]", "--json")
    said = json.loads(inside("prune", "timm/test_vit", *chosen).stdout)
    assert len(said["blocks"]) == 2 and {*said["blocks"]} < {"blocks.1", "blocks.4", "blocks.5"}
    assert inside("prune", "rankdvqa", "--size", "96", "--depth", "0.5").stderr.endswith("--blocks encoder.layers.*)\n")
    for wrong, hint in ((("--depth-by", "even"), "--depth 0.25"), (("--depth", ".5", "--depth-by", "loss"), "recipe")):
        done = inside("prune", "timm/test_vit", *wrong)
        assert done.returncode == 2 and hint in done.stderr and "Traceback" not in done.stderr


NETS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(*widths, 3, padding=1) for widths in ((3, 8), (8, 8), (8, 2)))
        self.pool = nn.Linear(2, 1)

    def forward(self, x, y):
        x = self.a(x) + y.mean()
        return self.pool(self.c(x + self.b(x)).mean((2, 3)))


def build():
    return Net()


def wrong():
    return 3
"""
SIZES = ("--inputs", "1x3x16x16", "--inputs", "4")


@pytest.fixture
def nets(tmp_path: Path) -> str:
    """A user's own file."""
    (tmp_path / "nets.py").write_text(NETS)
    return str(tmp_path / "nets.py")


class TestAUsersOwnNetwork:
    def test_is_explained(self, nets: str, tmp_path: Path) -> None:
        drawing = tmp_path / "net.svg"
        done = inside("prune", f"{nets}:build", *SIZES, "--explain", "--svg", str(drawing))
        assert done.returncode == 0, done.stderr
        for said in ("a: 8 channels", "made by a, b", "add in the network (nets.py:14): b with a", "2 channels"):
            assert said in done.stdout
        assert "b: " not in done.stdout
        assert ">with a, add at nets.py:14<" in drawing.read_text()
        assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == [
            "net.svg",
            "nets.py",
        ]  # pruned nothing

    def test_is_explained_to_programs(self, nets: str) -> None:
        done = inside("prune", f"{nets}:Net", *SIZES, "--explain", "--json", "--group", "a", "--protect", "b")
        (group,) = json.loads(done.stdout)["groups"]
        assert (group["name"], group["channels"], group["kept_because"]) == ("a", 8, "protected by 'b'")
        assert group["producers"] == {"a": 1, "b": 1}

    def test_is_pruned(self, nets: str) -> None:
        """Also as a module of the folder that one is in; ratios by name go before the one for all."""
        shares = ("--ratio", "0.5", "--ratios", "a=0.25", "--ratios", "b=0.25")
        done = command("prune", "nets:Net", *SIZES, *shares, "--json", cwd=Path(nets).parent)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert {name: kept for name, _, kept in said["plan"]["widths"]} == {"a": 6, "c": 1}
        assert said["folder"] is None
        assert said["max_error"] <= 1e-5
        assert said["params"][1] < said["params"][0]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("{nets}:build",), "sizes of its inputs are not known"),
            (("{nets}:wrong", *SIZES), "returned int, not a torch.nn.Module"),
            (("{nets}:build", "--inputs", "1x3x16x16"), "on 1x3x16x16: fails with TypeError"),
        ],
    )
    def test_mistakes(self, nets: str, arguments: tuple[str, ...], words: str) -> None:
        assert words in said("prune", *(a.format(nets=nets) for a in arguments), "--explain")


class TestMistakes:
    def test_unknown_recipe(self) -> None:
        assert "no such recipe" in said("run", "rankdvqa_max")

    def test_unknown_key(self, small_recipe: Path) -> None:
        assert "unknown key (did you mean 'steps'?)" in said("run", str(small_recipe), "--set", "stages.teacher.stes=1")

    def test_unknown_plugin(self, small_recipe: Path) -> None:
        line = said("run", str(small_recipe), "--set", "stages.distilled.losses={instanse: 1.0}")
        assert "unknown loss 'instanse' (try: instance" in line

    def test_unknown_model(self, small_recipe: Path, tmp_path: Path) -> None:
        arguments = ("run", str(small_recipe), "--set", "model.name=rankdvq", "--out", str(tmp_path / "run"))
        assert "unknown model 'rankdvq' (try: rankdvqa" in said(*arguments)

    def test_checkpoint_of_another_network(self, small_recipe: Path, tmp_path: Path) -> None:
        torch.save({"state_dict": {"fc.weight": torch.zeros(3, 3)}}, tmp_path / "other.pth")
        arguments = ("--set", f"model.weights={tmp_path / 'other.pth'}", "--out", str(tmp_path / "run"))
        assert "other.pth" in said("run", str(small_recipe), *arguments)

    def test_no_videos(self, small_recipe: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        places = ("--set", f"data.sources={tmp_path / 'empty'}", "--out", str(tmp_path / "run"))
        assert "empty" in said("run", str(small_recipe), *places)

    def test_no_such_folder(self, small_recipe: Path, tmp_path: Path) -> None:
        places = ("--set", f"data.sources={tmp_path / 'nowhere'}", "--out", str(tmp_path / "run"))
        assert "nowhere" in said("run", str(small_recipe), *places)

    def test_all_videos_unreadable(self, small_recipe: Path, tmp_path: Path) -> None:
        (tmp_path / "clips").mkdir()
        (tmp_path / "clips" / "broken.mp4").write_bytes(b"not a video" * 99)
        places = ("--set", f"data.sources={tmp_path / 'clips'}", "--out", str(tmp_path / "run"))
        assert "broken.mp4" in said("run", str(small_recipe), *places)

    def test_score_needs_files_that_are_there(self, tmp_path: Path) -> None:
        cv.save(cv.create_model("rankdvqa"), tmp_path / "model")
        line = said("score", "no.mp4", "nothing.mp4", "--model", str(tmp_path / "model"), ANY_WEIGHTS)
        assert "no.mp4" in line

    def test_sizes_that_differ_and_frames_too_small(self, tmp_path: Path) -> None:
        cv.save(cv.create_model("rankdvqa"), tmp_path / "model")
        for name, side in (("a", 128), ("b", 96), ("c", 64)):
            header, frame = f"YUV4MPEG2 W{side} H{side} F25:1 C420\n".encode(), b"FRAME\n" + bytes(side * side * 3 // 2)
            (tmp_path / f"{name}.y4m").write_bytes(header + 12 * frame)
        model = ("--model", str(tmp_path / "model"), ANY_WEIGHTS)
        files = (str(tmp_path / "a.y4m"), str(tmp_path / "b.y4m"))
        assert "128x128" in said("score", *files, *model, "--size", "refuse")
        assert "96" in said("score", str(tmp_path / "c.y4m"), str(tmp_path / "c.y4m"), *model)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        cv.save(cv.create_model("rankdvqa"), tmp_path / "model")
        whole = b"YUV4MPEG2 W96 H96 F25:1 C420\n" + 12 * (b"FRAME\n" + bytes(96 * 96 * 3 // 2))
        (tmp_path / "whole.y4m").write_bytes(whole)
        (tmp_path / "short.y4m").write_bytes(whole[:-5000])
        files = (str(tmp_path / "whole.y4m"), str(tmp_path / "short.y4m"))
        assert "short.y4m" in said("score", *files, "--model", str(tmp_path / "model"), ANY_WEIGHTS)

    def test_a_run_folder_without_a_run(self, tmp_path: Path) -> None:
        assert "not finished" in said("report", str(tmp_path))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--svg", "net.svg"), "--explain"),
            (("--ratios", "extractor=half"), "'extractor=half' is no LAYER=SHARE"),
            (("--zeros", "--ratio", "0.5"), "with --zeros the zeros decide"),
            (("folder", "--out", "other"), "given twice"),
            (("--explain", "--group", "nowhere"), "'nowhere' matches no layer"),
            (("--ratio", "0.5", "--attention", "none"), "none"),
        ],
    )
    def test_wishes_that_make_no_sense(self, arguments: tuple[str, ...], words: str) -> None:
        assert words in said("prune", "rankdvqa", "--size", "96", *arguments)

    @pytest.mark.parametrize("target", ["0", "1.5"])
    def test_a_target_that_is_no_share(self, target: str, tmp_path: Path) -> None:
        asked = ("prune", "rankdvqa", "--out", str(tmp_path / "small"), "--target-params", target, "--size", "96")
        assert "--target-params must be a share in (0, 1]" in said(*asked)


def test_the_commands_of_the_readme_for_own_videos_work_as_printed(tmp_path: Path) -> None:
    """FOLDER stands for one folder of videos, wherever it is written; the rest is taken as it is."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## On your own videos")[2].partition("```sh\n")[2].partition("```")[0]
    (tmp_path / "clips").mkdir()
    for number in range(3):
        make(tmp_path / "clips" / f"{number}.y4m", "-vf", f"hue=h={number * 90}", size="128x128", frames=12)
    line = next(text for text in section.splitlines() if text.startswith("compressvqa run"))
    arguments = line.replace("FOLDER", str(tmp_path / "clips")).split()[1:]
    root = Path(__file__).parents[2]
    done = inside(*arguments, "--dry-run", "--out", str(tmp_path / "run"), cwd=root)
    assert done.returncode == 0, done.stderr
    twice = [text.replace("data.validation=0.2", f"data.validation={tmp_path / 'clips'}") for text in arguments]
    done = inside(*twice, "--dry-run", "--out", str(tmp_path / "run"), cwd=root)
    assert done.returncode == 2 and "--set data.validation=0.2" in done.stderr
