"""What holds for every command: JSON alone, one line for a mistake, --debug, --quiet, Ctrl-C, closed pipes."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import command, inside
from typer.main import get_command

from compressvqa.cli import app

NOISY = """
import os, torch
from torch import nn

print("Downloading: a line of a library")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3)

    def forward(self, x):
        print("forward")
        return self.b(self.a(x)).mean((1, 2, 3))

class Broken(Net):
    def forward(self, x):
        raise ValueError("the user's own mistake")
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A file of a user's own whose code prints."""
    (tmp_path / "noisy.py").write_text(NOISY)
    return str(tmp_path / "noisy.py")


def leaves() -> list[tuple[str, ...]]:
    """Every command, as it is typed."""
    found = []
    for name, one in get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [(name, inner) for inner in one.commands] if hasattr(one, "commands") else [(name,)]
    return found


JSON = [
    ("models", "--json"),
    ("models", "timm/test_*", "--json"),
    ("metrics", "--json"),
    ("doctor", "--json"),
    ("data", "list", "--json"),
    ("recipes", "list", "--json"),
    ("recipes", "show", "rankdvqa_mini", "--json"),
    ("recipes", "check", "rankdvqa_mini", "--text-only", "--json"),
    ("recipes", "schema"),
    ("run", "rankdvqa_mini", "--dry-run", "--json", "--out", "nowhere"),
    ("profile", "{own}:Net", "--inputs", "1x3x8x8", "--json"),
    ("prune", "{own}:Net", "--inputs", "1x3x8x8", "--ratio", "0.5", "--json"),
    ("prune", "{own}:Net", "--inputs", "1x3x8x8", "--explain", "--json"),
    ("verify", "{own}:Net", "{own}:Net", "--inputs", "1x3x8x8", "--json"),
    ("score", "{clips}/dog.y4m", "{clips}/encodes/dog_1.y4m", "-m", "psnr", "--json"),
    ("score", "{clips}/dog.y4m", "{clips}/encodes", "-m", "psnr", "-m", "ssim", "--json"),
]


@pytest.mark.parametrize("line", JSON, ids=lambda line: "_".join(line[:2]))
def test_json_is_whole_and_alone(line: tuple[str, ...], own: str, clips: Path) -> None:
    done = inside(*(text.format(own=own, clips=clips) for text in line))
    assert done.returncode in (0, 1), done.stderr
    assert "<function" not in done.stdout and "object at 0x" not in done.stdout
    json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no strict JSON"))


def test_every_command_that_has_results_prints_json() -> None:
    """But for those that print a file, or JSON whatever they are asked."""
    other = {("recipes", "copy"), ("recipes", "schema")}
    for leaf in leaves():
        if leaf not in other:
            assert "--json" in inside(*leaf, "--help").stdout, leaf


def test_a_process_keeps_others_off_its_standard_output(own: str) -> None:
    """Also what is written below Python, as child processes and C libraries do."""
    Path(own).write_text(NOISY.replace('print("forward")', 'os.write(1, b"from below"); print("forward")'))
    done = command("profile", f"{own}:Net", "--inputs", "1x3x8x8", "--json")
    assert json.loads(done.stdout)["params"] > 0
    assert "from below" in done.stderr and "Downloading" in done.stderr


def test_a_command_leaves_the_collection_of_garbage_as_it_was() -> None:
    before = gc.get_threshold()
    assert inside("models").returncode == 0 and gc.get_threshold() == before
    assert inside("nothing").returncode == 2 and gc.get_threshold() == before


def test_names_that_are_no_utf8_are_escaped(clips: Path, tmp_path: Path) -> None:
    name = tmp_path / os.fsdecode(b"caf\xe9.y4m")
    name.write_bytes((clips / "dog.y4m").read_bytes())
    line = [sys.executable, "-m", "compressvqa", "score", str(clips / "dog.y4m"), str(name), "-m", "psnr"]
    logs = [part for kind in ("csv", "json", "xml") for part in ("--out", str(tmp_path / f"log.{kind}"))]
    done = subprocess.run([*line, "--json", *logs], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["distorted"]["path"].endswith("caf\udce9.y4m")
    assert json.loads((tmp_path / "log.json").read_text("utf-8")) == json.loads(done.stdout.decode("utf-8"))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*line, "--json"], capture_output=True, check=False, env=environment)
    assert json.loads(done.stdout.decode("ascii"))["distorted"]["path"].endswith("caf\udce9.y4m")


def test_json_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    from compressvqa.cli.output import print_json

    name = "a\x1b[31m\x9b\u202e\x7f\udce9\U0001f600é"
    print_json({name: [name]})
    said = capsys.readouterr().out
    assert json.loads(said) == {name: [name]}
    assert not set(said) & set("\x1b\x9b\u202e\x7f\udce9") and "é" in said


