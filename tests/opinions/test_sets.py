"""Named data sets, each from a small copy of the layout that it was published in."""

from __future__ import annotations

import json
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from compressvqa.errors import DataError, MissingExtraError
from compressvqa.opinions import Item, Manifest, Published, read_dataset, write_manifest
from compressvqa.opinions.published import facts_of, markdown_sources, markdown_table, published
from compressvqa.registry import mos_sets

DOCUMENT = Path(__file__).parents[2] / "docs" / "datasets.md"
NAMED = {
    "nflx", "nflx-p", "bvi-hd", "cc-hd", "cc-hddo", "mcl-v", "shvc", "vqeghd3", "waterloo-ivc-4k", "live-vqa",
    "csiq-video", "konvid-1k", "live-vqc", "lsvq", "tid2013", "kadid-10k", "koniq-10k", "csiq", "pipal",
}  # fmt: skip


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def there(manifest: Manifest) -> bool:
    """Whether all files that the items name exist."""
    names = {name for item in manifest.items for name in (item.distorted, item.reference) if name}
    return all((manifest.folder / name).is_file() for name in names)


def test_every_named_set_is_registered_with_its_facts():
    assert set(mos_sets) >= NAMED
    for name in NAMED:
        facts = facts_of(name)
        assert isinstance(facts, Published) and facts.media in ("image", "video")
        assert facts.scale is None or facts.scale[0] < facts.scale[1]
    assert facts_of("no such set") is None and len(published()) >= len(NAMED)


def test_the_document_has_the_table_that_the_facts_make():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert markdown_table() in text and markdown_sources() in text


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_set_reads_our_manifest_and_subj_score_and_says_what_it_looked_for(tmp_path, name):
    with pytest.raises(DataError) as caught:
        read_dataset(f"{name}={tmp_path}")
    assert f"holds none of the files that '{name}' is read from" in str(caught.value)
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(f"{name}={tmp_path / 'no'}")
    part = {"dis": ["a_1.yuv"], "ref": ["a.yuv"], "mos": [3.0], "fps": [25], "width": [64], "height": [32]}
    (tmp_path / "subj_score.json").write_text(json.dumps({"test": part}))
    touch(tmp_path, "ORIG/a.yuv", "TEST/a_1.yuv")
    found = read_dataset(f"{name}={tmp_path}")
    assert found.name == name and found.items[0].distorted == "TEST/a_1.yuv" and there(found) and found.higher_is_better
    write_manifest(Manifest("mine", tmp_path, (Item("b.mp4", 1.0),)), tmp_path / "manifest.csv")
    assert read_dataset(f"{name}={tmp_path}").items == (Item("b.mp4", 1.0),), "a manifest comes before all else"


# --- the eight of compression -----------------------------------------------------------------------------------

PYTHON = """
folder = '[path to dataset]'
width = 1920
height = 1080
ref_videos = {0: {'content_name': 'S11', 'path': folder + '/ORIG_MP4/S11_1920x1080_60fps_10bit_420.yuv'}}
dis_videos = {0: {'content_id': 0, 'score': 30.9,
                  'path': folder + '/TEST_MP4/CC-HD/S11_60fps_10bit_420_AV1_R1_QP63.yuv'}}
"""


@pytest.mark.parametrize(
    ("name", "higher"), [("bvi-hd", False), ("cc-hd", False), ("cc-hddo", False), ("mcl-v", False), ("shvc", True),
                         ("vqeghd3", True), ("nflx-p", True), ("nflx", True)],
)  # fmt: skip
def test_python_lists_have_the_direction_of_their_authors(tmp_path, name, higher):
    put(tmp_path, **{"SET_dataset.py": PYTHON, "other.py": "print('not a data set')"})
    manifest = read_dataset(f"{name}:{tmp_path}")
    (item,) = manifest.items
    assert manifest.higher_is_better is higher and (item.bitdepth, item.fps, item.width) == (10, 60, 1920)


def test_ratings_are_preferred_to_their_means(tmp_path):
    raw = PYTHON.replace("'score': 30.9", "'os': [3, 4]")
    put(tmp_path, **{"VQEGHD3_dataset.py": PYTHON, "VQEGHD3_dataset_raw.py": raw})
    assert read_dataset(f"VQEGHD3={tmp_path}").items[0].ratings == 2


