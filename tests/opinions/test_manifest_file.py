"""Manifests as files: nothing is lost on the way, and every fault is said with its place."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressvqa.errors import DataError
from compressvqa.opinions import Item, Manifest, read_manifest, write_manifest

# What a file name or a label may hold: anything but control characters that no file system takes, and lone surrogates.
letters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
texts = st.text(letters, min_size=1, max_size=8).filter(str.strip)
names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0/\\:"), min_size=1, max_size=8)
names = names.filter(lambda name: name.strip() and name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
scores = st.floats(allow_nan=False, allow_infinity=False)
spreads = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
rates = st.fractions(min_value=Fraction(1, 10), max_value=1000).filter(bool)
sizes = st.integers(1, 16384)
depths = st.sampled_from([8, 10, 12, 16])
items = st.builds(
    Item, distorted=paths, mos=scores, reference=st.none() | paths, std=st.none() | spreads, ci=st.none() | spreads,
    ratings=st.none() | st.integers(0, 10**6), content=st.none() | texts, fps=st.none() | rates,
    reference_fps=st.none() | rates, width=st.none() | sizes, height=st.none() | sizes,
    pixel_format=st.sampled_from(["400", "420", "422", "444"]), bitdepth=depths, reference_width=st.none() | sizes,
    reference_height=st.none() | sizes, reference_bitdepth=st.none() | depths, split=st.none() | texts,
    ladder=st.none() | texts, rung=st.none() | st.integers(0, 99),
)  # fmt: skip
different = st.lists(items, min_size=1, max_size=4, unique_by=lambda item: (item.reference, item.distorted))
scales = st.none() | st.tuples(st.floats(-100, 0), st.floats(1, 100))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("manifests")


@pytest.mark.parametrize("suffix", ["csv", "json"])
@settings(max_examples=50)
@given(items=different, name=texts, label=texts, higher=st.booleans(), scale=scales, notes=st.lists(st.text(letters)),
       kind=st.sampled_from(["human", "proxy"]))  # fmt: skip
def test_a_round_trip_loses_nothing(place, suffix, items, name, label, higher, scale, notes, kind):
    manifest = Manifest(name, place, tuple(items), kind, label, higher, scale, tuple(notes))
    file = place / f"{suffix}_form.{suffix}"
    write_manifest(manifest, file)
    assert read_manifest(file) == manifest


def test_the_table_is_one_that_others_read(tmp_path):
    """Python's csv and json modules, which know nothing of ours."""
    item = Item("b, c.yuv", 3.5, "a.yuv", std=0.5, ratings=24, fps=Fraction(30000, 1001), width=64, height=32, rung=0)
    write_manifest(Manifest("x", tmp_path, (item,), scale=(1, 5)), tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"ref": "a.yuv", "dist": "b, c.yuv", "mos": "3.5", "std": "0.5", "n": "24", "fps": "30000/1001",
                     "width": "64", "height": "32", "rung": "0"}]  # fmt: skip
    facts = json.loads((tmp_path / "x.json").read_text())
    assert facts == {"schema": 1, "name": "x", "kind": "human", "label": "MOS", "higher_is_better": True,
                     "scale": [1, 5], "notes": []}  # fmt: skip


def test_a_manifest_elsewhere_knows_its_folder(tmp_path):
    videos = tmp_path / "videos"
    manifest = Manifest("x", videos, (Item("a.mp4", 1.0),))
    for file in (tmp_path / "x.csv", tmp_path / "y.json", tmp_path / "lists" / "z.json"):
        write_manifest(manifest, file)
        back = read_manifest(file)
        assert back.folder.resolve() == videos.resolve() and back.items == manifest.items
    assert json.loads((tmp_path / "x.json").read_text())["folder"] == "videos"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "data",
    [
        b"Reference,Distorted,Score\na.y4m,b.y4m,3.5\n",
        b"\xef\xbb\xbfref,dist,mos\r\na.y4m,b.y4m,3.5\r\n",
        b"ref;dist;mos\r\na.y4m;b.y4m;3,5\r\n",
        b"ref_name\tdist_name\tmos\na.y4m\tb.y4m\t3.5\n\n",
        b'ref,dist,mos,\n"a.y4m","b.y4m", 3.5,\n',
        "ref,dist,mos\na.y4m,b.y4m,3.5\n".encode("utf-16"),
    ],
    ids=["longer names", "mark and CRLF", "semicolons", "tabs", "delimiter at the end", "UTF-16"],
)
def test_tables_as_they_come(tmp_path, data):
    manifest = read_manifest(write(tmp_path / "scores.csv", data))
    assert manifest.items == (Item("b.y4m", 3.5, "a.y4m"),)
    assert manifest.name == "scores" and manifest.higher_is_better and manifest.label == "MOS"
    assert "no sidecar" in manifest.notes[0] and "higher is better" in manifest.notes[0]


