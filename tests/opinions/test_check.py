"""What a check of a data set says: each kind of fault is made in a small data set that is otherwise sound."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import make

from compressvqa.errors import DataError, RegistryError
from compressvqa.opinions import Item, Manifest, check, write_manifest
from compressvqa.opinions.direction import agreement, to_compare

H, W, FRAMES = 16, 24, 10


def noisy(file: Path, strength: float, frames: int = FRAMES) -> None:
    """A headerless 4:2:0 video of one picture with noise; the picture is the same for all that end alike."""
    file.parent.mkdir(exist_ok=True)
    picture = np.random.default_rng(len(file.stem[0])).integers(60, 180, (frames, H * W * 3 // 2))
    noise = np.random.default_rng(1).normal(0, strength, picture.shape)
    file.write_bytes(np.clip(picture + noise, 0, 255).astype(np.uint8).tobytes())


@pytest.fixture
def sound(tmp_path) -> Manifest:
    """Two contents at four levels of noise, of which more has a lower score."""
    items = []
    for scene in ("a", "b"):
        noisy(tmp_path / "ref" / f"{scene}.yuv", 0)
        for level in range(4):
            noisy(tmp_path / "dist" / f"{scene}_{level}.yuv", 4 * (level + 1))
            items.append(Item(f"dist/{scene}_{level}.yuv", 5.0 - level, f"ref/{scene}.yuv", std=0.5, fps=Fraction(25),
                              width=W, height=H))  # fmt: skip
    return Manifest("mine", tmp_path, tuple(items), scale=(1, 5))


def kinds(manifest: Manifest, **settings: bool) -> dict[str, str]:
    """Level of each kind of finding."""
    return {finding.kind: finding.level for finding in check(manifest, **settings).findings}


def with_items(manifest: Manifest, *items: Item) -> Manifest:
    return replace(manifest, items=(*items, *manifest.items[len(items) :]))


def test_a_sound_data_set_has_no_finding(sound):
    report = check(sound)
    assert report.ok and report.findings == () and (report.items, report.references, report.looked) == (8, 2, 8)
    assert report.lines()[-1] == "complete and readable" and report.lines()[0].startswith("mine in ")
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_missing_files_and_what_they_may_be_called(sound, tmp_path):
    (tmp_path / "dist" / "a_0.yuv").rename(tmp_path / "dist" / "A_0.YUV")
    (tmp_path / "dist" / "a_1.yuv").rename(tmp_path / "dist" / "a_1.y4m")
    (tmp_path / "dist" / "a_2.yuv").rename(tmp_path / "a_22.yuv")
    (tmp_path / "dist" / "a_3.yuv").unlink()
    (tmp_path / "ref" / "b.yuv").unlink()
    distorted, references = check(sound).faults
    assert distorted.text == "4 of 8 distorted files are missing"
    near = {"a_0.yuv": "dist/A_0.YUV", "a_1.yuv": "dist/a_1.y4m", "a_2.yuv": "a_22.yuv"}
    assert distorted.examples == tuple(f"dist/{name} (is it {path}?)" for name, path in near.items())
    assert str(distorted).startswith("fault: 4 of 8") and str(distorted).endswith(", ... (4 in all)")
    (tmp_path / "a_22.yuv").unlink()
    again = check(sound).faults[0].examples
    assert again[2] == "dist/a_2.yuv", "a name that another item uses is not meant"
    assert references.text == "1 of 2 references are missing" and references.examples == ("ref/b.yuv",)
    assert not check(sound).ok and check(sound).lines()[-1] == "2 faults"


def test_files_that_no_item_uses(sound, tmp_path):
    noisy(tmp_path / "dist" / "more.yuv", 1)
    (tmp_path / "readme.txt").write_text("not a video")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "x.yuv").write_text("x")
    (finding,) = check(sound).findings
    assert (finding.kind, finding.level, finding.examples) == ("unused", "remark", ("dist/more.yuv",))


def test_a_file_that_is_cut_off_is_found_even_outside_the_sample(sound, tmp_path):
    file = tmp_path / "dist" / "b_3.yuv"
    file.write_bytes(file.read_bytes()[:-1])
    many = [replace(sound.items[0], distorted=f"dist/copy{number}.yuv") for number in range(40)]
    for item in many:
        (tmp_path / item.distorted).write_bytes((tmp_path / "dist" / "a_0.yuv").read_bytes())
    report = check(replace(sound, items=(*many, *sound.items)))
    assert report.looked == 24 < report.items
    (fault,) = report.faults
    assert fault.kind == "length" and fault.examples == ("dist/b_3.yuv (9.998 frames of 24x16 4:2:0 8 bit)",)
    assert check(replace(sound, items=(*many, *sound.items)), thorough=True).looked == 48


@pytest.mark.parametrize("higher", [True, False])
def test_a_direction_that_looks_wrong(sound, higher):
    """More noise with a higher score is wrong where higher is better, and right where lower is."""
    turned = replace(sound, items=tuple(replace(item, mos=6 - item.mos) for item in sound.items))
    right, wrong = (sound, turned) if higher else (turned, sound)
    assert "direction" not in kinds(replace(right, higher_is_better=higher, label="Score"))
    assert kinds(replace(wrong, higher_is_better=higher, label="Score")) == {"direction": "fault"}


def test_labels_that_do_not_fit_the_direction(sound):
    assert kinds(replace(sound, label="DMOS")) == {"direction": "remark"}
    few = replace(sound, items=sound.items[:3])
    assert kinds(replace(few, higher_is_better=False))["direction"] == "remark", "too few pairs to judge by files"
    said = [finding.text for finding in check(replace(few, higher_is_better=False)).findings]
    assert "lower is better, which is not usual for MOS" in said
    live = replace(few, name="live-vqa", label="DMOS")
    assert any("lower is better in the original files" in finding.text for finding in check(live).findings)
    assert kinds(replace(few, name="kadid-10k", label="DMOS")) == {"count": "remark", "unused": "remark"}


def test_scores(sound):
    first = sound.items[0]
    assert kinds(with_items(sound, replace(first, mos=7.0))) == {"scale": "fault"}
    assert kinds(replace(sound, items=tuple(replace(item, mos=3.0) for item in sound.items))) == {"scores": "fault"}
    assert kinds(with_items(sound, first, first))["duplicate"] == "fault"
    assert kinds(with_items(sound, replace(first, std=None))) == {"std": "remark"}
    report = check(replace(sound, items=tuple(replace(item, std=None) for item in sound.items)))
    assert [finding.text for finding in report.findings] == [
        "no item has a standard deviation: no outlier ratio for them"
    ]
    assert kinds(with_items(sound, replace(first, reference=None)))["reference"] == "remark"
    assert kinds(with_items(sound, replace(first, distorted="ref/a.yuv")))["hidden-reference"] == "remark"


def test_counts_unlike_the_published_ones(sound):
    texts = [finding.text for finding in check(replace(sound, name="mcl-v")).findings if finding.kind == "count"]
    assert texts == ["8 items, published are 96", "2 references, published are 12"]


def test_headerless_files_that_are_not_described(sound):
    first = sound.items[0]
    (fault,) = check(with_items(sound, replace(first, width=None))).faults
    assert fault.kind == "unreadable" and "needs width and height" in str(fault)
    assert kinds(with_items(sound, replace(first, fps=None))) == {"rate": "remark"}
    assert kinds(with_items(sound, replace(first, bitdepth=16, reference_bitdepth=8))).get("frames") == "remark"


def test_what_headers_say_unlike_manifest_and_reference(tmp_path):
    make(tmp_path / "r.mp4", size="128x96", frames=8)
    make(tmp_path / "small.mp4", size="64x48", frames=8)
    make(tmp_path / "fast.mp4", size="128x96", frames=16, rate=50)
    make(tmp_path / "long.mp4", size="128x96", frames=10)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    one = Item("small.mp4", 1.0, "r.mp4", std=1.0, fps=Fraction(30000, 1001), width=128, height=96)
    items = (one, Item("fast.mp4", 2.0, "r.mp4", std=1.0), Item("long.mp4", 3.0, "r.mp4", std=1.0),
             Item("broken.mp4", 4.0, "r.mp4", std=1.0))  # fmt: skip
    found = {finding.kind: finding for finding in check(Manifest("x", tmp_path, items)).findings}
    assert set(found) == {"unreadable", "size-unlike-manifest", "rate-unlike-manifest", "size", "frame-rate", "frames"}
    assert found["unreadable"].level == "fault" and found["unreadable"].examples[0].startswith("broken.mp4 (")
    assert found["size"].examples == ("small.mp4 (64x48, reference 128x96)",) and "scaled" in found["size"].text
    assert found["frame-rate"].examples == ("fast.mp4 (50, reference 25)",) and "held" in found["frame-rate"].text
    assert found["frames"].examples == ("long.mp4 (10, reference 8)",) and found["frames"].level == "remark"
    assert found["size-unlike-manifest"].examples == ("small.mp4 (128x96, the file says 64x48)",)
    assert found["rate-unlike-manifest"].examples[0] == "small.mp4 (29.97, the file says 25)"


def test_images(tmp_path):
    from PIL import Image

    picture = np.random.default_rng(0).integers(60, 180, (20, 30, 3))
    items = []
    for number, strength in enumerate((0, 5, 10, 20, 40, 60)):
        noise = np.random.default_rng(1).normal(0, strength, picture.shape)
        Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
        if number:
            items.append(Item(f"{number}.png", float(number), "0.png", std=0.1))
    manifest = Manifest("x", tmp_path, tuple(items), label="DMOS", higher_is_better=False)
    assert check(manifest).findings == () and kinds(replace(manifest, higher_is_better=True, label="MOS")) == {}
    more = [replace(item, distorted=f"again{item.distorted}") for item in items]
    for item in more:
        (tmp_path / item.distorted).write_bytes((tmp_path / item.distorted.removeprefix("again")).read_bytes())
    (tmp_path / "00.png").write_bytes((tmp_path / "0.png").read_bytes())
    both = (*items, *(replace(item, reference="00.png") for item in more))
    wrong = replace(manifest, items=both, higher_is_better=True, label="MOS")
    assert kinds(wrong) == {"direction": "fault"} and kinds(replace(manifest, items=both)) == {}
    (tmp_path / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert kinds(manifest) == {"unreadable": "fault", "unused": "remark"}


def test_by_name_and_folder(sound, tmp_path):
    write_manifest(sound, tmp_path / "manifest.json")
    report = check("MCL_V", tmp_path)
    assert report.ok and {finding.kind for finding in report.findings} <= {"count"} and report.name == "mine"
    assert check(tmp_path).items == check(str(tmp_path / "manifest.json")).items == 8
    (tmp_path / "manifest.json").write_text("{")
    report = check("mcl-v", tmp_path)
    assert not report.ok and "is no JSON" in report.lines()[1] and report.to_dict()["findings"][0]["kind"] == "scores"
    with pytest.raises(DataError):
        check(tmp_path / "manifest.json")
    with pytest.raises(RegistryError, match="unknown MOS data set 'mcl-w'"):
        check("mcl-w", tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        check("mcl-v", tmp_path / "no")


def test_an_empty_folder_is_all_missing(sound, tmp_path):
    report = check(replace(sound, folder=tmp_path / "no"))
    assert [finding.count for finding in report.faults] == [8, 2] and report.looked == 0


def test_agreement_is_kendalls_tau_within_contents(tmp_path):
    """Against scipy, content by content."""
    from scipy.stats import kendalltau

    generator = np.random.default_rng(3)
    scores, values = generator.permutation(12), 10.0 * generator.permutation(12)
    items = [Item(f"{number}.png", float(score), f"r{number // 6}.png") for number, score in enumerate(scores)]
    rows = [items[:6], items[6:]]
    tau, pairs = agreement(rows, lambda item: float(values[items.index(item)]))
    expected = [kendalltau(scores[part], values[part]).statistic for part in (slice(6), slice(6, 12))]
    assert pairs == 30 and tau == pytest.approx(np.mean(expected))
    assert agreement([], lambda item: 0.0) == (0.0, 0)
    picked = to_compare(Manifest("x", tmp_path, tuple(items)), {"r1.png"}, 9)
    assert [len(row) for row in picked] == [4] and {item.reference for item in picked[0]} == {"r0.png"}
    assert {picked[0][0].mos, picked[0][-1].mos} == {float(min(scores[:6])), float(max(scores[:6]))}


def test_thousands_of_files_are_listed_once_and_opened_as_a_sample(tmp_path):
    items = []
    for number in range(3000):
        name = f"{number % 50}/{number}.png"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        items.append(Item(name, float(number), std=1.0))
    report = check(Manifest("x", tmp_path, tuple(items)))
    assert (report.items, report.looked) == (3000, 24)
    assert [finding.count for finding in report.faults] == [24], "empty files are no images"
