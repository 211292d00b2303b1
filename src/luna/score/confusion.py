"""The table of chapter 14 of "Deep Learning with PyTorch": what became of every nodule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.run.nodules import Nodules
from luna.score.marks import Marks
from luna.score.matching import pairs_within

MATCH_DIAMETERS = 0.7
"""A mark belongs to a nodule when its distance is below this share of the diameter."""

DEFAULT_THRESHOLD = 0.5
"""The book's threshold for both probabilities."""

NOT_A_NODULE, BENIGN, MALIGNANT = 0, 1, 2
MISSED, FILTERED_OUT, PREDICTED_BENIGN, PREDICTED_MALIGNANT = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Counts, (3, 4) int64.

    Rows: not a nodule, benign, malignant. Columns: missed, filtered out, predicted benign,
    predicted malignant. The first row counts marks, the others nodules. Without truth about
    malignancy every nodule stands in the row of the benign, and without a prediction every
    reported mark in the column of the benign; `knows_truth` and `knows_prediction` say so.
    """

    counts: NDArray[np.int64]
    threshold: float
    threshold_malignant: float
    knows_truth: bool
    knows_prediction: bool


def confusion(
    marks: Marks,
    nodules: Nodules,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    threshold_malignant: float = DEFAULT_THRESHOLD,
) -> Confusion:
    """Count the fate of every nodule, and the marks that are on no nodule.

    A nodule takes the most alarming of its marks, and a mark within reach of several
    nodules counts for each. A mark at the threshold passes. All marks count: there is no limit
    per scan and no list of excluded findings.
    """
    outcome = _outcome(marks, threshold, threshold_malignant)
    pairs = pairs_within(marks, nodules, MATCH_DIAMETERS * nodules.diameter_mm)
    became = np.full(len(nodules), MISSED)
    np.maximum.at(became, pairs.nodule, outcome[pairs.mark])
    stray = np.ones(len(marks), np.bool_)
    stray[pairs.mark] = False
    row = np.full(len(nodules), BENIGN)
    row[nodules.is_malignant] = MALIGNANT
    counts = np.zeros((3, 4), np.int64)
    np.add.at(counts, (row, became), 1)
    np.add.at(counts[NOT_A_NODULE], outcome[stray], 1)
    return Confusion(
        counts=counts,
        threshold=threshold,
        threshold_malignant=threshold_malignant,
        knows_truth=bool(nodules.has_verdict.any()),
        knows_prediction=marks.p_malignant is not None,
    )


def _outcome(marks: Marks, threshold: float, threshold_malignant: float) -> NDArray[np.int64]:
    """Return the column of each mark, (M,)."""
    alarming = np.zeros(len(marks), np.bool_)
    if marks.p_malignant is not None:
        alarming = marks.p_malignant >= threshold_malignant
    reported = np.where(alarming, PREDICTED_MALIGNANT, PREDICTED_BENIGN)
    return np.where(marks.p_nodule >= threshold, reported, FILTERED_OUT)
