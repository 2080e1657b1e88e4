"""Files of scores that others publish, as they are: subj_score.json, FAST-VQA's labels, VMAF's Python data sets."""

from __future__ import annotations

import json
import statistics
from fractions import Fraction
from pathlib import Path

import pytest

from compressvqa.errors import DataError
from compressvqa.opinions import read_dataset
from compressvqa.opinions.label_lines import read_label_lines
from compressvqa.opinions.subj_score import read_subj_score
from compressvqa.opinions.vmaf_dataset import read_vmaf_dataset


def touch(*files: Path, size: int = 1) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))


# --- subj_score.json --------------------------------------------------------------------------------------------

# Three entries as RankDVQA's json/VMAFplus_subj_score_test.json has them; its fps are rounded.
RANKDVQA = {"test": {
    "dis": ["BarbieLife_B_1920x1080_fps23.97_1280x720_x264_22rf.yuv", "PeakyBlinders_A_1920x1080_fps25.0_320x240.yuv"],
    "fps": [24, 25], "height": [1080, 1080], "mos": [94.6461278946477, 28.979353918546014],
    "ref": ["BarbieLife_B_1920x1080.yuv", "PeakyBlinders_A_1920x1080.yuv"], "width": [1920, 1920],
}}  # fmt: skip


def test_rankdvqas_form_and_folders(tmp_path):
    (tmp_path / "subj_score.json").write_text(json.dumps(RANKDVQA))
    part = RANKDVQA["test"]
    touch(*(tmp_path / "ORIG" / name for name in part["ref"]), *(tmp_path / "TEST" / name for name in part["dis"]))
    manifest = read_dataset(tmp_path)
    first, second = manifest.items
    assert first.distorted == f"TEST/{part['dis'][0]}" and first.reference == f"ORIG/{part['ref'][0]}"
    assert [item.mos for item in manifest.items] == part["mos"] and manifest.higher_is_better
    assert first.fps == Fraction(24000, 1001) and second.fps == 25, "the name says more than the rounded list"
    assert (first.width, first.height, first.bitdepth, first.split) == (1920, 1080, 8, "test")
    assert any("direction" in note for note in manifest.notes) and any("bit depth" in note for note in manifest.notes)


def test_dvqas_form_with_all_in_one_folder_and_elsewhere(tmp_path):
    """DVQA keeps the list in its repository, and the videos in one folder."""
    part = {"dis": ["a_1.yuv", "b_1.mp4"], "ref": ["a.yuv", "b.mp4"], "mos": [4, "3.5"], "fps": [0, 30],
            "width": [4, 4], "height": [4, 4]}  # fmt: skip
    lists, videos = tmp_path / "lists", tmp_path / "videos"
    lists.mkdir()
    empty = {key: [] for key in part}
    (lists / "x_subj_score.json").write_text(json.dumps({"train": empty, "test": part, "bitdepth": 10, "label": "DMOS",
                                                         "higher_is_better": False, "scale": [0, 5]}))  # fmt: skip
    touch(*(videos / name for name in [*part["dis"], *part["ref"]]))
    manifest = read_dataset(f"{lists / 'x_subj_score.json'}={videos}")
    assert [item.distorted for item in manifest.items] == part["dis"] and manifest.folder == videos
    assert manifest.items[0].fps is None and manifest.items[1].fps == 30
    assert manifest.items[0].bitdepth == 10 and manifest.items[1].mos == 3.5
    assert (manifest.label, manifest.higher_is_better, manifest.scale) == ("DMOS", False, (0, 5))


