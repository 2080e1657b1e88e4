"""An outside program is told by its files and its version, wherever the user stands."""

import os
import sys

from compressvqa.scoring.command import CommandScorer
from compressvqa.scoring.identity import identity
from compressvqa.scoring.program import program_identity
from compressvqa.scoring.scorer import Scorer
from compressvqa.video import Clip, Pairing


def tool(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_the_content_of_a_program_its_files_and_what_a_script_imports(tmp_path):
    program, model = tool(tmp_path / "tool", "#!/bin/sh\necho 1\n"), tmp_path / "model.json"
    model.write_text("{}")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"1")
    (tmp_path / "score.py").write_text("import parts\nfrom deep import layer\n")
    (tmp_path / "parts.py").write_text("import further\n")
    (tmp_path / "further.py").write_text("A = 1\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "layer.py").write_text("B = 1\n")
    words = [program, f"--model={model}", str(tmp_path / "weights"), str(tmp_path / "score.py"), "{distorted}"]
    seen = [program_identity(words)]
    assert program_identity(words) == seen[0]
    for file, text in (
        ("tool", "#!/bin/sh\necho 2\n"), ("model.json", "{ }"), ("weights/a.bin", "2"), ("score.py", "import parts\n"),
        ("parts.py", "import further \n"), ("further.py", "A = 2\n"),
    ):  # fmt: skip
        (tmp_path / file).write_text(text)
        seen.append(program_identity(words))
    (tmp_path / "score.py").write_text("from deep import layer\n")
    seen.append(program_identity(words))
    (tmp_path / "deep" / "layer.py").write_text("B = 2\n")
    seen.append(program_identity(words))
    assert len(set(seen)) == len(seen) == 9


def test_a_thin_program_is_told_by_the_version_that_it_answers(tmp_path):
    (tmp_path / "version").write_text("tool 1.0")
    program = tool(tmp_path / "tool", f"#!/bin/sh\n[ $1 = --version ] && cat {tmp_path}/version && exit\nexit 3\n")
    before = program_identity([program, "{distorted}"])
    (tmp_path / "version").write_text("tool 1.1")
    assert program_identity([program, "{distorted}"]) != before
    mute = tool(tmp_path / "mute", "#!/bin/sh\nexit 1\n")
    assert program_identity([mute]) == program_identity([mute])


def test_a_symbolic_link_counts_with_what_it_leads_to(tmp_path):
    for name in ("old", "new"):
        tool(tmp_path / name, f"#!/bin/sh\necho {name}\n")
    (tmp_path / "tool").symlink_to("old")
    before = program_identity([str(tmp_path / "tool")])
    (tmp_path / "tool").unlink()
    (tmp_path / "tool").symlink_to("new")
    assert program_identity([str(tmp_path / "tool")]) != before


def test_two_scores_of_one_log_are_two_scores():
    one, other = (CommandScorer(name, "true {output} {distorted}") for name in ("vmaf", "psnr"))
    assert identity(one, one.facts[0]) != identity(other, other.facts[0])


def test_a_script_beside_the_user(tmp_path, monkeypatch, write):
    (tmp_path / "metric.py").write_text("print(4.5)")
    monkeypatch.chdir(tmp_path)
    distorted = write("d.y4m", 3)
    scorer = CommandScorer("mine", f"{sys.executable} metric.py {{distorted}}", mode="NR")
    (found,) = scorer.score(None, [Clip(distorted)], Pairing())
    assert found["mine"].score == 4.5
    assert CommandScorer("x", "echo 4 {distorted}").words[1] == "4"


class Own(Scorer):
    facts = ()

    def __init__(self, power):
        self.power, self.gathered = power, []

    def score(self, reference, distorted, pairing, progress=None):
        return []


def test_settings_of_a_scorer_count_and_what_it_gathers_does_not():
    from compressvqa.scoring.scorer import Facts

    facts = Facts("own", "own 1")
    one, other = Own(2), Own(3)
    before = identity(one, facts)
    one.gathered.append("a.mp4")
    assert identity(one, facts) == before == identity(Own(2), facts) != identity(other, facts)


def test_libvmaf_is_told_by_the_program_that_holds_it(tmp_path, monkeypatch):
    from compressvqa.scoring.libvmaf import LibvmafScorer
    from compressvqa.video import ffmpeg

    scorer = LibvmafScorer(["psnr"])
    before = identity(scorer, scorer.facts[0])
    other = tool(tmp_path / "ffmpeg", f'#!/bin/sh\nexec {ffmpeg.binary()} "$@"\n')
    monkeypatch.setattr(ffmpeg, "binary", lambda: other)
    assert identity(scorer, scorer.facts[0]) != before and os.access(other, os.X_OK)
