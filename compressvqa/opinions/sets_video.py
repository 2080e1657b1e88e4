"""Data sets of video with a layout of their own: LIVE-VQA, CSIQ, Waterloo IVC 4K, KoNViD-1k, LIVE-VQC, LSVQ."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from compressvqa.errors import DataError
from compressvqa.opinions import cells
from compressvqa.opinions.generic import read_layout
from compressvqa.opinions.label_lines import read_label_lines
from compressvqa.opinions.lookup import Lookup
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.published import Published
from compressvqa.opinions.table import Table, read_rows, read_table, read_text
from compressvqa.registry import mos_sets

# Frames a second of CSIQ's sources, which their names do not tell.
CSIQ_RATES = {
    "chipmunks": 24, "kimono": 24, "parkscene": 24, "carving": 25, "flowervase": 30, "keiba": 30, "timelapse": 30,
    "basketballdrive": 50, "cactus": 50, "partyscene": 50, "bqmall": 60, "bqterrace": 60,
}  # fmt: skip


# --- lists of names and scores, line by line --------------------------------------------------------------------


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The words of each line that is not empty, with its number."""
    text = read_text(path)
    return [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _names_and_scores(lookup: Lookup, names: str, scores: str) -> list[tuple[str, float, float | None]] | None:
    """Two files of equal length: names, and scores with their standard deviations."""
    name_file, score_file = lookup.one_of(names), lookup.one_of(scores)
    if name_file is None or score_file is None:
        return None
    listed, scored = _lines(name_file), _lines(score_file)
    if len(listed) != len(scored):
        raise DataError(f"lists {len(listed)} names, {score_file.name} {len(scored)} scores", where=name_file)
    found = []
    for (_, words), (line, values) in zip(listed, scored, strict=True):
        std = cells.number_at(values[1], f"{score_file}:{line}") if len(values) > 1 else None
        found.append((words[0], cells.number_at(values[0], f"{score_file}:{line}"), std))
    return found


@mos_sets.register(
    "live-vqa",
    published=Published(
        "LIVE-VQA", "video", True, "DMOS", False, None, 150, 10,
        "Laboratory for Image and Video Engineering, University of Texas at Austin", "For research; on request",
        "K. Seshadrinathan et al., Study of subjective and objective quality assessment of video, "
        "IEEE Trans. Image Process. 19, 2010",
        "live_video_quality_seqs.txt, live_video_quality_data.txt (score, std) and the .yuv files (768x432)",
        "both text files and their use in DVQA's repository; the folders of the videos were not seen, any will do",
    ),
)  # fmt: skip
def live_vqa(folder: Path) -> Manifest:
    """LIVE Video Quality Database: 10 sources, MPEG-2, H.264, and H.264 after lossy networks; 768x432."""
    files = "live_video_quality_seqs.txt, live_video_quality_data.txt"
    return read_layout(folder, "live-vqa", _live_vqa, files=files)


def _live_vqa(lookup: Lookup) -> Manifest | None:
    rows = _names_and_scores(lookup, "live_video_quality_seqs.txt", "live_video_quality_data.txt")
    if rows is None:
        return None
    items = []
    for name, score, std in rows:
        match = re.fullmatch(r"([a-z]{2})0*(\d+)_(\d+)fps\.yuv", name)
        if match is None:
            raise DataError(f"{name!r} is not named as LIVE's videos are (pa2_25fps.yuv)", where=lookup.folder)
        scene, number, rate = match.groups()
        items.append(
            Item(
                _live_file(lookup, scene, int(number), rate), score, _live_file(lookup, scene, 1, rate), std=std,
                content=scene, fps=cells.frame_rate(rate), width=768, height=432,
            )
        )  # fmt: skip
    return Manifest("live-vqa", lookup.folder, tuple(items), label="DMOS", higher_is_better=False)


def _live_file(lookup: Lookup, scene: str, number: int, rate: str) -> str:
    """pa2_25fps.yuv, which some copies call pa02_25fps.yuv."""
    for name in (f"{scene}{number}_{rate}fps.yuv", f"{scene}{number:02d}_{rate}fps.yuv"):
        path = lookup.find(name)
        if (lookup.folder / path).is_file():
            return path
    return f"{scene}{number}_{rate}fps.yuv"


@mos_sets.register(
    "csiq-video",
    published=Published(
        "CSIQ Video", "video", True, "DMOS", False, (0, 100), 216, 12,
        "Computational Perception and Image Quality lab (Shizuoka University, formerly Oklahoma State)",
        "For research; see the terms on its page",
        "P. V. Vu and D. M. Chandler, ViS3: an algorithm for video quality assessment via analysis of spatial and "
        "spatiotemporal slices, J. Electronic Imaging 23, 2014",
        "video_subj_ratings.txt (name, score, std), or csiq_video_quality_seqs.txt and csiq_video_quality_data.txt; "
        "the .yuv files (832x480)",
        "the second pair in DVQA's repository, the first by its use in public code",
    ),
)  # fmt: skip
def csiq_video(folder: Path) -> Manifest:
    """CSIQ Video Quality Database: 12 sources with six kinds of distortion at three levels; 832x480."""
    files = "video_subj_ratings.txt, csiq_video_quality_seqs.txt with csiq_video_quality_data.txt"
    return read_layout(folder, "csiq-video", _csiq_video, files=files)


def _csiq_video(lookup: Lookup) -> Manifest | None:
    rows = _names_and_scores(lookup, "csiq_video_quality_seqs.txt", "csiq_video_quality_data.txt")
    if rows is None and (path := lookup.one_of("video_subj_ratings.txt")) is not None:
        # A first line without a video's name is a heading.
        lines = [(line, words) for line, words in _lines(path) if words[0].lower().endswith(".yuv")]
        rows = [
            (
                words[0],
                cells.number_at(words[1], f"{path}:{line}"),
                cells.number_at(words[2], f"{path}:{line}") if len(words) > 2 else None,
            )
            for line, words in lines
            if len(words) > 1
        ]
    if not rows:
        return None
    items = []
    for name, score, std in rows:
        scene = name.split("_")[0]
        reference = re.sub(r"_dst_\d+(?=\.)", "_ref", name)
        if reference == name:
            raise DataError(f"{name!r} is not named as CSIQ's videos are (BQMall_832x480_dst_01.yuv)",
                            where=lookup.folder)  # fmt: skip
        width, height = cells.said_size(name) or (832, 480)
        rate = CSIQ_RATES.get(scene.casefold())
        items.append(
            Item(
                lookup.find(name), score, lookup.find(reference), std=std, content=scene,
                fps=None if rate is None else cells.frame_rate(str(rate)), width=width, height=height,
            )
        )  # fmt: skip
    return Manifest("csiq-video", lookup.folder, tuple(items), label="DMOS", higher_is_better=False, scale=(0, 100))


# --- Waterloo IVC 4K --------------------------------------------------------------------------------------------


@mos_sets.register(
    "waterloo-ivc-4k",
    published=Published(
        "Waterloo IVC 4K", "video", True, "MOS", True, (0, 100), 1200, 20,
        "Image and Vision Computing Laboratory, University of Waterloo",
        "Free use with the copyright notice, the laboratory to be named",
        "Z. Li et al., AVC, HEVC, VP9, AVS2 or AV1? A comparative study of state-of-the-art video encoders on 4K "
        "videos, ICIAR 2019",
        "scores.txt (encoder, number, size, level, score), files named HEVC_1_540p_1.*, sources in Sources/ with their "
        "number first",
        "scores.txt as public readers describe it; the names of the files were not seen: where they differ, a manifest",
    ),
)  # fmt: skip
def waterloo_ivc_4k(folder: Path) -> Manifest:
    """Waterloo IVC 4K: 20 sources, five encoders, 540p, 1080p and 2160p, four levels each."""
    return read_layout(folder, "waterloo-ivc-4k", _waterloo, files="scores.txt")


def _waterloo(lookup: Lookup) -> Manifest | None:
    path = lookup.one_of("scores.txt")
    if path is None:
        return None
    items = []
    for row in read_rows(path, read_text(path), ","):
        words = [cell.strip() for cell in row.cells]
        if len(words) != 5:
            raise DataError(f"has {len(words)} of 5 cells: encoder, number, size, level, score",
                            where=f"{path}:{row.line}")  # fmt: skip
        encoder, number, size, level = words[:4]
        score = cells.number_at(words[4], f"{path}:{row.line}")
        distorted = lookup.find(f"{encoder}_{number}_{size}_{level}", ("clips",), stem=True)
        items.append(
            Item(
                distorted, score, _waterloo_source(lookup, number), content=f"source {number}",
                ladder=f"{number} {encoder} {size}",
            )
        )  # fmt: skip
    if not items:
        raise DataError("holds no score", where=path)
    return Manifest("waterloo-ivc-4k", lookup.folder, tuple(_with_rungs(items)), scale=(0, 100))


def _waterloo_source(lookup: Lookup, number: str) -> str:
    pattern = re.compile(rf"(?:source_?)?0*{re.escape(number)}(?![0-9])", re.IGNORECASE)
    found = [
        path
        for path in lookup.files
        if "source" in path.casefold().rpartition("/")[0] and pattern.match(PurePosixPath(path).name)
    ]
    return found[0] if len(found) == 1 else f"Sources/{number}"


def _with_rungs(items: list[Item]) -> list[Item]:
    """Levels count from the lowest rate up, so the last of a ladder is its best, rung 0."""
    sizes: dict[str | None, int] = {}
    for item in items:
        sizes[item.ladder] = sizes.get(item.ladder, 0) + 1
    ranked = []
    for item in items:
        sizes[item.ladder] -= 1
        ranked.append(replace(item, rung=sizes[item.ladder]))
    return ranked


# --- no-reference sets ------------------------------------------------------------------------------------------


@mos_sets.register(
    "konvid-1k",
    published=Published(
        "KoNViD-1k", "video", False, "MOS", True, (1, 5), 1200, None,
        "Multimedia Signal Processing group, University of Konstanz", "For research; clips under Creative Commons",
        "V. Hosu et al., The Konstanz natural video database (KoNViD-1k), QoMEX 2017",
        "KoNViD_1k_mos.csv (flickr_id, mos) or KoNViD_1k_attributes.csv (file_name, MOS), and KoNViD_1k_videos/",
        "columns and folder by their use in public code",
    ),
)  # fmt: skip
def konvid_1k(folder: Path) -> Manifest:
    """KoNViD-1k: 1200 clips of 8 s as people filmed them, judged by a crowd."""
    return read_layout(folder, "konvid-1k", _konvid, files="KoNViD_1k_mos.csv, KoNViD_1k_attributes.csv")


def _konvid(lookup: Lookup) -> Manifest | None:
    path = lookup.one_of("KoNViD_1k_mos.csv", "KoNViD_1k_attributes.csv")
    if path is None:
        return None
    table = read_table(path)
    column = columns_of(table)
    score = column("mos")
    name, by_id = (column("file_name"), False) if "file_name" in folded(table) else (column("flickr_id"), True)
    std = next((column(key) for key in ("sd", "std", "mos_std", "sd_mos") if key in folded(table)), None)
    items = []
    for row in table.rows:
        text = row.cells[name].strip()
        file = f"{text.removesuffix('.0')}.mp4" if by_id and not text.endswith(".mp4") else text
        distorted = lookup.find(file, ("KoNViD_1k_videos",))
        if by_id and not (lookup.folder / distorted).is_file():
            # The first release keeps the size and length in the name.
            starts = f"{file.removesuffix('.mp4')}_"
            long = [path for path in lookup.files if path.rpartition("/")[2].startswith(starts)]
            distorted = long[0] if len(long) == 1 else distorted
        value = row.cells[std].strip() if std is not None else ""
        spread = cells.number_at(value, f"{path}:{row.line}") if value else None
        items.append(Item(distorted, cells.number_at(row.cells[score], f"{path}:{row.line}"), std=spread))
    return _made("konvid-1k", path, items, lookup, scale=(1, 5))


@mos_sets.register(
    "live-vqc",
    published=Published(
        "LIVE-VQC", "video", False, "MOS", True, (0, 100), 585, None,
        "Laboratory for Image and Video Engineering, University of Texas at Austin", "For research; on request",
        "Z. Sinno and A. C. Bovik, Large-scale study of perceptual video quality, IEEE Trans. Image Process. 28, 2019",
        "data.mat (video_list, mos) and Video/", "variables and folder by their use in public code",
    ),
)  # fmt: skip
def live_vqc(folder: Path) -> Manifest:
    """LIVE Video Quality Challenge: 585 videos from phones, judged by a crowd."""
    return read_layout(folder, "live-vqc", _live_vqc, files="data.mat")


def _live_vqc(lookup: Lookup) -> Manifest | None:
    path = lookup.one_of("data.mat")
    if path is None:
        return None
    import numpy as np
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path)
        names = [str(np.asarray(cell).ravel()[0]) for cell in np.asarray(content["video_list"]).ravel()]
        scores = [float(score) for score in np.asarray(content["mos"]).ravel()]
    except (ValueError, TypeError, NotImplementedError, OSError, IndexError) as error:
        raise DataError(f"is no MATLAB file of LIVE-VQC ({error})", where=path) from error
    except KeyError as error:
        raise DataError(f"has no variable {error}", where=path) from error
    if len(names) != len(scores):
        raise DataError(f"has {len(names)} names and {len(scores)} scores", where=path)
    items = []
    for number, (name, score) in enumerate(zip(names, scores, strict=True)):
        checked = cells.number_at(score, f"{path}:{number}")
        items.append(Item(lookup.find(_inside(name, path), ("Video",)), checked))
    return _made("live-vqc", path, items, lookup, scale=(0, 100))


