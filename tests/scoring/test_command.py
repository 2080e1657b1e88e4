"""Outside programs and tables of scores: what they print is read, what they can't know is refused."""

import json
import sys

import pytest

from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.scoring.command import CommandScorer, read_scores
from compressvqa.scoring.score_file import ScoreFile
from compressvqa.video import Clip, Pairing

PYTHON = sys.executable
LENGTH = "import os,sys; print('took 3 s; score:', os.path.getsize(sys.argv[2]) - os.path.getsize(sys.argv[1]))"


def scores_of(scorer, reference, distorted, **pairing):
    (found,) = scorer.score(Clip(reference), [Clip(distorted)], Pairing(**pairing))
    return found[scorer.facts[0].name]


def test_a_program_sees_both_files_in_order(write):
    reference, distorted = write("a b.y4m", 3, bitdepth=10), write("d'.y4m", 3)
    scorer = CommandScorer("length", f'{PYTHON} -c "{LENGTH}" {{reference}} {{distorted}}')
    longer = distorted.stat().st_size - reference.stat().st_size
    assert longer < 0 and scores_of(scorer, reference, distorted).score == longer


def test_no_shell_sees_the_command(write, tmp_path):
    reference = write("r.y4m", 3)
    scorer = CommandScorer("x", f'{PYTHON} -c "print(7)" {{distorted}} ; touch {tmp_path / "made"}')
    assert scores_of(scorer, reference, reference).score == 7
    assert not (tmp_path / "made").exists()


def test_copies_in_step_are_scaled_and_cut(write):
    """The program is given raw video of one size and length; it says the bytes of both."""
    reference, distorted = write("r.y4m", 9), write("d.y4m", 7, width=64, height=48)
    script = "import os,sys; print(os.path.getsize(sys.argv[1]), os.path.getsize(sys.argv[2]))"
    scorer = CommandScorer("size", f'{PYTHON} -c "{script}" {{reference_y4m}} {{distorted_y4m}}')
    body = 7 * (112 * 96 * 3 // 2 + len("FRAME\n"))
    found = scores_of(scorer, reference, distorted, length="trim").score
    assert 0 < found - body < 100  # the header
    plain = CommandScorer("size", f'{PYTHON} -c "{script}" {{reference}} {{distorted}}')
    with pytest.raises(DataError, match=r"would see files that differ \(frame size.*_y4m"):
        scores_of(plain, reference, distorted, length="trim")
    with pytest.raises(DataError, match="can't leave frames out"):
        scores_of(plain, reference, reference, frames=2)


def test_its_log_is_read_as_libvmafs(write, tmp_path):
    reference, distorted = write("r.y4m", 4), write("d.y4m", 4, noise=0.1)
    (tmp_path / "tool.py").write_text(
        "import sys, json\n"
        "frames = [{'frameNum': n, 'metrics': {'mine': n, 'other': 9}} for n in range(4)]\n"
        "pooled = {'mine': {'mean': 1.5}, 'other': {'mean': 9}}\n"
        "json.dump({'frames': frames, 'pooled_metrics': pooled}, open(sys.argv[1], 'w'))\n"
    )
    scorer = CommandScorer("mine", f"{PYTHON} {tmp_path / 'tool.py'} {{output}} {{distorted}}")
    found = scores_of(scorer, reference, distorted)
    assert found.score == 1.5 and [part.score for part in found.segments] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "value"),
    [("3.5", 3.5), ("frames 60 score 71.25\n", 71.25), ("-1e-3", -0.001), ("Frame,vmaf,\n0,80.0,\n1,90.0,\n", 85.0),
     ('{"score": 4, "frames": []}', 4), ("PSNR of clip2: 33.1 dB", 33.1)],
)  # fmt: skip
def test_forms_of_output(text, value):
    assert read_scores(text, "vmaf", where="x").score == value


@pytest.mark.parametrize("text", ["", "no score", "nan", '{"pooled_metrics": {"a": {"mean": 1}, "b": {"mean": 2}}}'])
def test_output_without_a_score(text):
    with pytest.raises(DataError):
        read_scores(text, "mine", where="x")


def test_commands_that_are_wrong(write):
    reference = write("r.y4m", 3)
    for template, words in (("tool {file}", "no place {file}"), ("tool", "where the distorted"), ("'", "well formed")):
        with pytest.raises(DataError, match=words):
            CommandScorer("x", template)
    with pytest.raises(DataError, match=r"no-such-tool: the command of x can't be run"):
        scores_of(CommandScorer("x", "no-such-tool {distorted}"), reference, reference)
    with pytest.raises(DataError, match=r"failed \(3\): out of luck"):
        script = "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"
        scores_of(CommandScorer("x", f'{PYTHON} -c "{script}" {{distorted}}'), reference, reference)
    with pytest.raises(DataError, match="wrote no"):
        scores_of(CommandScorer("x", f'{PYTHON} -c "1" {{distorted}} {{output}}'), reference, reference)


# --- tables of scores ---------------------------------------------------------------------------------------------


def table_score(scorer, path):
    (found,) = scorer.score(None, [Clip(path)], Pairing())
    return found[scorer.name].score


def test_tables_and_logs(tmp_path, write):
    (tmp_path / "t.csv").write_text("dist,mine,other\na/x.mp4,1,9\nb/x.mp4,2,9\ny.mp4,3,9\n")
    scorer = ScoreFile("mine", tmp_path / "t.csv")
    assert [table_score(scorer, tmp_path / name) for name in ("a/x.mp4", "b/x.mp4", "deep/y.mp4")] == [1, 2, 3]
    with pytest.raises(DataError, match=r"2 scores fit x\.mp4"):
        table_score(scorer, tmp_path / "x.mp4")
    with pytest.raises(DataError, match=r"no score of z\.mp4"):
        table_score(scorer, tmp_path / "z.mp4")
    (tmp_path / "t.json").write_text(json.dumps({"y.mp4": 4}))
    assert table_score(ScoreFile("any", tmp_path / "t.json"), tmp_path / "y.mp4") == 4
    reference, distorted = write("r.y4m", 3), write("d.y4m", 3, noise=0.1)
    from compressvqa.scoring import write_scores

    taken = score(reference, distorted, model="psnr")
    (tmp_path / "logs").mkdir()
    write_scores([taken], tmp_path / "logs" / "d.y4m.json")
    assert table_score(ScoreFile("psnr", tmp_path / "logs"), distorted) == pytest.approx(taken.score)


def test_tables_that_are_wrong(tmp_path):
    for text, words in (
        ("dist,score\na,1\na,2\n", r"t\.csv:3: a stands there twice"),
        ("dist,score\na,x\n", r"line 2: 'x' is no score"),
        ("clip,score\na,1\n", r"lacks a column for the distorted file"),
        ("dist,quality\na,1\n", r"lacks a column 'mine' or 'score'"),
        ("", r"lacks a column"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DataError, match=words):
            ScoreFile("mine", tmp_path / "t.csv")
    with pytest.raises(DataError, match="can't be read"):
        ScoreFile("mine", tmp_path / "none.csv")
