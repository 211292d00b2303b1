"""Voxels against nodules, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from luna.score.overlap import LEVELS, VoxelCounts, overlap


def levels(**voxels: int) -> np.ndarray:
    """Voxels by level of probability: levels(at_64=3)."""
    counts = np.zeros(LEVELS, np.int64)
    for name, number in voxels.items():
        counts[int(name.removeprefix("at_"))] = number
    return counts


@pytest.fixture
def counts() -> VoxelCounts:
    """Two nodules in the first of three scans and one in the second; the third has none."""
    return VoxelCounts(
        true_positive=np.array([12, 0, 0]),
        false_positive=np.array([4, 0, 6]),
        false_negative=np.array([8, 10, 0]),
        slice_dice=np.array([1.5, 0.0, 0.0]),
        slices=np.array([2, 2, 0]),
        inside=levels(at_0=8, at_20=10, at_100=12),
        outside=levels(at_0=1000, at_30=20, at_70=10),
        series=np.array([0, 0, 1]),
        voxels=np.array([16, 4, 10]),
        hit=np.array([8, 1, 0]),
        diameter_mm=np.array([10.0, 4.0, 9.0]),
    )


def test_every_share_by_hand(counts):
    found = overlap(counts, samples=100, seed=0)
    assert found.recall.value == 12 / 30
    assert found.precision.value == 12 / 22
    assert found.dice.value == 24 / (24 + 10 + 18)
    assert found.slice_dice.value == 1.5 / 4
    assert found.cover.touched.value == 2 / 3
    assert found.cover.covered.value == 1 / 3  # half is enough, a quarter is not
    assert found.cover.voxels.value == 9 / 30
    assert [(band.name, band.touched.part, band.voxels.value) for band in found.cover_by_size] == [
        ("3–6 mm", 1, 1 / 4),
        ("8–15 mm", 1, 8 / 26),
    ]
    assert (found.scans, found.scans_with_nodules, found.nodules) == (3, 2, 3)
    assert found.recall.interval.low <= found.recall.value <= found.recall.interval.high


def test_every_threshold_is_tried(counts):
    sweep = overlap(counts, samples=0, seed=0).sweep
    at = {round(float(t) * LEVELS): k for k, t in enumerate(sweep.threshold)}
    assert sweep.recall[at[1]] == 22 / 30  # all but the voxels at level 0
    assert sweep.precision[at[1]] == 22 / 52
    assert sweep.dice[at[100]] == 24 / (12 + 30)
    assert sweep.best == at[71]  # the first above the last false voxel
    assert sweep.precision[at[101]] == 1
    assert sweep.recall[at[101]] == 0


def test_without_resamples_there_are_no_intervals(counts):
    found = overlap(counts, samples=0, seed=0)
    assert found.dice.interval is None
    assert found.cover.touched.interval is None


def test_no_voxel_marked_has_no_precision(counts):
    nothing = replace(
        counts,
        true_positive=np.zeros(3, np.int64),
        false_positive=np.zeros(3, np.int64),
        false_negative=np.array([20, 10, 0]),
    )
    found = overlap(nothing, samples=100, seed=0)
    assert found.precision.value is None
    assert found.precision.interval is None
    assert found.dice.value == 0