@mos_sets.register(
    "lsvq",
    published=Published(
        "LSVQ", "video", False, "MOS", True, (0, 100), None, None,
        "PatchVQ repository (request form)", "For research; clips under Creative Commons",
        "Z. Ying et al., Patch-VQ: patching up the video quality problem, CVPR 2021",
        "labels_train_test.csv (name, mos, is_test) and labels_test_1080p.csv, or train_labels.txt, test_labels.txt "
        "and labels_1080p.txt of FAST-VQA; videos below the folder. Splits train, test, test-1080p",
        "columns by their use in public code; about 39,000 videos",
    ),
)  # fmt: skip
def lsvq(folder: Path) -> Manifest:
    """LSVQ: about 39,000 videos as people filmed them; splits train, test and test-1080p."""
    files = "labels_train_test.csv, labels_test_1080p.csv, train_labels.txt, test_labels.txt, labels_1080p.txt"
    return read_layout(folder, "lsvq", _lsvq, files=files)


def _lsvq(lookup: Lookup) -> Manifest | None:
    items: list[Item] = []
    for name, split in (("labels_train_test.csv", None), ("labels_test_1080p.csv", "test-1080p"),
                        ("LSVQ_whole_train.csv", "train"), ("LSVQ_whole_test.csv", "test"),
                        ("LSVQ_whole_test_1080p.csv", "test-1080p")):  # fmt: skip
        if (path := lookup.one_of(name)) is not None:
            items += _lsvq_table(path, split, lookup)
    if not items:
        for name, split in (("train_labels.txt", "train"), ("test_labels.txt", "test"),
                            ("labels_1080p.txt", "test-1080p")):  # fmt: skip
            if (path := lookup.one_of(name)) is not None:
                items += read_label_lines(path, lookup.folder, split=split).items
    if not items:
        return None
    return Manifest("lsvq", lookup.folder, tuple(items), scale=(0, 100))


