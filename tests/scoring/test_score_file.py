"""Scores taken elsewhere: a table or log answers for the file that it names, and for no other."""

import json

import pytest
from clips import ffmpeg, make

from compressvqa.errors import DataError
from compressvqa.evaluation import evaluate
from compressvqa.opinions import Item, Manifest
from compressvqa.scoring.foreign_logs import read_log, read_scores
from compressvqa.scoring.score_file import ScoreFile
from compressvqa.video import Clip, Pairing


def answer(scorer, path, reference=None):
    clip = None if reference is None else Clip(reference)
    return scorer.score(clip, [Clip(path)], Pairing())[0][scorer.name].score


def table(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_text(text)
    return ScoreFile("mine", tmp_path / name)


# --- which file a row is of -----------------------------------------------------------------------------------------


def test_a_folder_never_answers_for_another(tmp_path):
    scorer = table(tmp_path, "dist,mine\nhrc1/clip.mp4,1\n")
    assert answer(scorer, tmp_path / "set" / "hrc1" / "clip.mp4") == 1
    for other in ("hrc2/clip.mp4", "clip.mp4", "hrc2/clip.mkv", "xhrc1/clip.mp4"):
        with pytest.raises(DataError, match=r"no score of clip\.\w+; hrc1/clip\.mp4 is in another folder"):
            answer(scorer, tmp_path / other)


@pytest.mark.parametrize(
    ("key", "file"),
    [
        (r"hrc1\clip.mp4", "hrc1/clip.mp4"), ("./hrc1//clip.mp4", "hrc1/clip.mp4"),
        ("x/../hrc1/clip.mp4", "hrc1/clip.mp4"),
        ("HRC1/Clip.MP4", "hrc1/clip.mp4"), ("clip.mp4", "hrc1/clip.mp4"), ("clip", "hrc1/clip.mp4"),
        ("hrc1/clip.avi", "hrc1/clip.mp4"), ("clip_1.5", "clip_1.5.mp4"), ("/elsewhere/hrc1/clip.mp4", "hrc1/clip.mp4"),
        (r"C:\data\hrc1\clip.mp4", "hrc1/clip.mp4"),
    ],
)  # fmt: skip
def test_spellings_of_one_path(tmp_path, key, file):
    assert answer(table(tmp_path, f"dist,mine\n{key},1\nother.mp4,2\n"), tmp_path / file) == 1


def test_absolute_keys(tmp_path):
    files = [tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.mp4"]
    scorer = table(tmp_path, "dist,mine\n" + "".join(f"{file},{n}\n" for n, file in enumerate(files)))
    assert [answer(scorer, file) for file in files] == [0, 1]
    other = table(tmp_path, "dist,mine\n/data/x/clip.mp4,1\n")
    with pytest.raises(DataError, match="no score of"):
        answer(other, files[0])
    other.expect([(tmp_path / "B" / "x" / "clip.mp4", "B/x/clip.mp4", None)])
    with pytest.raises(DataError, match="no score of"):  # the data set knows more of its path than the table
        answer(other, tmp_path / "B" / "x" / "clip.mp4")


def test_case_and_suffix_count_where_both_are_there(tmp_path):
    scorer = table(tmp_path, "dist,mine\nClip.mp4,1\nclip.mp4,2\nclip.mkv,3\n")
    assert [answer(scorer, tmp_path / name) for name in ("Clip.mp4", "clip.mp4", "clip.mkv")] == [1, 2, 3]
    with pytest.raises(DataError, match="3 scores fit"):
        answer(scorer, tmp_path / "CLIP.avi")


def test_a_name_that_fits_two_files_of_a_data_set_says_nothing(tmp_path):
    names = ["hrc1/clip.mp4", "hrc2/clip.mp4", "hrc1/only.mp4", "a.mkv", "a.mp4"]
    manifest = Manifest("set", tmp_path, tuple(Item(name, mos=n) for n, name in enumerate(names)))
    scorer = table(tmp_path, "dist,mine\nclip.mp4,1\nonly.mp4,2\na.mp4,3\n")
    found = evaluate([scorer], [manifest], cache=tmp_path / "cache", resamples=0)
    assert [(item.distorted, item.score) for item in found.scores[0].items] == [("hrc1/only.mp4", 2), ("a.mp4", 3)]
    faults = found.datasets[0].faults
    assert "'clip.mp4' fits hrc1/clip.mp4 and hrc2/clip.mp4" in faults["hrc1/clip.mp4"]
    assert "fits" in faults["hrc2/clip.mp4"] and "'a.mp4' fits a.mkv and a.mp4" in faults["a.mkv"]


def test_two_references_of_one_file(tmp_path):
    items = [Item("d.mp4", mos=n, reference=f"r{n}.mp4") for n in range(3)] + [Item("e.mp4", mos=5, reference="r0.mp4")]
    manifest = Manifest("set", tmp_path, tuple(items))
    blind = table(tmp_path, "dist,mine\nd.mp4,1\ne.mp4,2\n")
    found = evaluate([blind], [manifest], cache=tmp_path / "cache", resamples=0)
    assert [item.score for item in found.scores[0].items] == [2]
    rows = "ref,dist,mine\nr0.mp4,d.mp4,1\nr1.mp4,d.mp4,7\nr2.mp4,d.mp4,8\nr0.mp4,e.mp4,2\n"
    found = evaluate([table(tmp_path, rows)], [manifest], cache=tmp_path / "cache", resamples=0)
    assert [item.score for item in found.scores[0].items] == [1, 7, 8, 2]


# --- forms of tables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffdist,mine\na.mp4,3.5\n", "dist;mine\na.mp4;3,5\n", "dist\tmine\r\na.mp4\t3.5\r\n",
        "Dist,MINE\na.mp4,3.5\n", "file,score\na.mp4,3.5\n", 'n,"video_name","mine",std\n1,"a.mp4",3.5,.2\n',
        "dist,mine\na.mp4,3.5\n\na.mp4,3.5\n",
        '{"a.mp4": 3.5}', '[{"dist": "a.mp4", "mine": 3.5}]', "dist,mine,\na.mp4,3.5,\n",
    ],
)  # fmt: skip
def test_forms_of_tables(tmp_path, text):
    assert answer(table(tmp_path, text), tmp_path / "a.mp4") == 3.5


