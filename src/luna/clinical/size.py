"""Diameters, rounded as each guideline requires.

Halves are rounded up, in decimals: 5.95 mm is 6.0 mm although the nearest float64 is not above
5.95. A threshold is applied to the rounded value.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

TENTH_MM = Decimal("0.1")
WHOLE_MM = Decimal(1)


def to_tenth_mm(mm: float) -> float:
    """A length to 0.1 mm.

    >>> to_tenth_mm(5.95)
    6.0
    """
    return float(_rounded(Decimal(repr(float(mm))), TENTH_MM))


def axes_words(long_axis_mm: float, short_axis_mm: float) -> tuple[str, str, str]:
    """The two axes and their mean to 0.1 mm, as every report shows them.

    >>> axes_words(13.42, 9.45)
    ('13.4', '9.5', '11.5')
    """
    mean = lung_rads_mm(long_axis_mm, short_axis_mm)
    return f"{to_tenth_mm(long_axis_mm):.1f}", f"{to_tenth_mm(short_axis_mm):.1f}", f"{mean:.1f}"


def lung_rads_mm(long_axis_mm: float, short_axis_mm: float) -> float:
    """The mean diameter to 0.1 mm, of axes that are rounded to 0.1 mm before.

    Source: ACR Lung-RADS v2022 (November 2022), notes on nodule size.

    >>> lung_rads_mm(6.04, 5.86)
    6.0
    """
    long_axis, short_axis = (
        _rounded(Decimal(repr(float(mm))), TENTH_MM) for mm in (long_axis_mm, short_axis_mm)
    )
    return float(_rounded((long_axis + short_axis) / 2, TENTH_MM))


def fleischner_mm(long_axis_mm: float, short_axis_mm: float) -> int:
    """The mean diameter to a whole mm.

    Source: Fleischner Society 2017, Radiology 284:228, notes on measurement.

    >>> fleischner_mm(5.4, 5.5), fleischner_mm(5.5, 5.5)
    (5, 6)
    """
    mean = (Decimal(repr(float(long_axis_mm))) + Decimal(repr(float(short_axis_mm)))) / 2
    return int(_rounded(mean, WHOLE_MM))


def growth_tenths(before_mm: float, now_mm: float) -> int:
    """How many tenths of a millimetre a diameter grew, each diameter rounded to 0.1 mm.

    >>> growth_tenths(5.1, 6.6)
    15
    """
    return int((Fraction(str(to_tenth_mm(now_mm))) - Fraction(str(to_tenth_mm(before_mm)))) * 10)


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    return value.quantize(step, rounding=ROUND_HALF_UP)