@pytest.mark.parametrize("leaf", leaves(), ids="_".join)
def test_a_wrong_option_is_one_line(leaf: tuple[str, ...]) -> None:
    done = inside(*leaf, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("scor",), "no such command 'scor'"),
        (("score", "a", "b", "--frames", "x"), "--frames: should be a valid integer"),
        (("score", "a", "b", "--frames", "0"), "--frames: should be greater than or equal to 1"),
        (("score", "a", "b", "--size", "foo"), "--size: 'foo' is not one of"),
        (("prune",), "missing argument 'MODEL'"),
        (("prune", "rankdvqa", "--ratio"), "'--ratio' requires an argument"),
        (("--quiet", "models", "--verbose"), "can't be given together"),
    ],
)
def test_a_wrong_command_line_is_one_line(line: tuple[str, ...], said: str) -> None:
    done = inside(*line)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_debug_shows_where_an_error_came_from(own: str) -> None:
    wrong = ("profile", f"{own}:Broken", "--inputs", "1x3x8x8")
    quiet = inside(*wrong)
    assert quiet.returncode == 2 and "Traceback" not in quiet.stderr and "the user's own mistake" in quiet.stderr
    for line in (("--debug", *wrong), (*wrong, "--debug")):
        done = inside(*line)
        assert done.returncode == 2 and "noisy.py" in done.stderr and "in forward" in done.stderr
        assert done.stderr.splitlines()[-1] == quiet.stderr.splitlines()[-1]


def test_quiet_leaves_the_result(clips: Path) -> None:
    line = ("score", str(clips / "dog.y4m"), str(clips / "encodes" / "dog_1.y4m"), "-m", "psnr", "--csv")
    loud, quiet = inside(*line), inside(*line, "--quiet")
    assert loud.stdout == quiet.stdout and "higher is better" in loud.stderr and quiet.stderr == ""


def test_verbose_shows_what_is_logged(clips: Path) -> None:
    import logging

    seen = []
    for options in ((), ("--verbose",), ("--quiet",)):
        inside("models", "rankdvqa", *options)
        seen.append(logging.getLogger("compressvqa").level)
    assert seen == [logging.INFO, logging.DEBUG, logging.WARNING]


def test_an_error_of_a_shared_setting_is_in_the_words_of_the_command() -> None:
    line = ("prune", "rankdvqa-pico", "--size", "96")
    for options, said in [
        ((), "--ratio 0.5, --target-params 0.5 or --target-macs 0.5"),
        (("--ratio", "1.5"), "error: --ratio: a ratio is the share removed"),
        (("--ratio", "0.5", "--round-to", "0"), "--round-to must be"),
        (("--ratio", "0.5", "--scope", "x"), "--scope must be"),
    ]:
        done = inside(*line, *options)
        assert done.returncode == 2 and said in done.stderr and "ratios=" not in done.stderr, done.stderr


def test_ctrl_c_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text(
        "import os, signal\n\ndef build():\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where it is ignored\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = command("profile", f"{tmp_path / 'waits.py'}:build", "--inputs", "1x3x8x8")
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "stopped\n")


def test_a_pipe_that_is_closed_early() -> None:
    line = f"{sys.executable} -m compressvqa models --json | head -c 20"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert len(done.stdout) == 20 and done.stderr == ""


def test_shells_complete_commands_options_and_names() -> None:
    asked = {"COMP_WORDS": "compressvqa run rankdvqa_mini_", "COMP_CWORD": "2"}
    environment = {**os.environ, "_COMPRESSVQA_COMPLETE": "complete_bash", **asked}
    code = "import sys; from compressvqa.cli import main; main()"
    line = [sys.executable, "-X", "importtime", "-c", code]
    found = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert {"rankdvqa_mini_long", "rankdvqa_mini_lossless"} <= set(found.stdout.split()), found.stderr[-500:]
    assert "torch" not in {name.rpartition("|")[2].strip() for name in found.stderr.splitlines()}


def test_metrics_that_a_shell_completes_are_those_that_there_are() -> None:
    from compressvqa.cli.completion import METRICS
    from compressvqa.registry import scorers

    assert {"vmaf", *(name for name in scorers if scorers[name].home.startswith("compressvqa."))} == set(METRICS)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_help_keeps_to_the_width_and_cuts_no_option(columns: int) -> None:
    for leaf in ((), *leaves()):
        said = inside(*leaf, "--help", columns=columns).stdout
        assert "…" not in said and max(map(len, said.splitlines())) <= max(columns, 100 if leaf else 0), leaf


def test_no_colour_where_nobody_sees_it(clips: Path) -> None:
    done = inside("score", str(clips / "dog.y4m"), str(clips / "encodes"), "-m", "psnr")
    assert "\x1b" not in done.stdout + done.stderr
