"""Data sets of scored videos and images: one manifest, readers of the layouts that data sets are published in.

A manifest is a table ``ref, dist, mos, std, ...`` with a sidecar of facts, or one JSON file (`manifest_file`). Foreign
forms (RankDVQA's, pyiqa's, FAST-VQA's, VMAF's) are read as they are, and named data sets from their original folders.
`check` says what is missing or odd in one.
"""

from compressvqa.opinions import sets_compression, sets_image, sets_video
from compressvqa.opinions.check import check
from compressvqa.opinions.findings import Finding, Report
from compressvqa.opinions.manifest import Item, Manifest
from compressvqa.opinions.manifest_file import read_manifest, write_manifest
from compressvqa.opinions.published import Published
from compressvqa.opinions.read import looks_like_dataset, read_dataset

__all__ = [
    "Finding",
    "Item",
    "Manifest",
    "Published",
    "Report",
    "check",
    "looks_like_dataset",
    "read_dataset",
    "read_manifest",
    "sets_compression",
    "sets_image",
    "sets_video",
    "write_manifest",
]
