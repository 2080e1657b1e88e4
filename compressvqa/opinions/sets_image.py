"""Data sets of images: TID2013, KADID-10k, KonIQ-10k, CSIQ, PIPAL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from compressvqa.errors import DataError, MissingExtraError
from compressvqa.opinions import cells
from compressvqa.opinions.generic import read_layout
from compressvqa.opinions.lookup import Lookup
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.published import Published
from compressvqa.opinions.table import read_table, read_text
from compressvqa.registry import mos_sets


def _found(lookup: Lookup, name: str, where: object, *prefer: str) -> str:
    try:
        return lookup.find(cells.inside(name), prefer)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(str(error), where=where) from error


@mos_sets.register(
    "tid2013",
    published=Published(
        "TID2013", "image", True, "MOS", True, (0, 9), 3000, 25,
        "N. Ponomarenko's page", "For research",
        "N. Ponomarenko et al., Image database TID2013: peculiarities, results and perspectives, "
        "Signal Process. Image Commun. 30, 2015",
        "mos_with_names.txt, mos_std.txt, distorted_images/, reference_images/ (any case of the names)",
        "files and folders in pyiqa's preparation script",
    ),
)  # fmt: skip
def tid2013(folder: Path) -> Manifest:
    """TID2013: 25 images, 24 distortions at 5 levels; names are found whatever their case."""
    return read_layout(folder, "tid2013", _tid2013, files="mos_with_names.txt")


def _tid2013(lookup: Lookup) -> Manifest | None:
    path = lookup.one_of("mos_with_names.txt")
    if path is None:
        return None
    rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
    std_file = lookup.one_of("mos_std.txt")
    spreads = None if std_file is None else read_text(std_file).split()
    if spreads is not None and len(spreads) != len(rows):
        raise DataError(f"holds {len(spreads)} values, {path.name} {len(rows)} scores", where=std_file)
    items = []
    for line, words in enumerate(rows, 1):
        match = re.fullmatch(r"[iI](\d\d)_(\d\d)_(\d)\.bmp", words[-1], re.IGNORECASE)
        if len(words) != 2 or match is None:
            raise DataError("a line must be a score and a name such as I01_01_1.bmp", where=f"{path}:{line}")
        std = None if spreads is None else cells.number_at(spreads[line - 1], f"{std_file}:{line}")
        reference = _found(lookup, f"I{match[1]}.BMP", path, "reference_images")
        distorted = _found(lookup, words[1], path, "distorted_images")
        items.append(
            Item(distorted, cells.number_at(words[0], f"{path}:{line}"), reference, std=std, content=f"I{match[1]}")
        )
    notes = () if std_file else ("mos_std.txt is missing: no standard deviations",)
    return Manifest("tid2013", lookup.folder, tuple(items), scale=(0, 9), notes=notes)


@mos_sets.register(
    "kadid-10k",
    published=Published(
        "KADID-10k", "image", True, "DMOS", True, (1, 5), 10125, 81,
        "Multimedia Signal Processing group, University of Konstanz", "For research; sources free to use (Pixabay)",
        "H. Lin, V. Hosu and D. Saupe, KADID-10k: a large-scale artificially distorted IQA database, QoMEX 2019",
        "dmos.csv (dist_img, ref_img, dmos, var) and images/. Its dmos is the better the higher; its var is the "
        "standard deviation of the 30 ratings",
        "columns in public code; what var is follows from the ratings being whole numbers",
    ),
)  # fmt: skip
def kadid_10k(folder: Path) -> Manifest:
    """KADID-10k: 81 images, 25 distortions at 5 levels; what it calls DMOS is 1 (bad) to 5 (good)."""
    return read_layout(folder, "kadid-10k", _kadid, files="dmos.csv")


def _kadid(lookup: Lookup) -> Manifest | None:
    path = lookup.one_of("dmos.csv")
    if path is None:
        return None
    items = []
    for row, where in _dictionaries(path, ("dist_img", "ref_img", "dmos")):
        # "var" is the standard deviation: 4.57 of 30 whole ratings has a variance of .246, and .496 in this column.
        spread = row.get("var", "").strip()
        distorted = _found(lookup, row["dist_img"].strip(), where, "images")
        reference = _found(lookup, row["ref_img"].strip(), where, "images")
        std = cells.number_at(spread, where) if spread else None
        content = PurePosixPath(reference).stem
        items.append(Item(distorted, cells.number_at(row["dmos"], where), reference, std=std, content=content))
    return Manifest("kadid-10k", lookup.folder, tuple(items), label="DMOS", higher_is_better=True, scale=(1, 5))


@mos_sets.register(
    "koniq-10k",
    published=Published(
        "KonIQ-10k", "image", False, "MOS", True, (1, 5), 10073, None,
        "Multimedia Signal Processing group, University of Konstanz", "For research; images under Creative Commons",
        "V. Hosu et al., KonIQ-10k: an ecologically valid database for deep learning of blind image quality "
        "assessment, IEEE Trans. Image Process. 29, 2020",
        "koniq10k_distributions_sets.csv (with the official splits) or koniq10k_scores_and_distributions.csv; "
        "1024x768/, else 512x384/",
        "columns and folders in pyiqa's preparation script and other public code",
    ),
)  # fmt: skip
def koniq_10k(folder: Path) -> Manifest:
    """KonIQ-10k: 10,073 photographs judged by a crowd; the scores are the means of the ratings, 1 to 5."""
    files = "koniq10k_distributions_sets.csv, koniq10k_scores_and_distributions.csv"
    return read_layout(folder, "koniq-10k", _koniq, files=files)


def _koniq(lookup: Lookup) -> Manifest | None:
    sets = lookup.one_of("koniq10k_distributions_sets.csv")
    path = sets or lookup.one_of("koniq10k_scores_and_distributions.csv")
    if path is None:
        return None
    names = {"training": "train", "validation": "val"}
    items = []
    for row, where in _dictionaries(path, ("image_name", "c1", "c2", "c3", "c4", "c5")):
        # The column MOS is on 1..5 in one of the files and on 1..100 in the other: the counts of the five grades give
        # mean and standard deviation alike for both.
        counts = [cells.number_at(row[f"c{grade}"], where) for grade in range(1, 6)]
        mean, std, total = _moments(counts, where)
        split = row.get("set", "").strip()
        file = _found(lookup, row["image_name"].strip(), where, "1024x768", "512x384")
        items.append(Item(file, mean, std=std, ratings=total, split=names.get(split, split) or None))
    notes: tuple[str, ...] = ("scores are the means of the five grades' counts, 1 to 5",)
    if sets is None:
        notes += ("koniq10k_distributions_sets.csv is missing: no official splits",)
    return Manifest("koniq-10k", lookup.folder, tuple(items), scale=(1, 5), notes=notes)


def _moments(counts: list[float], where: str) -> tuple[float, float | None, int]:
    total = sum(counts)
    if total < 1 or min(counts) < 0 or any(count != int(count) for count in counts):
        raise DataError("the counts c1 to c5 are no counts of ratings", where=where)
    mean = sum(grade * count for grade, count in enumerate(counts, 1)) / total
    squares = sum(count * (grade - mean) ** 2 for grade, count in enumerate(counts, 1))
    return mean, (squares / (total - 1)) ** 0.5 if total > 1 else None, int(total)


# What CSIQ's sheet calls a distortion, and what its files are called.
CSIQ_TYPES = {"noise": "AWGN", "awgn": "AWGN", "blur": "BLUR", "contrast": "contrast", "fnoise": "fnoise",
              "jpeg": "JPEG", "jpeg 2000": "jpeg2000", "jpeg2000": "jpeg2000"}  # fmt: skip


@mos_sets.register(
    "csiq",
    published=Published(
        "CSIQ", "image", True, "DMOS", False, (0, 1), 866, 30,
        "Computational Perception and Image Quality lab (Shizuoka University, formerly Oklahoma State)", "For research",
        "E. C. Larson and D. M. Chandler, Most apparent distortion: full-reference image quality assessment and the "
        "role of strategy, J. Electronic Imaging 19, 2010",
        "csiq.DMOS.xlsx (sheet all_by_image; needs the extra `datasets`) or csiq_label.txt; src_imgs/, dst_imgs/",
        "sheet, columns and names in public code",
    ),
)  # fmt: skip
def csiq(folder: Path) -> Manifest:
    """CSIQ image database: 30 images, six distortions at four or five levels; DMOS 0 (like the source) to 1."""
    return read_layout(folder, "csiq", _csiq, files="csiq.DMOS.xlsx, csiq_label.txt")


def _csiq(lookup: Lookup) -> Manifest | None:
    path = lookup.one_of("csiq.DMOS.xlsx")
    if path is not None:
        rows = list(_csiq_sheet(path))
    elif (path := lookup.one_of("csiq_label.txt")) is not None:
        lines = enumerate(read_text(path).splitlines(), 1)
        rows = []
        for line, text in lines:
            words = text.split()
            if words and len(words) != 2:
                raise DataError("a line must be a name and a score", where=f"{path}:{line}")
            if words:
                rows.append((words[0], cells.number_at(words[1], f"{path}:{line}"), None))
    else:
        return None
    if not rows:
        raise DataError("holds no score", where=path)
    items = []
    for name, score, std in rows:
        image = name.split(".")[0]
        distorted = _found(lookup, name, path, "dst_imgs", "dst_imgs_all", "distorted_images")
        reference = _found(lookup, f"{image}.png", path, "src_imgs", "reference_images")
        items.append(Item(distorted, score, reference, std=std, content=image))
    return Manifest("csiq", lookup.folder, tuple(items), label="DMOS", higher_is_better=False, scale=(0, 1))


def _csiq_sheet(path: Path) -> Iterator[tuple[str, float, float | None]]:
    """Name, score and standard deviation of each row of the sheet "all_by_image"."""
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("openpyxl", "datasets") from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zipfile, XML and openpyxl's own errors: all mean that it is no such file
        raise DataError(f"is no spreadsheet that can be read ({error})", where=path) from error
    try:
        if "all_by_image" not in book.sheetnames:
            raise DataError(f"has no sheet 'all_by_image', but {', '.join(book.sheetnames)}", where=path)
        yield from _csiq_rows(path, enumerate(book["all_by_image"].iter_rows(values_only=True), 1))
    finally:
        book.close()


def _csiq_rows(path: Path, rows: Any) -> Iterator[tuple[str, float, float | None]]:
    place: dict[str, int] = {}
    for line, row in rows:
        words = ["" if cell is None else str(cell).strip() for cell in row]
        if not place:
            if {"image", "dst_type", "dst_lev", "dmos"} <= set(words):
                place = {word: number for number, word in enumerate(words) if word}
            continue
        if not words[place["image"]] or not words[place["dmos"]]:
            continue
        where = f"{path}: all_by_image, row {line}"
        kind = CSIQ_TYPES.get(words[place["dst_type"]].casefold())
        if kind is None:
            raise DataError(f"unknown distortion {words[place['dst_type']]!r}", where=where)
        image, level = (words[place[key]].removesuffix(".0") for key in ("image", "dst_lev"))
        std = words[place["dmos_std"]] if "dmos_std" in place else ""
        name = f"{image}.{kind}.{level}.png"
        yield name, cells.number_at(words[place["dmos"]], where), cells.number_at(std, where) if std else None
    if not place:
        raise DataError("has no row with image, dst_type, dst_lev and dmos", where=f"{path}: all_by_image")


@mos_sets.register(
    "pipal",
    published=Published(
        "PIPAL", "image", True, "Elo", True, None, 23200, 200,
        "NTIRE challenge pages", "For research; on request",
        "J. Gu et al., PIPAL: a large-scale image quality assessment dataset for perceptual image restoration, "
        "ECCV 2020",
        "Train_Label/*.txt (name,score), Train_Ref/, Train_Dist*/ or Dist_Imgs/; Val_Label/ and Val_Ref/ where there "
        "are. Splits train, val",
        "labels in pyiqa's preparation script, folders of the validation part by their use in public code",
    ),
)  # fmt: skip
def pipal(folder: Path) -> Manifest:
    """PIPAL: 200 training images with 116 distortions each, many of them by networks; Elo scores."""
    return read_layout(folder, "pipal", _pipal, files="Train_Label/*.txt")


def _pipal(lookup: Lookup) -> Manifest | None:
    items = []
    for part, split in (("Train", "train"), ("Val", "val"), ("Test", "test")):
        labels = [file for file in lookup.files if re.search(rf"(^|/){part}_Label/[^/]*\.txt$", file, re.IGNORECASE)]
        for label in labels:
            path = lookup.folder / label
            for line, text in enumerate(read_text(path).splitlines(), 1):
                if not text.strip():
                    continue
                words = [word.strip() for word in text.split(",")]
                where = f"{path}:{line}"
                if len(words) != 2:
                    raise DataError("a line must be name,score", where=where)
                image = words[0].split("_")[0]
                places = (f"{part}_Dist", f"{part}_Distort", "Dist_Imgs", "Distortion")
                distorted = _found(lookup, words[0], where, *places)
                reference = _found(lookup, f"{image}.bmp", where, f"{part}_Ref", "Reference")
                items.append(Item(distorted, cells.number_at(words[1], where), reference, content=image, split=split))
    if not items:
        return None
    return Manifest("pipal", lookup.folder, tuple(items), label="Elo", higher_is_better=True)


def _dictionaries(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    """Rows of a table by the names of its columns in lower case, each with its place.

    Raises:
        DataError: a column is missing, or the table is empty.
    """
    table = read_table(path)
    names = [name.casefold() for name in table.header]
    for name in needed:
        if name not in names:
            raise DataError(f"has no column {name!r}, but {', '.join(table.header)[:120]}", where=f"{path}:1")
    if not table.rows:
        raise DataError("holds no score", where=path)
    for row in table.rows:
        yield dict(zip(names, row.cells, strict=True)), f"{path}:{row.line}"
