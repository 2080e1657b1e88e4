"""What commands do, cut into units that an executor runs: scoring, evaluating, preparing data.

Each file knows one command: which units there are, what they are named by, and the plain function that does one. The
rooms that do the work know nothing of it, and the result is put together by what puts it together in one process.
"""

from compressvqa.jobs.evaluations import evaluation_units, gather, take_scores
from compressvqa.jobs.preparation import make_piece, preparation_units, proxy_units
from compressvqa.jobs.scores import score_files, score_units, scores_of

__all__ = [
    "evaluation_units",
    "gather",
    "make_piece",
    "preparation_units",
    "proxy_units",
    "score_files",
    "score_units",
    "scores_of",
    "take_scores",
]
