"""Voxels against nodules, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from luna.score.evaluation import EvaluationConfig
from luna.score.overlap import VoxelCounts, overlap

CONFIG, NO_INTERVALS = EvaluationConfig(samples=100), EvaluationConfig(samples=0)


@pytest.fixture
def counts() -> VoxelCounts:
    """Two nodules in the first of three scans and one in the second; the third has none."""
    return VoxelCounts(
        true_positive=np.array([12, 0, 0]),
        false_positive=np.array([4, 0, 6]),
        false_negative=np.array([8, 10, 0]),
        slice_dice=np.array([1.5, 0.0, 0.0]),
        slices=np.array([2, 2, 0]),
        series=np.array([0, 0, 1]),
        voxels=np.array([16, 4, 10]),
        hit=np.array([8, 1, 0]),
        diameter_mm=np.array([10.0, 4.0, 9.0]),
    )


def test_every_share_by_hand(counts):
    found = overlap(counts, CONFIG).shares
    assert found["voxel_recall"].value == 12 / 30
    assert found["voxel_precision"].value == 12 / 22
    assert found["voxel_dice"].value == 24 / (24 + 10 + 18)
    assert found["slice_dice"].value == 1.5 / 4
    assert found["touched"].value == 2 / 3
    assert found["covered"].value == 1 / 3  # half is enough, a quarter is not
    bands = [(band.name, band.shares) for band in overlap(counts, CONFIG).size_bands]
    assert [(name, of["touched"].part, of["voxel_recall"].value) for name, of in bands] == [
        ("3–6 mm", 1, 1 / 4),
        ("8–15 mm", 1, 8 / 26),
    ]
    assert (
        found["voxel_recall"].interval.low
        <= found["voxel_recall"].value
        <= found["voxel_recall"].interval.high
    )


def test_without_resamples_there_are_no_intervals(counts):
    found = overlap(counts, NO_INTERVALS).shares
    assert found["voxel_dice"].interval is None
    assert found["touched"].interval is None


def test_no_voxel_marked_has_no_precision(counts):
    nothing = replace(
        counts,
        true_positive=np.zeros(3, np.float64),
        false_positive=np.zeros(3, np.float64),
        false_negative=np.array([20, 10, 0]),
    )
    found = overlap(nothing, CONFIG).shares
    assert found["voxel_precision"].value is None
    assert found["voxel_precision"].interval is None
    assert found["voxel_dice"].value == 0
