"""`compressvqa score` and `compressvqa metrics` as they are typed."""

import json
from pathlib import Path

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


def test_one_distorted_file_beside_two_references(files, tmp_path):
    """Each pair has its own score, which is that of the pair alone, in every form of output."""
    references = [tmp_path / "one" / "a.mp4", tmp_path / "two" / "a.mp4"]
    for file, source in zip(references, files, strict=False):
        file.parent.mkdir()
        file.write_bytes(Path(source).read_bytes())
    table = tmp_path / "pairs.csv"
    table.write_text("".join(f"{file},{files[1]}\n" for file in references))
    metrics = ("--metric", "psnr", "--metric", "ssim")
    alone = [json.loads(run("score", str(r), files[1], *metrics, "--json")[1]) for r in references]
    code, printed, error = run("score", str(table), *metrics, "--json")
    assert code == 0, error
    both = json.loads(printed)["scores"]
    assert [log["score"] for log in both] == [log["score"] for log in alone]
    assert both[0]["score"] != both[1]["score"]
    assert [log["reference"]["path"] for log in both] == [str(file) for file in references]
    shown = run("score", str(table), *metrics)[1]
    name = Path(files[1]).name
    assert f"{name} (one/a.mp4)" in shown and f"{name} (two/a.mp4)" in shown
    heads = run("score", str(table), "--metric", "psnr", "--csv")[1].splitlines()[0].split(",")
    assert heads == ["Frame", f"{name} (one/a.mp4)", f"{name} (two/a.mp4)", ""]
    rows = run("score", str(table), *metrics, "--summary")[1].splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [f"{name} (one/a.mp4)"] * 2 + [f"{name} (two/a.mp4)"] * 2


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


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_no_figure_and_no_header_is_cut(files, columns):
    metrics = ("-m", "psnr", "-m", "vmaf", "-m", "ssim")
    done = inside("score", *files, *metrics, "--pool", "p5", "--pool", "mean", "--frames", "2", columns=columns)
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    known = json.loads(inside("score", *files, *metrics, "--pool", "p5", "--pool", "mean", "--frames", "2",
                              "--json").stdout)  # fmt: skip
    for log in known["scores"]:
        for metric in ("psnr", "vmaf_v0.6.1"):
            assert f"{log['score'][metric]:.4f}" in done.stdout
            for frame in log["frames"]:
                assert f"{frame['metrics'][metric]:.4f}" in done.stdout
    words = ["p5", "mean", "frames", "seconds"]
    for word in words + (["harmonic mean", "min", "max"] if columns >= 80 else []):
        assert word in done.stdout, word


def test_a_folder_of_encodes_and_a_table_of_pairs(files, tmp_path):
    """The same scores, whichever way the files are named."""
    reference, *distorted = files
    folder = str(Path(distorted[0]).parent.parent)
    by_name = json.loads(run("score", *files, "-m", "psnr", "--json")[1])["scores"]
    by_folder = json.loads(run("score", reference, folder, "-m", "psnr", "--json")[1])["scores"]
    (tmp_path / "pairs.csv").write_text("".join(f"{reference},{path}\n" for path in distorted))
    by_table = json.loads(run("score", str(tmp_path / "pairs.csv"), "-m", "psnr", "--json")[1])["scores"]
    table = (tmp_path / "pairs.csv").read_bytes()
    by_input = json.loads(inside("score", "-", "-m", "psnr", "--json", stdin=table).stdout)["scores"]
    assert by_name == by_folder == by_table == by_input and len(by_name) == 2


def test_several_references_in_one_log(files, tmp_path):
    reference, first, second = files
    (tmp_path / "pairs.csv").write_text(f"ref,dist\n{reference},{first}\n{first},{second}\n")
    out = tmp_path / "log.json"
    code, said, _ = run("score", str(tmp_path / "pairs.csv"), "-m", "psnr", "--summary", "--out", str(out))
    assert code == 0 and len(said.splitlines()) == 3
    logs = json.loads(out.read_text())["scores"]
    assert [log["reference"]["path"] for log in logs] == [reference, first]
    alone = json.loads(run("score", first, second, "-m", "psnr", "--json")[1])
    assert logs[1]["score"] == alone["score"]
