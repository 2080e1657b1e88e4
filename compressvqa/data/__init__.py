"""Videos in, pairs of patches out: decoding, encoding ladders, VMAF labels, shards and batches."""

from compressvqa.data.clip import Clip, Pairing
from compressvqa.data.compare import Difference, Sight, inspect_pair, look, refuse
from compressvqa.data.distorted_images import DistortedImages
from compressvqa.data.frames import Colour, Planes, yuv_to_rgb
from compressvqa.data.info import VideoInfo
from compressvqa.data.mos_clips import MosSingles
from compressvqa.data.mos_pairs import MosPairs
from compressvqa.data.pairs import PairSampler, RankBatch
from compressvqa.data.patches import PatchEntry, PatchSet, ReferenceEntry
from compressvqa.data.rank_pairs import RankPairs
from compressvqa.data.raw import RawFormat, write_y4m
from compressvqa.data.scored import ScoredBatch
from compressvqa.data.video import probe, read_clip, read_frames

__all__ = [
    "Clip",
    "Colour",
    "Difference",
    "DistortedImages",
    "MosPairs",
    "MosSingles",
    "PairSampler",
    "Pairing",
    "PatchEntry",
    "PatchSet",
    "Planes",
    "RankBatch",
    "RankPairs",
    "RawFormat",
    "ReferenceEntry",
    "ScoredBatch",
    "VideoInfo",
    "Sight",
    "inspect_pair",
    "look",
    "probe",
    "read_clip",
    "read_frames",
    "refuse",
    "write_y4m",
    "yuv_to_rgb",
]
