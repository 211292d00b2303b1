"""Small tables for the score tests: everything lies on one line."""

from collections.abc import Callable

import numpy as np
import pytest

from luna.run.nodules import NO_NODULES, Nodules, unknown_malignancy
from luna.score.marks import Cohort, Marks
from luna.score.matching import Matching, match

Row = tuple[float, float, float]


@pytest.fixture(scope="session")
def make_marks() -> Callable[..., Marks]:
    """Marks from rows of (scan, x in mm, probability)."""

    def make(*rows: Row) -> Marks:
        scan, x, p = np.array(rows, np.float64).reshape(-1, 3).T
        center_xyz = np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])
        return Marks(series=scan.astype(np.intp), center_xyz=center_xyz, p_nodule=p)

    return make


@pytest.fixture(scope="session")
def make_nodules() -> Callable[..., Nodules]:
    """Nodules from rows of (scan, x in mm, diameter in mm)."""

    def make(*rows: Row, **columns: object) -> Nodules:
        scan, x, diameter_mm = np.array(rows, np.float64).reshape(-1, 3).T
        center_xyz = np.column_stack([x, np.zeros_like(x), np.zeros_like(x)])
        scans = scan.astype(np.intp)
        return Nodules(
            series=scans,
            center_xyz=center_xyz,
            diameter_mm=diameter_mm,
            malignant=unknown_malignancy(len(x)),
            line=np.arange(len(x)) + 2,
            **columns,
        )

    return make


@pytest.fixture(scope="session")
def make_cohort() -> Callable[..., Cohort]:
    """So many scans, with their subsets if named."""

    def make(scans: int, subset: tuple[str, ...] | None = None) -> Cohort:
        uids = tuple(f"1.2.{scan}" for scan in range(scans))
        return Cohort(series_uids=uids, subset=subset)

    return make


@pytest.fixture(scope="session")
def matched(make_cohort) -> Callable[..., Matching]:
    """Marks and nodules of so many scans, matched."""

    def make(scans: int, marks: Marks, nodules: Nodules, excluded=NO_NODULES) -> Matching:
        return match(make_cohort(scans), marks, nodules, excluded)

    return make
