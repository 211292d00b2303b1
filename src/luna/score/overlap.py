"""How well segmented voxels cover annotated nodules, with intervals over scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.score.evaluation import EvaluationConfig
from luna.score.ratios import Band, Ratio, draw_scans, shares_by_size

HALF = 0.5
"""The share of its voxels from which a nodule counts as covered."""

OVERLAP_WORDS = {
    "voxel_recall": "voxels: recall",
    "voxel_precision": "voxels: precision",
    "voxel_dice": "voxels: Dice",
    "slice_dice": "slices with a nodule: mean Dice",
    "touched": "nodules: touched by a voxel",
    "covered": f"nodules: covered by {HALF:.0%} or more",
}
"""The shares of Overlap, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxelCounts:
    """Voxels of S scans, and of their N nodules.

    `true_positive`, `false_positive`, `false_negative`, `slice_dice` (the sum of Dice over
    slices that hold a nodule) and `slices` (how many those are): (S,). Of each nodule `series`
    (its scan), `voxels`, `hit` (those segmented) and `diameter_mm`: (N,).
    """

    true_positive: NDArray[np.float64]
    false_positive: NDArray[np.float64]
    false_negative: NDArray[np.float64]
    slice_dice: NDArray[np.float64]
    slices: NDArray[np.float64]
    series: NDArray[np.intp]
    voxels: NDArray[np.float64]
    hit: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """The shares named in OVERLAP_WORDS, and those of nodules by diameter."""

    shares: dict[str, Ratio]
    size_bands: tuple[Band, ...]


def overlap(counts: VoxelCounts, config: EvaluationConfig) -> Overlap:
    """Score the counts of voxels, with intervals from resampling the scans."""
    drawn = draw_scans(len(counts.slices), config.samples, config.seed)
    tp, fp, fn = counts.true_positive, counts.false_positive, counts.false_negative
    every = np.ones(len(counts.series))
    touched = (counts.hit > 0).astype(np.float64)
    covered = touched * (counts.hit >= HALF * counts.voxels)
    of_nodules = {"touched": (touched, every), "covered": (covered, every)}
    shares = {
        "voxel_recall": drawn.ratio(tp, tp + fn),
        "voxel_precision": drawn.ratio(tp, tp + fp),
        "voxel_dice": drawn.ratio(2 * tp, 2 * tp + fp + fn),
        "slice_dice": drawn.ratio(counts.slice_dice, counts.slices),
    }
    for name, (part, whole) in of_nodules.items():
        shares[name] = drawn.of_items(part, whole, counts.series)
    # False voxels belong to no nodule, so no band has a precision.
    of_nodules["voxel_recall"] = (counts.hit, counts.voxels)
    bands = shares_by_size(drawn, counts.diameter_mm, counts.series, of_nodules)
    return Overlap(shares=shares, size_bands=bands)
