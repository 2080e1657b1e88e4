from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from clips import make, raw_bytes

from compressvqa.errors import DataError
from compressvqa.video import RawFormat, probe, read_clip, read_frames, write_y4m
from compressvqa.video.frames import sample_type

KINDS = [(chroma, bitdepth) for chroma in ("420", "422", "444") for bitdepth in (8, 10, 12)]


def name_of(chroma: str, bitdepth: int) -> str:
    return f"yuv{chroma}p" + ("" if bitdepth == 8 else f"{bitdepth}le")


def all_bytes(path, **options) -> bytes:
    return b"".join(planes.to_bytes() for planes in read_frames(path, **options))


@pytest.mark.parametrize(("chroma", "bitdepth"), KINDS)
@pytest.mark.parametrize("size", ["32x24", "33x25"])
def test_y4m_reads_as_ffmpeg_reads_it(tmp_path, chroma, bitdepth, size):
    path = make(
        tmp_path / "clip.y4m", "-vf", f"scale={size}", "-pix_fmt", name_of(chroma, bitdepth), "-strict", "-1", frames=3
    )
    info = probe(path)
    assert (info.chroma, info.colour.bitdepth, info.frames) == (chroma, bitdepth, 3)
    assert f"{info.width}x{info.height}" == size and info.frame_rate == 25
    assert all_bytes(path) == raw_bytes(path, name_of(chroma, bitdepth))


@pytest.mark.parametrize(("chroma", "bitdepth"), [*KINDS, ("420", 16), ("444", 16)])
def test_headerless_yuv_reads_as_it_was_written(tmp_path, chroma, bitdepth):
    path = make(tmp_path / "clip.yuv", "-f", "rawvideo", "-pix_fmt", name_of(chroma, bitdepth), size="34x26", frames=3)
    raw = RawFormat(34, 26, chroma, bitdepth)
    assert probe(path, raw=raw).frames == 3
    assert all_bytes(path, raw=raw) == path.read_bytes()
    frames = list(read_frames(path, raw=raw, start=1, stop=2))
    assert len(frames) == 1 and frames[0].to_bytes() == path.read_bytes()[raw.frame_bytes : 2 * raw.frame_bytes]
    clip = read_clip(path, raw=raw, start=1, frames=2, box=(2, 4, 10, 12))
    assert clip.shape == (2, 3, 10, 12) and 0 <= float(clip.min()) <= float(clip.max()) <= 1


@pytest.mark.parametrize(("chroma", "bitdepth"), [*KINDS, ("420", 16)])
def test_y4m_we_write_is_read_by_ffmpeg(tmp_path, chroma, bitdepth):
    raw = RawFormat(34, 26, chroma, bitdepth)
    codes = np.random.default_rng(0).integers(0, 2**bitdepth, 2 * raw.frame_bytes // sample_type(bitdepth).itemsize)
    (tmp_path / "in.yuv").write_bytes(codes.astype(sample_type(bitdepth)).tobytes())
    count = write_y4m(tmp_path / "out.y4m", read_frames(tmp_path / "in.yuv", raw=raw), Fraction(30000, 1001))
    assert count == 2
    assert raw_bytes(tmp_path / "out.y4m", name_of(chroma, bitdepth)) == (tmp_path / "in.yuv").read_bytes()
    assert probe(tmp_path / "out.y4m").frame_rate == Fraction(30000, 1001)


def test_grey_y4m(tmp_path):
    path = make(tmp_path / "clip.y4m", "-pix_fmt", "gray", size="32x24", frames=2)
    assert probe(path).chroma == "400"
    assert all_bytes(path) == raw_bytes(path, "gray")
    clip = read_clip(path, frames=2)
    assert bool((clip[:, 0] == clip[:, 1]).all())


def test_a_yuv_file_without_its_format_is_refused(tmp_path):
    (tmp_path / "a.yuv").write_bytes(b"0" * 100)
    with pytest.raises(DataError, match=r"does not say what it holds.*give its width"):
        probe(tmp_path / "a.yuv")


def test_a_yuv_file_of_another_length_names_the_numbers(tmp_path):
    (tmp_path / "a.yuv").write_bytes(bytes(2 * 96 * 96 * 3 // 2 + 7))
    with pytest.raises(DataError, match=r"are 2 frames of 96x96 4:2:0 8 bit and 7 bytes more"):
        list(read_frames(tmp_path / "a.yuv", raw=RawFormat(96, 96)))
    with pytest.raises(DataError, match=r"less than one frame"):
        probe(tmp_path / "a.yuv", raw=RawFormat(1920, 1080))


def test_a_cut_off_y4m_file_is_refused(tmp_path):
    path = make(tmp_path / "clip.y4m", size="32x24", frames=3)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"frame 2 is cut off"):
        list(read_frames(path))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"without one whole frame"):
        probe(path)


@pytest.mark.parametrize(
    "header",
    [b"W32 F25:1 C420", b"W32 H-1 F25:1 C420", b"W99999 H99999 F25:1 C420", b"W32 H24 F25:1 C411", b"W32 H24 Fx C420"],
)
def test_a_damaged_y4m_header_is_refused(tmp_path, header):
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 " + header + b"\nFRAME\n" + bytes(5000))
    with pytest.raises(DataError, match=r"a\.y4m"):
        probe(tmp_path / "a.y4m")


@pytest.mark.parametrize("bad", [{"width": 0}, {"width": 99999}, {"pixel_format": "411"}, {"bitdepth": 9}])
def test_an_impossible_raw_format_is_refused(bad):
    with pytest.raises(DataError):
        RawFormat(**({"width": 96, "height": 96} | bad))


def test_nothing_is_written_without_a_frame(tmp_path):
    with pytest.raises(DataError, match=r"no frame"):
        write_y4m(tmp_path / "a.y4m", [])
    assert not (tmp_path / "a.y4m").exists()