def _lsvq_table(path: Path, split: str | None, lookup: Lookup) -> list[Item]:
    table = read_table(path)
    column = columns_of(table)
    name, score = column("name"), column("mos" if "mos" in folded(table) else "mos_vid")
    test = column("is_test") if split is None else None
    items = []
    for row in table.rows:
        stem = _inside(row.cells[name].strip(), path)
        part = split
        if test is not None:
            part = "test" if row.cells[test].strip().casefold() in ("true", "1", "1.0", "yes") else "train"
        file = stem if stem.lower().endswith(".mp4") else f"{stem}.mp4"
        items.append(Item(lookup.find(file), cells.number_at(row.cells[score], f"{path}:{row.line}"), split=part))
    return items


# --- small helps ------------------------------------------------------------------------------------------------


def folded(table: Table) -> list[str]:
    """The names of a table's columns in lower case."""
    return [name.casefold() for name in table.header]


def columns_of(table: Table) -> Any:
    """A function that gives the place of a column by its name, without regard to case.

    Raises:
        DataError: (from the function) the table has no such column.
    """
    names = folded(table)

    def column(name: str) -> int:
        if name.casefold() not in names:
            raise DataError(f"has no column {name!r}, but {', '.join(table.header)[:120]}", where=f"{table.path}:1")
        return names.index(name.casefold())

    return column


def _inside(name: str, path: Path) -> str:
    try:
        return cells.inside(name)
    except ValueError as error:
        raise DataError(str(error), where=path) from error


def _made(name: str, path: Path, items: list[Item], lookup: Lookup, **facts: Any) -> Manifest:
    if not items:
        raise DataError("holds no score", where=path)
    return Manifest(name, lookup.folder, tuple(items), **facts)
