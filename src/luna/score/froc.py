"""FROC and the competition performance metric (CPM), as the LUNA16 challenge computes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.score.matching import Matching
from luna.score.ranking import (
    Interval,
    Ranking,
    percentile_bounds,
    percentile_interval,
    rank,
    resample_scans,
    two_sided_p,
)

FP_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""The false positives per scan at which the CPM averages the sensitivity."""

STEPS_PER_OCTAVE = 16
GRID_FP_PER_SCAN = 2.0 ** (np.arange(6 * STEPS_PER_OCTAVE + 1) / STEPS_PER_OCTAVE - 3)
"""Rates of the interval's curve, 1/8 to 8, evenly spaced in log2; holds every one of FP_RATES."""

RATES_IN_GRID = np.arange(len(FP_RATES)) * STEPS_PER_OCTAVE


@dataclass(frozen=True, kw_only=True, slots=True)
class FrocBootstrap:
    """The spread of a FROC curve over resamples of the scans.

    `mean`, `low`, `high`: (G,) sensitivities at GRID_FP_PER_SCAN; `cpm` is the interval of
    the CPM. `samples` counts the resamples that hold a nodule; the others have no sensitivity.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    cpm: Interval
    samples: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Froc:
    """A FROC curve through T + 1 points, from (0, 0) on.

    `threshold`: a mark counts at or above it, infinite at the first point; `at_rates`: (7,)
    sensitivity at FP_RATES, linear between the points, and `cpm` their mean.
    """

    threshold: NDArray[np.float64]
    fp_per_scan: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    at_rates: NDArray[np.float64]
    cpm: float
    scans: int
    scans_with_nodules: int
    nodules: int
    bootstrap: FrocBootstrap | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingPoint:
    """A threshold with its rate and sensitivity; marks at or above it are reported."""

    threshold: float
    fp_per_scan: float
    sensitivity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A paired comparison of two systems on the same scans.

    `difference` is the first system's CPM less the second's; `p_value` is two-sided.
    """

    cpm: float
    cpm_versus: float
    difference: float
    interval: Interval
    p_value: float
    samples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FrocItems:
    """The items of a FROC curve: hits and false marks by probability, and nodules per scan.

    `nodules_per_scan`: (S,); `scans` are the scans looked at, all or one subset of them.
    """

    ranking: Ranking
    nodules_per_scan: NDArray[np.int64]
    scans: NDArray[np.intp]


def froc_items(
    matching: Matching,
    *,
    of_nodules: NDArray[np.bool_] | None = None,
    scans: NDArray[np.intp] | None = None,
) -> FrocItems:
    """Collect the items of a FROC curve, for some nodules (N,) or some scans only.

    False marks count for every group of nodules: none of them belongs to a size.
    """
    marks, nodules, total = matching.marks, matching.nodules, len(matching.cohort)
    wanted = np.ones(len(nodules), np.bool_) if of_nodules is None else of_nodules
    chosen = np.arange(total) if scans is None else scans
    hits = matching.best_mark[wanted & matching.found & np.isin(nodules.series, chosen)]
    false = np.flatnonzero(matching.is_false & np.isin(marks.series, chosen))
    items = np.concatenate([hits, false])
    is_hit = np.arange(len(items)) < len(hits)
    return FrocItems(
        ranking=rank(marks.p_nodule[items], is_hit, marks.series[items]),
        nodules_per_scan=np.bincount(nodules.series[wanted], minlength=total),
        scans=chosen,
    )


def froc(items: FrocItems, *, samples: int, seed: int) -> Froc:
    """Return the FROC curve, its CPM and, for `samples` above 0, the bootstrap over scans."""
    once = np.bincount(items.scans, minlength=len(items.nodules_per_scan))
    fp_per_scan, sensitivity = _curve(items, once)
    at_rates = np.interp(FP_RATES, fp_per_scan, sensitivity)
    nodules = items.nodules_per_scan[items.scans]
    return Froc(
        threshold=np.append(np.inf, items.ranking.threshold),
        fp_per_scan=fp_per_scan,
        sensitivity=sensitivity,
        at_rates=at_rates,
        cpm=float(at_rates.mean()),
        scans=len(items.scans),
        scans_with_nodules=int((nodules > 0).sum()),
        nodules=int(nodules.sum()),
        bootstrap=_bootstrap(items, samples, seed) if samples else None,
    )


def operating_point(curve: Froc, fp_per_scan: float) -> OperatingPoint | None:
    """Return the lowest threshold within a false-positive rate, or None if all exceed it."""
    last = int(np.searchsorted(curve.fp_per_scan, fp_per_scan, side="right")) - 1
    if last == 0:
        return None
    return OperatingPoint(
        threshold=float(curve.threshold[last]),
        fp_per_scan=float(curve.fp_per_scan[last]),
        sensitivity=float(curve.sensitivity[last]),
    )


def next_threshold(curve: Froc, threshold: float) -> float:
    """Return the highest probability of a mark below a threshold, 0 when there is none."""
    below = curve.threshold[curve.threshold < threshold]
    return float(below[0]) if below.size else 0.0


def at_threshold(curve: Froc, threshold: float) -> OperatingPoint:
    """Return rate and sensitivity at a threshold."""
    last = int(np.searchsorted(-curve.threshold, -threshold, side="right")) - 1
    return OperatingPoint(
        threshold=threshold,
        fp_per_scan=float(curve.fp_per_scan[last]),
        sensitivity=float(curve.sensitivity[last]),
    )


def compare(first: FrocItems, second: FrocItems, *, samples: int, seed: int) -> Comparison:
    """Compare the CPM of two systems on the same resamples of the scans."""
    rates = RATES_IN_GRID
    cpm = froc(first, samples=0, seed=seed).cpm
    versus = froc(second, samples=0, seed=seed).cpm
    drawn = bootstrap_sensitivity(first, samples, seed)[:, rates].mean(axis=1)
    drawn_versus = bootstrap_sensitivity(second, samples, seed)[:, rates].mean(axis=1)
    difference = drawn - drawn_versus
    return Comparison(
        cpm=cpm,
        cpm_versus=versus,
        difference=cpm - versus,
        interval=percentile_interval(difference),
        p_value=two_sided_p(difference),
        samples=len(difference),
    )


def bootstrap_sensitivity(items: FrocItems, samples: int, seed: int) -> NDArray[np.float64]:
    """Return the sensitivity at GRID_FP_PER_SCAN of each resample with a nodule, (B, G)."""
    total = len(items.nodules_per_scan)
    rows = []
    for weight in resample_scans(items.scans, total, samples, seed):
        if weight @ items.nodules_per_scan:
            fp_per_scan, sensitivity = _curve(items, weight)
            rows.append(np.interp(GRID_FP_PER_SCAN, fp_per_scan, sensitivity))
    return np.array(rows)


def _bootstrap(items: FrocItems, samples: int, seed: int) -> FrocBootstrap:
    drawn = bootstrap_sensitivity(items, samples, seed)
    low, high = percentile_bounds(drawn)
    return FrocBootstrap(
        mean=drawn.mean(axis=0),
        low=low,
        high=high,
        cpm=percentile_interval(drawn[:, RATES_IN_GRID].mean(axis=1)),
        samples=len(drawn),
        seed=seed,
    )


def _curve(
    items: FrocItems, scan_weight: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false positives per scan and sensitivity at each threshold, with weighted scans."""
    hits, false = items.ranking.cumulative(scan_weight)
    return false / scan_weight.sum(), hits / (scan_weight @ items.nodules_per_scan)
