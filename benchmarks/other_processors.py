"""Native code on a processor that this machine does not have: compiled for ARM (NEON), run in an emulator, compared.

Zig's compiler makes a program for 64-bit ARM out of the kernel's sources, and an emulator (Unicorn) runs it
on blocks of frames. Its scores are held against those of this machine's instruction sets and of eager PyTorch: exact
numbers (float32) and whole ones. The same program is made for plain C++ too, so that what the emulator may get wrong
would show there as well. Says nothing of speed: emulated time is no time.

    pip install ziglang unicorn
    python benchmarks/other_processors.py

Prints a table and writes it to benchmarks/results/other_processors.{md,json}.
"""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from emulated.arm import Machine

import compressvqa as cv
from compressvqa.deploy.native import Kernel, calibrate
from compressvqa.deploy.native.build import COMMON, HERE, SETS, processor_flags
from compressvqa.deploy.native.fold import fold
from compressvqa.deploy.native.pack import Precision, packed
from compressvqa.deploy.native.planes import pictures_of
from compressvqa.files import write_json, write_text
from compressvqa.video.frames import Chroma, Colour, Planes, plane_shapes

RESULTS = Path(__file__).parent / "results"
PROGRAM = Path(__file__).parent / "emulated" / "score.cpp"
TARGET = "aarch64-linux-musl"
STRIP = 64
MOST = 1e-4  # of a raw score: what a sum in another order may change
# Where the kernel is compiled only, as a library: no emulator of ours has these systems.
COMPILED = ("aarch64-linux-gnu", "aarch64-macos", "x86_64-macos")
BUILDS = {"neon": SETS["neon"][1], "portable": SETS["portable"][1]}
PRECISIONS: tuple[Precision, ...] = ("float32", "int16", "mixed", "int8")
# Odd sizes, short blocks, 10 bit, every kind of chroma.
BLOCKS: tuple[tuple[int, int, int, Chroma, Colour], ...] = (
    (97, 131, 3, "420", Colour()),
    (96, 100, 2, "422", Colour(10)),
    (101, 98, 1, "444", Colour(12, "bt2020")),
    (98, 97, 2, "400", Colour(8, "bt601", True)),
)


