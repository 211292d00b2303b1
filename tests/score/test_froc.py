"""FROC by hand, and what must not change it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.score.froc import (
    FP_RATES,
    GRID_FP_PER_SCAN,
    RATES_IN_GRID,
    at_threshold,
    bootstrap_sensitivity,
    compare,
    froc,
    froc_items,
    operating_point,
)
from luna.score.marks import Marks


@pytest.fixture
def worked(make_marks, make_nodules, matched):
    """Four scans, four nodules, marks of which three hit.

    By falling score: hit .9, false .8, hit .7 with false .7, false .6, hit .5.
    """
    marks = make_marks(
        (0, 0, 0.9), (1, 50, 0.8), (1, 0, 0.7), (2, 50, 0.7), (3, 50, 0.6), (2, 0, 0.5)
    )
    return matched(4, marks, make_nodules((0, 0, 9), (1, 0, 9), (2, 0, 9), (2, 99, 9)))


def test_every_point_by_hand(worked):
    curve = froc(froc_items(worked), samples=0, seed=0)
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert curve.fp_per_scan.tolist() == [0, 0, 0.25, 0.5, 0.75, 0.75]
    assert curve.sensitivity.tolist() == [0, 0.25, 0.25, 0.5, 0.5, 0.75]
    assert (curve.scans, curve.scans_with_nodules, curve.nodules) == (4, 3, 4)


def test_sensitivity_between_points_is_linear_and_level_beyond(worked):
    curve = froc(froc_items(worked), samples=0, seed=0)
    # 1/8 and 1/4 on the level stretch, 1/2 on a point, 1..8 past the last point.
    assert curve.at_rates.tolist() == [0.25, 0.25, 0.5, 0.75, 0.75, 0.75, 0.75]
    assert curve.cpm == pytest.approx(4.0 / 7)


def test_a_tie_of_hit_and_false_is_a_slope(make_marks, make_nodules, matched):
    marks = make_marks((0, 0, 0.5), (0, 50, 0.5))
    curve = froc(froc_items(matched(1, marks, make_nodules((0, 0, 9)))), samples=0, seed=0)
    assert curve.at_rates.tolist() == [0.125, 0.25, 0.5, 1, 1, 1, 1]


def test_no_false_marks_is_a_step(make_marks, make_nodules, matched):
    result = matched(2, make_marks((0, 0, 0.5)), make_nodules((0, 0, 9), (1, 0, 9)))
    assert froc(froc_items(result), samples=0, seed=0).at_rates.tolist() == [0.5] * 7


def test_no_marks_find_nothing(make_marks, make_nodules, matched):
    curve = froc(froc_items(matched(1, make_marks(), make_nodules((0, 0, 9)))), samples=100, seed=0)
    assert curve.cpm == 0
    assert curve.bootstrap.high.max() == 0


def test_the_grid_holds_the_seven_rates():
    assert GRID_FP_PER_SCAN[RATES_IN_GRID].tolist() == list(FP_RATES)


def test_operating_point_is_the_lowest_threshold_within_the_rate(worked):
    curve = froc(froc_items(worked), samples=0, seed=0)
    point = operating_point(curve, 0.6)
    assert (point.threshold, point.fp_per_scan, point.sensitivity) == (0.7, 0.5, 0.5)
    assert at_threshold(curve, point.threshold) == point


def test_no_operating_point_where_the_surest_marks_are_false(make_marks, make_nodules, matched):
    result = matched(1, make_marks((0, 50, 0.9)), make_nodules((0, 0, 9)))
    assert operating_point(froc(froc_items(result), samples=0, seed=0), 0.5) is None


@pytest.mark.parametrize(
    ("threshold", "point"),
    [(0.95, (0, 0)), (0.9, (0, 0.25)), (0.65, (0.5, 0.5)), (0, (0.75, 0.75))],
)
def test_at_a_threshold_marks_at_or_above_count(worked, threshold, point):
    found = at_threshold(froc(froc_items(worked), samples=0, seed=0), threshold)
    assert (found.fp_per_scan, found.sensitivity) == point


def test_a_subset_counts_its_own_scans_marks_and_nodules(worked):
    curve = froc(froc_items(worked, scans=np.array([1, 2])), samples=0, seed=0)
    assert curve.fp_per_scan.tolist() == [0, 0.5, 1.0, 1.0]
    assert curve.sensitivity.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3])
    assert (curve.scans, curve.nodules) == (2, 3)


def test_a_group_of_nodules_keeps_all_false_marks(worked):
    wanted = np.array([True, False, False, False])
    curve = froc(froc_items(worked, of_nodules=wanted), samples=0, seed=0)
    assert curve.at_rates.tolist() == [1] * 7
    assert curve.fp_per_scan[-1] == 0.75


def test_equal_seeds_give_equal_intervals_and_others_do_not(worked):
    items = froc_items(worked)
    first, again, other = (froc(items, samples=200, seed=seed).bootstrap for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.low, again.low)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert first.cpm == again.cpm
    assert not np.array_equal(first.mean, other.mean)


def test_bootstrap_equals_scoring_each_resample_anew(worked, matched):
    """Weights per scan stand for copies of the scans."""
    rng = np.random.default_rng(7)
    marks, nodules = worked.marks, worked.nodules
    rows = []
    for _ in range(20):
        drawn = rng.integers(4, size=4)
        of = [np.flatnonzero(marks.series == scan) for scan in drawn]
        on = [np.flatnonzero(nodules.series == scan) for scan in drawn]
        if not sum(map(len, on)):
            continue
        copies = Marks(
            series=np.repeat(np.arange(4), [len(each) for each in of]),
            center_xyz=marks.center_xyz[np.concatenate(of)],
            p_nodule=marks.p_nodule[np.concatenate(of)],
        )
        repeats = np.repeat(np.arange(4), [len(each) for each in on])
        truth = replace(nodules.take(np.concatenate(on)), series=repeats)
        curve = froc(froc_items(matched(4, copies, truth)), samples=0, seed=0)
        rows.append(np.interp(GRID_FP_PER_SCAN, curve.fp_per_scan, curve.sensitivity))
    ours = bootstrap_sensitivity(froc_items(worked), 20, 7)
    np.testing.assert_allclose(ours, rows, rtol=1e-12)


def test_a_system_does_not_differ_from_itself(worked):
    items = froc_items(worked)
    verdict = compare(items, items, samples=100, seed=0)
    assert (verdict.difference, verdict.interval, verdict.p_value) == (0, (0, 0), 1)


def test_a_better_system_differs_with_a_small_p(make_marks, make_nodules, matched):
    nodules = make_nodules(*[(scan, 0, 9) for scan in range(40)])
    good = matched(40, make_marks(*[(scan, 0, 0.9) for scan in range(40)]), nodules)
    poor = matched(40, make_marks(*[(scan, 0, 0.9) for scan in range(20)]), nodules)
    verdict = compare(froc_items(good), froc_items(poor), samples=500, seed=0)
    assert verdict.difference == pytest.approx(0.5)
    assert 0.3 < verdict.interval.low < 0.5 < verdict.interval.high < 0.7
    assert verdict.p_value == pytest.approx(2 / 501)


def cohort_of_marks():
    """Up to 40 marks of 3 scans near two nodules each, scores with many ties."""
    mark = st.tuples(
        st.integers(0, 2), st.floats(-30, 30, width=32), st.integers(0, 10).map(lambda k: k / 10)
    )
    return st.lists(mark, max_size=40, unique_by=lambda each: each[:2])


@settings(max_examples=60, deadline=None)
@given(rows=cohort_of_marks(), order=st.randoms(use_true_random=False))
def test_the_order_of_marks_is_irrelevant(make_marks, make_nodules, matched, rows, order):
    shuffled = rows.copy()
    order.shuffle(shuffled)
    nodules = make_nodules((0, 0, 9), (0, 20, 6), (1, 0, 4))
    first, second = (
        froc(froc_items(matched(3, make_marks(*each), nodules)), samples=0, seed=0)
        for each in (rows, shuffled)
    )
    np.testing.assert_array_equal(first.fp_per_scan, second.fp_per_scan)
    np.testing.assert_array_equal(first.sensitivity, second.sensitivity)


@settings(max_examples=60, deadline=None)
@given(
    rows=cohort_of_marks(),
    transform=st.sampled_from([lambda p: p**3, lambda p: 5 * p - 40, np.exp, np.arctan]),
)
def test_only_the_order_of_scores_matters(make_marks, make_nodules, matched, rows, transform):
    moved = [(scan, x, float(transform(p))) for scan, x, p in rows]
    nodules = make_nodules((0, 0, 9), (0, 20, 6), (1, 0, 4))
    first, second = (
        froc(froc_items(matched(3, make_marks(*each), nodules)), samples=100, seed=1)
        for each in (rows, moved)
    )
    np.testing.assert_array_equal(first.fp_per_scan, second.fp_per_scan)
    np.testing.assert_array_equal(first.sensitivity, second.sensitivity)
    np.testing.assert_array_equal(first.bootstrap.low, second.bootstrap.low)
