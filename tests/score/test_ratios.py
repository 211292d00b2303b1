"""Ratios over scans, and shares by band of diameter."""

import numpy as np
import pytest

from luna.score.ratios import draw_scans, shares_by_size


def test_a_ratio_is_of_sums_not_of_means():
    ratio = draw_scans(3, 100, 0).ratio(np.array([1.0, 0.0, 9.0]), np.array([1.0, 10.0, 9.0]))
    assert (ratio.part, ratio.whole, ratio.value) == (10, 20, 0.5)
    assert ratio.interval.low <= 0.5 <= ratio.interval.high


def test_nothing_of_nothing_has_no_value():
    ratio = draw_scans(2, 100, 0).ratio(np.zeros(2), np.zeros(2))
    assert (ratio.value, ratio.interval) == (None, None)


def test_equal_scans_have_an_interval_of_no_width():
    ratio = draw_scans(5, 100, 0).ratio(np.full(5, 2.0), np.full(5, 8.0))
    assert ratio.interval == (0.25, 0.25)


def test_items_are_drawn_with_their_scan():
    drawn = draw_scans(2, 200, 1)
    found, one = np.array([1.0, 1.0, 0.0]), np.ones(3)
    ratio = drawn.of_items(found, one, np.array([0, 0, 1]))
    assert ratio.value == pytest.approx(2 / 3)
    # Of two scans only three resamples are possible: both of either, or one of each.
    assert ratio.interval == (0.0, 1.0)


def test_only_bands_with_a_nodule_are_listed():
    diameter, series = np.array([4.0, 20.0, 25.0]), np.array([0, 0, 1])
    half, one = np.array([1.0, 0.0, 1.0]), np.ones(3)
    bands = shares_by_size(draw_scans(2, 0, 0), diameter, series, {"found": (half, one)})
    assert [(band.name, band.shares["found"].value) for band in bands] == [
        ("3–6 mm", 1.0),
        ("≥15 mm", 0.5),
    ]
