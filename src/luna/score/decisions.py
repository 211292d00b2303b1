"""A classifier's answers about known places: how good, how sure, better than diameter alone?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import InputError
from luna.score.calibration import Calibration, calibrate
from luna.score.curves import Curves, Gain, auc_gain, curves
from luna.score.evaluation import EvaluationConfig
from luna.score.ratios import Band, draw_scans, shares_by_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """K places that a classifier was asked about, in S scans.

    `p` (K,) its probability, `positive` (K,) the truth, `series` (K,) the scan from 0;
    `diameter_mm` (K,) is of nodules, NaN for other places.
    """

    p: NDArray[np.float64]
    positive: NDArray[np.bool_]
    series: NDArray[np.intp]
    diameter_mm: NDArray[np.float64]
    scans: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """The scores of a classifier alone.

    `diameter` ranks the same nodules by diameter alone, and `gain` is what the classifier adds
    to that; both are None where places have no diameter, `gain` without a bootstrap too.
    `size_bands`: the recall at the threshold, by diameter of the positives.
    """

    classifier: Curves
    calibration: Calibration
    diameter: Curves | None
    gain: Gain | None
    size_bands: tuple[Band, ...]


def decisions(answers: Answers, config: EvaluationConfig) -> Decisions:
    """Score the answers; raises InputError unless there are positives and negatives."""
    refuse_one_kind(answers.positive)
    p, diameter_mm, truth = answers.p, answers.diameter_mm, (answers.positive, answers.series)
    samples, seed = config.samples, config.seed
    diameter = gain = None
    if np.isfinite(diameter_mm).all():
        diameter = curves(diameter_mm, *truth, threshold=None, samples=samples, seed=seed)
        if samples:
            gain = auc_gain(p, diameter_mm, *truth, samples=samples, seed=seed)
    return Decisions(
        classifier=curves(p, *truth, threshold=config.threshold, samples=samples, seed=seed),
        calibration=calibrate(p, answers.positive),
        diameter=diameter,
        gain=gain,
        size_bands=_recall_by_size(answers, config),
    )


def refuse_one_kind(positive: NDArray[np.bool_]) -> None:
    """Raise InputError unless some of the places are positive and some are not."""
    if positive.all() or not positive.any():
        raise InputError(
            f"{positive.sum():,} of {len(positive):,} places are positive",
            why="a classifier is scored on both kinds",
            hint="take more scans, or check the tables beside them",
        )


def _recall_by_size(answers: Answers, config: EvaluationConfig) -> tuple[Band, ...]:
    wanted = answers.positive
    found = (answers.p[wanted] >= config.threshold).astype(np.float64)
    return shares_by_size(
        draw_scans(answers.scans, config.samples, config.seed),
        answers.diameter_mm[wanted],
        answers.series[wanted],
        {"recall": (found, np.ones(len(found)))},
    )