def test_cc_hd_is_ten_bit_where_nothing_says_otherwise(tmp_path):
    part = {"dis": ["a_1.yuv"], "ref": ["a.yuv"], "mos": [3.0], "width": [64], "height": [32]}
    (tmp_path / "subj_score.json").write_text(json.dumps({"test": part}))
    assert read_dataset(f"cc-hd={tmp_path}").items[0].bitdepth == 10
    assert read_dataset(f"bvi-hd={tmp_path}").items[0].bitdepth == 8


# --- video ------------------------------------------------------------------------------------------------------


def test_live_vqa(tmp_path):
    put(tmp_path, **{"live_video_quality_seqs.txt": "pa2_25fps.yuv\nsh10_50fps.yuv\n",
                     "live_video_quality_data.txt": "44.5104\t12.2909\n70.1054\t8.4630\n"})  # fmt: skip
    touch(tmp_path, "videos/pa_Folder/pa1_25fps.yuv", "videos/pa_Folder/pa2_25fps.yuv",
          "sh01_50fps.yuv", "sh10_50fps.yuv")  # fmt: skip
    manifest = read_dataset(f"LIVE_VQA={tmp_path}")
    first, second = manifest.items
    assert there(manifest) and (manifest.label, manifest.higher_is_better) == ("DMOS", False)
    assert (first.mos, first.std, first.fps, first.content) == (44.5104, 12.2909, 25, "pa")
    assert (first.width, first.height, first.pixel_format, first.bitdepth) == (768, 432, "420", 8)
    assert second.reference == "sh01_50fps.yuv" and second.fps == 50, "some copies number with two digits"
    put(tmp_path, **{"live_video_quality_data.txt": "44.5104\t12.2909\n"})
    with pytest.raises(DataError, match=r"lists 2 names, live_video_quality_data\.txt 1 scores"):
        read_dataset(f"live-vqa={tmp_path}")
    put(tmp_path, **{"live_video_quality_data.txt": "44.5104\t12.2909\nx\t1\n"})
    with pytest.raises(DataError, match=r"data.txt:2: 'x' is no number"):
        read_dataset(f"live-vqa={tmp_path}")


@pytest.mark.parametrize("form", ["one file", "two files"])
def test_csiq_video(tmp_path, form):
    """Tabs and blanks stand behind the names, as they do in the published list."""
    if form == "one file":
        put(tmp_path, **{"video_subj_ratings.txt": "Video\tDMOS\tstd\nBQMall_832x480_dst_01.yuv\t77.03\t10.68\n"
                                                   "Kimono_832x480_dst_18.yuv\t46.06\t11.7\n"})  # fmt: skip
    else:
        names = "BQMall_832x480_dst_01.yuv\t\nKimono_832x480_dst_18.yuv\t\t   \n"
        scores = "77.03\t10.68\n46.06\t11.7\n"
        put(tmp_path, **{"csiq_video_quality_seqs.txt": names, "csiq_video_quality_data.txt": scores})
    touch(
        tmp_path, *(f"{name}_832x480_{end}.yuv" for name in ("BQMall", "Kimono") for end in ("ref", "dst_01", "dst_18"))
    )
    manifest = read_dataset(f"csiq-video={tmp_path}")
    first, second = manifest.items
    assert there(manifest) and not manifest.higher_is_better and manifest.scale == (0, 100)
    assert (first.mos, first.std, first.fps, first.width, first.height) == (77.03, 10.68, 60, 832, 480)
    assert second.fps == 24 and second.reference == "Kimono_832x480_ref.yuv"


