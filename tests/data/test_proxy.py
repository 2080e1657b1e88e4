from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from clips import ffmpeg, make, raw_bytes

from compressvqa.data.ladder import CODECS, Rung
from compressvqa.data.proxy import DEFAULT_LADDER, build_proxy_set
from compressvqa.errors import DataError
from compressvqa.video import probe, read_frames
from compressvqa.video.clip import Clip
from compressvqa.video.raw import RawFormat

RUNGS = [
    Rung("x264", 45), Rung("x264", 30), Rung("x265", 40), Rung("svt-av1", 60), Rung("vp9", 60), Rung("vvc", 45),
    Rung("x264", 35, 0.5), Rung("vvc", 40, 0.5),
]  # fmt: skip
TAGS = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
NOISE = f"noise=alls=8:all_seed=1,{TAGS}"


def lossless(path, pixel_format, *options, **settings):
    return make(path, "-vf", NOISE, "-c:v", "ffv1", "-pix_fmt", pixel_format, *options, **settings)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    lossless(folder / "one.mkv", "yuv420p", size="160x128", frames=9, rate=30)
    # Odd at its right edge, so that the reference loses a column.
    lossless(folder / "two.mkv", "yuv422p10le", size="161x128", frames=12, source="mandelbrot", rate=24)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, clips):
    folder = tmp_path_factory.mktemp("finished") / "set"
    return build_proxy_set(clips, folder, ladder=RUNGS, frames=5, workers=2)