def block(height: int, width: int, frames: int, chroma: Chroma, colour: Colour, noise: float) -> list[Planes]:
    """Coloured squares that move, and noise on them."""
    dice, other = np.random.default_rng(3), np.random.default_rng(4)
    top = 2**colour.bitdepth - 1
    kind = np.uint8 if colour.bitdepth <= 8 else np.uint16
    bases = [
        np.kron(dice.random((rows // 8 + 1, columns // 8 + 1)), np.ones((8, 8)))[:rows, :columns]
        for rows, columns in plane_shapes(height, width, chroma)
    ]
    made = []
    for number in range(frames):
        moved = [np.roll(base, number, axis=1) for base in bases]
        parts = [np.clip(top * (p + noise * (other.random(p.shape) - 0.5)), 0, top).astype(kind) for p in moved]
        made.append(Planes(parts[0], *(parts[1:] or (None, None)), chroma, colour))
    return made


def told(words: np.ndarray, sides: tuple[list[Planes], list[Planes]]) -> bytes:
    """What score.cpp reads."""
    out = io.BytesIO()
    out.write(struct.pack("<i", len(words)) + words.tobytes())
    out.write(struct.pack("<4i", *sides[0][0].size, STRIP, len(sides[0])))
    for side in sides:
        pictures, _kept = pictures_of(side)
        for picture, planes in zip(pictures, side, strict=True):
            out.write(bytes(picture.format))
            for part in (planes.y, planes.u, planes.v):
                if part is not None:
                    rows = np.ascontiguousarray(part)
                    out.write(struct.pack("<2i", rows.nbytes, rows.strides[0]))
                    out.write(rows.tobytes() + bytes(-rows.nbytes % 4))
    return out.getvalue()


def compiled(flags: tuple[str, ...], folder: Path, name: str) -> Path:
    """The program, for the other processor."""
    kept = [flag for flag in COMMON if flag not in ("-fPIC", "-shared")]
    line = ["-m", "ziglang", "c++", "-target", TARGET, "-static", *kept, *flags, f"-I{HERE}", str(PROGRAM)]
    subprocess.run([sys.executable, *line, "-o", str(folder / name)], check=True)
    return folder / name


def compiles(target: str, folder: Path) -> str:
    """Whether the kernel can be compiled for a system, with the instructions of its processor; else what is wrong."""
    flags = SETS["neon" if target.startswith("aarch64") else "avx2"][1]
    line = ["-m", "ziglang", "c++", "-target", target, *COMMON, *flags, str(HERE / "rankdvqa.cpp")]
    done = subprocess.run(
        [sys.executable, *line, "-o", str(folder / target)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr[:500]


def emulated(program: Path, given: bytes) -> tuple[str, float]:
    """What it prints: the instruction set that it was compiled for, and the score."""
    code, said = Machine(program, given).run()
    assert code == 0, f"the program ends with {code}"
    name, score = said.decode().split()
    return name, float(score)


def eager(model: torch.nn.Module, sides: tuple[list[Planes], list[Planes]]) -> float:
    """PyTorch's score."""
    reference, distorted = (torch.stack([planes.to_rgb() for planes in side])[None] for side in sides)
    with torch.inference_mode():
        return float(model(reference, distorted))


def main() -> None:
    """The table."""
    lacking = [name for name in ("ziglang", "unicorn") if importlib.util.find_spec(name) is None]
    if lacking:
        print(f"needs {' and '.join(lacking)}: pip install ziglang unicorn")
        return
    own = [name for name, (needed, _) in SETS.items() if needed <= processor_flags()]
    model: Any = cv.create_model("rankdvqa-pico", weights="pretrained").eval()
    ranges, rows = calibrate(model), []
    with tempfile.TemporaryDirectory() as place:
        systems = {target: compiles(target, Path(place)) for target in COMPILED}
        programs = {name: compiled(flags, Path(place), name) for name, flags in BUILDS.items()}
        for precision in PRECISIONS:
            words = packed(fold(model), precision, [] if precision == "float32" else list(ranges))
            here = {name: Kernel(model, precision=precision, ranges=ranges, instructions=name) for name in own}
            for height, width, frames, chroma, colour in BLOCKS:
                for noise in (0.1, 0.5):
                    sides = tuple(block(height, width, frames, chroma, colour, n) for n in (0.0, noise))
                    said = f"{frames} x {width}x{height}, {chroma}, {colour.bitdepth} bit, noise {noise}"
                    row: dict[str, Any] = {"precision": precision, "block": said, "eager": eager(model, sides)}
                    row["scores"] = {name: kernel.score(*sides) for name, kernel in here.items()}
                    for name, program in programs.items():
                        said, row["scores"][f"arm {name}"] = emulated(program, told(words, sides))
                        assert said == name, "another instruction set was compiled"
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    write_json(RESULTS / "other_processors.json", {"target": TARGET, "compiled": systems, "rows": rows})
    write_text(RESULTS / "other_processors.md", page(rows, own, systems))
    print(page(rows, own, systems))
    apart = [row for row in rows if abs(row["scores"]["arm neon"] - row["scores"][own[0]]) > MOST]
    sys.exit(f"{len(apart)} blocks differ by more than {MOST}" if apart or any(systems.values()) else 0)


def page(rows: list[dict[str, Any]], own: list[str], systems: dict[str, str]) -> str:
    """The largest differences of each precision, and where it can be compiled."""
    text = ["# Native code on ARM (NEON), emulated", "", "| precision | blocks | NEON from this machine's "
            f"`{own[0]}` | NEON from plain C++ on ARM | NEON from eager |", "|---|---:|---:|---:|---:|"]  # fmt: skip
    for precision in PRECISIONS:
        of = [row for row in rows if row["precision"] == precision]
        neon = np.array([row["scores"]["arm neon"] for row in of])
        others = ([row["scores"][own[0]] for row in of], [row["scores"]["arm portable"] for row in of],
                  [row["eager"] for row in of])  # fmt: skip
        cells = [f"{np.abs(neon - np.array(other)).max():.1e}" for other in others]
        text.append(f"| {precision} | {len(of)} | {' | '.join(cells)} |")
    spread = np.ptp([row["eager"] for row in rows])
    where = ", ".join(
        f"{target} ({'no: ' + said.splitlines()[0] if said else 'yes'})" for target, said in systems.items()
    )
    text += ["", f"Compiled as a library by the same compiler, not run: {where}."]
    text += ["", f"The largest difference between raw scores of `rankdvqa-pico`, which spread over {spread:.1f} here.",
             f"Compiled by Zig's clang for {TARGET}, run in Unicorn: what it computes, not how fast.", ""]  # fmt: skip
    return "\n".join(text)


if __name__ == "__main__":
    main()
