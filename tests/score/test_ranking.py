"""Rankings counted by scan, intervals and p values, against the plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.score.ranking import (
    percentile_bounds,
    percentile_interval,
    rank,
    resample_scans,
    two_sided_p,
)

ITEMS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans(), st.integers(0, 3)), min_size=1
)


@given(ITEMS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_items_are_counted_as_often_as_their_scan_is_drawn(items, weights):
    score, positive, series = (np.array(column) for column in zip(*items, strict=True))
    weight = np.array(weights)
    ranking = rank(score, positive, series)
    true, false = ranking.cumulative(weight)
    assert (np.diff(ranking.threshold) < 0).all()
    for place, threshold in enumerate(ranking.threshold, start=1):
        above = score >= threshold
        assert true[place] == weight[series[above & positive]].sum()
        assert false[place] == weight[series[above & ~positive]].sum()
    assert true[0] == false[0] == 0


@given(ITEMS, st.randoms())
def test_the_order_of_the_items_does_not_matter(items, random):
    shuffled = list(items)
    random.shuffle(shuffled)
    counted = []
    for each in (items, shuffled):
        score, positive, series = (np.array(column) for column in zip(*each, strict=True))
        counted.append(rank(score, positive, series).cumulative())
    np.testing.assert_array_equal(counted[0], counted[1])


def test_resamples_draw_only_the_given_scans_and_as_many_as_there_are():
    drawn = [*resample_scans(np.array([1, 4, 5]), 7, 50, seed=3)]
    assert all(weight.sum() == 3 and not weight[[0, 2, 3, 6]].any() for weight in drawn)
    again = [*resample_scans(np.array([1, 4, 5]), 7, 50, seed=3)]
    np.testing.assert_array_equal(drawn, again)


def test_the_bounds_are_samples_at_the_challenges_places():
    samples = np.arange(1000.0)[::-1]
    assert percentile_interval(samples) == (25.0, 975.0)
    low, high = percentile_bounds(np.column_stack([samples, -samples]))
    assert low.tolist() == [25.0, -974.0]
    assert high.tolist() == [975.0, -24.0]


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.1] * 99, 2 / 100),  # never 0: the observed difference counts
        ([0.0] * 99, 1.0),
        ([-1.0, 1.0] * 50, 1.0),
        ([1.0] * 95 + [-1.0] * 4, 10 / 100),
    ],
)
def test_the_p_value_is_twice_the_smaller_side(differences, p):
    assert two_sided_p(np.array(differences)) == pytest.approx(p)
