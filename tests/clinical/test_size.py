"""Rounding: halves go up, in decimals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.clinical.size import fleischner_mm, growth_tenths, lung_rads_mm, to_tenth_mm

MM = st.floats(0.1, 100)


@pytest.mark.parametrize(
    ("long_mm", "short_mm", "tenths", "whole"),
    [
        (5.9, 6.0, 6.0, 6),  # 5.95
        (5.94, 5.94, 5.9, 6),
        (5.95, 5.95, 6.0, 6),
        (5.96, 5.84, 5.9, 6),  # 6.0 and 5.8
        (5.5, 5.5, 5.5, 6),
        (5.49, 5.5, 5.5, 5),  # 5.495
        (8.49, 8.49, 8.5, 8),  # not rounded twice
        (8.5, 8.5, 8.5, 9),
        (30.0, 29.8, 29.9, 30),
    ],
)
def test_both_roundings(long_mm: float, short_mm: float, tenths: float, whole: int) -> None:
    assert lung_rads_mm(long_mm, short_mm) == tenths
    assert fleischner_mm(long_mm, short_mm) == whole


@given(MM, MM, st.floats(0, 10))
def test_roundings_never_fall_as_an_axis_grows(a: float, b: float, more: float) -> None:
    assert lung_rads_mm(a, b) <= lung_rads_mm(a + more, b)
    assert fleischner_mm(a, b) <= fleischner_mm(a + more, b)


@given(MM)
def test_roundings_move_by_half_a_step_at_most(mm: float) -> None:
    assert abs(to_tenth_mm(mm) - mm) <= 0.05 + 1e-9
    assert abs(fleischner_mm(mm, mm) - mm) <= 0.5 + 1e-9


@given(st.integers(1, 500), st.integers(1, 500))
def test_growth_is_exact_in_tenths(before: int, now: int) -> None:
    assert growth_tenths(before / 10, now / 10) == now - before
