"""How rankdvqa-mini and PSNR score two ladders of encodes, beside VMAF 0.6.1: the points of the page "Judging".

Two pans over the photographs that come with scikit-learn, 24 frames of 320x180, each through six qualities of x264 and
of x265. It needs no data and takes a minute or two. These are 24 encodes of two contents: they show what a scatter plot
looks like, and say little of the network, whose figures are on its card. Writes benchmarks/results/ladder_scores.csv.

Run it: python benchmarks/ladder_scores.py
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import sklearn.datasets

from compressvqa.scoring import score_all

RESULTS = Path(__file__).parent / "results" / "ladder_scores.csv"
METRICS = ("vmaf_v0.6.1", "rankdvqa-mini", "psnr")
LADDER = {"libx264": (22, 28, 34, 39, 44, 49), "libx265": (24, 30, 36, 41, 46, 51)}
PAN = "zoompan=z=1.2:x=2*on:y=on:d=24:s=320x180:fps=24,format=yuv420p"


def ffmpeg(*words: str) -> None:
    """Runs ffmpeg quietly."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *words]
    subprocess.run(command, check=True)


def main() -> None:
    """Makes the encodes, scores them, writes the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for photograph in sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg")):
            reference = Path(folder) / f"{photograph.stem}.mp4"
            ffmpeg("-i", str(photograph), "-vf", PAN, "-crf", "10", str(reference))
            encodes = {}
            for encoder, qualities in LADDER.items():
                for quality in qualities:
                    file = Path(folder) / f"{photograph.stem}-{encoder}-{quality}.mp4"
                    quiet = ["-x265-params", "log-level=none"] if encoder == "libx265" else []
                    ffmpeg("-i", str(reference), "-c:v", encoder, "-crf", str(quality), *quiet, str(file))
                    encodes[file] = (photograph.stem, encoder.removeprefix("lib"), quality)
            found = score_all(reference, list(encodes), list(METRICS))
            for number, (content, encoder, quality) in enumerate(encodes.values()):
                scores = [found[number * len(METRICS) + place].score for place in range(len(METRICS))]
                rows.append([content, encoder, quality, *(f"{score:.4f}" for score in scores)])
    with RESULTS.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["content", "encoder", "crf", *METRICS])
        writer.writerows(rows)
    print(RESULTS.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