def test_bit_depth_by_name_then_by_length_then_as_told(tmp_path):
    frame = 4 * 4 * 3 // 2
    part = {"dis": ["a_10bit.yuv", "b.yuv", "c.yuv"], "ref": ["r_10bit.yuv"] * 3, "mos": [1, 2, 3],
            "width": [4] * 3, "height": [4] * 3}  # fmt: skip
    (tmp_path / "subj_score.json").write_text(json.dumps({"test": part}))
    touch(tmp_path / "a_10bit.yuv", tmp_path / "r_10bit.yuv", size=2 * frame)
    touch(tmp_path / "b.yuv", size=3 * frame)  # no whole number of 10 bit frames
    touch(tmp_path / "c.yuv", size=4 * frame)
    depths = [item.bitdepth for item in read_subj_score(tmp_path / "subj_score.json", bitdepth=10).items]
    assert depths == [10, 8, 10]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mos": [1]}, "'test': list 'mos' has 1 entries, 'dis' has 2"),
        ({"mos": ["x", 1]}, "'test': entry 0: 'x' is no number"),
        ({"dis": ["../a.yuv", "b.yuv"]}, "entry 0: the path '../a.yuv' leaves the folder"),
        ({"dis": [1, 2]}, "entry 0: 'dis' must be a file name"),
        ({"width": ["w", "w"]}, "entry 0: 'w' is no number"),
        ({"mos": 3}, "list 'mos' has no list entries"),
    ],
)
def test_faults_of_a_subj_score(tmp_path, change, said):
    (tmp_path / "subj_score.json").write_text(json.dumps({"test": {**RANKDVQA["test"], **change}}))
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path / "subj_score.json")
    assert said in str(caught.value)


def test_more_faults_of_a_subj_score(tmp_path):
    file = tmp_path / "subj_score.json"
    for content, said in (({"test": {"dis": [], "mos": []}}, "holds no item"), ({"x": 1}, "is no subj_score.json"),
                          ({**RANKDVQA, "bitdeph": 8}, "bitdepth"),
                          ({"test": {"dis": ["a"]}}, "no list 'mos'")):  # fmt: skip
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=said):
            read_subj_score(file)


# --- FAST-VQA's labels ------------------------------------------------------------------------------------------

# Lines of its examplar_data_labels/train_labels.txt.
LABELS = "Video/B107.mp4, 10.01, 29.97002997002997, 76.7188\nVideo/A,1.mp4, -1, -1, 46.2238\n\n"


def test_label_lines(tmp_path):
    file = tmp_path / "train_labels.txt"
    file.write_text(LABELS)
    manifest = read_dataset(file)
    assert [item.distorted for item in manifest.items] == ["Video/B107.mp4", "Video/A,1.mp4"]
    assert [item.fps for item in manifest.items] == [Fraction(30000, 1001), None]
    assert [item.mos for item in manifest.items] == [76.7188, 46.2238] and manifest.no_reference
    touch(tmp_path / "videos" / "deep" / "b107.MP4")
    manifest = read_dataset(f"{file}={tmp_path / 'videos'}")
    assert manifest.items[0].distorted == "deep/b107.MP4", "found by name wherever it lies"
    for text, said in ((LABELS + "a.mp4, 1, 2\n", ":4: has 3 of the fields"),
                       (LABELS + "a.mp4, 1, 2, x\n", ":4: 'x' is"),
                       (LABELS + LABELS.splitlines()[0], "first in line 1"),
                       ("/a.mp4, 1, 25, 3", "absolute")):  # fmt: skip
        file.write_text(text)
        with pytest.raises(DataError) as caught:
            read_label_lines(file)
        assert said in str(caught.value)


# --- VMAF's Python data sets ------------------------------------------------------------------------------------

