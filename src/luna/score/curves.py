"""ROC, precision and recall, and F1 of a score against the truth, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from luna.score.ranking import (
    CONFIDENCE,
    Interval,
    Ranking,
    percentile_interval,
    rank,
    resample_scans,
    two_sided_p,
)

Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
"""Standard deviations on either side of a 95 % interval, 1.96."""


@dataclass(frozen=True, kw_only=True, slots=True)
class F1:
    """F1 when items at or above a threshold are called positive; 0 when none is."""

    threshold: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Auc:
    """Area under the ROC curve with DeLong's interval; `bootstrap` resamples scans.

    DeLong assumes independent items; items of one scan are not, so `bootstrap` draws scans.
    """

    auc: float
    delong: Interval
    bootstrap: Interval | None
    positives: int
    negatives: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """The difference of two scores' areas on the same items and resamples of scans."""

    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """How well a score separates positives from negatives.

    `threshold`, `false_positive_rate`, `recall`, `precision`: (T + 1,) from the highest
    threshold to the lowest; the first calls nothing positive (threshold infinite,
    precision 1 by convention).
    """

    threshold: NDArray[np.float64]
    false_positive_rate: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    roc: Auc
    average_precision: float
    average_precision_interval: Interval | None
    best_f1: F1
    f1: F1 | None


def curves(
    score: NDArray[np.float64],
    positive: NDArray[np.bool_],
    series: NDArray[np.intp],
    *,
    threshold: float | None,
    samples: int,
    seed: int,
) -> Curves:
    """Return ROC, PR and F1 of (K,) scored items, of which both kinds must be present.

    `f1` is at `threshold`, None without one; `samples` resamples of the scans give intervals,
    none for 0.
    """
    ranking = rank(score, positive, series)
    true, false = ranking.cumulative()
    drawn = _resampled(ranking, samples, seed)
    called = true + false
    recall = true / true[-1]
    precision = np.divide(true, called, out=np.ones(len(true)), where=called > 0)
    f1 = 2 * true / (called + true[-1])
    thresholds = np.append(np.inf, ranking.threshold)
    best = int(np.argmax(f1))
    columns = (f1, precision, recall)
    at_threshold = None
    if threshold is not None:
        given = int(np.searchsorted(-thresholds, -threshold, side="right")) - 1
        at_threshold = _f1_at(given, threshold, columns)
    return Curves(
        threshold=thresholds,
        false_positive_rate=false / false[-1],
        recall=recall,
        precision=precision,
        roc=_auc_record(true, false, delong_interval(score, positive), drawn),
        average_precision=_average_precision(true, false),
        average_precision_interval=percentile_interval(drawn[:, 1]) if len(drawn) else None,
        best_f1=_f1_at(best, float(thresholds[best]), columns),
        f1=at_threshold,
    )


def auc_of(
    score: NDArray[np.float64],
    positive: NDArray[np.bool_],
    series: NDArray[np.intp],
    *,
    samples: int,
    seed: int,
) -> Auc:
    """Return the area under the ROC curve of items of both kinds."""
    ranking = rank(score, positive, series)
    true, false = ranking.cumulative()
    drawn = _resampled(ranking, samples, seed)
    return _auc_record(true, false, delong_interval(score, positive), drawn)


def auc_gain(
    score: NDArray[np.float64],
    rival: NDArray[np.float64],
    positive: NDArray[np.bool_],
    series: NDArray[np.intp],
    *,
    samples: int,
    seed: int,
) -> Gain:
    """Compare how two scores rank the same (K,) items; `samples` is above 0."""
    rankings = [rank(each, positive, series) for each in (score, rival)]
    # Equal seeds draw the same scans for both, so the rows are pairs.
    drawn = [_resampled(ranking, samples, seed)[:, 0] for ranking in rankings]
    first, second = (_auc(*ranking.cumulative()) for ranking in rankings)
    differences = drawn[0] - drawn[1]
    return Gain(
        difference=first - second,
        interval=percentile_interval(differences),
        p_value=two_sided_p(differences),
    )


def delong_interval(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> Interval:
    """Return DeLong's 95 % interval of the area under the ROC curve, clipped to 0..1.

    One item of a kind has no variance to measure: the interval is then 0..1. If the score separates
    them perfectly there is none either: the interval is then a point, which is too narrow. Source:
    DeLong et al. 1988; by midranks, Sun & Xu 2014 (doi 10.1109/LSP.2014.2337313).
    """
    above, below = score[positive], score[~positive]
    if min(len(above), len(below)) < 2:
        return Interval(0.0, 1.0)
    among_all = _midranks(np.concatenate([above, below]))
    # Each positive's share of negatives it beats, and each negative's share it loses to.
    beats = (among_all[: len(above)] - _midranks(above)) / len(below)
    loses = 1 - (among_all[len(above) :] - _midranks(below)) / len(above)
    variance = beats.var(ddof=1) / len(above) + loses.var(ddof=1) / len(below)
    auc, half = float(beats.mean()), Z * float(np.sqrt(variance))
    return Interval(max(0.0, auc - half), min(1.0, auc + half))


def wilson_interval(successes: int, trials: int) -> Interval:
    """Return Wilson's 95 % interval of a share; 0..1 without a trial. Source: Wilson 1927."""
    if trials == 0:
        return Interval(0.0, 1.0)
    share, z2 = successes / trials, Z * Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    root = np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    half = Z / (1 + z2 / trials) * float(root)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def _resampled(ranking: Ranking, samples: int, seed: int) -> NDArray[np.float64]:
    """Return AUC and average precision of each resample with items of both kinds, (B, 2)."""
    total = int(ranking.series.max()) + 1
    rows = []
    for weight in resample_scans(np.unique(ranking.series), total, samples, seed):
        true, false = ranking.cumulative(weight)
        if true[-1] and false[-1]:
            rows.append((_auc(true, false), _average_precision(true, false)))
    return np.array(rows).reshape(-1, 2)


def _f1_at(index: int, threshold: float, columns: tuple[NDArray[np.float64], ...]) -> F1:
    f1, precision, recall = (float(column[index]) for column in columns)
    return F1(threshold=threshold, f1=f1, precision=precision, recall=recall)


def _auc_record(
    true: NDArray[np.int64],
    false: NDArray[np.int64],
    delong: Interval,
    drawn: NDArray[np.float64],
) -> Auc:
    return Auc(
        auc=_auc(true, false),
        delong=delong,
        bootstrap=percentile_interval(drawn[:, 0]) if len(drawn) else None,
        positives=int(true[-1]),
        negatives=int(false[-1]),
    )


def _auc(true: NDArray[np.int64], false: NDArray[np.int64]) -> float:
    """Return the area under the ROC curve by trapezoids: a tie counts half."""
    area = np.sum(np.diff(false) * (true[1:] + true[:-1])) / 2
    return float(area / (true[-1] * false[-1]))


def _average_precision(true: NDArray[np.int64], false: NDArray[np.int64]) -> float:
    """Return the precision averaged over the steps of recall, without interpolation."""
    # A resample may leave the first items out: nothing called, nothing gained there.
    precision = true[1:] / np.maximum(true[1:] + false[1:], 1)
    return float(np.sum(np.diff(true) * precision) / true[-1])


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1 on; tied values share their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = np.cumsum(count) - (count - 1) / 2
    return ranks[place]
