from __future__ import annotations

import json

import numpy as np
import pytest
from clips import ffmpeg as run
from clips import make
from scipy import ndimage

from compressvqa.data import ladder
from compressvqa.data.filters import Filter
from compressvqa.data.ladder import CODECS, Rung
from compressvqa.errors import DataError
from compressvqa.video import RawFormat, ffmpeg, probe, vmaf

MIDDLE = {"x264": 34, "x265": 34, "svt-av1": 50, "vp9": 54, "vvc": 40}


def clip(folder, size=256, bitdepth=8, frames=4):
    name = "yuv420p" + ("" if bitdepth == 8 else "10le")
    noise = f"noise=alls=8:all_seed=1,format={name}"
    path = make(
        folder / "0.yuv", "-vf", noise, "-f", "rawvideo", "-pix_fmt", name, size=f"{size}x{size}", frames=frames
    )
    return path, RawFormat(size, size, bitdepth=bitdepth)


def samples_of(path, raw):
    return np.fromfile(path, np.uint8 if raw.bitdepth == 8 else "<u2").reshape(-1, raw.width * raw.height * 3 // 2)


def psnr_y(reference, distorted, raw):
    luma = slice(0, raw.width * raw.height)
    error = ((reference[:, luma].astype(float) - distorted[:, luma]) ** 2).mean(axis=1)
    return float(np.mean(10 * np.log10((2**raw.bitdepth - 1) ** 2 / error)))


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize(("scale", "bitdepth"), [(1.0, 8), (0.5, 10)])
def test_a_rung_gives_back_the_clip_damaged_as_labelled(tmp_path, codec, scale, bitdepth):
    path, raw = clip(tmp_path, bitdepth=bitdepth)
    made = ladder.distort(path, raw, Rung(codec, MIDDLE[codec], scale))
    reference = samples_of(path, raw)
    assert made.samples.shape == reference.shape and made.samples.dtype == reference.dtype
    assert int(made.samples.max()) < 2**bitdepth
    # PSNR, worked out here, says that frames came back in order and whole.
    assert made.labels["psnr_y"] == pytest.approx(psnr_y(reference, made.samples, raw), abs=0.01)
    # VMAF, from another run of libvmaf on other files, one model at a time.
    name = "yuv420p" + ("" if bitdepth == 8 else "10le")
    for side, samples in (("r", reference), ("d", made.samples)):
        (tmp_path / side).write_bytes(samples.tobytes())
    one = ["-f", "rawvideo", "-pixel_format", name, "-video_size", "256x256", "-i"]
    for model in ("vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h"):
        log = tmp_path / "log.json"
        graph = f"libvmaf=model='version={model}':log_fmt=json:log_path={log}"
        run(*one, str(tmp_path / "d"), *one, str(tmp_path / "r"), "-lavfi", graph, "-f", "null", "-")
        expected = json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"]
        assert made.labels[model] == pytest.approx(expected, abs=1e-3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.yuv", "d", "log.json", "r"]


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_quality_falls_down_the_ladder_and_is_the_same_on_every_run(tmp_path, codec):
    path, raw = clip(tmp_path)
    fine, coarse = (ladder.distort(path, raw, Rung(codec, quality)) for quality in (MIDDLE[codec] - 12, MIDDLE[codec]))
    assert fine.bytes > coarse.bytes
    assert all(fine.labels[label] > coarse.labels[label] for label in vmaf.LABELS)
    again = ladder.distort(path, raw, Rung(codec, MIDDLE[codec]))
    assert np.array_equal(again.samples, coarse.samples) and again.labels == coarse.labels


def test_version_1_is_not_asked_below_256_pixels(tmp_path):
    path, raw = clip(tmp_path, size=254)
    labels = ladder.distort(path, raw, Rung("x264", 34)).labels
    assert labels["vmaf_v1.0.16_3d0h"] is None and labels["vmaf_v0.6.1"] > 20


def test_measuring_two_files(tmp_path):
    path, raw = clip(tmp_path)
    made = ladder.distort(path, raw, Rung("x264", 34))
    (tmp_path / "distorted.yuv").write_bytes(made.samples.tobytes())
    assert vmaf.measure(path, tmp_path / "distorted.yuv", raw, folder=tmp_path) == made.labels
    assert vmaf.measure(path, path, raw, folder=tmp_path)["vmaf_v0.6.1"] > 95
    (tmp_path / "short.yuv").write_bytes(made.samples[1:].tobytes())
    with pytest.raises(DataError, match=r"not as long as the reference"):
        vmaf.measure(path, tmp_path / "short.yuv", raw, folder=tmp_path)


@pytest.mark.parametrize(
    ("rung", "message"),
    [
        (("h264", 30), "unknown codec 'h264'.*x264"),
        (("x264", 52), r"x264 has no quality 52.*0 \(best\) to 51"),
        (("vp9", -1), "vp9 has no quality -1"),
        (("vvc", 30, 0.05), "scale of 0.05"),
        (("vvc", 30, 1.5), "scale of 1.5"),
    ],
)
def test_impossible_rungs_are_refused(rung, message):
    with pytest.raises(DataError, match=message):
        Rung(*rung)


def test_a_picture_too_small_for_encoders_is_refused():
    with pytest.raises(DataError, match=r"rung x264-q30-s0.25 would code 32x32 pixels"):
        Rung("x264", 30, 0.25).coded_size(128, 128)


def test_a_failing_encoder_names_its_rung_and_leaves_nothing(tmp_path):
    (tmp_path / "0.yuv").write_bytes(bytes(96 * 96))  # less than one frame
    with pytest.raises(DataError, match=r"x264-q30: ffmpeg failed|x264-q30: .*frames"):
        ladder.distort(tmp_path / "0.yuv", RawFormat(96, 96), Rung("x264", 30))
    assert [file.name for file in tmp_path.iterdir()] == ["0.yuv"]


def test_lacking_encoders_are_named(monkeypatch):
    monkeypatch.setattr(ffmpeg, "encoders", lambda: frozenset({"libx264"}))
    kept, lacking = ladder.usable([Rung("x264", 30), Rung("vvc", 30), Rung("vvc", 40)])
    assert kept == [Rung("x264", 30)] and lacking == ["vvc"]
    with pytest.raises(DataError, match=r"lacks every encoder of the ladder: vvc"):
        ladder.usable([Rung("vvc", 30)])


def test_this_ffmpeg_has_all_that_the_ladder_needs():
    kept, lacking = ladder.usable([Rung(codec, quality) for codec, quality in MIDDLE.items()])
    assert len(kept) == len(CODECS) and not lacking
    with pytest.raises(DataError, match=r"lacks the encoder libnothing.*IMAGEIO_FFMPEG_EXE"):
        ffmpeg.require(encoder="libnothing")


def test_no_ffmpeg_at_all(monkeypatch):
    import imageio_ffmpeg

    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(DataError, match=r"no ffmpeg binary was found"):
        ffmpeg.binary.__wrapped__()


@pytest.mark.parametrize("text", ["", "{}", '{"frames": []}', '{"frames": [{"metrics": {"vmaf": null}}]}'])
def test_a_damaged_log_is_refused(tmp_path, text):
    (tmp_path / "log.json").write_text(text)
    with pytest.raises(DataError, match=r"libvmaf"):
        vmaf.read_log(tmp_path / "log.json", 2)


def test_a_value_that_is_no_number_is_refused(tmp_path):
    log = '{"frames": [{"metrics": {"vmaf_v0_6_1": 1.0}}, {"metrics": {"vmaf_v0_6_1": null}}]}'
    (tmp_path / "log.json").write_text(log)
    with pytest.raises(DataError, match=r"no number for vmaf_v0.6.1"):
        vmaf.read_log(tmp_path / "log.json", 2)


def test_a_second_generation_is_an_encode_of_an_encode(tmp_path):
    path, raw = clip(tmp_path)
    first, second = Rung("x264", 30), Rung("x265", 30, first=Rung("x264", 30))
    once = ladder.distort(path, raw, first)
    # By hand: what the first rung left is the second one's clip.
    (tmp_path / "left.yuv").write_bytes(once.samples.tobytes())
    by_hand = ladder.distort(tmp_path / "left.yuv", raw, Rung("x265", 30))
    twice = ladder.distort(path, raw, second)
    assert np.array_equal(twice.samples, by_hand.samples) and twice.bytes == by_hand.bytes
    assert twice.labels["psnr_y"] == pytest.approx(psnr_y(samples_of(path, raw), twice.samples, raw), abs=0.01)
    assert twice.labels["vmaf_v0.6.1"] < once.labels["vmaf_v0.6.1"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.yuv", "left.yuv"]


def test_a_rung_of_ten_bit_codes_ten_bit(tmp_path):
    path, raw = clip(tmp_path)
    rung = Rung("x265", 34, depth=10)
    ladder.encode(path, raw, rung, tmp_path / "deep.mkv")
    assert probe(tmp_path / "deep.mkv").colour.bitdepth == 10
    deep, plain = ladder.distort(path, raw, rung), ladder.distort(path, raw, Rung("x265", 34))
    assert deep.samples.dtype == np.uint8 and not np.array_equal(deep.samples, plain.samples)
    assert (rung.coded_depth(8), Rung("x265", 34).coded_depth(8), Rung("vvc", 34).coded_depth(8)) == (10, 8, 10)


def test_facts_of_plain_rungs_did_not_change():
    """Sets of patches that were built before are found again."""
    assert Rung("x264", 30, 0.5).facts() == {"codec": "x264", "quality": 30, "scale": 0.5}
    assert Rung("x265", 30, depth=10, first=Rung("x264", 24)).facts() == {
        "codec": "x265", "quality": 30, "scale": 1.0, "depth": 10, "first": "x264-q24",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make_rung", "message"),
    [
        (lambda: Rung("vvc", 30, depth=8), "vvc does not code 8 bit"),
        (lambda: Rung("x264", 1, first=Rung("x264", 1, first=Rung("x264", 1))), "second generation already"),
        (lambda: Filter("nois", 3), "unknown distortion 'nois' .*noise"),
        (lambda: Filter("noise", 6), "no level 6 of 'noise'"),
    ],
)
def test_rungs_that_cannot_be(make_rung, message):
    with pytest.raises(DataError, match=message):
        make_rung()


@pytest.mark.parametrize("bitdepth", [8, 10])
def test_a_filter_is_the_distortion_frame_by_frame(tmp_path, bitdepth):
    path, raw = clip(tmp_path, bitdepth=bitdepth)
    made = ladder.distort(path, raw, Filter("gaussian-blur", 4))
    reference = samples_of(path, raw)
    assert made.samples.shape == reference.shape and made.samples.dtype == reference.dtype and made.bytes == 0
    assert made.labels["psnr_y"] == pytest.approx(psnr_y(reference, made.samples, raw), abs=0.01)
    # scipy's Gaussian on luma of the middle: blur is linear, so luma of the blurred picture is the blurred luma.
    luma = (s[:, : 256 * 256].reshape(-1, 256, 256).astype(float) for s in (reference, made.samples))
    before, after = (planes[:, 20:-20, 20:-20] for planes in luma)
    expected = ndimage.gaussian_filter(before, (0, 2.1, 2.1), truncate=3.4)[:, 10:-10, 10:-10]
    error = np.abs(after[:, 10:-10, 10:-10] - expected) / 2 ** (bitdepth - 8)
    assert np.median(error) < 1 and np.percentile(error, 99) < 6  # colours that do not exist are clipped


def test_noise_changes_from_frame_to_frame_and_grows_with_the_level(tmp_path):
    grey = np.full((3, 256 * 256 * 3 // 2), 128, np.uint8)
    raw = RawFormat(256, 256)
    low, high = (Filter("noise", level)(grey, raw)[:, : 256 * 256].astype(float) - 128 for level in (1, 4))
    assert abs(np.corrcoef(low[0], low[1])[0, 1]) < 0.02
    assert np.corrcoef(low[0], high[0])[0, 1] > 0.9  # the same draw, stronger
    assert high.std() / low.std() == pytest.approx(0.07 / 0.015, rel=0.05)
    assert np.array_equal(Filter("noise", 1)(grey, raw), Filter("noise", 1)(grey, raw))


def test_a_codec_that_is_missing_takes_its_second_generations_along(monkeypatch):
    monkeypatch.setattr(ffmpeg, "encoders", lambda: frozenset({"libx264"}))
    rungs = [Rung("x264", 30), Rung("x264", 30, first=Rung("x265", 20)), Filter("noise", 1)]
    assert ladder.usable(rungs) == ([rungs[0], rungs[2]], ["x265"])
