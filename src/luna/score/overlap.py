"""How well segmented voxels cover annotated nodules, with intervals over scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.score.breakdown import band_labels
from luna.score.ranking import Interval, percentile_interval, resample_scans

HALF = 0.5
"""The share of its voxels from which a nodule counts as covered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxelCounts:
    """Counts of S scans and of their N nodules.

    `true_positive`, `false_positive`, `false_negative`, `slice_dice` (the sum of Dice over
    slices that hold a nodule) and `slices` (how many those are): (S,). Of each nodule
    `series` (its scan), `voxels`, `hit` (those segmented) and `diameter_mm`: (N,).
    """

    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]
    false_negative: NDArray[np.int64]
    slice_dice: NDArray[np.float64]
    slices: NDArray[np.int64]
    series: NDArray[np.intp]
    voxels: NDArray[np.int64]
    hit: NDArray[np.int64]
    diameter_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """`value` is `part` of `whole`, None for a whole of 0; resampled over scans if asked for."""

    part: float
    whole: float
    value: float | None
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Per voxel: recall, precision and Dice over all voxels. Per slice: the mean Dice of
    slices that hold a nodule. Per nodule: those touched at all, those covered by half, and the
    touched ones by band of diameter.
    """

    recall: Ratio
    precision: Ratio
    dice: Ratio
    slice_dice: Ratio
    touched: Ratio
    covered: Ratio
    touched_by_size: tuple[tuple[str, Ratio], ...]
    scans: int
    nodules: int


def overlap(counts: VoxelCounts, *, samples: int, seed: int) -> Overlap:
    """Score the voxel counts; `samples` resamples of the scans give intervals, none for 0."""
    scans = len(counts.true_positive)
    weights = np.array([*resample_scans(np.arange(scans), scans, samples, seed)])

    def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Ratio:
        return _ratio(part, whole, weights.reshape(-1, scans))

    def of_nodules(is_so: NDArray[np.bool_], among: NDArray[np.bool_]) -> Ratio:
        part, whole = (
            np.bincount(counts.series[which], minlength=scans).astype(np.float64)
            for which in (is_so & among, among)
        )
        return ratio(part, whole)

    tp, fp, fn = (
        column.astype(np.float64)
        for column in (counts.true_positive, counts.false_positive, counts.false_negative)
    )
    touched, every = counts.hit > 0, np.ones(len(counts.series), np.bool_)
    names, labels = band_labels(counts.diameter_mm)
    return Overlap(
        recall=ratio(tp, tp + fn),
        precision=ratio(tp, tp + fp),
        dice=ratio(2 * tp, 2 * tp + fp + fn),
        slice_dice=ratio(counts.slice_dice, counts.slices.astype(np.float64)),
        touched=of_nodules(touched, every),
        covered=of_nodules(touched & (counts.hit >= HALF * counts.voxels), every),
        touched_by_size=tuple(
            (name, of_nodules(touched, labels == name)) for name in names if (labels == name).any()
        ),
        scans=scans,
        nodules=len(counts.series),
    )


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64], weights: NDArray[np.int64]
) -> Ratio:
    """The ratio of sums over scans (S,); `weights` (B, S) are resamples."""
    total = float(whole.sum())
    drawn_whole = weights @ whole
    sound = drawn_whole > 0
    drawn = (weights @ part)[sound] / drawn_whole[sound]
    return Ratio(
        part=float(part.sum()),
        whole=total,
        value=float(part.sum()) / total if total else None,
        interval=percentile_interval(drawn) if len(drawn) else None,
    )