def test_utf_16_and_the_spelling_of_a_metric(tmp_path):
    (tmp_path / "t.csv").write_bytes("dist,PSNR-Y,SSIM\na.mp4,33,.9\n".encode("utf-16"))
    assert answer(ScoreFile("psnr", tmp_path / "t.csv"), tmp_path / "a.mp4") == 33
    assert answer(ScoreFile("ssim", tmp_path / "t.csv"), tmp_path / "a.mp4") == 0.9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dist,mine\na.mp4,1\nb.mp4\n", r"t\.csv:3: the row has one cell"),
        ("n,dist,mine\n1,a.mp4,1\n2,b.mp4\n", r"line 3: '' is no score"),
        ("n,mine,dist\n1,1,a.mp4\n2,1\n", r"t\.csv:3: the row names no file"),
        ("dist,mine\na.mp4,1,2\n", r"t\.csv:2: the row has 3 cells"),
        ("dist,mine\na.mp4,nan\n", r"line 2: 'nan' is no score"),
        ("dist,mine\na.mp4,1\n./a.mp4,2\n", r"t\.csv:3: \./a\.mp4 stands there twice"),
        ("dist,psnr,PSNR-Y\na.mp4,1,2\n", "lacks a column 'mine'"),
        ("", "is empty"),
        ("  \n", "is empty"),
        ('{"a.mp4": 1, "a.mp4": 2}', "'a.mp4' stands twice"),
        ('{"a.mp4": 1', "is no JSON"),
        ('{"a.mp4": null}', "a.mp4: None is no score"),
        ("[1]", r"must be an object"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        table(tmp_path, text)


def test_two_columns_of_one_metric(tmp_path):
    (tmp_path / "t.csv").write_text("dist,PSNR,PSNR-Y\na.mp4,1,2\n")
    assert answer(ScoreFile("PSNR-Y", tmp_path / "t.csv"), tmp_path / "a.mp4") == 2
    with pytest.raises(DataError, match="columns 'PSNR' and 'PSNR-Y' both say 'psnr'"):
        ScoreFile("psnr", tmp_path / "t.csv")


# --- logs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """Real logs of libvmaf in its three forms, of a clip of 10 frames, and the clip."""
    folder = tmp_path_factory.mktemp("logs")
    reference = make(folder / "r.mp4", "-qp", "0", frames=10)
    distorted = make(folder / "d.mp4", "-crf", "40", frames=10)
    for form in ("json", "csv", "xml"):
        ffmpeg("-i", str(distorted), "-i", str(reference), "-lavfi",
               f"libvmaf=log_fmt={form}:log_path={folder}/log.{form}:feature=name=psnr|name=float_ssim",
               "-f", "null", "-")  # fmt: skip
    found = json.loads((folder / "log.json").read_text())
    means = {key: found["pooled_metrics"][key]["mean"] for key in ("vmaf", "psnr_y", "float_ssim")}
    return folder, means


@pytest.mark.parametrize("form", ["json", "csv", "xml"])
def test_real_logs_in_all_forms_and_by_all_names(logs, form):
    folder, means = logs
    text = (folder / f"log.{form}").read_text()
    for name, key in (
        ("vmaf", "vmaf"),
        ("vmaf_v0.6.1", "vmaf"),
        ("psnr", "psnr_y"),
        ("PSNR-Y", "psnr_y"),
        ("ssim", "float_ssim"),
    ):
        course = read_log(text, name, where="x")
        assert course.score == pytest.approx(means[key], abs=1e-5) and len(course.segments) == 10
    for name in ("ms_ssim", "published"):  # not there, and not clear which
        with pytest.raises(DataError, match="holds no score"):
            read_log(text, name, where="x")


@pytest.mark.parametrize("form", ["json", "csv", "xml"])
def test_a_log_that_is_cut_off_anywhere_gives_no_score(logs, form):
    folder, means = logs
    text = (folder / f"log.{form}").read_text().rstrip()
    for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        cut = text[: int(len(text) * share)]
        try:
            found = read_log(cut, "vmaf", where="x").score
        except DataError:
            continue
        assert form == "csv", "only a CSV log can end between two lines and not show it"
        assert found == pytest.approx(means["vmaf"], abs=15) and cut.endswith(("\n", ","))
    with pytest.raises(DataError, match=r"cut off or damaged|cut off"):
        read_log(text[:-1] if form != "csv" else text[:-5], "vmaf", where="x")
    with pytest.raises(DataError):
        read_scores(text[: len(text) // 2 - 3], "vmaf", where="x")


def test_a_log_of_fewer_frames_than_the_video_is_another_measurement(logs, tmp_path):
    folder, means = logs
    lines = (folder / "log.csv").read_text().splitlines(keepends=True)
    (tmp_path / "d.mp4.csv").write_text("".join(lines[:6]))
    with pytest.raises(DataError, match=r"the log ends after 5 frames, d\.mp4 has 10"):
        answer(ScoreFile("vmaf", tmp_path), folder / "d.mp4")
    scorer = ScoreFile("vmaf", tmp_path)
    assert scorer.score(None, [Clip(folder / "d.mp4")], Pairing(frames=5))[0]["vmaf"].score > 0
    (tmp_path / "d.mp4.csv").write_text("".join(lines[:1] + lines[1::2]))  # every other frame
    assert answer(scorer, folder / "d.mp4") == pytest.approx(means["vmaf"], abs=5)


def test_a_number_that_is_none_harms_only_its_own_score(logs):
    folder, means = logs
    whole = json.loads((folder / "log.json").read_text())
    other = next(key for key in whole["pooled_metrics"] if "motion" in key)
    whole["frames"][3]["metrics"][other] = whole["pooled_metrics"][other]["mean"] = float("nan")
    for nan in ("nan", "-nan", "NaN", "-nan(ind)", "inf"):
        text = json.dumps(whole).replace("NaN", nan)
        assert read_log(text, "vmaf", where="x").score == means["vmaf"]
    whole["frames"][4]["metrics"]["vmaf"] = float("nan")
    for text in (json.dumps(whole), json.dumps(whole).replace("NaN", "nan"), json.dumps(whole).replace("NaN", "null")):
        with pytest.raises(DataError, match="frame 4 of vmaf is"):
            read_log(text, "vmaf", where="x")
    csv_text = (folder / "log.csv").read_text()
    row = csv_text.splitlines()[3]
    spoilt = row.rsplit(",", 2)[0] + ",nan,"
    with pytest.raises(DataError, match="frame 2 of vmaf is nan"):
        read_log(csv_text.replace(row, spoilt), "vmaf", where="x")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('{"aggregate": {"VMAF_score": 97.5}, "frames": [{"frameNum": 0, "VMAF_score": 97.5}]}', "vmaf", 97.5),
        ('{"frames": [{"metrics": {"vmaf": 90, "psnr": 30}}], "VMAF score": 90.0, "PSNR score": 30.0}', "psnr", 30),
        ('<VMAF><frame frameNum="0" VMAF_score="91.0"/><aggregate VMAF_score="91.0"/></VMAF>', "vmaf", 91),
        ("{'psnr': 33.5, 'ssim': 0.98}", "psnr", 33.5),
        ("loading\n{\"psnr\": 33.5, \"ssim\": 0.98}\n", "psnr", 33.5),
        ("\ufeffFrame;vmaf;\n0;80,5;\n1;90,5;\n", "vmaf", 85.5),
        ("frame,psnr_y,ssim\n0,30,.9\n", "psnr", 30),
    ],
)  # fmt: skip
def test_logs_of_older_and_other_tools(text, name, value):
    assert read_scores(text, name, where="x").score == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frame 60 score nan", "mine is nan"), ("PSNR average:inf", "mine is inf"), ('{"vmaf": 3', "cut off"),
        ("starting\n{\"frames\": [{\"metrics\": {\"vmaf\": 9", "cut off"),
        ('{"frames": [{"frameNum": 0, "mine": 1}, {"frameNum": 0, "mine": 2}]}', "frame 0 twice"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "document type"), ("<html>404</html>", "holds no score"),
        ("Frame,mine,\n0,1,\nx,2,\n", "'x' is no frame"), ('{"frames": []}', "holds no"), ("[1, 2]", "no log"),
    ],
)  # fmt: skip
def test_output_that_holds_no_score(text, said):
    with pytest.raises(DataError, match=said):
        read_scores(text, "mine", where="x")


def test_an_empty_log_and_logs_in_folders(tmp_path):
    for hrc in ("hrc1", "hrc2"):
        (tmp_path / "logs" / hrc).mkdir(parents=True)
        (tmp_path / "logs" / hrc / "clip.mp4.JSON").write_text(
            json.dumps({"frames": [], "pooled_metrics": {"mine": {"mean": int(hrc[-1])}}})
        )
    (tmp_path / "logs" / "empty.json").write_text("")
    scorer = ScoreFile("mine", tmp_path / "logs")
    assert [answer(scorer, tmp_path / hrc / "clip.mp4") for hrc in ("hrc1", "hrc2")] == [1, 2]
    with pytest.raises(DataError, match=r"empty\.json: the log is empty"):
        answer(scorer, tmp_path / "empty.mp4")
    with pytest.raises(DataError, match=r"2 scores fit clip\.mp4 by its name, and none by its folder"):
        answer(scorer, tmp_path / "hrc3" / "clip.mp4")
