"""What is scored against what: files, folders, tables."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from compressvqa.errors import DataError
from compressvqa.scoring.pairs import Task, pairs_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """References a, b and a_long; encodes of them, flat and in folders."""
    for name in ("refs/a.mp4", "refs/a_long.mp4", "refs/b.mkv", "refs/.hidden.mp4", "flat/a.mp4", "flat/a_crf30.mp4",
                 "flat/a_long-x265.mp4", "flat/b.webm", "flat/b.part.mp4", "flat/notes.txt", "deep/x265/b_1.mp4",
                 "deep/b/crf30.mp4"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(tasks: list[Task]) -> dict[str | None, list[str]]:
    return {None if task.reference is None else task.reference.name: [p.name for p in task.distorted] for task in tasks}


def test_files_as_they_were(folder: Path) -> None:
    a, b, c = Path("a"), Path("b"), Path("c")
    assert pairs_of([a, b, c]) == [Task(a, (b, c))]
    assert pairs_of([b], a, [c]) == [Task(a, (b, c))]
    assert pairs_of([a, b], needs_reference=False) == [Task(None, (a, b))]
    for wrong in ([], [a]):
        with pytest.raises(DataError, match="needs two files"):
            pairs_of(wrong)
    with pytest.raises(DataError, match="named twice"):
        pairs_of([a, b, b])


def test_a_folder_stands_for_its_videos(folder: Path) -> None:
    reference = folder / "refs" / "a.mp4"
    found = names(pairs_of([reference, folder / "flat"]))
    assert found == {"a.mp4": ["a.mp4", "a_crf30.mp4", "a_long-x265.mp4", "b.webm"]}  # no b.part.mp4
    # The reference is not scored against itself.
    assert names(pairs_of([reference, folder / "refs"])) == {"a.mp4": ["a_long.mp4", "b.mkv"]}


def test_two_folders_go_together_by_name(folder: Path) -> None:
    found = names(pairs_of([folder / "refs", folder / "flat"]))
    assert found == {"a.mp4": ["a.mp4", "a_crf30.mp4"], "a_long.mp4": ["a_long-x265.mp4"], "b.mkv": ["b.webm"]}
    assert names(pairs_of([folder / "refs", folder / "deep"])) == {"b.mkv": ["crf30.mp4", "b_1.mp4"]}
    (folder / "flat" / "ab.mp4").touch()  # begins with a, and is another word
    with pytest.raises(DataError, match=r"ab\.mp4 has no reference of that name"):
        pairs_of([folder / "refs", folder / "flat"])
    with pytest.raises(DataError, match="the folder of the references and of the distorted"):
        pairs_of([folder / "refs", folder / "refs"])


@pytest.mark.parametrize(
    "text",
    [
        "ref,dist\nrefs/a.mp4,flat/a.mp4\nrefs/b.mkv,flat/b.webm\nrefs/a.mp4,flat/a_crf30.mp4\n",
        "dist;mos;ref\nflat/a.mp4;3,5;refs/a.mp4\nflat/a_crf30.mp4;2;refs/a.mp4\nflat/b.webm;1;refs/b.mkv\n",
        "\ufeffReference\tDistorted\r\nrefs/a.mp4\tflat/a.mp4\r\nrefs/a.mp4\tflat/a_crf30.mp4\r\nrefs/b.mkv\tflat/b.webm",
        "refs/a.mp4,flat/a.mp4\nrefs/a.mp4,flat/a_crf30.mp4\nrefs/b.mkv,flat/b.webm\n",
    ],
)
def test_a_table_of_pairs(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"a.mp4": ["a.mp4", "a_crf30.mp4"], "b.mkv": ["b.webm"]}
    (folder / "pairs.csv").write_text(text, encoding="utf-8")
    assert names(pairs_of([folder / "pairs.csv"])) == expected
    monkeypatch.chdir(folder)  # on standard input, paths are relative to where the command runs
    assert names(pairs_of([Path("-")], stream=io.BytesIO(text.encode()))) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no pairs"),
        ("ref,dist\n", "holds no pairs"),
        ("ref,score\nrefs/a.mp4,3\n", "has no column 'dist'"),
        ("dist,mos\nflat/a.mp4,3\n", "has no column 'ref'"),
        ("ref,dist\nrefs/a.mp4,\n", ":2: a pair has two files"),
        ("ref,dist\nrefs/a.mp4,flat/none.mp4\n", ":2: no such file: flat/none.mp4"),
        ("ref,dist\nrefs/a.mp4,flat/a.mp4\nrefs/a.mp4,flat/../flat/a.mp4\n", "named twice beside"),
    ],
)
def test_a_table_that_is_none(folder: Path, text: str, said: str) -> None:
    (folder / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        pairs_of([folder / "pairs.csv"])


def test_one_file_goes_with_several_references(folder: Path) -> None:
    (folder / "pairs.csv").write_text("ref,dist\nrefs/a.mp4,flat/a.mp4\nrefs/b.mkv,flat/a.mp4\n")
    assert names(pairs_of([folder / "pairs.csv"])) == {"a.mp4": ["a.mp4"], "b.mkv": ["a.mp4"]}


def test_a_video_alone_on_standard_input_lacks_its_other_half() -> None:
    with pytest.raises(DataError, match="score needs two files"):
        pairs_of([Path("-")], stream=io.BytesIO(b"YUV4MPEG2 W96 H96\nFRAME\n"))
    # Where nothing reads a reference it is a video, and is left to be read.
    stream = io.BufferedReader(io.BytesIO(b"YUV4MPEG2 W96 H96\nFRAME\n"))  # type: ignore[type-var]
    assert pairs_of([Path("-")], needs_reference=False, stream=stream) == [Task(None, (Path("-"),))]
    assert stream.read(9) == b"YUV4MPEG2"
