"""Makes the pictures that native code is checked on: compressvqa/deploy/native/content/.

    python scripts/native_content.py --photographs FOLDER --clips FOLDER

Photographs are the Kodak Lossless True Color Image Suite (released for unrestricted use), seen by a camera that moves
by two pixels a frame; clips are in the public domain or CC0. All pictures stand one after the other in one file for
each rung of a ladder: `reference`, two x264 encodes, an x265 encode, and one at half the size. The last two are kept as
x264 encodes of high quality, so that every PyAV reads them.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from compressvqa.video import ffmpeg

CONTENT = Path(__file__).resolve().parents[1] / "compressvqa" / "deploy" / "native" / "content"
WIDTH, HEIGHT, FRAMES = 160, 128, 2  # of every picture; frames of each content
# File, how many times smaller it is made, left and top of what is cut out of it then, first frame.
PHOTOGRAPHS = (
    ("kodak_03.png", 2, 40, 60), ("kodak_05.png", 2, 120, 60), ("kodak_08.png", 2, 100, 40),
    ("kodak_13.png", 2, 90, 120), ("kodak_15.png", 1, 300, 150), ("kodak_19.png", 2, 40, 120),
    ("kodak_20.png", 2, 110, 30), ("kodak_23.png", 1, 420, 90),
    ("kodak_07.png", 2, 120, 60), ("kodak_12.png", 1, 500, 40),
)  # fmt: skip
CLIPS = (
    ("mdn_crystal.mp4", 1.5, 150, 90, 100), ("mdn_frog.mp4", 2, 90, 60, 60), ("stream_water.mp4", 1.5, 80, 50, 20),
    ("vidgear_patio.mp4", 2, 80, 25, 100), ("friday_bw_film.mp4", 2, 80, 50, 60), ("mdn_elf.mp4", 1, 280, 170, 40),
)  # fmt: skip
EXACT = ("-c:v", "libx264", "-preset", "veryslow", "-g", str(FRAMES), "-pix_fmt", "yuv420p")
RUNGS = {
    "reference": ("-crf", "15"),
    "x264-30": ("-crf", "30"),
    "x264-41": ("-crf", "41"),
}
OTHERS = {
    "x265-36": (("-c:v", "libx265", "-crf", "36", "-x265-params", f"keyint={FRAMES}:log-level=error"), ""),
    "half-size": (("-c:v", "libx264", "-crf", "26", "-g", str(FRAMES)), f"scale={WIDTH // 2}:{HEIGHT // 2}"),
}


def main() -> None:
    """Reads the sources, writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    choice = parser.parse_args()
    CONTENT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts = []
        for name, smaller, left, top in PHOTOGRAPHS:
            turned = f"scale=iw/{smaller}:-2:flags=area,crop={WIDTH}:{HEIGHT}:{left}+2*n:{top}+n"
            parts.append(_raw(folder, ["-loop", "1", "-i", str((choice.photographs / name).resolve())], turned))
        for name, smaller, left, top, first in CLIPS:
            cut = f"select=gte(n\\,{first}),scale=iw/{smaller}:-2:flags=area,crop={WIDTH}:{HEIGHT}:{left}:{top}"
            parts.append(_raw(folder, ["-i", str((choice.clips / name).resolve())], cut))
        (folder / "all.yuv").write_bytes(b"".join(parts))
        given = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "all.yuv"]
        for name, quality in RUNGS.items():
            ffmpeg.run([*given, *EXACT, *quality, *_tags(), str(CONTENT / f"{name}.mp4")], folder=folder)
        for name, (coder, filters) in OTHERS.items():
            ffmpeg.run([*given, *(("-vf", filters) if filters else ()), *coder, "coded.mkv"], folder=folder)
            back = ["-vf", f"scale={WIDTH}:{HEIGHT}:flags=bicubic"]
            ffmpeg.run(
                ["-i", "coded.mkv", *back, *EXACT, "-crf", "18", *_tags(), str(CONTENT / f"{name}.mp4")], folder=folder
            )
            (folder / "coded.mkv").unlink()


def _raw(folder: Path, given: list[str], filters: str) -> bytes:
    """One content's frames as planes."""
    made = folder / "one.yuv"
    ffmpeg.run(
        [*given, "-vf", filters, "-frames:v", str(FRAMES), "-pix_fmt", "yuv420p", "-f", "rawvideo", made.name],
        folder=folder,
    )
    found = made.read_bytes()
    made.unlink()
    return found


def _tags() -> tuple[str, ...]:
    return (
        "-colorspace",
        "bt709",
        "-color_range",
        "tv",
        "-an",
        "-map_metadata",
        "-1",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-y",
    )


if __name__ == "__main__":
    main()
