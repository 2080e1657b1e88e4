"""Videos in, pairs of patches out: decoding, encoding ladders, VMAF labels, shards and batches."""

from compressvqa.data.compare import Difference, inspect_pair, paired_blocks, refuse
from compressvqa.data.frames import Colour, Planes, yuv_to_rgb
from compressvqa.data.info import VideoInfo
from compressvqa.data.mos_pairs import MosPairs
from compressvqa.data.pairs import PairSampler, RankBatch
from compressvqa.data.patches import PatchEntry, PatchSet, ReferenceEntry
from compressvqa.data.rank_pairs import RankPairs
from compressvqa.data.raw import RawFormat, write_y4m
from compressvqa.data.video import probe, read_clip, read_frames

__all__ = [
    "Colour",
    "Difference",
    "MosPairs",
    "PairSampler",
    "PatchEntry",
    "PatchSet",
    "Planes",
    "RankBatch",
    "RankPairs",
    "RawFormat",
    "ReferenceEntry",
    "VideoInfo",
    "inspect_pair",
    "paired_blocks",
    "probe",
    "read_clip",
    "read_frames",
    "refuse",
    "write_y4m",
    "yuv_to_rgb",
]