def test_a_column_called_dmos_is_the_better_the_lower(tmp_path):
    manifest = read_manifest(write(tmp_path / "s.csv", "ref_name,dist_name,dmos\na.png,b.png,.2\n"))
    assert manifest.label == "DMOS" and not manifest.higher_is_better
    write(tmp_path / "s.json", '{"label": "DMOS", "higher_is_better": true, "scale": [1, 5]}')
    manifest = read_manifest(tmp_path / "s.csv")
    assert manifest.higher_is_better and manifest.scale == (1, 5) and manifest.notes == ()
    assert read_manifest(tmp_path / "s.json") == manifest, "the sidecar stands for its table"


def test_meta_files_of_pyiqa(tmp_path):
    """As its preparation scripts write them: general_nr, pipal; columns of no meaning here are said."""
    rows = "img_name,mos,std,split,c1,c2,c3,c4,c5,c_total\n1.jpg,77.4,.5,train,0,0,25,73,7,105\n"
    manifest = read_manifest(write(tmp_path / "meta.csv", rows))
    assert manifest.items == (Item("1.jpg", 77.4, std=0.5, ratings=105, split="train"),) and manifest.no_reference
    assert manifest.notes[1].endswith("not used: c1, c2, c3, c4, c5")
    rows = "hq_name,dist_name,elo_score\nA0001.bmp,A0001_00_00.bmp,1434.66\n"
    manifest = read_manifest(write(tmp_path / "pipal.csv", rows))
    assert manifest.items == (Item("A0001_00_00.bmp", 1434.66, "A0001.bmp"),) and manifest.higher_is_better


