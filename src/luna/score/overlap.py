"""How well segmented voxels cover annotated nodules, with intervals over scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.score.ratios import Ratio, Resamples, bands, draw_scans

HALF = 0.5
"""The share of its voxels from which a nodule counts as covered."""

LEVELS = 128
"""Equal steps of probability in which voxels are counted, to try every threshold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxelCounts:
    """Counts of S scans and of their N nodules.

    `true_positive`, `false_positive`, `false_negative`, `slice_dice` (the sum of Dice over
    slices that hold a nodule) and `slices` (how many those are): (S,). `inside`, `outside`:
    (LEVELS,) voxels of all nodules, and all others, by level of probability. Of each nodule
    `series` (its scan), `voxels`, `hit` (those segmented) and `diameter_mm`: (N,).
    """

    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]
    false_negative: NDArray[np.int64]
    slice_dice: NDArray[np.float64]
    slices: NDArray[np.int64]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]
    series: NDArray[np.intp]
    voxels: NDArray[np.int64]
    hit: NDArray[np.int64]
    diameter_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """Voxels at or above each threshold called nodule: (LEVELS - 1,) each, thresholds rising.

    `precision` is 1 by convention where nothing is called.
    """

    threshold: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    dice: NDArray[np.float64]

    @property
    def best(self) -> int:
        """Where Dice is highest."""
        return int(np.argmax(self.dice))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """Nodules touched by any voxel, those covered by half, and the voxels found, of some."""

    name: str
    touched: Ratio
    covered: Ratio
    voxels: Ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Per voxel: recall, precision and Dice over all voxels. Per slice: the mean Dice of
    slices that hold a nodule. Per nodule: `cover` of all, and by band of diameter.
    """

    recall: Ratio
    precision: Ratio
    dice: Ratio
    slice_dice: Ratio
    cover: Cover
    cover_by_size: tuple[Cover, ...]
    sweep: Sweep
    scans: int
    scans_with_nodules: int
    nodules: int


def overlap(counts: VoxelCounts, *, samples: int, seed: int) -> Overlap:
    """Score the voxel counts; `samples` resamples of the scans give intervals, none for 0."""
    drawn = draw_scans(len(counts.true_positive), samples, seed)
    tp, fp, fn = (
        column.astype(np.float64)
        for column in (counts.true_positive, counts.false_positive, counts.false_negative)
    )
    everything = np.ones(len(counts.series), np.bool_)
    return Overlap(
        recall=drawn.ratio(tp, tp + fn),
        precision=drawn.ratio(tp, tp + fp),
        dice=drawn.ratio(2 * tp, 2 * tp + fp + fn),
        slice_dice=drawn.ratio(counts.slice_dice, counts.slices.astype(np.float64)),
        cover=_cover(counts, drawn, "all", everything),
        cover_by_size=tuple(
            _cover(counts, drawn, name, inside) for name, inside in bands(counts.diameter_mm)
        ),
        sweep=_sweep(counts),
        scans=drawn.scans,
        scans_with_nodules=len(np.unique(counts.series)),
        nodules=len(counts.series),
    )


def _cover(counts: VoxelCounts, drawn: Resamples, name: str, wanted: NDArray[np.bool_]) -> Cover:
    series, hit, voxels = (column[wanted] for column in (counts.series, counts.hit, counts.voxels))
    one = np.ones(len(series))
    touched = hit > 0
    return Cover(
        name=name,
        touched=drawn.of_items(touched.astype(np.float64), one, series),
        covered=drawn.of_items((touched & (hit >= HALF * voxels)).astype(np.float64), one, series),
        voxels=drawn.of_items(hit.astype(np.float64), voxels.astype(np.float64), series),
    )


def _sweep(counts: VoxelCounts) -> Sweep:
    # Above each lower edge of a level but the first, which would call every voxel nodule.
    true, false = (np.cumsum(c[::-1])[::-1][1:] for c in (counts.inside, counts.outside))
    called, wanted = true + false, int(counts.inside.sum())
    return Sweep(
        threshold=np.arange(1, LEVELS) / LEVELS,
        recall=true / max(wanted, 1),
        precision=np.divide(true, called, out=np.ones(len(true)), where=called > 0),
        dice=2 * true / np.maximum(called + wanted, 1),
    )
