"""What is decoded in a confined process is what is decoded here, and what breaks there is one line here."""

import os
import subprocess
import sys
import textwrap
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from compressvqa.errors import DataError
from compressvqa.video import sandbox, wire
from compressvqa.video.clip import Clip
from compressvqa.video.raw import RawFormat
from compressvqa.video.read import probe, read_frames
from hostile.subjects import videos

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sandbox")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")
    made = videos(folder)
    kept = {name: folder / f"seed-{name}" for name in ("a.mp4", "b.mkv", "d.avi", "g.gif")}
    (folder / "p.y4m").write_bytes(made["p.y4m"])
    (folder / "cut.mp4").write_bytes(made["a.mp4"][:-40])
    (folder / "raw.yuv").write_bytes(os.urandom(2 * 16 * 8 * 3 // 2))
    (folder / "frames").mkdir()
    for number in range(3):
        Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)).save(folder / "frames" / f"f{number}.png")
    return kept | {name: folder / name for name in ("p.y4m", "cut.mp4", "raw.yuv", "frames")}


def seen(clip):
    """Facts, times and samples of a clip, or what is said of it."""
    try:
        info = probe(clip, count=True, whole=False)
        times = None if info.times is None else info.times.tolist()
        return info, times, [(planes.colour, planes.chroma, planes.to_bytes()) for planes in read_frames(clip)]
    except DataError as error:
        return str(error)


def test_it_gives_the_same_facts_frames_and_refusals(files, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    raw = RawFormat(16, 8, frame_rate=Fraction(30000, 1001))
    clips = [Clip(path, raw if name == "raw.yuv" else None, frame_rate=Fraction(24)) for name, path in files.items()]
    clips += [Clip(tmp_path / "text.mp4"), Clip(tmp_path / "missing.mp4"), Clip(files["a.mp4"], stream=3)]
    here = [seen(clip) for clip in clips]
    with sandbox.sandboxed():
        there = [seen(clip) for clip in clips]
        two = zip(read_frames(files["a.mp4"]), read_frames(files["b.mkv"]), strict=False)  # two files at a time
        assert len(list(two)) == 4
        assert len(list(read_frames(files["a.mp4"], start=1, stop=3))) == 2
        limits = sandbox.given_up()
    assert here == there
    assert not sandbox.is_on()
    assert any("memory" in one for one in limits) or sys.platform != "linux"


CONFINED = """
    import os, socket, sys
    from pathlib import Path
    from compressvqa.video.confine import confine
    mine, other = Path(sys.argv[1]), Path(sys.argv[2])
    given_up = " ".join(confine([mine]))
    assert mine.read_bytes() == b"mine"
    def fails(work, kinds):
        try:
            work()
        except kinds:
            return
        raise SystemExit(f"{work} went through")
    fails(lambda: bytearray(4 << 30), MemoryError) if "memory" in given_up else None
    fails(lambda: mine.write_bytes(b"x" * 100), OSError)
    if "other files" in given_up:
        fails(lambda: other.read_bytes(), PermissionError)
        fails(lambda: list(other.parent.iterdir()), PermissionError)
        fails(lambda: os.execv("/bin/true", ["true"]), PermissionError)
        fails(lambda: (other.parent / "new").mkdir(), PermissionError)
    if "network" in given_up or "other files" in given_up:
        fails(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), timeout=5), OSError)
    print("held")
"""


def test_what_a_process_gives_up_it_can_not_do(tmp_path):
    import socket

    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "other").write_bytes(b"other")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        command = [sys.executable, "-c", textwrap.dedent(CONFINED), str(tmp_path / "mine"), str(tmp_path / "other"),
                   str(listening.getsockname()[1])]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr


def test_a_decoder_that_breaks_is_one_line(files):
    with sandbox.sandboxed():
        frames = read_frames(files["a.mp4"])
        next(frames)
        # Every process of the sandbox dies: the one that decodes, and the one that makes it.
        door = sandbox._state.door
        door.process.kill()
        door.process.wait()
        with pytest.raises(DataError, match="the sandbox can't be started"):
            list(read_frames(files["a.mp4"]))


def answer(*parts):
    stream = iter([b"".join(parts)])
    held = bytearray(next(stream))

    def read(count):
        part = bytes(held[:count])
        del held[:count]
        return part

    return read


GOOD = {"kind": "frame", "size": [4, 6], "chroma": "420", "colour": [8, "bt709", False]}
BAD = {
    "a size of no picture": {"size": [0, 6]},
    "a size of words": {"size": ["4", 6]},
    "a huge size": {"size": [10**9, 10**9]},
    "no chroma": {"chroma": "411"},
    "a list for a word": {"chroma": []},
    "a depth of 99": {"colour": [99, "bt709", False]},
    "another length": {"size": [8, 6]},
}


@pytest.mark.parametrize("case", BAD)
def test_what_a_broken_decoder_says_is_not_believed(case):
    assert wire.to_frame(GOOD, bytes(36)).size == (4, 6)
    with pytest.raises((ValueError, TypeError, DataError)):
        wire.to_frame({**GOOD, **BAD[case]}, bytes(36))


def test_a_message_is_no_longer_than_it_may_be():
    with pytest.raises(ValueError, match="too long"):
        wire.receive(answer(b"\xff" * 12), 10)
    assert wire.receive(answer(b"\x02\0\0\0" + bytes(8) + b"{"), 10) is None
    assert wire.receive(answer(b"\x02\0\0\0" + bytes(8) + b"{}"), 10) == ({}, b"")