# As NFLX_dataset_public.py: absolute paths of another machine, a reference among the distorted videos.
PUBLIC = """
dataset_name = 'NFLX_public'
yuv_fmt = 'yuv420p'
width = 1920
height = 1080

ref_videos = [{'content_id': 0,
  'content_name': 'BigBuckBunny',
  'path': '/mnt/zli/NETFLIX_database/training_videos_public/BigBuckBunny_25fps.yuv'}]

dis_videos = [{'asset_id': 0,
  'content_id': 0,
  'dmos': 100.0,
  'path': '/mnt/zli/NETFLIX_database/training_videos_public/BigBuckBunny_25fps.yuv',
  'train_or_test': 'train'},
 {'asset_id': 9,
  'content_id': 0,
  'dmos': 22.5,
  'path': '/mnt/zli/NETFLIXyuv/BigBuckBunny_20_288_375.yuv',
  'train_or_test': 'train'}]
"""
# As NFLX_dataset_public_raw.py: a placeholder for the folder, ratings of single viewers.
RAW = """
'''Ratings.'''
from vmaf.config import VmafConfig
dataset_name = 'raw'
yuv_fmt = 'yuv422p10le'
width, = 1920,
"""
RAW = (
    RAW.replace("width, = 1920,", "ref_score = 5.0")
    + """
ref_dir = '[path to dataset videos]/ref'
dis_dir = '[path to dataset videos]/dis'
ref_videos = [{'content_id': 7, 'content_name': 'Bunny', 'path': ref_dir + '/Bunny_25fps.yuv',
  'width': 64, 'height': 32}]
dis_videos = [
 {'asset_id': 9, 'content_id': 7, 'os': [1.0, 2.0, 4.0], 'path': dis_dir + '/Bunny_20.yuv'},
 {'asset_id': 10, 'content_id': 7, 'os': {'anna': 3.0, 'bob': [4.0, None], 'eva': float('nan')},
  'path': dis_dir + '/Bunny_30.yuv', 'quality_width': 128},
]
dis_videos += [{'asset_id': 0, 'content_id': 7, 'os': [5.0], 'path': ref_dir + '/Bunny_25fps.yuv'}]
"""
)
# As FUNQUE+'s lists: dictionaries by number, `score`, a folder by os.path.join, parts put together by update.
BY_NUMBER = """
import os
from videolib import standards
dataset_name = 'BVI_HD'
dataset_dir = '[path to dataset]'
ref_dir = os.path.join(dataset_dir, 'ORIG')
dis_dir = os.path.join(dataset_dir, 'HEVC')
ref_standard = standards.sRGB
width = 1920
height = 1080
ref_videos = {0: {'content_name': 'Boxing', 'path': ref_dir + '/Boxing_1920x1080_30fps.yuv',
                  'standard': standards.sRGB}}
part = {3: {'content_id': 0, 'score': -0.5, 'path': dis_dir + '/Boxing_1920x1080_30fps_HEVC_QP22.yuv'}}
dis_videos = {}
dis_videos.update(part)
"""


