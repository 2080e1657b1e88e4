"""A score depends on its two files, whatever else stands in the command; nothing lossy scores above identity."""

import io
import json
import sqlite3
import sys
from pathlib import Path

import pytest
from clips import ffmpeg, make
from rich.console import Console

from compressvqa.evaluation import evaluate
from compressvqa.opinions import Item, Manifest
from compressvqa.scoring import find_scorers, score, score_several
from compressvqa.scoring.command import CommandScorer
from compressvqa.scoring.greed import greed_features
from compressvqa.scoring.tables import scores_table
from compressvqa.video import Clip, Pairing
from compressvqa.video import ffmpeg as tool

TAG = "setparams=colorspace={}:range=tv"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A reference of 8 bit, and files that differ from it, and from each other, in one thing each."""
    folder = tmp_path_factory.mktemp("company")
    lossless, lossy = ("-c:v", "ffv1"), ("-c:v", "libx264", "-crf", "40", "-preset", "ultrafast")

    def file(name: str, kind: str, *options: str, filters: str = "null", frames: int = 5) -> Path:
        filters = f"scale=out_color_matrix=bt709,format=yuv420p,{TAG.format('bt709')},{filters}"
        return make(folder / name, "-vf", filters, "-pix_fmt", kind, *options, size="112x96", frames=frames)

    convert = f"scale=in_color_matrix=bt709:out_color_matrix=bt601,{TAG.format('smpte170m')}"
    return {
        "reference": file("r.mkv", "yuv420p", *lossless),
        "same": file("same.mkv", "yuv420p", *lossless),
        "lossy": file("lossy.mkv", "yuv420p", *lossy),
        "deep": file("deep.mkv", "yuv420p10le", *lossless),
        "matrix": file("matrix.mkv", "yuv420p", *lossless, filters=convert),
        "silent": file("silent.y4m", "yuv420p", filters=TAG.format("unknown")),
        "rgb": file("rgb.mkv", "gbrp", *lossless),
        "grey": file("grey.mkv", "gray", *lossless),
        "small": file("small.mkv", "yuv420p", *lossless, filters="scale=64:48"),
        "prores": file("prores.mov", "yuva444p10le", "-c:v", "prores_ks", "-profile:v", "4444", "-q:v", "1"),
        "coarse": file("coarse.mov", "yuva444p10le", "-c:v", "prores_ks", "-profile:v", "4444", "-q:v", "60"),
        "short": file("short.mkv", "yuv420p", *lossy, frames=3),
    }


@pytest.mark.parametrize("model", ["psnr", "vmaf_v0.6.1"])
def test_a_score_does_not_depend_on_its_company(files, model):
    others = [path for name, path in files.items() if name != "reference"]
    pairing = Pairing(length="trim")
    together = score_several(files["reference"], others, model=model, pairing=pairing)
    alone = [score(files["reference"], path, model=model, pairing=pairing) for path in others]
    assert [one.score for one in together] == [one.score for one in alone]
    assert [one.settings for one in together] == [one.settings for one in alone]
    assert [one.per_segment for one in together] == [one.per_segment for one in alone]


def test_a_reference_that_names_no_matrix_is_read_for_each_pair_anew(files, mean_difference):
    others = [files["reference"], files["matrix"], files["rgb"]]
    together = score_several(files["silent"], others, model=mean_difference)
    assert [one.score for one in together] == [score(files["silent"], d, model=mean_difference).score for d in others]
    assert together[0].score == 0 > together[1].score


def test_a_file_that_ends_where_nobody_foresaw_scores_as_it_does_alone(files, tmp_path):
    """Motion at its last frame looks one frame ahead, at a frame of the reference that is not compared."""
    from fractions import Fraction

    from compressvqa.video import read_frames, write_y4m

    short = tmp_path / "short.y4m"
    write_y4m(short, read_frames(files["short"]), Fraction(25))
    body = short.read_bytes()
    short.write_bytes(body.replace(b"FRAME\n", b"FRAME Ip\n"))  # tags of frames: the length does not tell their number
    pairing = Pairing(length="trim")
    both = score_several(files["reference"], [short, files["lossy"]], model="vmaf_v0.6.1", pairing=pairing)
    assert both[0].distorted.frames == 3  # counted, since the length of the file does not tell
    assert both[0].per_segment == score(files["reference"], short, model="vmaf_v0.6.1", pairing=pairing).per_segment


def test_the_kept_score_is_that_of_the_pair(files, tmp_path):
    """The same evaluation, file by file and all at once, leaves the same scores."""
    folder = files["reference"].parent
    names = ("same", "deep", "lossy", "matrix")
    items = tuple(Item(files[name].name, float(n), reference="r.mkv") for n, name in enumerate(names, 1))

    def scores(*sets: tuple[Item, ...]) -> dict[str, float]:
        cache = tmp_path / str(len(sets))
        manifests = [Manifest(f"set{n}", folder, some) for n, some in enumerate(sets)]
        found = evaluate(["psnr"], manifests, cache=cache, resamples=0)
        with sqlite3.connect(cache / "scores.sqlite") as store:
            assert store.execute("SELECT count(*) FROM scores").fetchone() == (4,)
        return {item.distorted: item.score for one in found.scores for item in one.items}

    together = scores(items)
    assert together["same.mkv"] == together["deep.mkv"] == 60
    assert together == {files[name].name: score(files["reference"], files[name], model="psnr").score for name in names}


def test_the_table_says_which_file_is_compared_in_which_form(files):
    console = Console(width=120, file=io.StringIO())
    console.print(scores_table(score_several(files["reference"], [files["same"], files["deep"]], model="psnr")))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines() if line.startswith("compared as")]
    assert [line.rsplit(" (", 1)[1] for line in lines] == ["same.mkv)", "deep.mkv)"]
    assert "8 bit" in lines[0] and "10 bit" in lines[1]


def test_nothing_scores_above_identity(files):
    """At 12 bit libvmaf's PSNR ends at 84 dB: a lossy file of an 8 bit reference must not get there."""
    everything = [path for name, path in files.items() if name not in ("short", "reference")]
    for model in ("psnr", "ssim"):
        same = score(files["reference"], files["reference"], model=model)
        found = score_several(files["reference"], everything, model=model)
        assert max(one.score for one in found) == same.score == {"psnr": 60, "ssim": 1}[model]
    prores = score(files["reference"], files["prores"], model="psnr")
    assert "12 bit" in prores.settings["compared as"] and prores.score == 60  # by itself 70 dB, and lossy


