"""The score of a distorted video against its reference: two files in, a number and its course over time out."""

from compressvqa.scoring.engine import score
from compressvqa.scoring.network import model_folder
from compressvqa.scoring.result import Score, Segment, pool, score_table, to_csv

__all__ = ["Score", "Segment", "model_folder", "pool", "score", "score_table", "to_csv"]
