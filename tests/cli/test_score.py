"""`compressvqa score` and `compressvqa metrics` as they are typed."""

import json

import pytest
from clips import make
from running import inside


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    make(folder / "r.y4m", size="128x96", frames=10)
    for name, blur in (("a", 1), ("b", 4)):
        (folder / name).mkdir()
        make(folder / name / "clip.y4m", "-vf", f"boxblur={blur}", size="128x96", frames=10)
    return [str(folder / "r.y4m"), str(folder / "a" / "clip.y4m"), str(folder / "b" / "clip.y4m")]


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, and what was printed on both streams."""
    done = inside(*arguments, columns=80)
    return done.returncode, done.stdout, done.stderr


def test_several_metrics_and_poolings(files):
    code, said, _ = run("score", *files, "--metric", "vmaf", "--metric", "psnr", "--pool", "p5,mean", "--per", "5")
    assert code == 0 and max(map(len, said.splitlines())) <= 80 and "…" not in said
    for words in ("a/clip.y4m", "b/clip.y4m", "vmaf_v0.6.1", "dB, higher is better", "p5", "0 to 4", "5 to 9"):
        assert words in said


def test_a_csv_stays_libvmafs_and_what_it_means_is_said_beside_it(files, tmp_path):
    log = tmp_path / "log.json"
    code, said, beside = run("score", *files[:2], "-m", "psnr", "-m", "xpsnr", "--csv", "--out", str(log))
    assert code == 0 and said.splitlines()[0] == "Frame,psnr,xpsnr," and len(said.splitlines()) == 11
    assert "psnr" in beside and "higher is better" in beside
    assert set(json.loads(log.read_text())["score"]) == {"psnr", "xpsnr"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "vmaff"], "try: vmaf"),
        (["--metric", "psnr", "--pool", "p101"], "no pooling 'p101'"),
        (["--metric", "psnr", "--per", "minute"], "no length 'minute'"),
        (["--metric", "psnr", "--json", "--csv"], "can't be printed together"),
        (["--metric", "psnr", "--out", "a.txt"], "a.txt"),
        (["--metric", "psnr", "--metric", "ssim", "--plot", "a.svg"], "a plot shows one metric"),
        (["--metric", "psnr=file"], "psnr takes no file"),
    ],
)
def test_a_mistake_is_one_line(files, arguments, said):
    code, printed, error = run("score", *files[:2], *arguments)
    assert (code, printed) == (2, "") and said in error and error.count("\n") == 1


def test_a_file_that_is_named_twice(files):
    code, _, error = run("score", files[0], files[1], files[1], "--metric", "psnr")
    assert code == 2 and "is named twice" in error


def test_metrics():
    code, said, _ = run("metrics")
    assert code == 0 and max(map(len, said.splitlines())) <= 80
    for name in ("xpsnr", "psnr_hvs", "ciede", "cambi", "psnr_cb", "lpips", "vmaf (vmaf_v0.6.1)"):
        assert name in said
    code, said, _ = run("metrics", "cambi*", "--json")
    assert [one["direction"] for one in json.loads(said)] == ["lower is better"] * 2
    assert run("metrics", "none")[0] == 2
