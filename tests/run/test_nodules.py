"""Nodules as columns: rows are taken together, and what is unknown stays unknown."""

import numpy as np

from luna.run.nodules import NO_NODULES, UNKNOWN, Nodules

NODULES = Nodules(
    series=np.array([0, 0, 2]),
    center_xyz=np.arange(9.0).reshape(3, 3),
    diameter_mm=np.array([4.0, 5.0, 6.0]),
    malignant=np.array([1, 0, UNKNOWN], np.int8),
    line=np.array([2, 3, 5]),
    kind=("solid", "part-solid", ""),
    elsewhere=7,
)


def test_an_unknown_malignancy_is_neither_benign_nor_malignant():
    assert NODULES.is_malignant.tolist() == [True, False, False]
    assert NODULES.has_verdict.tolist() == [True, True, False]


def test_every_column_is_taken_in_the_order_given():
    taken = NODULES.take(np.array([2, 0]))
    assert len(taken) == 2
    assert taken.series.tolist() == [2, 0]
    assert taken.center_xyz.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert taken.diameter_mm.tolist() == [6, 4]
    assert taken.malignant.tolist() == [UNKNOWN, 1]
    assert taken.line.tolist() == [5, 2]
    assert (taken.kind, taken.elsewhere) == (("", "solid"), 7)
    by_flag = NODULES.take(np.array([False, True, False]))
    assert (by_flag.kind, by_flag.line.tolist()) == (("part-solid",), [3])


def test_no_nodules_are_a_list_like_any_other():
    assert len(NO_NODULES) == 0
    assert len(NO_NODULES.take(np.zeros(0, np.intp))) == 0
    assert not NO_NODULES.has_verdict.any()
