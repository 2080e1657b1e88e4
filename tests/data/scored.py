"""A small data set of scored videos, made by ffmpeg: a few moving test pictures, each encoded at some qualities."""

from __future__ import annotations

from pathlib import Path

from clips import ffmpeg

from compressvqa.opinions import Item, Manifest

SOURCES = ("testsrc2", "mandelbrot", "testsrc", "cellauto")
QUALITIES = (20, 35, 48)


def write_scored(folder: Path, *, frames: int = 26, size: str = "160x112") -> Manifest:
    """Scores fall with the quality and differ a little by content; the last content is said to be held out."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, source in enumerate(SOURCES):
        picture = (
            "-f",
            "lavfi",
            "-i",
            f"{source}=size={size}:rate=25",
            "-frames:v",
            str(frames),
            "-pix_fmt",
            "yuv420p",
        )
        ffmpeg(*picture, "-c:v", "ffv1", str(folder / f"{source}.mkv"))
        for rank, quality in enumerate(QUALITIES):
            name = f"{source}_{quality}.mp4"
            ffmpeg("-i", str(folder / f"{source}.mkv"), "-c:v", "libx264", "-crf", str(quality), str(folder / name))
            split = "val" if number == len(SOURCES) - 1 else "train"
            items.append(Item(name, 4.5 - rank - 0.1 * number, f"{source}.mkv", split=split))
    return Manifest("small", folder, tuple(items))