def test_waterloo(tmp_path):
    rows = [f"HEVC, 1, 540p, {level}, {score}" for level, score in ((1, 18.21), (2, 39.46), (3, 50.23))]
    put(tmp_path, **{"scores.txt": "\n".join([*rows, "AV1, 12, 2160p, 1, 90"]) + "\n"})
    touch(tmp_path, "clips/HEVC_1_540p_1.mp4", "clips/HEVC_1_540p_2.mp4", "clips/HEVC_1_540p_3.mp4",
          "AV1/AV1_12_2160p_1.yuv", "Sources/1.mp4", "Sources/12_Night.mp4")  # fmt: skip
    manifest = read_dataset(f"waterloo-ivc-4k={tmp_path}")
    assert there(manifest) and manifest.scale == (0, 100) and manifest.higher_is_better
    assert [item.mos for item in manifest.items] == [18.21, 39.46, 50.23, 90]
    assert [item.reference for item in manifest.items] == ["Sources/1.mp4"] * 3 + ["Sources/12_Night.mp4"]
    assert [(item.ladder, item.rung) for item in manifest.items[:3]] == [("1 HEVC 540p", rung) for rung in (2, 1, 0)]
    put(tmp_path, **{"scores.txt": "HEVC, 1, 540p, 18.21\n"})
    with pytest.raises(DataError, match=r"scores.txt:1: has 4 of 5 cells"):
        read_dataset(f"waterloo-ivc-4k={tmp_path}")


def test_konvid(tmp_path):
    put(tmp_path, **{"KoNViD_1k_mos.csv": '"flickr_id","mos"\n"3015074736","3.26"\n7009120217,2.8\n'})
    touch(tmp_path, "KoNViD_1k_videos/3015074736.mp4", "old/7009120217_original_centercrop_960x540_8s.mp4")
    manifest = read_dataset(f"konvid1k={tmp_path}")
    assert there(manifest) and manifest.no_reference and [item.mos for item in manifest.items] == [3.26, 2.8]
    assert manifest.items[0].distorted == "KoNViD_1k_videos/3015074736.mp4" and manifest.scale == (1, 5)
    (tmp_path / "KoNViD_1k_mos.csv").unlink()
    put(tmp_path, **{"KoNViD_1k_attributes.csv": "id,flickr_id,file_name,MOS,SD\n"
                     "1,7009120217,7009120217_original_centercrop_960x540_8s.mp4,2.8,0.7\n"})  # fmt: skip
    (item,) = read_dataset(f"konvid-1k={tmp_path}").items
    assert item.distorted.startswith("old/7009120217_") and (item.mos, item.std) == (2.8, 0.7)


def test_live_vqc(tmp_path):
    from scipy.io import savemat

    names = np.empty((2, 1), dtype=object)
    names[:, 0] = ["A001.mp4", "B017.mp4"]
    savemat(tmp_path / "data.mat", {"video_list": names, "mos": np.array([[80.232], [45.5]])})
    touch(tmp_path, "Video/A001.mp4", "Video/B017.mp4")
    manifest = read_dataset(f"LIVE-VQC={tmp_path}")
    assert there(manifest) and [item.mos for item in manifest.items] == [80.232, 45.5] and manifest.no_reference
    savemat(tmp_path / "data.mat", {"video_list": names})
    with pytest.raises(DataError, match="has no variable 'mos'"):
        read_dataset(f"live-vqc={tmp_path}")
    put(tmp_path, **{"data.mat": "this is no MATLAB file, however long one makes it" * 9})
    with pytest.raises(DataError, match="is no MATLAB file"):
        read_dataset(f"live-vqc={tmp_path}")


def test_lsvq(tmp_path):
    head = "name,p1,height,width,mos_p1,mos,frame_number,is_test,is_valid\n"
    put(tmp_path, **{"labels_train_test.csv": head + "ia-batch1/a,x,540,960,1,70.5,99,False,True\n"
                                                     "yfcc-batch2/b,x,540,960,1,30,99,True,True\n",
                     "labels_test_1080p.csv": head + "ia-batch9/c,x,1080,1920,1,50,99,True,True\n"})  # fmt: skip
    touch(tmp_path, "ia-batch1/a.mp4", "yfcc-batch2/b.mp4", "ia-batch9/c.mp4")
    manifest = read_dataset(f"lsvq={tmp_path}")
    assert there(manifest)
    assert [(item.split, item.mos) for item in manifest.items] == [("train", 70.5), ("test", 30), ("test-1080p", 50)]
    for name in ("labels_train_test.csv", "labels_test_1080p.csv"):
        (tmp_path / name).unlink()
    put(
        tmp_path,
        **{"train_labels.txt": "ia-batch1/a.mp4, 8.0, 25.0, 70.5\n", "labels_1080p.txt": "ia-batch9/c.mp4,-1,-1,50\n"},
    )
    manifest = read_dataset(f"lsvq={tmp_path}")
    assert there(manifest) and [item.split for item in manifest.items] == ["train", "test-1080p"]
    assert manifest.items[0].fps == Fraction(25)


