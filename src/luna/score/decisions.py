"""A classifier's answers to given places: how good, how sure, and better than a baseline?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import InputError
from luna.score.calibration import Calibration, calibrate
from luna.score.curves import Curves, Gain, auc_gain, curves
from luna.score.ratios import Ratio, bands, draw_scans


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """K places that a classifier was asked about, in S scans.

    `p` (K,) its probability, `positive` (K,) the truth, `series` (K,) counts the scans;
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
    `recall_by_size`: positives at or above the threshold, by band of diameter.
    """

    answers: Answers
    curves: Curves
    calibration: Calibration
    recall_by_size: tuple[tuple[str, Ratio], ...]
    diameter: Curves | None
    gain: Gain | None


def decisions(answers: Answers, *, threshold: float, samples: int, seed: int) -> Decisions:
    """Score the answers; raises InputError unless there are positives and negatives."""
    positive = answers.positive
    refuse_one_kind(positive)
    diameter = gain = None
    if np.isfinite(answers.diameter_mm).all():
        # No diameter is "the" threshold: at infinity nothing is called.
        diameter = curves(
            answers.diameter_mm,
            positive,
            answers.series,
            threshold=np.inf,
            samples=samples,
            seed=seed,
        )
        if samples:
            gain = auc_gain(
                answers.p,
                answers.diameter_mm,
                positive,
                answers.series,
                samples=samples,
                seed=seed,
            )
    return Decisions(
        answers=answers,
        curves=curves(
            answers.p, positive, answers.series, threshold=threshold, samples=samples, seed=seed
        ),
        calibration=calibrate(answers.p, positive),
        recall_by_size=_recall_by_size(answers, threshold, samples, seed),
        diameter=diameter,
        gain=gain,
    )


def refuse_one_kind(positive: NDArray[np.bool_]) -> None:
    """Raise InputError unless some of the places are positive and some are not."""
    if positive.all() or not positive.any():
        raise InputError(
            f"{positive.sum():,} of {len(positive):,} places are positive",
            why="a classifier is scored on both kinds",
            hint="take more scans, or check the tables beside them",
        )


def _recall_by_size(
    answers: Answers, threshold: float, samples: int, seed: int
) -> tuple[tuple[str, Ratio], ...]:
    drawn = draw_scans(answers.scans, samples, seed)
    wanted = answers.positive
    series, found = answers.series[wanted], answers.p[wanted] >= threshold
    return tuple(
        (
            name,
            drawn.of_items(
                found[inside].astype(np.float64), np.ones(int(inside.sum())), series[inside]
            ),
        )
        for name, inside in bands(answers.diameter_mm[wanted])
    )
