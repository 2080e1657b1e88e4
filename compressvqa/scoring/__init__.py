"""The score of distorted videos against their reference: files in, a number and its course over time out."""

from compressvqa.models.named import model_folder
from compressvqa.scoring import greed, image_metrics, libvmaf
from compressvqa.scoring.blocks import BlockScorer
from compressvqa.scoring.engine import score, score_all, score_several
from compressvqa.scoring.find import find_scorers
from compressvqa.scoring.logs import to_csv, to_json, to_summary, to_xml, write_scores
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.pooling import parse_pools, pool, pool_by
from compressvqa.scoring.result import Score
from compressvqa.scoring.scorer import Course, Facts, Scale, Scorer, Segment
from compressvqa.scoring.tables import score_table, scores_table, segments_table

__all__ = [
    "BlockScorer",
    "Course",
    "Facts",
    "NetworkScorer",
    "Score",
    "Scale",
    "Scorer",
    "Segment",
    "find_scorers",
    "greed",
    "image_metrics",
    "libvmaf",
    "model_folder",
    "parse_pools",
    "pool",
    "pool_by",
    "score",
    "score_all",
    "score_several",
    "score_table",
    "scores_table",
    "segments_table",
    "to_csv",
    "to_json",
    "to_summary",
    "to_xml",
    "write_scores",
]