# --- images -----------------------------------------------------------------------------------------------------


def test_tid2013_whatever_the_case_of_the_names(tmp_path):
    put(tmp_path, **{"mos_with_names.txt": "5.51429 I01_01_1.bmp\n3.2 i25_24_5.bmp\n", "mos_std.txt": "0.13\n0.21\n"})
    touch(tmp_path, "reference_images/I01.BMP", "reference_images/i25.bmp", "distorted_images/i01_01_1.bmp",
          "distorted_images/I25_24_5.bmp")  # fmt: skip
    manifest = read_dataset(f"TID2013={tmp_path}")
    assert there(manifest) and manifest.higher_is_better and manifest.scale == (0, 9)
    assert [(item.mos, item.std, item.content) for item in manifest.items] == [
        (5.51429, 0.13, "I01"),
        (3.2, 0.21, "I25"),
    ]
    put(tmp_path, **{"mos_std.txt": "0.13\n"})
    with pytest.raises(DataError, match=r"holds 1 values, mos_with_names\.txt 2 scores"):
        read_dataset(f"tid2013={tmp_path}")


# Two published rows of dmos.csv.
KADID = "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.496\nI01_01_02.png,I01.png,4.33,0.869\n"


def test_kadid_is_the_better_the_higher_though_it_says_dmos(tmp_path):
    put(tmp_path, **{"dmos.csv": KADID})
    touch(tmp_path, "images/I01.png", "images/I01_01_01.png", "images/I01_01_02.png")
    manifest = read_dataset(f"kadid10k={tmp_path}")
    assert there(manifest) and manifest.label == "DMOS" and manifest.higher_is_better and manifest.scale == (1, 5)
    assert [(item.mos, item.std) for item in manifest.items] == [(4.57, 0.496), (4.33, 0.869)]
    assert read_dataset(tmp_path / "dmos.csv").higher_is_better is False, "the bare file is taken by its column's name"


@pytest.mark.parametrize(("mean", "var"), [(4.57, 0.496), (4.33, 0.869)])
def test_kadids_var_is_a_standard_deviation(mean, var):
    """Thirty ratings of 1 to 5: some whole sum of squares must give the published value; no variance does."""
    total = round(mean * 30)
    spreads = {round(max(0.0, squares / 30 - (total / 30) ** 2) ** 0.5, 3) for squares in range(total, 30 * 25)}
    variances = {round(squares / 30 - (total / 30) ** 2, 3) for squares in range(total, 30 * 25)}
    samples = {round((squares - total**2 / 30) / 29, 3) for squares in range(total, 30 * 25)}
    assert var in spreads and var not in variances and var not in samples


@pytest.mark.parametrize("name", ["koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv"])
def test_koniq(tmp_path, name):
    counts = [0, 0, 25, 73, 7]
    row = f"10004473376.jpg,{','.join(map(str, counts))},105"
    sets = name.endswith("sets.csv")
    head = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD," + ("set" if sets else "MOS_zscore")
    put(tmp_path, **{name: f"{head}\n{row}," + ("77.38,0.53,training\n" if sets else "3.83,0.53,77.38\n")})
    touch(tmp_path, "512x384/10004473376.jpg", "1024x768/10004473376.jpg")
    manifest = read_dataset(f"koniq10k={tmp_path}")
    (item,) = manifest.items
    ratings = np.repeat([1, 2, 3, 4, 5], counts)
    assert item.mos == pytest.approx(ratings.mean()) and item.std == pytest.approx(ratings.std(ddof=1))
    assert (item.ratings, item.split, item.distorted) == (105, "train" if sets else None, "1024x768/10004473376.jpg")
    assert manifest.scale == (1, 5) and any("no official splits" in note for note in manifest.notes) is not sets