def state(folder):
    """Every file with its content and the time of its last change."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"]
    return {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in files
    }


def contents(folder):
    return {name: digest for name, (digest, _) in state(folder).items()}


def facts_of(folder):
    return json.loads((folder / "proxy.json").read_text())


# --- what a set holds -------------------------------------------------------------------------------------------


def test_a_set_is_a_proxy_and_says_so(finished):
    assert finished.kind == "proxy" and finished.label == "VMAF 0.6.1" and finished.scale == (0, 100)
    assert finished.higher_is_better and finished.name == "set"
    assert len(finished.items) == 2 * len(RUNGS) and {item.scene for item in finished.items} == {"one", "two"}
    for item in finished.items:
        assert finished.distorted(item).path.is_file() and finished.reference(item).path.is_file()
        assert 0 < item.mos < 100 and item.std is None and item.ratings is None
    assert any("not a MOS" in note for note in finished.notes)
    assert any("bicubic" in note for note in finished.notes)


def test_ladders_are_one_clip_codec_and_size_from_best_to_worst(finished):
    found = {}
    for item in finished.items:
        found.setdefault(item.ladder, {})[item.rung] = item
    assert len(found) == 2 * 7 and all(sorted(rungs) == [*range(len(rungs))] for rungs in found.values())
    best, worst = found["one/x264"][0], found["one/x264"][1]
    assert (best.distorted, worst.distorted) == ("distorted/one/x264-q30.mkv", "distorted/one/x264-q45.mkv")
    assert best.mos > worst.mos
    order = facts_of(finished.folder)["order"]
    assert order["vmaf_v0.6.1"] == {"neighbours": 2, "neighbours_right": 2, "pairs": 2, "pairs_right": 2,
                                    "neighbours_share": 1.0, "pairs_share": 1.0}  # fmt: skip
    assert order["vmaf_v1.0.16_3d0h"]["neighbours_share"] is None  # below 256 pixels


def test_the_files_say_what_the_manifest_says(finished):
    rows = list(csv.DictReader((finished.folder / "manifest.csv").open()))
    assert {"ref", "dist", "mos", "content", "ladder", "rung"} <= set(rows[0])
    read = [(r["ref"], r["dist"], float(r["mos"]), r["content"], r["ladder"], int(r["rung"])) for r in rows]
    assert read == [(i.reference, i.distorted, i.mos, i.content, i.ladder, i.rung) for i in finished.items]
    sidecar = json.loads((finished.folder / "manifest.json").read_text())
    assert sidecar.pop("schema") == 1
    assert sidecar == {
        "name": "set", "kind": "proxy", "label": "VMAF 0.6.1", "higher_is_better": True, "scale": [0.0, 100.0],
        "notes": list(finished.notes),
    }  # fmt: skip
    items = facts_of(finished.folder)["items"]
    assert [item["distorted"] for item in items] == [item.distorted for item in finished.items]
    for item in items:
        assert set(item["labels"]) == {"vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h", "psnr_y"}
        assert item["bytes"] == (finished.folder / item["distorted"]).stat().st_size


@pytest.mark.parametrize(("name", "pixels", "first"), [("one", "yuv420p", 2), ("two", "yuv422p10le", 3)])
def test_references_are_the_middle_frames_without_loss(finished, clips, name, pixels, first):
    stored = finished.folder / "references" / f"{name}.mkv"
    crop = f"trim=start_frame={first}:end_frame={first + 5},crop=160:128:0:0:exact=1"
    assert raw_bytes(stored, pixels) == raw_bytes(clips / f"{name}.mkv", pixels, "-vf", crop)
    info, source = probe(stored), probe(clips / f"{name}.mkv")
    assert (info.chroma, info.colour, info.frame_rate) == (source.chroma, source.colour, source.frame_rate)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_our_reader_gives_the_frames_that_ffmpeg_decodes(finished, codec):
    items = [item for item in finished.items if f"/{codec}" in item.ladder]
    for item in items:
        path, reference = finished.distorted(item).path, probe(finished.reference(item).path)
        info = probe(path, count=True)
        # Raw bitstreams lose the rate, and small pictures without tags are taken for BT.601.
        assert info.frames == 5 and info.frame_rate == reference.frame_rate and not info.variable_rate
        assert info.colour.matrix == reference.colour.matrix == "bt709" and not info.colour.full_range
        assert (info.width, info.height) == ((80, 64) if item.ladder.endswith("-s0.5") else (160, 128))
        name = f"yuv{info.chroma}p" + ("" if info.colour.bitdepth == 8 else f"{info.colour.bitdepth}le")
        assert b"".join(planes.to_bytes() for planes in read_frames(path)) == raw_bytes(path, name)


def test_labels_are_those_of_libvmaf_on_the_stored_files(finished, tmp_path):
    for item, facts in zip(finished.items, facts_of(finished.folder)["items"], strict=True):
        log = tmp_path / "log.json"
        name = probe(finished.reference(item).path)
        pixels = f"yuv{name.chroma}p" + ("" if name.colour.bitdepth == 8 else "10le")
        graph = (
            f"[0:v]setpts=N,settb=1/25,scale=160:128:flags=bicubic,format={pixels}[d];[1:v]setpts=N,settb=1/25[r];"
            f"[d][r]libvmaf=feature=name=psnr:log_fmt=json:log_path={log}"
        )
        paths = [str(clip.path) for clip in (finished.distorted(item), finished.reference(item))]
        ffmpeg("-i", paths[0], "-i", paths[1], "-lavfi", graph, "-f", "null", "-")
        frames = [frame["metrics"] for frame in json.loads(log.read_text())["frames"]]
        assert len(frames) == 5
        assert item.mos == facts["labels"]["vmaf_v0.6.1"]
        # The chroma position that one path knows and the other does not moves nothing in luma.
        assert item.mos == pytest.approx(np.mean([frame["vmaf"] for frame in frames]), abs=1e-3)
        assert facts["labels"]["psnr_y"] == pytest.approx(np.mean([frame["psnr_y"] for frame in frames]), abs=1e-3)


def test_ten_bit_and_422_stay_where_the_codec_takes_them(finished):
    kept = {item.distorted: probe(finished.distorted(item).path) for item in finished.items}
    held = {name: (info.chroma, info.colour.bitdepth) for name, info in kept.items()}
    assert held["distorted/two/x264-q30.mkv"] == held["distorted/two/vp9-q60.mkv"] == ("422", 10)
    assert held["distorted/two/svt-av1-q60.mkv"] == held["distorted/two/vvc-q45.mp4"] == ("420", 10)
    assert held["distorted/one/x264-q30.mkv"] == ("420", 8) and held["distorted/one/vvc-q45.mp4"] == ("420", 10)


def test_the_default_ladder_has_every_codec_and_scaled_rungs():
    assert {rung.codec for rung in DEFAULT_LADDER} == set(CODECS) and {rung.scale for rung in DEFAULT_LADDER} == {
        1,
        0.5,
    }
    assert len({rung.name for rung in DEFAULT_LADDER}) == len(DEFAULT_LADDER) == 24


# --- building, again and again ----------------------------------------------------------------------------------

FEW = [Rung("x264", 30), Rung("x264", 45)]


def test_the_number_of_workers_changes_no_byte(clips, tmp_path):
    sets = [build_proxy_set(clips, tmp_path / str(n) / "set", ladder=FEW, frames=3, workers=n) for n in (1, 3)]
    assert contents(sets[0].folder) == contents(sets[1].folder)
    assert sets[0].items == sets[1].items


def test_a_finished_set_returns_at_once(finished, clips, monkeypatch):
    monkeypatch.setattr("compressvqa.data.proxy.build.store_encode", None)
    monkeypatch.setattr("compressvqa.data.proxy.build.store_reference", None)
    before, calls = state(finished.folder), []
    again = build_proxy_set(clips, finished.folder, ladder=RUNGS, frames=5, progress=lambda *done: calls.append(done))
    assert again == finished and state(finished.folder) == before
    assert calls[0] == (0, 16) and calls[-1] == (16, 16) and calls == sorted(calls)


def test_another_label_makes_no_encode(finished, clips, monkeypatch, tmp_path):
    import shutil

    folder = tmp_path / "set"
    shutil.copytree(finished.folder, folder)
    monkeypatch.setattr("compressvqa.data.proxy.build.store_encode", None)
    psnr = build_proxy_set(clips, folder, ladder=RUNGS, frames=5, label="psnr_y")
    assert psnr.label == "PSNR-Y" and psnr.scale is None
    assert [item.mos for item in psnr.items] == [item["labels"]["psnr_y"] for item in facts_of(folder)["items"]]
    with pytest.raises(DataError, match=r"no reference has the label vmaf_v1.0.16_3d0h .*256 pixels"):
        build_proxy_set(clips, folder, ladder=RUNGS, frames=5, label="vmaf_v1.0.16_3d0h")
    assert build_proxy_set(clips, folder, ladder=RUNGS, frames=5).items == finished.items


def test_other_settings_make_only_what_they_change(clips, tmp_path):
    import shutil

    sources, folder = tmp_path / "clips", tmp_path / "set"
    shutil.copytree(clips, sources)
    build_proxy_set(sources, folder, ladder=FEW, frames=3)
    (folder / "distorted" / "mine.txt").touch()
    (folder / "references" / "mine.json").write_text("{}")
    first = state(folder)
    build_proxy_set(sources, folder, ladder=[FEW[0], Rung("x264", 50)], frames=3)
    second = state(folder)
    gone = {f"distorted/{clip}/x264-q45.mkv{end}" for clip in ("one", "two") for end in ("", ".json")}
    assert first.keys() - second.keys() == gone
    assert second.keys() - first.keys() == {name.replace("q45", "q50") for name in gone}
    described = {"manifest.csv", "manifest.json", "proxy.json"}
    assert {name for name in first.keys() & second.keys() if first[name] != second[name]} <= described
    # A file that was only copied is read again, and gives the same reference: its encodes stay.
    os.utime(sources / "one.mkv", (1, 1))
    # Another picture under the old name does not.
    lossless(sources / "two.mkv", "yuv420p", size="160x128", frames=6, source="testsrc")
    build_proxy_set(sources, folder, ladder=[FEW[0], Rung("x264", 50)], frames=3)
    third = state(folder)
    changed = {name for name in third if second[name] != third[name] and name.startswith("distorted")}
    assert changed == {name for name in second if name.startswith("distorted/two")}
    build_proxy_set(sources / "one.mkv", folder, ladder=FEW[:1], frames=3)
    kept = {"distorted/mine.txt", "references/mine.json", *described}
    kept |= {f"{name}{end}" for name in ("references/one.mkv", "distorted/one/x264-q30.mkv") for end in ("", ".json")}
    assert set(state(folder)) == kept


@pytest.mark.parametrize("damage", ["facts", "file", "short"])
def test_a_damaged_file_is_made_again(clips, tmp_path, damage):
    build_proxy_set(clips / "one.mkv", tmp_path, ladder=FEW, frames=3)
    whole = contents(tmp_path)
    stored = tmp_path / "distorted" / "one" / "x264-q45.mkv"
    if damage == "facts":
        stored.with_name(f"{stored.name}.json").write_text('{"digest"')
    elif damage == "file":
        stored.unlink()
    else:
        stored.write_bytes(stored.read_bytes()[:-1])
    build_proxy_set(clips / "one.mkv", tmp_path, ladder=FEW, frames=3)
    assert contents(tmp_path) == whole


SCRIPT = """
import sys
from compressvqa.data.ladder import Rung
from compressvqa.data.proxy import build_proxy_set
rungs = [Rung("x264", quality) for quality in range(20, 44, 3)]
build_proxy_set(sys.argv[1], sys.argv[2], ladder=rungs, frames=3, workers=1,
                progress=lambda done, total: print(done, flush=True))