def test_what_a_headerless_file_holds(tmp_path):
    rows = ("ref,dist,mos,fps,ref_fps,width,height,pixel_format,ref_width,ref_height,ref_bitdepth\n"
            "a.yuv,b.yuv,1,29.97,59.94,960,540,yuv422p10le,1920,1080,8\n")  # fmt: skip
    manifest = read_manifest(write(tmp_path / "s.csv", rows))
    distorted, reference = manifest.distorted(manifest.items[0]), manifest.reference(manifest.items[0])
    assert (distorted.raw.width, distorted.raw.height, distorted.raw.bitdepth) == (960, 540, 10)
    assert (reference.raw.width, reference.raw.height, reference.raw.bitdepth) == (1920, 1080, 8)
    assert distorted.raw.pixel_format == "422" and distorted.raw.frame_rate == Fraction(30000, 1001)
    assert reference.raw.frame_rate == Fraction(60000, 1001)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ref,dist\na,b\n", "s.csv:1: has no column 'mos'"),
        ("ref,mos\na,1\n", "s.csv:1: has no column 'dist'"),
        ("refrence,dist,mos\na,b,1\n", "s.csv:1: column 'refrence' is not known (try: ref)"),
        ("dist,mos,score\na,1,1\n", "s.csv:1: columns 'mos' and 'score' both say 'mos'"),
        ("dist,mos,MOS\na,1,1\n", "s.csv:1: two columns are called 'mos'"),
        ("dist,mos\na,1\nb,bad\n", "s.csv:3: column 'mos': 'bad' is no number"),
        ("dist,mos\na,nan\n", "s.csv:2: column 'mos': 'nan' is no finite number"),
        ("dist,mos\na,\n", "s.csv:2: column 'mos' is empty"),
        ("dist,mos\n,1\n", "s.csv:2: column 'dist' is empty"),
        ("dist,mos\n../a,1\n", "s.csv:2: column 'dist': the path '../a' leaves the folder"),
        ("dist,mos\nb\\..\\..\\a,1\n", "s.csv:2: column 'dist': the path"),
        ("dist,mos\n/etc/a,1\n", "s.csv:2: column 'dist': the path '/etc/a' is absolute"),
        ("dist,mos\nC:\\a.mp4,1\n", "is absolute"),
        ("dist,mos\nhttp://x/a.mp4,1\n", "is an address, not a local file"),
        ('dist,mos\n"a\nb",1\na,2\na,3\n', "s.csv:5: 'a' is there again (first in line 4)"),
        ("dist,mos\na,1,2\n", "s.csv:2: the row has 3 cells, the header 2 columns"),
        ('dist,mos\n"a,1\n', "s.csv:2: the table can't be read"),
        ("dist,mos,std\na,1,-1\n", "s.csv:2: column 'std': -1 is negative"),
        ("dist,mos,fps\na,1,0\n", "s.csv:2: column 'fps': a frame rate of 0"),
        ("dist,mos,fps\na,1,1/0\n", "s.csv:2: column 'fps': '1/0' is no frame rate"),
        ("dist,mos,bitdepth\na,1,9\n", "s.csv:2: column 'bitdepth': bit depth 9"),
        ("dist,mos,pixel_format\na,1,rgb\n", "s.csv:2: column 'pixel_format': pixel format 'rgb'"),
        ("dist,mos,pix_fmt,bitdepth\na,1,yuv420p10le,8\n", "says 10 bit, column 'bitdepth' 8"),
        ("dist,mos,width\na,1,1.5\n", "s.csv:2: column 'width': '1.5' is no whole number"),
        ("dist,mos\n", "s.csv: holds no item"),
        ("", "s.csv: the table is empty"),
        (b"dist,mos\n\xff\xfea,1\n", "s.csv:2: is not UTF-8 text"),
        (b"dist,mos\na\0,1\n", "zero bytes"),
    ],
)  # fmt: skip
def test_faults_of_a_table_name_their_place(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        read_manifest(write(tmp_path / "s.csv", text))
    assert said in str(caught.value) and "\n" not in str(caught.value).replace("a\nb", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"items": [{"dist": "a", "mos": 1, "referense": "b"}]}', "items[0]: unknown key 'referense' (try: ref"),
        ('{"items": [{"dist": "a", "mos": 1}], "higher": true}', "unknown key 'higher' (try: higher_is_better)"),
        ('{"items": [{"dist": "a", "mos": "x"}]}', "items[0]: key 'mos': 'x' is no number"),
        ('{"items": [{"dist": "a", "mos": true}]}', "items[0]: key 'mos' must be a number, not true"),
        ('{"items": [{"dist": 3, "mos": 1}]}', "items[0]: key 'dist' must be text, not 3"),
        ('{"items": [{"dist": "a"}]}', "items[0]: key 'mos' is empty"),
        ('{"items": [{"dist": "a", "mos": NaN}]}', "no finite number"),
        ('{"items": [{"dist": "a", "mos": 1}, {"dist": "a", "mos": 2}]}', "'a' is there twice"),
        ('{"items": [1]}', "items[0]: must be an object"),
        ('{"items": {}}', "'items' must be a list"),
        ('{"items": []}', "holds no item"),
        ('{"items": [{"dist": "a", "mos": 1}], "scale": [5, 1]}', "'scale' must be two numbers, the lower one first"),
        ('{"items": [{"dist": "a", "mos": 1}], "kind": "vmaf"}', "'kind' must be \"human\" or \"proxy\""),
        ('{"items": [{"dist": "a", "mos": 1}], "schema": 2}', "newer version"),
        ('{"items": [{"dist": "a", "mos": 1}], "notes": "x"}', "'notes' must be a list of texts"),
        ('{"label": "MOS"}', "holds no items, and no table of that name"),
        ('{"items": [', "s.json:1:12: is no JSON"),
        ("[]", "must hold an object"),
    ],
)  # fmt: skip
def test_faults_of_json_name_their_place(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        read_manifest(write(tmp_path / "s.json", text))
    assert said in str(caught.value)


def test_what_can_not_be_kept_is_refused_and_nothing_is_lost(tmp_path):
    fine = Item("a.mp4", 1.0)
    for bad in (replace(fine, distorted="../a"), replace(fine, mos=float("nan")), replace(fine, split="  "),
                replace(fine, distorted="a\\b"), replace(fine, rung=-1)):  # fmt: skip
        with pytest.raises(DataError):
            write_manifest(Manifest("x", tmp_path, (bad,)), tmp_path / "x.csv")
    with pytest.raises(DataError, match="twice"):
        write_manifest(Manifest("x", tmp_path, (fine, fine)), tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"\.csv or \.json"):
        write_manifest(Manifest("x", tmp_path, (fine,)), tmp_path / "x.xlsx")
    assert list(tmp_path.iterdir()) == []
    write_manifest(Manifest("x", tmp_path, (fine,)), tmp_path / "x.json")
    before = (tmp_path / "x.json").read_bytes()
    with pytest.raises(DataError, match="overwritten"):
        write_manifest(Manifest("x", tmp_path, (fine,)), tmp_path / "x.csv")
    write(tmp_path / "x.csv", "dist,mos\na,1\n")
    with pytest.raises(DataError, match="no sidecar"):
        read_manifest(tmp_path / "x.csv")
    assert (tmp_path / "x.json").read_bytes() == before
    for missing in (tmp_path / "no.csv", tmp_path / "no.json", tmp_path):
        with pytest.raises(DataError):
            read_manifest(missing)
