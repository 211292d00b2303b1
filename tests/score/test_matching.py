"""The challenge's rules, one at a time."""

import numpy as np
import pytest


@pytest.mark.parametrize(("x", "hits"), [(4.999, 1), (5.0, 0), (5.001, 0)])
def test_a_hit_is_nearer_than_the_radius(make_marks, make_nodules, matched, x, hits):
    result = matched(1, make_marks((0, x, 0.5)), make_nodules((0, 0, 10)))
    assert result.counts.true_positives == hits
    assert result.counts.false_positives == 1 - hits


def test_another_scan_is_no_hit(make_marks, make_nodules, matched):
    counts = matched(2, make_marks((1, 0, 0.5)), make_nodules((0, 0, 10))).counts
    assert (counts.true_positives, counts.false_positives, counts.false_negatives) == (0, 1, 1)


def test_the_best_mark_counts_and_the_others_are_ignored(make_marks, make_nodules, matched):
    marks = make_marks((0, 0, 0.2), (0, 1, 0.9), (0, 2, 0.4))
    result = matched(1, marks, make_nodules((0, 0, 10)))
    assert result.best_mark.tolist() == [1]
    assert result.counts.ignored_double_detections == 2
    assert result.counts.false_positives == 0


def test_equal_probabilities_go_to_the_nearest(make_marks, make_nodules, matched):
    marks = make_marks((0, 2, 0.9), (0, 1, 0.9), (0, -3, 0.9))
    assert matched(1, marks, make_nodules((0, 0, 10))).best_mark.tolist() == [1]


def test_a_mark_in_two_nodules_hits_both(make_marks, make_nodules, matched):
    result = matched(1, make_marks((0, 2, 0.9)), make_nodules((0, 0, 10), (0, 4, 10)))
    assert result.counts.true_positives == 2
    assert result.best_mark.tolist() == [0, 0]


def test_excluded_findings_are_neither_hit_nor_false(make_marks, make_nodules, matched):
    marks = make_marks((0, 50, 0.9), (0, 100, 0.8))
    result = matched(1, marks, make_nodules((0, 0, 10)), make_nodules((0, 50, 6)))
    assert result.counts.ignored_on_excluded == 1
    assert result.is_false.tolist() == [False, True]


@pytest.mark.parametrize(("x", "ignored"), [(4.9, 1), (5.0, 0)])
def test_an_unsized_finding_is_10_mm_wide(make_marks, make_nodules, matched, x, ignored):
    result = matched(1, make_marks((0, x, 0.9)), make_nodules((0, 90, 6)), make_nodules((0, 0, -1)))
    assert result.counts.ignored_on_excluded == ignored


def test_a_nodule_wins_over_an_excluded_finding(make_marks, make_nodules, matched):
    result = matched(1, make_marks((0, 0, 0.9)), make_nodules((0, 1, 10)), make_nodules((0, 0, 10)))
    assert (result.counts.true_positives, result.counts.ignored_on_excluded) == (1, 0)


def test_a_hundred_marks_of_a_scan_stay(make_marks, make_nodules, matched):
    marks = make_marks(*[(0, 10 * k, 0.5) for k in range(100)])
    assert matched(1, marks, make_nodules((0, -90, 6))).counts.candidates == 100


def test_the_least_sure_of_more_are_dropped(make_marks, make_nodules, matched):
    marks = make_marks(*[(0, 10 * k, (k + 1) / 200) for k in range(130)], (1, 0, 0.001))
    result = matched(2, marks, make_nodules((0, -90, 6)))
    assert np.flatnonzero(~result.kept).tolist() == list(range(30))


def test_all_that_tie_with_the_101st_are_dropped(make_marks, make_nodules, matched):
    sure = [(0, 10 * k, 0.9) for k in range(95)]
    tied = [(0, 10 * k, 0.5) for k in range(95, 103)]
    result = matched(1, make_marks(*sure, *tied), make_nodules((0, -90, 6)))
    assert result.counts.candidates == 95


def test_101_equal_marks_leave_none(make_marks, make_nodules, matched):
    marks = make_marks(*[(0, 10 * k, 0.5) for k in range(101)])
    assert matched(1, marks, make_nodules((0, 0, 6))).counts.candidates == 0


def test_no_marks_at_all(make_marks, make_nodules, matched):
    counts = matched(2, make_marks(), make_nodules((0, 0, 6), (1, 0, 6))).counts
    assert (counts.candidates, counts.false_negatives) == (0, 2)


def test_pairs_equal_a_double_loop(make_marks, make_nodules, matched):
    rng = np.random.default_rng(4)
    marks = make_marks(
        *np.stack([rng.integers(5, size=80), rng.normal(0, 9, 80), rng.random(80)]).T
    )
    nodules = make_nodules(
        *np.stack([rng.integers(5, size=30), rng.normal(0, 9, 30), rng.uniform(3, 20, 30)]).T
    )
    result = matched(5, marks, nodules)
    for index in range(len(nodules)):
        distance = np.abs(marks.center_xyz[:, 0] - nodules.center_xyz[index, 0])
        same = marks.series == nodules.series[index]
        hits = np.flatnonzero(same & (distance < nodules.diameter_mm[index] / 2))
        best = max(hits, key=lambda mark: marks.p_nodule[mark], default=-1)
        assert result.best_mark[index] == best
