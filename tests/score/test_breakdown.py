"""Groups of nodules, and where nodules are lost."""

import numpy as np
import pytest

from luna.run.nodules import NO_NODULES
from luna.score.breakdown import fates, kinds, size_bands, subsets
from luna.score.matching import match


def test_each_nodule_is_in_one_band_and_a_limit_opens_the_next(make_marks, make_nodules, matched):
    sizes_mm = (2.9, 3, 5.99, 6, 7.99, 8, 14.99, 15, 30)
    nodules = make_nodules(*[(0, 100 * k, size) for k, size in enumerate(sizes_mm)])
    bands = size_bands(matched(1, make_marks(), nodules), 0, 0)
    assert [(band.name, band.froc.nodules) for band in bands] == [
        ("<3 mm", 1),
        ("3–6 mm", 2),
        ("6–8 mm", 2),
        ("8–15 mm", 2),
        ("≥15 mm", 2),
    ]


def test_kinds_where_known(make_marks, make_nodules, matched):
    nodules = make_nodules((0, 0, 9), (0, 50, 9), (0, 90, 9), kind=("solid", "part", "solid"))
    groups = kinds(matched(1, make_marks((0, 0, 0.9)), nodules), 0, 0)
    assert [(each.name, each.froc.nodules, each.froc.cpm) for each in groups] == [
        ("part", 1, 0.0),
        ("solid", 2, 0.5),
    ]


def test_no_kinds_no_groups(make_marks, make_nodules, matched):
    assert kinds(matched(1, make_marks(), make_nodules((0, 0, 9))), 0, 0) == ()


def test_subsets_have_their_own_scans(make_marks, make_nodules, make_cohort):
    cohort = make_cohort(4, subset=("a", "a", "b", "c"))
    marks = make_marks((0, 0, 0.9), (1, 50, 0.95))
    matching = match(cohort, marks, make_nodules((0, 0, 9), (2, 0, 9)), NO_NODULES)
    groups = subsets(matching, 0, 0)
    assert [(each.name, each.froc.scans, each.froc.nodules) for each in groups] == [
        ("a", 2, 1),
        ("b", 1, 1),
    ]
    assert groups[0].froc.fp_per_scan.tolist() == [0, 0.5, 0.5]


@pytest.fixture
def lost(make_marks, make_nodules, matched):
    """One nodule of each fate, and two that share a mark."""
    crowd = [(1, 1000 + 20 * k, 0.9) for k in range(100)]
    marks = make_marks(
        (0, 0, 0.8), (0, 100, 0.3), (0, 207, 0.9), (0, 402, 0.7), *crowd, (1, 0, 0.4)
    )
    nodules = make_nodules(
        (0, 0, 10), (0, 100, 10), (0, 200, 10), (0, 300, 10), (0, 400, 10), (0, 404, 10), (1, 0, 10)
    )
    return fates(matched(2, marks, nodules), 0.5)


def test_every_nodule_has_one_fate(lost):
    assert lost.outcome == (
        "found",
        "below threshold",
        "off centre",
        "no mark",
        "found",
        "found",
        "beyond rank",
    )
    assert sum(lost.counts.values()) == 7


def test_merged_nodules_are_told(lost):
    assert lost.shares_mark.tolist() == [False] * 4 + [True, True, False]


def test_the_best_mark_of_a_nodule_is_ranked_in_its_scan(lost):
    assert lost.rank.tolist() == [2, 4, 0, 0, 3, 3, 0]
    np.testing.assert_array_equal(lost.p_nodule, [0.8, 0.3, np.nan, np.nan, 0.7, 0.7, np.nan])


def test_a_fragment_of_something_larger(make_marks, make_nodules, matched):
    nodules = make_nodules((0, 0, 10), (0, 100, 10))
    matching = matched(1, make_marks((0, 8, 0.9)), nodules)
    fragments = make_marks((0, 8, 0.9), (0, 1, 0.2))
    assert fates(matching, 0.5).outcome == ("off centre", "no mark")
    fate = fates(matching, 0.5, fragments)
    assert fate.outcome == ("fragment", "no mark")
    assert fate.knows_fragments
