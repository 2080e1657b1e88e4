"""The process behind `compressvqa.video.sandbox`: it makes a copy of itself for each file, which decodes and ends.

Started as ``python -m compressvqa.video.sandbox_child SOCKET`` by the sandbox, and by nobody else.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from compressvqa.errors import CompressVQAError, DataError
from compressvqa.untrusted import is_folder
from compressvqa.video import wire
from compressvqa.video.clip import Clip
from compressvqa.video.confine import confine
from compressvqa.video.raw import RawFormat
from compressvqa.video.read import probe, read_frames


def main() -> None:
    """Serves requests until the socket is closed."""
    Image.init()  # what is imported now is there for every copy
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that ended leave nothing behind
    with socket.socket(fileno=int(sys.argv[1])) as door:
        while True:
            first, files, _, _ = socket.recv_fds(door, 1 << 16, 1)
            if len(first) < 4 or not files:
                return
            length, text = int.from_bytes(first[:4], "little"), first[4:]
            while len(text) < length:
                more = door.recv(length - len(text))
                if not more:
                    return
                text += more
            process = os.fork()
            if process == 0:
                door.close()
                _serve(json.loads(text), files[0])
                os._exit(0)
            os.close(files[0])
            door.sendall(process.to_bytes(4, "little"))


def _serve(request: dict[str, Any], answer: int) -> None:
    with os.fdopen(answer, "wb", buffering=1 << 20) as out:
        try:
            _answer(request, out)
        except DataError as error:
            wire.send(out, wire.error_header(error))
        except CompressVQAError as error:
            wire.send(out, wire.error_header(DataError(error.what, where=error.where, hint=error.hint)))
        except MemoryError:
            wire.send(out, wire.error_header(DataError("asks for more memory than the sandbox has")))
        except BrokenPipeError:  # whoever asked has seen enough
            os._exit(0)


def _answer(request: dict[str, Any], out: Any) -> None:
    path = Path(os.fsdecode(bytes.fromhex(request["path"])))
    given_up = confine([path] if is_folder(path) or path.exists() else [path.parent])
    if request["ask"] == "limits":
        wire.send(out, {"kind": "limits", "given_up": given_up})
        return
    raw = request["raw"]
    if raw is not None:
        raw = RawFormat(**{**raw, "frame_rate": None if raw["frame_rate"] is None else Fraction(raw["frame_rate"])})
    rate = None if request["frame_rate"] is None else Fraction(request["frame_rate"])
    clip = Clip(Path(os.fsdecode(bytes.fromhex(request["given"]))), raw, request["stream"], rate)
    if request["ask"] == "info":
        wire.send(out, *wire.info_message(probe(clip, count=request["count"], whole=False)))
    else:
        for planes in read_frames(clip, start=request["start"], stop=request["stop"], threads=request["threads"]):
            wire.send(out, wire.frame_header(planes), planes.to_bytes())
    wire.send(out, {"kind": "end"})


if __name__ == "__main__":
    main()
