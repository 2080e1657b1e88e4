"""Turned, mirrored, boxed, interlaced, anamorphic and HDR files: said, and made comparable where that is asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from clips import ffmpeg, make, raw_bytes

from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.video import Clip, Pairing, look, probe
from compressvqa.video.align import blocks
from compressvqa.video.bars import find_picture
from compressvqa.video.box import Box, read_boxes
from compressvqa.video.posture import Posture, turn
from compressvqa.video.read import read_frames

LOSSLESS = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p")
SIZE = "128x96"


def luma(reference: Path | None, distorted: Path, **settings):
    """(reference, distorted) luma of all compared frames."""
    pairing = Pairing(**settings)
    left, right = None if reference is None else Clip(reference), Clip(distorted)
    found = [[], []]
    for block in blocks(left, [right], [look(left, right, pairing)], pairing, block=12):
        found[0] += [planes.y for planes in block.reference or []]
        found[1] += [planes.y for planes in block.distorted[0]]
    return tuple(np.stack(side) if side else None for side in found)


def said(reference: Path, distorted: Path, **settings) -> dict[str, tuple[str, str, str]]:
    found = look(Clip(reference), Clip(distorted), Pairing(**settings)).differences
    return {one.what: (one.reference, one.distorted, one.hint) for one in found}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("treat")
    make(folder / "plain.mp4", *LOSSLESS, size=SIZE, frames=6)
    return folder


TURNS = [(90, ""), (180, ""), (270, ""), (0, "h"), (0, "v"), (90, "h"), (270, "h"), (180, "h")]


@pytest.mark.parametrize(("degrees", "flip"), TURNS)
def test_pictures_are_turned_as_ffmpeg_turns_them(clips, tmp_path, degrees, flip):
    """ffmpeg turns upright what it decodes: the same samples, whichever way the file lies."""
    path = tmp_path / "turned.mp4"
    flips = ["-display_hflip"] if flip == "h" else ["-display_vflip"] if flip == "v" else []
    ffmpeg("-display_rotation", str(degrees), *flips, "-i", str(clips / "plain.mp4"), "-c", "copy", str(path))
    upright = tmp_path / "upright.mp4"
    ffmpeg("-i", str(path), *LOSSLESS, str(upright))
    r, d = luma(upright, path, rotate="auto")
    assert r.shape == d.shape == (6, *((128, 96) if degrees in (90, 270) else (96, 128))) and np.array_equal(r, d)
    # The other way round, and both turned alike.
    assert all(np.array_equal(*luma(*pair, rotate="auto")) for pair in ((path, upright), (path, path)))
    assert look(Clip(path), Clip(path), Pairing()).differences == ()
    with pytest.raises(DataError, match=r"rotation: .*--rotate auto turns both upright"):
        look(Clip(upright), Clip(path), Pairing())
    assert "shown upright" in said(upright, path, rotate="auto")["rotation"][2]
    found = score(upright, path, model="psnr", pairing=Pairing(rotate="auto"))
    assert found.score == 60 and found.settings["rotate"] == "auto"


def test_chroma_that_lies_is_turned_too(tmp_path):
    source = make(tmp_path / "a.mp4", "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv422p", size=SIZE, frames=2)
    lying = tmp_path / "b.mp4"
    ffmpeg("-display_rotation", "90", "-i", str(source), "-c", "copy", str(lying))
    (first,) = (block.distorted[0][0] for block in _first(lying, rotate="auto"))
    want = np.frombuffer(raw_bytes(source, "yuv444p", "-frames:v", "1", "-sws_flags", "bicubic"), np.uint8)
    want = want.reshape(3, 96, 128)
    assert first.chroma == "444" and np.array_equal(first.y, np.rot90(want[0]))
    assert np.abs(first.u.astype(int) - np.rot90(want[1])).mean() < 1


def _first(path, **settings):
    clip, pairing = Clip(path), Pairing(frames=1, **settings)
    return blocks(None, [clip], [look(None, clip, pairing)], pairing, block=12)


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    from PIL import Image, ImageOps

    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    for orientation in range(1, 9):
        image = Image.fromarray(pixels)
        exif = image.getexif()
        exif[274] = orientation
        image.save(tmp_path / "a.png", exif=exif)
        ImageOps.exif_transpose(Image.open(tmp_path / "a.png")).save(tmp_path / "b.png", exif=b"")
        r, d = luma(tmp_path / "b.png", tmp_path / "a.png", rotate="auto")
        assert np.array_equal(r, d), orientation


BARS = {
    "letterbox": ("pad=128:128:0:16", Box(128, 96, 0, 16)),
    "pillarbox": ("pad=176:96:24:0", Box(128, 96, 24, 0)),
    "window": ("pad=160:128:16:20", Box(128, 96, 16, 20)),
    "at the bottom only": ("pad=128:120:0:0", Box(128, 96, 0, 0)),
}


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """A moving picture that is nowhere black along an edge."""
    path = tmp_path_factory.mktemp("bright") / "bright.mp4"
    return make(path, "-vf", "eq=brightness=0.2", *LOSSLESS, size=SIZE, frames=12)


@pytest.mark.parametrize("kind", BARS)
def test_black_bars_are_found_and_cut_off(bright, tmp_path, kind):
    pad, box = BARS[kind]
    boxed = tmp_path / "boxed.mp4"
    ffmpeg("-i", str(bright), "-vf", pad, *LOSSLESS, str(boxed))
    r, d = luma(bright, boxed, crop="auto")
    assert np.array_equal(r, d) and said(bright, boxed, crop="auto")["crop"][:2] == ("the whole picture", str(box))
    assert np.array_equal(*luma(boxed, bright, crop="auto")) and np.array_equal(*luma(boxed, boxed, crop="auto"))
    assert np.array_equal(*luma(bright, boxed, crop=str(box))) and np.array_equal(
        *luma(bright, boxed, crop=f"whole,{box}")
    )
    coded = tmp_path / "coded.mp4"
    ffmpeg("-i", str(boxed), "-c:v", "libx264", "-crf", "38", str(coded))
    assert said(bright, coded, crop="auto")["crop"][1] == str(box)
    found = score(bright, boxed, model="psnr", pairing=Pairing(crop="auto"))
    assert found.score == 60 and found.settings["crop"] == "auto"
    assert score(bright, boxed, model="psnr").score < 20


def test_bars_of_one_of_two_equally_large_files_are_said(bright, tmp_path):
    boxed = tmp_path / "boxed.mp4"
    ffmpeg("-i", str(bright), "-vf", "crop=128:64,pad=128:96:0:16", *LOSSLESS, str(boxed))
    (note,) = score(bright, boxed, model="psnr").settings["notes"]
    assert "distorted video has black bars above or below" in note and "--crop auto" in note
    assert "the reference has black bars" in score(boxed, bright, model="psnr").settings["notes"][0]
    assert "notes" not in score(boxed, boxed, model="psnr").settings


def test_bars_of_a_smaller_copy_are_cut_before_it_is_scaled(bright, tmp_path):
    small = tmp_path / "small.mp4"
    ffmpeg("-i", str(bright), "-vf", "scale=64:48:flags=bicubic,pad=64:64:0:8", *LOSSLESS, str(small))
    plain = tmp_path / "plain.mp4"
    ffmpeg("-i", str(bright), "-vf", "scale=64:48:flags=bicubic", *LOSSLESS, str(plain))
    assert np.array_equal(luma(bright, small, crop="auto")[1], luma(bright, plain)[1])
    assert "picture shape" in said(bright, small) and "--crop auto" in said(bright, small)["picture shape"][2]
    assert "picture shape" not in said(bright, plain)


def test_rows_that_pad_to_whole_blocks_are_cut_off(bright, tmp_path):
    padded = tmp_path / "padded.mp4"
    ffmpeg("-i", str(bright), "-vf", "pad=128:104,fillborders=0:0:0:8:mode=smear", *LOSSLESS, str(padded))
    assert np.array_equal(*luma(bright, padded, crop="auto"))
    assert "whole blocks" in said(make(tmp_path / "a.y4m", size="128x90"), make(tmp_path / "b.y4m", size="128x96"))[
        "frame size"][2]  # fmt: skip


def test_a_box_is_in_the_references_pixels(bright, tmp_path):
    half = tmp_path / "half.mp4"
    ffmpeg("-i", str(bright), "-vf", "scale=64:48", *LOSSLESS, str(half))
    r, d = luma(bright, half, crop="64:40:10:20")
    whole_r, whole_d = luma(bright, half)
    assert np.array_equal(r, whole_r[:, 20:60, 10:74]) and np.array_equal(d, whole_d[:, 20:60, 10:74])
    with pytest.raises(DataError, match=r"the box 64:90:10:20 leaves a picture of 128x96"):
        look(Clip(bright), Clip(half), Pairing(crop="64:90:10:20"))
    for wrong in ("64:40", "a:b:c:d", "0:4:0:0", "1:1:0:0,1:1:0:0,1:1:0:0", ""):
        with pytest.raises(DataError, match="box"):
            Pairing(crop=wrong)
    assert read_boxes("whole") == (None,)


def test_black_and_dark_pictures_have_no_bars(tmp_path):
    black = make(tmp_path / "black.mp4", "-vf", "drawbox=color=black:t=fill", *LOSSLESS, size=SIZE)
    assert find_picture(read_frames(black)) is None
    assert said(black, black, crop="auto")["crop"][:2] == ("the whole picture",) * 2
    # A film that begins in black is judged by all of its frames.
    late = tmp_path / "late.mp4"
    make(late, "-vf", "eq=brightness=0.2,fade=in:0:10", *LOSSLESS, frames=12, size=SIZE)
    assert find_picture(read_frames(late)) == Box(128, 96, 0, 0)


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "y4m"])
def test_fields_become_whole_pictures_by_bwdif(tmp_path, order, suffix):
    mode = "interleave_top" if order == "tff" else "interleave_bottom"
    woven = tmp_path / f"woven.{suffix}"
    flags = ("-flags", "+ildct+ilme", "-x264opts", f"{order}=1", *LOSSLESS) if suffix != "y4m" else ()
    make(woven, "-vf", f"tinterlace=mode={mode},setfield={order}", *flags, size=SIZE, frames=12, rate=50)
    if suffix != "y4m" and not hasattr(VideoCodecContext, "field_order"):  # PyAV 17, with Python 3.10
        assert probe(woven).scan == "tff" and "is first is not known" in probe(woven).notes[0]
        return
    assert probe(woven).scan == order and probe(woven).notes == ()
    whole = tmp_path / "whole.mp4"
    ffmpeg("-i", str(woven), "-vf", f"bwdif=mode=send_frame:parity={order}:deint=all", *LOSSLESS, str(whole))
    assert probe(whole).scan == "progressive"
    for pair in ((whole, woven), (woven, whole), (woven, woven)):
        r, d = luma(*pair, deinterlace=True)
        # ffmpeg's own first picture depends on what memory holds above it.
        assert np.array_equal(r[1:], d[1:]) and len(r) == probe(whole, count=True).frames
        assert (r[0] != d[0]).mean() < 0.1
    assert not np.array_equal(*luma(whole, woven))
    assert (
        "--deinterlace" in said(whole, woven)["scan"][2] and "bwdif" in said(whole, woven, deinterlace=True)["scan"][2]
    )
    assert "nothing" in said(whole, whole, deinterlace=True)["scan"][2]
    assert "scan" not in said(woven, woven)


def test_fields_of_two_orders_differ(tmp_path):
    pair = [make(tmp_path / f"{order}.y4m", "-vf", f"setfield={order}", frames=2) for order in ("tff", "bff")]
    assert "fields of other moments" in said(*pair)["scan"][2]


def test_pixels_that_are_not_square(bright, tmp_path):
    """Anamorphic PAL beside square pixels shows the same shape; the same size with other pixels does not."""
    pal, square, other = (tmp_path / f"{name}.mp4" for name in ("pal", "square", "other"))
    ffmpeg("-i", str(bright), "-vf", "scale=180:144,setsar=64/45", *LOSSLESS, str(pal))
    ffmpeg("-i", str(bright), "-vf", "scale=256:144,setsar=1", *LOSSLESS, str(square))
    ffmpeg("-i", str(bright), "-vf", "scale=180:144,setsar=16/15", *LOSSLESS, str(other))
    assert probe(pal).pixel_aspect == Fraction(64, 45)
    assert list(said(square, pal)) == ["frame size"]
    shape = said(pal, other)["picture shape"]
    assert "64:45" in shape[0] and "16:15" in shape[1] and "as stored" in shape[2]


def test_one_that_lies_is_turned_and_not_scaled(tmp_path):
    standing, lying = make(tmp_path / "a.y4m", size="96x128"), make(tmp_path / "b.y4m", size="128x96")
    assert "turn one of them" in said(standing, lying)["picture shape"][2]


@pytest.mark.parametrize(("curve", "other"), [("smpte2084", "arib-std-b67"), ("arib-std-b67", "smpte2084")])
def test_hdr_is_compared_as_coded_where_that_is_asked_for(tmp_path, curve, other):
    def hdr(name, transfer, crf):
        tags = ("-vf", f"setparams=color_trc={transfer}:color_primaries=bt2020:colorspace=bt2020nc")
        options = ("-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv420p10le", *tags)
        return make(tmp_path / name, *options, size=SIZE, frames=3)

    a, b, c = hdr("a.mp4", curve, 5), hdr("b.mp4", curve, 35), hdr("c.mp4", other, 35)
    with pytest.raises(DataError, match="--hdr as-is compares the coded values"):
        look(Clip(a), Clip(b), Pairing())
    found = score(a, b, model="psnr", pairing=Pairing(hdr="as-is"))
    want = np.frombuffer(raw_bytes(a, "yuv420p10le"), "<u2").reshape(3, -1)[:, : 128 * 96].astype(float)
    have = np.frombuffer(raw_bytes(b, "yuv420p10le"), "<u2").reshape(3, -1)[:, : 128 * 96].astype(float)
    psnr = np.mean([10 * np.log10(1023**2 / np.square(x - y).mean()) for x, y in zip(want, have, strict=True)])
    assert found.score == pytest.approx(psnr, abs=0.01) and found.settings["hdr"] == "as-is"
    assert any("as it is coded" in note for _, note in found.lines())
    sdr = make(tmp_path / "sdr.mp4", *LOSSLESS, size=SIZE, frames=3)
    for pair in ((a, sdr), (sdr, a), (a, c)):
        with pytest.raises(DataError, match="transfer"):
            look(Clip(pair[0]), Clip(pair[1]), Pairing(hdr="as-is"))


def test_turning_undoes_what_turning_did():
    planes = next(iter([_planes(np.arange(24, dtype=np.uint8).reshape(4, 6))]))
    for degrees in (90, 180, 270):
        there = turn(planes, Posture(degrees))
        assert np.array_equal(turn(there, Posture(-degrees)).y, planes.y)
    assert Posture(270, True).title == "mirrored and turned 90 degrees clockwise" and Posture().title == "as stored"


def _planes(y):
    from compressvqa.video.frames import Colour, Planes

    return Planes(y, None, None, "400", Colour())


def test_kept_scores_tell_the_treatments_apart(bright, tmp_path):
    from compressvqa.evaluation.cache import ScoreCache
    from compressvqa.scoring import find_scorers

    facts = find_scorers(["psnr"])[0].facts[0]
    cache = ScoreCache(tmp_path / "cache")
    asked = [{}, {"align": "offset"}, {"deinterlace": True}, {"rotate": "auto"}, {"crop": "auto"}, {"hdr": "as-is"}]
    keys = {cache.key(facts, Clip(bright), Clip(bright), Pairing(**settings)) for settings in asked}
    assert len(keys) == len(asked)
