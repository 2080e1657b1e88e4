"""Options that can't apply are refused, one line for each situation."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import inside

PAIR = ["{clips}/dog.y4m", "{clips}/encodes/dog_1.y4m"]
SCORE = ["score", *PAIR, "-m", "psnr"]
PRUNE = ["prune", "rankdvqa-pico", "--size", "96"]
EVALUATE = ["evaluate", "psnr", "{clips}/set.csv"]

# (command, options that can't apply to it, a word of the reason)
REFUSED = [
    (SCORE, ["--width", "128"], "headerless"),
    (SCORE, ["--width", "128", "--height", "96"], "headerless"),
    (SCORE, ["--pixel-format", "444"], "headerless"),
    (SCORE, ["--bitdepth", "8"], "headerless"),
    (SCORE, ["--frame-rate", "25"], "neither"),
    (SCORE, ["--device", "cuda"], "no network"),
    (SCORE, ["--device", "cpu"], "no network"),
    (SCORE, ["--runtime", "eager"], "no network"),
    (SCORE, ["--allow-random-weights"], "no network"),
    (SCORE, ["--json", "--segments"], "every segment"),
    (SCORE, ["--summary", "--per", "second"], "one row a file"),
    (SCORE, ["--deinterlace"], "interlaced"),
    (SCORE, ["--stream", "0", "--stream-ref", "0", "--stream-dist", "0"], "say all"),
    (["score", PAIR[0], "-m", "cambi"], ["--skip-ref", "1"], "no reference"),
    (["score", PAIR[0], "-m", "cambi"], ["--size", "refuse"], "no reference"),
    (["score", PAIR[0], "-m", "cambi"], ["--reference", PAIR[1]], "no reference"),
    (["score", PAIR[0], "-m", "cambi"], ["--stream-ref", "0"], "no reference"),
    (["score", "{clips}/dog.yuv", "{clips}/dog.yuv", "-m", "psnr"], ["--bitdepth", "8"], "its size too"),
    (PRUNE, ["--explain", "--ratio", "0.5"], "prunes nothing"),
    (PRUNE, ["--explain", "--target-macs", "0.5"], "prunes nothing"),
    (PRUNE, ["--explain", "--out", "x"], "prunes nothing"),
    (PRUNE, ["--explain", "--round-to", "8"], "prunes nothing"),
    (PRUNE, ["--ratio", "0.5", "--group", "a"], "tied"),
    (PRUNE, ["--ratio", "0.5", "--all"], "tied"),
    (PRUNE, ["--ratio", "0.5", "--runtime", "eager"], "no latency"),
    (PRUNE, ["--ratio", "0.5", "--overwrite"], "nothing is saved"),
    (PRUNE, ["--ratio", "0.5", "--blocks", "a"], "no block"),
    (PRUNE, ["--ratio", "0.5", "--target-macs", "0.5"], "how much"),
    (PRUNE, ["--ratio", "0.5", "--target-latency", "0.5"], "how much"),
    (PRUNE, ["--zeros", "--importance", "l1"], "zero"),
    (PRUNE, ["--zeros", "--ratios", "a=0.5"], "zeros decide"),
    (["prune", "rankdvqa-pico", "--ratio", "0.5"], ["--size", "96", "--inputs", "1x12x3x96x96"], "says all"),
    (["profile", "rankdvqa-pico"], ["--size", "96", "--inputs", "1x12x3x96x96"], "says all"),
    (["profile", "timm/test_vit"], ["--frames", "3", "--size", "160"], "whatever the frames"),
    (["prune", "timm/test_vit", "--ratio", "0.5"], ["--frames", "3", "--size", "160"], "whatever the frames"),
    (["verify", "rankdvqa-pico", "rankdvqa-pico"], ["--frames", "2", "--inputs", "1x12x3x96x96"], "says all"),
    (EVALUATE, ["--device", "cuda"], "no network"),
    (EVALUATE, ["--runtime", "eager"], "no network"),
    (EVALUATE, ["--latency"], "no network"),
    (EVALUATE, ["--json", "--format", "csv"], "--json is a form too"),
    (EVALUATE, ["--by-content", "--resamples", "0"], "no intervals"),
    (["evaluate", "{clips}/set.csv", "--scores", "x={clips}/scores.csv"], ["--frames", "3"], "not taken again"),
    (["evaluate", "{clips}/set.csv", "--scores", "x={clips}/scores.csv"], ["--pool", "p5"], "not taken again"),
]


@pytest.mark.parametrize(
    ("command", "options", "reason"), REFUSED, ids=lambda part: part if isinstance(part, str) else "_".join(part)[-40:]
)
def test_it_is_refused(command: list[str], options: list[str], reason: str, clips: Path) -> None:
    (clips / "set.csv").write_text("ref,dist,mos\ndog.y4m,encodes/dog_1.y4m,4\ndog.y4m,encodes/dog_2.y4m,3\n")
    (clips / "scores.csv").write_text("dist,score\ndog_1.y4m,4\ndog_2.y4m,3\n")
    done = inside(*(text.format(clips=clips) for text in [*command, *options]))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert reason in done.stderr and done.stderr.count("\n") == 1
    where = done.stderr.removeprefix("error: ").partition(": can't apply: ")[0].split(", ")
    assert where and set(where) <= set(options), "it names the options, and no others"


def test_what_can_apply_is_taken(clips: Path) -> None:
    raw = [str(clips / "dog.yuv"), str(clips / "encodes" / "dog_1.y4m")]
    size = ("--width", "128", "--height", "96", "--frame-rate", "25", "--bitdepth", "8")
    assert inside("score", *raw, "-m", "psnr", *size, "--json").returncode == 0
    assert inside("score", *(text.format(clips=clips) for text in PAIR), "-m", "psnr", "--skip-ref", "1",
                  "--skip-dist", "1", "--stream", "0").returncode == 0  # fmt: skip
