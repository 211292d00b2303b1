"""Doubling times and classes of growth."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.clinical.growth import doubling_days, lung_rads_change, volume_class
from luna.clinical.size import growth_tenths
from luna.run.errors import UsageError

VOLUME = st.floats(10, 10_000)


@pytest.mark.parametrize(
    ("days", "before", "now", "doubling"),
    [(90, 120, 180, 153.9), (365, 100, 125, 1133.8), (182, 120, 180, 311.1), (100, 50, 100, 100)],
)
def test_doubling_times(days: int, before: float, now: float, doubling: float) -> None:
    assert doubling_days(before, now, days) == pytest.approx(doubling, abs=0.06)


@given(VOLUME, VOLUME, st.integers(1, 4000))
def test_a_doubling_time_tells_the_volume_again(before: float, now: float, days: int) -> None:
    t = doubling_days(before, now, days)
    assert before * 2 ** (days / t) == pytest.approx(now, rel=1e-9)


def test_equal_volumes_never_double() -> None:
    assert doubling_days(100, 100, 90) == inf
    assert doubling_days(100, 50, 90) == -90


@pytest.mark.parametrize(("before", "now", "days"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 2, -3)])
def test_no_doubling_time_without_volumes_and_days(before: float, now: float, days: int) -> None:
    with pytest.raises(UsageError):
        doubling_days(before, now, days)


@pytest.mark.parametrize(
    ("before_mm", "now_mm", "days", "change"),
    [
        (6.0, 7.5, 365, "stable"),  # exactly 1.5 mm is no growth
        (5.1, 6.6, 365, "stable"),  # also where floats make it less
        (6.0, 7.6, 365, "growing"),
        (6.0, 7.6, 366, "growing"),
        (6.0, 7.6, 367, "growing slowly"),
        (6.0, 7.0, 90, "stable"),  # not annualised
        (6.04, 7.55, 365, "growing"),  # 6.0 and 7.6
        (7.6, 6.0, 365, "smaller"),
        (7.5, 6.0, 365, "stable"),
    ],
)
def test_growth_by_diameter(before_mm: float, now_mm: float, days: int, change: str) -> None:
    assert lung_rads_change(growth_tenths(before_mm, now_mm), days) == change


@given(st.integers(-300, 300), st.integers(0, 100), st.integers(1, 366))
def test_more_growth_is_never_a_lesser_class(tenths: int, more: int, days: int) -> None:
    order = ["smaller", "stable", "growing"]
    a, b = (order.index(lung_rads_change(t, days)) for t in (tenths, tenths + more))
    assert a <= b


@pytest.mark.parametrize(
    ("change", "name"),
    [(0.25, "grown"), (0.249, "stable"), (-0.249, "stable"), (-0.25, "smaller"), (3, "grown")],
)
def test_growth_by_volume(change: float, name: str) -> None:
    assert volume_class(change) == name
