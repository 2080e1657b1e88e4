"""FFmpeg's messages: reading goes on where another library has them sent to Python."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from clips import make
from running import script

# Decoders with threads are let go in the middle of damaged frames, of which they have much to say.
READ = """
import faulthandler, itertools, sys
import av, av.logging
from compressvqa.errors import DataError
from compressvqa.video import read_frames

faulthandler.dump_traceback_later(100, exit=True)  # a decoder and the interpreter that wait for each other
refused = 0
for count in range(40):
    av.logging.set_level(av.logging.ERROR)
    frames = read_frames(sys.argv[1], threads=4)
    try:
        for _ in itertools.islice(frames, 1 + count % 8):
            pass
    except DataError:
        refused += 1
    frames.close()
    del frames
print(refused)
"""


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make(
        tmp_path_factory.mktemp("messages") / "clip.mp4", "-vf", "noise=alls=20", "-c:v", "libx264", "-preset",
        "ultrafast", "-g", "50", size="640x360", frames=30,
    )  # fmt: skip
    content, dice = bytearray(path.read_bytes()), random.Random(0)
    for _ in range(600):
        content[dice.randrange(len(content) // 8, len(content) - 3000)] = dice.randrange(256)
    path.write_bytes(content)
    return path


def test_decoding_ends_where_messages_are_turned_on(damaged: Path, tmp_path: Path) -> None:
    done = script(READ, str(damaged), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 0, "no damage was met: nothing had a message"
