"""What a user types: names and folders, files and folders, and what is no data set."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.opinions import Item, Manifest, looks_like_dataset, read_dataset, write_manifest
from compressvqa.opinions.read import canonical


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def test_names_without_regard_to_case_and_dashes():
    for text in ("kadid-10k", "KADID10k", "Kadid_10K", "KADID 10k"):
        assert canonical(text) == "kadid-10k"
    assert canonical("csiq") == "csiq" and canonical("csiq-video") == "csiq-video" and canonical("mine") is None


def test_data_sets_are_told_from_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(Manifest("x", tmp_path, (Item("a.mp4", 1.0),)), tmp_path / "set" / "manifest.json")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "labels.txt").write_text("Video/B107.mp4, 10.01, 29.97, 76.7\n")
    (tmp_path / "table.txt").write_text("dist,mos\na.mp4,3\n")
    (tmp_path / "notes.txt").write_text("buy milk, eggs\n")
    (tmp_path / "set.py").write_text("ref_videos = []\ndis_videos = []\n")
    (tmp_path / "network.py").write_text("import torch\n")
    (tmp_path / "subj_score.json").write_text(json.dumps({"test": {"dis": ["a"], "mos": [1]}}))
    for text in ("kadid-10k=somewhere", "TID2013:somewhere", "lsvq", "mine.csv", "set", "labels.txt", "table.txt",
                 "set.py", "subj_score.json", "labels.txt=set", "set/manifest.json", tmp_path / "set"):  # fmt: skip
        assert looks_like_dataset(text), text
    for text in ("rankdvqa", "vmaf", "model", "model/config.json", "network.py", "network.py:Net", "notes.txt",
                 "pyiqa/dists", "no/such/folder", "weights.safetensors", "name=nowhere",
                 "cmd: vmaf -r {ref} -d {dist}"):  # fmt: skip
        assert not looks_like_dataset(text), text


def test_a_folder_that_is_called_like_a_data_set(tmp_path):
    folder = tmp_path / "KonViD_1k"
    folder.mkdir()
    (folder / "KoNViD_1k_mos.csv").write_text("flickr_id,mos\n301,3.26\n")
    assert looks_like_dataset(folder) and read_dataset(folder).name == "konvid-1k"
    (folder / "config.json").write_text("{}")
    assert not looks_like_dataset(folder), "a model may be called like the data it learned from"


def test_a_long_command_is_no_file(tmp_path):
    command = "measure " + "--option value " * 500 + "{ref} {dist} > out=" + "x" * 5000
    assert not looks_like_dataset(command)
    with pytest.raises(DataError, match="is no data set and no file"):
        read_dataset(command)


SEEDS = {
    "s.csv": b"ref,dist,mos,std,fps\na.yuv,b.yuv,3.5,.5,29.97\n",
    "s.json": b'{"name": "x", "scale": [1, 5], "items": [{"ref": "a", "dist": "b", "mos": 1, "fps": "30/1"}]}',
    "subj_score.json": b'{"test": {"ref": ["a.yuv"], "dis": ["b.yuv"], "mos": [1], "fps": [25], "width": [4]}}',
    "l.txt": b"Video/B107.mp4, 10.01, 29.97, 76.7188\nb.mp4, -1, -1, 3\n",
    "v.py": b"yuv_fmt = 'yuv420p'\nref_videos = [{'content_id': 0, 'path': d + '/a.yuv'}]\n"
            b"dis_videos = [{'content_id': 0, 'dmos': 1.5, 'path': '/b.yuv', 'width': 4, 'os': [1, None]}]\n",
}  # fmt: skip
PIECES = [b"", b"\0", b",", b'"', b"'", b"[", b"]", b"{", b"}", b":", b"-", b"../", b"/", b"nan", b"1e999", b"=", b"+",
          b"(", b"0", b"1e999999999", b"9" * 5000, b"\xff", b"\\ud800", b"null", b"True", b"[" * 3000, b"a" * 300,
          b"\r\n"]  # fmt: skip


@pytest.mark.parametrize("name", sorted(SEEDS))
@settings(max_examples=30)
@given(changes=st.lists(st.tuples(st.integers(0, 130), st.integers(0, 4), st.sampled_from(PIECES)), max_size=3))
def test_damaged_files_are_read_or_refused_in_one_line(place, name, changes):
    data = SEEDS[name]
    for start, length, piece in changes:
        data = data[:start] + piece + data[start + length :]
    (place / name).write_bytes(data)
    looks_like_dataset(place / name)
    try:
        assert read_dataset(place / name).items
    except DataError as error:
        assert str(error) and len(str(error)) < 1000


def test_a_folder_and_a_file(tmp_path):
    write_manifest(Manifest("x", tmp_path, (Item("a.mp4", 1.0),)), tmp_path / "manifest.csv")
    assert read_dataset(tmp_path) == read_dataset(str(tmp_path / "manifest.csv")) == read_dataset(f"lsvq:{tmp_path}")


def test_what_is_no_data_set_says_what_would_be_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("buy milk\n")
    (tmp_path / "bad.json").write_text("{")
    write_manifest(Manifest("x", tmp_path, (Item("a.mp4", 1.0),)), tmp_path / "x.csv")
    for text, said in (("kadid-10k", "where is the data set 'kadid-10k'? (try: kadid-10k=FOLDER)"),
                       ("nowhere", "no such file, folder or data set"), ("notes.txt", "is no data set"),
                       ("mine.csv", "no such file"), (".", "holds no manifest.csv"), ("bad.json", "is no JSON"),
                       ("kadit=.", "'kadit' is no data set and no file (try: bvi-hd"),
                       ("x.csv=.", "a manifest names its folder itself"), ("notes.txt=.", "is no data set"),
                       ("notes.txt=nowhere", "no such folder")):  # fmt: skip
        with pytest.raises(DataError) as caught:
            read_dataset(text)
        assert said in str(caught.value), str(caught.value)


def test_the_package_is_light():
    code = "import sys, compressvqa.opinions; print(*{'pandas', 'openpyxl', 'scipy', 'pyiqa'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