@pytest.mark.parametrize(
    ("name", "ceiling"), [("reference", 60), ("deep", 72), ("prores", 84), ("rgb", 108), ("grey", 60)]
)
def test_identical_files_get_the_ceiling_of_their_depth(files, name, ceiling):
    assert score(files[name], files[name], model="psnr").score == ceiling


def test_equals_ffmpeg_called_by_hand(files, tmp_path):
    """8 bit against 10, and RGB brought to BT.709 by hand."""
    kinds = {"coarse": "yuv420p12le", "lossy": "yuv420p", "rgb": "yuv420p16le"}
    for name, kind in kinds.items():
        convert = f"scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bicubic,format={kind}"
        graph = f"[0:v]{convert}[d];[1:v]format={kind}[r];[d][r]libvmaf=log_fmt=json:log_path=log.json:"
        inputs = ["-i", str(files[name]), "-i", str(files["reference"])]
        tool.run([*inputs, "-lavfi", f"{graph}feature=name=psnr:model=''", "-f", "null", "-"], folder=tmp_path)
        theirs = json.loads((tmp_path / "log.json").read_text())["pooled_metrics"]["psnr_y"]["mean"]
        ours = score(files["reference"], files[name], model="psnr").score
        assert ours < 59
        assert ours == pytest.approx(theirs, abs=0.3 if name == "rgb" else 0.01), name


def test_a_command_is_given_both_in_one_form(files, tmp_path):
    """An outside program that only compares samples sees that a picture in BT.601 is the same one."""
    program = tmp_path / "mean.py"
    program.write_text(
        "import sys\n"
        "heads, bodies = zip(*(open(path, 'rb').read().split(b'\\n', 1) for path in sys.argv[1:]))\n"
        "assert heads[0] == heads[1], heads\n"
        "size = 112 * 96\n"
        "r, d = (body[6:6 + size] for body in bodies)\n"
        "print(sum(abs(x - y) for x, y in zip(r, d)) / size)\n"
    )

    scorer = CommandScorer("mean", f"{sys.executable} {program} {{reference_y4m}} {{distorted_y4m}}")
    for name in ("matrix", "silent", "small", "grey"):
        assert score(files["reference"], files[name], model=scorer).score < (40 if name in ("small", "grey") else 1.5)


def test_greed_sees_one_luma(tmp_path):
    """ST-GREED's features of luma: 0 for the same picture, also in another matrix, range or as RGB."""
    source = ("-f", "lavfi", "-i", "testsrc2=size=192x160:rate=25", "-frames:v", "36", "-vf")
    exact = "format=gbrp,scale=out_color_matrix={}:flags=accurate_rnd+full_chroma_int,format=yuv444p10le," + TAG
    made = {}
    for name, filters in {
        "a": exact.format("bt709", "bt709"),
        "b": exact.format("bt2020", "bt2020nc"),
        "c": "format=gbrp",
    }.items():
        made[name] = tmp_path / f"{name}.mkv"
        ffmpeg(*source, filters, "-c:v", "ffv1", str(made[name]))
    wrong = greed_features(
        Clip(made["a"]), Clip(make(tmp_path / "w.mkv", "-c:v", "ffv1", size="192x160", frames=36, source="testsrc"))
    )
    for name in ("b", "c"):
        assert abs(greed_features(Clip(made["a"]), Clip(made[name]))).max() < 0.01 * abs(wrong).max()


def test_all_names_at_once(files):
    (scorer,) = find_scorers(["psnr", "ssim"])
    found = scorer.score(Clip(files["reference"]), [Clip(files["deep"]), Clip(files["same"])], Pairing())
    assert [one["psnr"].score for one in found] == [60, 60] and [one["ssim"].score for one in found] == [1, 1]