def write(folder: Path, text: str, name: str = "set.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_netflixs_public_list(tmp_path):
    manifest = read_dataset(write(tmp_path, PUBLIC))
    assert manifest.name == "NFLX_public" and manifest.label == "DMOS" and manifest.higher_is_better
    (item,) = manifest.items
    assert (item.mos, item.split, item.content, item.width, item.height) == (22.5, "train", "BigBuckBunny", 1920, 1080)
    assert item.fps == 25, "the reference's name tells the rate"
    assert any("1 item whose distorted file is the reference" in note for note in manifest.notes)
    assert item.distorted == "NETFLIXyuv/BigBuckBunny_20_288_375.yuv", "where it is not found, what is left of the path"
    touch(tmp_path / "here" / "bigbuckbunny_20_288_375.yuv", tmp_path / "BigBuckBunny_25fps.yuv")
    (item,) = read_dataset(write(tmp_path, PUBLIC)).items
    assert (item.distorted, item.reference) == ("here/bigbuckbunny_20_288_375.yuv", "BigBuckBunny_25fps.yuv")
    assert len(read_vmaf_dataset(tmp_path / "set.py", hidden_references=True).items) == 2


def test_raw_ratings_become_mean_deviation_and_number(tmp_path):
    touch(tmp_path / "ref" / "Bunny_25fps.yuv", tmp_path / "dis" / "Bunny_20.yuv")
    manifest = read_dataset(write(tmp_path, RAW))
    first, second = manifest.items
    assert manifest.label == "MOS" and (first.distorted, first.reference) == ("dis/Bunny_20.yuv", "ref/Bunny_25fps.yuv")
    ratings = [1.0, 2.0, 4.0]
    assert first.mos == pytest.approx(statistics.mean(ratings)) and first.std == pytest.approx(
        statistics.stdev(ratings)
    )
    assert (first.ratings, second.ratings, second.mos) == (3, 2, 3.5)
    assert (first.pixel_format, first.bitdepth, first.width, first.height) == ("422", 10, 64, 32)
    assert any("quality_width" in note for note in manifest.notes)


def test_lists_by_number_and_unknown_names(tmp_path):
    manifest = read_vmaf_dataset(write(tmp_path, BY_NUMBER), higher_is_better=False)
    (item,) = manifest.items
    assert item.distorted == "HEVC/Boxing_1920x1080_30fps_HEVC_QP22.yuv" and item.mos == -0.5 and item.fps == 30
    assert item.reference == "ORIG/Boxing_1920x1080_30fps.yuv" and not manifest.higher_is_better
    path = "VmafConfig.test_resource_path('yuv', 'Boxing_1920x1080_30fps.yuv')"
    text = BY_NUMBER.replace("ref_dir + '/Boxing_1920x1080_30fps.yuv'", path)
    assert read_vmaf_dataset(write(tmp_path, text)).items[0].reference == "yuv/Boxing_1920x1080_30fps.yuv"
    text = BY_NUMBER.replace("'[path to dataset]'", "os.environ['DATA']").replace("os.path.join(dataset_dir, 'ORIG')",
                                                                                  "dataset_dir + '/ORIG'")  # fmt: skip
    assert read_vmaf_dataset(write(tmp_path, text)).items[0].reference == "ORIG/Boxing_1920x1080_30fps.yuv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PUBLIC + "for video in dis_videos:\n    video['dmos'] = 0\n", "set.py:21: a statement (for) would have to"),
        (PUBLIC + "dis_videos = [v for v in dis_videos if v['dmos'] > 50]\n", "set.py:21: "),
        (PUBLIC + "dis_videos[0]['dmos'] = 3\n", "set.py:21: an assignment to a part"),
        (PUBLIC + "print('hello')\n", "set.py:21: the call \"print('hello')\" would have to be run"),
        (PUBLIC.replace("22.5", "bad()"), "set.py:18: 'bad()' would have to be run"),
        (PUBLIC.replace("22.5", "'x'"), "'x' is no number"),
        (PUBLIC.replace("'dmos': 22.5", "'unscored': 1"), "no score (dmos, mos, groundtruth, score or os)"),
        (PUBLIC.replace("'dmos': 22.5", "'os': [1, 'x']"), "'x' in 'os' is no rating"),
        (PUBLIC.replace("'dmos': 22.5", "'os': [None]"), "'os' holds no rating"),
        (PUBLIC.replace("'asset_id': 9,\n  'content_id': 0", "'asset_id': 9,\n  'content_id': 5"), "content_id '5' of"),
        (PUBLIC.replace("yuv420p", "nv12"), "pixel format 'nv12'"),
        (PUBLIC.replace("'/mnt/zli/NETFLIXyuv/BigBuckBunny_20_288_375.yuv'", "find(3)"), "'find(3)' would have to be"),
        (PUBLIC + "x = (\n", "is no Python"),
        ("ref_videos = []\n# dis_videos\n", "has no 'dis_videos'"),
        ("ref_videos = []\ndis_videos = []\n", "holds no distorted video"),
    ],
)  # fmt: skip
def test_what_would_have_to_be_run_is_refused(tmp_path, text, said):
    with pytest.raises(DataError) as caught:
        read_vmaf_dataset(write(tmp_path, text))
    assert said in str(caught.value)


def test_a_data_set_is_never_executed(tmp_path):
    victim = tmp_path / "victim"
    victim.touch()
    code = f"__import__('pathlib').Path({str(victim)!r}).unlink()"
    for text in (PUBLIC + f"x = {code}\n", PUBLIC + f"{code}\n", f"import nowhere_to_be_found\n{PUBLIC}",
                 PUBLIC + f"def run():\n    {code}\n"):  # fmt: skip
        try:
            read_vmaf_dataset(write(tmp_path, text))
        except DataError as error:
            assert "would have to be run" in str(error)
    assert victim.exists()
