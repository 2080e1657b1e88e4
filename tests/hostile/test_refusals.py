"""What is no file, or no file of a kind that is read, is refused in words that name it; nothing is waited for."""

import io
import os
import socket
import struct
import sys
import zlib

import numpy as np
import pytest
import torch

import compressvqa as cv
from compressvqa.cli.terminal import ShownStream
from compressvqa.errors import CompressVQAError, DataError, WeightsError, printable
from compressvqa.models.checkpoints import read_tensors
from compressvqa.opinions import read_manifest
from compressvqa.opinions.table import read_table
from compressvqa.running.recipe import Recipe
from compressvqa.untrusted import local_file, parse_json, read_json
from compressvqa.video.pictures import read_picture
from compressvqa.video.read import probe

READERS = {
    "video": probe,
    "recipe": Recipe.load,
    "manifest": read_manifest,
    "checkpoint": read_tensors,
    "picture": read_picture,
    "json": read_json,
}


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]


def refused(reader, path):
    with pytest.raises(CompressVQAError) as caught:
        reader(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_things_that_are_no_files(reader, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a pipe (FIFO)" in refused(reader, tmp_path / "pipe.mp4")
    assert "is a device" in refused(reader, "/dev/zero")
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    assert "leads round in a circle" in refused(reader, tmp_path / "a.mp4")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nobody")
    assert "is a link to" in refused(reader, tmp_path / "dangling.mp4")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s.mp4"))
        assert "is a socket" in refused(reader, tmp_path / "s.mp4")
    assert "longer name" in refused(reader, tmp_path / ("x" * 300))
    assert "zero byte" in refused(reader, "a\0b.mp4")


@pytest.mark.parametrize(
    "address",
    ["https://example.org/a.mp4", "http://[::1]/x", "concat:a.mp4|b.mp4", "file:///etc/passwd", "rtsp://h/x", "pipe:0",
     "data:text/plain,x", "subfile,,start,0,end,9,,:a.mp4", "s3://bucket/key"],
)  # fmt: skip
def test_addresses_are_named(address, reader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(reader, address)
    assert "is a URL" in said or "only local files" in said


def test_a_file_whose_name_looks_like_an_address_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = b"".join(b"FRAME\n" + bytes(32 * 32 * 3 // 2) for _ in range(2))
    (tmp_path / "concat:x.y4m").write_bytes(b"YUV4MPEG2 W32 H32 F25:1 Ip A1:1 C420jpeg\n" + frames)
    assert local_file("concat:x.y4m").exists()
    assert probe("concat:x.y4m").frames == 2


PLAYLISTS = {
    "HLS": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n",
    "DASH": b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>',
    "ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "concat": b"# parts\nfile '/etc/passwd'\n",
    "PLS": b"[playlist]\nFile1=http://127.0.0.1/x\n",
    "SDP": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
    "M3U": b"http://127.0.0.1:9/a.ts\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ""])
def test_playlists_are_named_whatever_they_are_called(kind, suffix, tmp_path):
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(PLAYLISTS[kind])
    assert f"is a playlist ({kind})" in refused(probe, path)


def png(rows, damage):
    """A PNG of our own making, with its chunks changed."""
    raw = b"".join(b"\0" + bytes(rows[0].size) for _ in rows)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", rows[0].size // 3, len(rows), 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    out = b"\x89PNG\r\n\x1a\n"
    for name, data in damage(chunks):
        out += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return out


DAMAGES = {
    "header cut": lambda c: [(c[0][0], c[0][1][:5]), *c[1:]],
    "no header": lambda c: c[1:],
    "broken text": lambda c: [c[0], (b"zTXt", b"a\0\1xx"), (b"iTXt", b"\xff"), *c[1:]],
    "text bomb": lambda c: [c[0], (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27))), *c[1:]],
    "broken profile": lambda c: [c[0], (b"iCCP", b"x"), *c[1:]],
    "broken data": lambda c: [c[0], (b"IDAT", b"\0" * 30), c[2]],
    "broken exif": lambda c: [c[0], (b"eXIf", b"II*\0" + b"\xff" * 40), *c[1:]],
    "palette that is none": lambda c: [(c[0][0], c[0][1][:9] + b"\3" + c[0][1][10:]), (b"PLTE", b"x"), *c[1:]],
    "odd names": lambda c: [c[0], (b"\x1b[2J", b"x"), *c[1:]],
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_picture_whose_chunks_are_damaged_is_one_line_or_read(case, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(png(np.zeros((32, 96), np.uint8), DAMAGES[case]))
    for reader in (probe, read_picture):
        try:
            reader(path)
        except DataError as error:
            assert "\n" not in str(error)
            assert "\x1b" not in str(error)


def test_a_picture_of_another_form_under_its_name_runs_no_program(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    assert "is not a picture that can be read" in refused(probe, tmp_path / "a.png")


class Trap:
    def __reduce__(self):
        return (os.system, ("true",))


@pytest.mark.parametrize("write", ["plain", "list", "pickle", "legacy"])
def test_a_pickle_is_refused_without_advice_to_trust_it(write, tmp_path):
    import pickle

    path = tmp_path / "net.pth"
    if write == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        thing = {"state_dict": Trap()} if write != "list" else [Trap()]
        torch.save(thing, path, _use_new_zipfile_serialization=write != "legacy")
    with pytest.raises(WeightsError) as caught:
        cv.create_model("stanet", weights=path)
    said = str(caught.value)
    assert "weights_only" not in said
    assert "trust" not in said
    assert "could run code" in said


def test_a_compressed_checkpoint_is_refused_before_it_is_unpacked(tmp_path):
    import zipfile

    torch.save({"a": torch.zeros(10)}, tmp_path / "sound.pth")
    with (
        zipfile.ZipFile(tmp_path / "sound.pth") as old,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            new.writestr(member, old.read(member))
    assert read_tensors(tmp_path / "sound.pth")
    assert "is compressed" in refused(read_tensors, tmp_path / "bomb.pth")


JSONS = {
    "deep": ("[" * 5000 + "]" * 5000, "nested more than"),
    "quite deep": ("[" * 200 + "]" * 200, "nested more than"),
    "long number": ('{"a": ' + "9" * 5000 + "}", "digits"),
    "NaN": ('{"a": NaN}', "NaN"),
    "twice": ('{"a": 1, "a": 2}', "twice"),
    "cut": ('{"a": ', "is no JSON"),
}


@pytest.mark.parametrize("case", JSONS)
def test_json_is_bounded(case, tmp_path):
    text, words = JSONS[case]
    (tmp_path / "a.json").write_text(text)
    assert words in refused(read_json, tmp_path / "a.json")
    if case in ("NaN", "twice"):
        assert parse_json(text, "a", strict=False, constants=True)


def test_files_that_are_too_large_are_refused_by_their_first_bytes(tmp_path):
    with (tmp_path / "big.csv").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    for reader in (read_table, read_manifest, read_json, Recipe.load):
        assert "is larger than" in refused(reader, tmp_path / "big.csv")


def test_codes_do_not_reach_the_terminal(tmp_path):
    name = "a\x1b]0;gone\x07\x1b[2J\x9b31m\u202egpj.mp4"
    assert printable(name) == r"a\x1b]0;gone\x07\x1b[2J\x9b31m\u202egpj.mp4"
    said = refused(probe, tmp_path / name)
    assert "\x1b" not in said and "\x9b" not in said and "\u202e" not in said
    assert "no such file" in said
    assert "\\n" in str(CompressVQAError("x", where="a\nerror: forged"))


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Screen])
def test_the_streams_pass_text_and_no_codes(stream):
    out = stream()
    print("a\x1b]8;;http://x\x07b\x1b[5;1H\x00\tc é 日本", file=ShownStream(out))
    assert out.getvalue() == "a\\x1b]8;;http://x\\x07b\\x1b[5;1H\\x00\tc é 日本\n"
    assert ShownStream(out).isatty() is out.isatty()


def test_a_size_that_no_memory_holds_says_what_it_would_take():
    with pytest.raises(DataError, match=r"12 frames of 100000x100000, twice, take 2.88 TB .* this machine has"):
        cv.example_inputs("rankdvqa", size=100_000)
    with pytest.raises(DataError, match="take"):
        cv.example_inputs("rankdvqa", size=64, frames=10**9)
