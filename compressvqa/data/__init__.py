"""Training sets: pairs of patches with labels, ladders of encodes, photographs under a virtual camera, batches."""

from compressvqa.data.distorted_images import DistortedImages
from compressvqa.data.mos_clips import MosSingles
from compressvqa.data.mos_pairs import MosPairs
from compressvqa.data.pairs import PairSampler, RankBatch
from compressvqa.data.patches import PatchEntry, PatchSet, ReferenceEntry
from compressvqa.data.rank_pairs import RankPairs
from compressvqa.data.scored import ScoredBatch

__all__ = [
    "DistortedImages",
    "MosPairs",
    "MosSingles",
    "PairSampler",
    "PatchEntry",
    "PatchSet",
    "RankBatch",
    "RankPairs",
    "ReferenceEntry",
    "ScoredBatch",
]