"""


def test_a_killed_build_goes_on_and_ends_the_same(clips, tmp_path):
    rungs = [Rung("x264", quality) for quality in range(20, 44, 3)]
    folder = tmp_path / "killed" / "set"
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(clips), str(folder)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 5:
            break
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    time.sleep(0.2)  # an encoder that it had started may write on for a moment
    assert not (folder / "manifest.csv").exists() and [*folder.glob(".work-*")]
    whole = {path: path.stat().st_mtime_ns for path in folder.glob("distorted/*/*.mkv")}
    assert 4 <= len(whole) < 16
    made = build_proxy_set(clips, folder, ladder=rungs, frames=3)
    assert all(path.stat().st_mtime_ns == when for path, when in whole.items())
    assert [path.name for path in folder.rglob(".*")] == [".lock"]  # stays, so that two never lock two files
    other = build_proxy_set(clips, tmp_path / "whole" / "set", ladder=rungs, frames=3)
    assert made.items == other.items and contents(made.folder) == contents(other.folder)


# --- what can't be used -----------------------------------------------------------------------------------------


def test_clips_that_cannot_be_used_are_skipped_and_named(clips, tmp_path):
    bad = tmp_path / "clips"
    bad.mkdir()
    (bad / "good.mkv").write_bytes((clips / "one.mkv").read_bytes())
    (bad / "broken.mp4").write_bytes(b"not a video" * 1000)
    whole = (clips / "two.mkv").read_bytes()
    (bad / "cut.mkv").write_bytes(whole[: len(whole) // 3])
    (bad / "headerless.yuv").write_bytes(bytes(1000))
    make(bad / "still.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", frames=1)
    make(bad / "small.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="160x80")
    hdr = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
    make(bad / "hdr.mkv", "-vf", hdr, "-c:v", "ffv1", "-pix_fmt", "yuv420p10le")
    calls = []
    made = build_proxy_set(bad, tmp_path / "set", ladder=FEW, frames=3, progress=lambda *done: calls.append(done))
    assert {item.content for item in made.items} == {"good"} and calls[-1] == (14, 14)
    for name, reason in [
        ("broken.mp4", "not a video"), ("cut.mkv", "cut off"), ("headerless.yuv", "does not say what it holds"),
        ("still.mkv", "fewer than 2"), ("small.mkv", "160x80 is smaller than 96"), ("hdr.mkv", "HDR video (PQ)"),
    ]:  # fmt: skip
        assert [note for note in made.notes if f"clip skipped: {name}" in note and reason in note], name
    (bad / "good.mkv").unlink()
    before = contents(tmp_path / "set")
    with pytest.raises(DataError, match=r"none of 6 clips can be used \(broken.mp4: is not a video"):
        build_proxy_set(bad, tmp_path / "set", ladder=FEW, frames=3)
    assert contents(tmp_path / "set") == before  # a mistake costs nothing that was made


def test_a_rung_that_fails_is_named_and_tried_again(clips, tmp_path, monkeypatch):
    from compressvqa.data import ladder

    real = ladder.encode

    def fails(reference, raw, rung, bitstream, **options):
        if rung.quality == 45:
            raise DataError("the encoder fell over")
        real(reference, raw, rung, bitstream, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ladder, "encode", fails)
        made = build_proxy_set(clips / "one.mkv", tmp_path, ladder=[*FEW, Rung("x264", 30, 0.25)], frames=3)
        assert len(made.items) == 1 and "one: left out x264-q45: the encoder fell over" in made.notes
        assert any("x264-q30-s0.25 would code 40x32 pixels" in note for note in made.notes)
        with pytest.raises(DataError, match=r"none of 1 clips.*no rung of the ladder worked: one: left out x264-q45"):
            build_proxy_set(clips / "one.mkv", tmp_path / "none", ladder=FEW[1:], frames=3)
    assert len(build_proxy_set(clips / "one.mkv", tmp_path, ladder=FEW, frames=3).items) == 2


def test_a_decoder_that_loses_frames_is_noticed(clips, tmp_path, monkeypatch):
    def loses(file, **options):
        frames = read_frames(file, **options)
        return itertools.islice(frames, 2) if getattr(file, "path", file).name.startswith("x264-q45") else frames

    monkeypatch.setattr("compressvqa.data.proxy.references.read_frames", loses)
    made = build_proxy_set(clips / "one.mkv", tmp_path, ladder=FEW, frames=3)
    assert len(made.items) == 1 and "one: left out x264-q45: 2 of 3 frames came back" in made.notes


def test_a_damaged_reference_is_named(clips, tmp_path):
    build_proxy_set(clips / "one.mkv", tmp_path, ladder=FEW[:1], frames=3)
    stored = tmp_path / "references" / "one.mkv"
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 255
    stored.write_bytes(data)
    with pytest.raises(DataError, match=r"references.one\.mkv"):
        build_proxy_set(clips / "one.mkv", tmp_path, ladder=FEW, frames=3)


def test_a_data_set_of_others_is_not_written_over(clips, tmp_path):
    (tmp_path / "manifest.csv").write_text("ref,dist,mos\n")
    with pytest.raises(DataError, match=r"holds a data set that is not a proxy set"):
        build_proxy_set(clips, tmp_path, ladder=FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_a_set_among_its_own_sources_is_no_source(clips, tmp_path):
    (tmp_path / "one.mkv").write_bytes((clips / "one.mkv").read_bytes())
    for _ in range(2):
        made = build_proxy_set(tmp_path, tmp_path / "set", ladder=FEW[:1], frames=3)
        assert [item.content for item in made.items] == ["one"] and not any("skipped" in note for note in made.notes)


def test_clips_of_one_name_get_longer_ones(clips, tmp_path):
    for name in ("a/Street.mkv", "b/street.mkv", "b/other name.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((clips / "one.mkv").read_bytes())
    made = build_proxy_set(tmp_path, tmp_path / "set", ladder=FEW[:1], frames=3)
    names = [item.content for item in made.items]
    assert len({name.lower() for name in names}) == 3 and "other_name" in names
    assert sum(name.startswith("a_Street_mkv-") for name in names) == 1
    with pytest.raises(DataError, match=r"named twice"):
        build_proxy_set([clips / "one.mkv"] * 2, tmp_path / "twice", ladder=FEW[:1])


def test_headerless_clips_come_with_their_format(clips, tmp_path):
    path = tmp_path / "raw.yuv"
    path.write_bytes(raw_bytes(clips / "one.mkv", "yuv420p"))
    raw = RawFormat(160, 128, frame_rate=Fraction(30000, 1001), matrix="bt709")
    made = build_proxy_set([Clip(path, raw)], tmp_path / "set", ladder=FEW[:1], frames=3)
    assert probe(made.reference(made.items[0]).path).frame_rate == Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 1}, "1 frame from frame None.*at least 2"),
        ({"start": -1}, "from frame -1"),
        ({"downscale": 0}, "a downscale of 0"),
        ({"label": "mos"}, "unknown label 'mos'.*psnr_y"),
        ({"ladder": [FEW[0], FEW[0]]}, "names a rung twice"),
        ({"downscale": 2}, "none of 2 clips.*160x128 downscaled by 2 is smaller than 96"),
        ({"start": 11}, "none of 2 clips.*has 9 frames: fewer than 2 from frame 11"),
    ],
)
def test_impossible_settings_are_refused(clips, tmp_path, settings, message):
    with pytest.raises(DataError, match=message):
        build_proxy_set(clips, tmp_path / "set", **{"ladder": FEW, "frames": 3} | settings)


def test_no_clips_at_all(tmp_path):
    with pytest.raises(DataError, match=r"no video to build a proxy set from"):
        build_proxy_set([], tmp_path)
    with pytest.raises(DataError, match=r"holds no video"):
        build_proxy_set(tmp_path, tmp_path / "set")
    with pytest.raises(DataError, match=r"no such file"):
        build_proxy_set([tmp_path / "a.mp4"], tmp_path / "set")