def sheet(file: Path, rows: list[list[object]], name: str = "all_by_image") -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = name
    for row in [[], [], [None, None, "comment"], *rows]:
        book.active.append([None, None, None, *row])
    book.save(file)


HEAD = ["image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]


def test_csiq(tmp_path):
    sheet(
        tmp_path / "csiq.DMOS.xlsx",
        [HEAD, [1600, 1, "noise", 1, 0.05, 0.062], ["snow_leaves", 6, "jpeg 2000", 5, 0.1, 0.9]],
    )
    touch(tmp_path, "src_imgs/1600.png", "src_imgs/snow_leaves.png", "dst_imgs/awgn/1600.AWGN.1.png",
          "dst_imgs/jpeg2000/snow_leaves.jpeg2000.5.png")  # fmt: skip
    manifest = read_dataset(f"csiq={tmp_path}")
    first, second = manifest.items
    assert there(manifest) and not manifest.higher_is_better and manifest.scale == (0, 1)
    assert (first.mos, first.std, first.content) == (0.062, 0.05, "1600") and second.mos == 0.9
    (tmp_path / "csiq.DMOS.xlsx").unlink()
    put(tmp_path, **{"csiq_label.txt": "1600.AWGN.1.png 0.062\n"})
    assert read_dataset(f"csiq={tmp_path}").items[0].distorted == "dst_imgs/awgn/1600.AWGN.1.png"


def test_faults_of_csiqs_sheet(tmp_path, monkeypatch):
    file = tmp_path / "csiq.DMOS.xlsx"
    for rows, name, said in (([HEAD, [1, 1, "mist", 1, 0, 0.5]], "all_by_image", "row 5: unknown distortion 'mist'"),
                             ([HEAD, [1, 1, "blur", 1, 0, "x"]], "all_by_image", "row 5: 'x' is no number"),
                             ([["image"]], "all_by_image", "has no row with image"),
                             ([HEAD], "all_by_image", "holds no score"),
                             ([HEAD], "other", "has no sheet 'all_by_image'")):  # fmt: skip
        sheet(file, rows, name)
        with pytest.raises(DataError, match=re.escape(said)):
            read_dataset(f"csiq={tmp_path}")
    file.write_text("no spreadsheet")
    with pytest.raises(DataError, match="is no spreadsheet"):
        read_dataset(f"csiq={tmp_path}")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=re.escape("compressvqa[datasets]")):
        read_dataset(f"csiq={tmp_path}")


def test_pipal(tmp_path):
    touch(tmp_path, "Train_Ref/A0001.bmp", "Distortion_1/A0001_00_00.bmp", "Train_Label/x", "Val_Label/x",
          "Val_Ref/A0185.bmp", "Val_Distort/A0185_00_01.bmp")  # fmt: skip
    (tmp_path / "Train_Label" / "A0001.txt").write_text("A0001_00_00.bmp,1434.6602\n")
    (tmp_path / "Val_Label" / "A0185.txt").write_text("A0185_00_01.bmp, 1500\n")
    manifest = read_dataset(f"pipal={tmp_path}")
    assert there(manifest) and manifest.higher_is_better and manifest.label == "Elo"
    assert [(item.split, item.mos, item.content) for item in manifest.items] == [("train", 1434.6602, "A0001"),
                                                                               ("val", 1500, "A0185")]  # fmt: skip


def test_a_name_in_two_places_is_not_guessed(tmp_path):
    put(tmp_path, **{"dmos.csv": KADID})
    touch(tmp_path, "one/I01.png", "two/I01.png")
    with pytest.raises(DataError, match=r"'I01\.png' is in two places: one/I01\.png and two/I01\.png"):
        read_dataset(f"kadid-10k={tmp_path}")


def test_lists_of_others_do_not_lead_out_of_the_folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    touch(tmp_path, "secret.png")
    put(folder, **{"dmos.csv": "dist_img,ref_img,dmos,var\n../secret.png,I01.png,4.57,0.5\n"})
    with pytest.raises(DataError, match=r"dmos.csv:2: the path '../secret.png' leaves"):
        read_dataset(f"kadid-10k={folder}")
