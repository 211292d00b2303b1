"""The growth of a nodule between two scans that one program measured.

Volumes of two software packages are not compared: they differ systematically in most pairs.
"""

from __future__ import annotations

from math import inf, log
from typing import Literal

from luna.clinical.nodule import Change
from luna.run.errors import UsageError

GROWTH_TENTHS = 15
"""Lung-RADS v2022: growth is more than 1.5 mm of mean diameter…"""

YEAR_DAYS = 366
"""… within 12 months, which have up to 366 days; not annualised."""

VOLUME_GROWTH = 0.25
"""A change of volume below 25 % is within the repeatability of a measurement: stable.

Source: NELSON, whose protocol calls growth from 25 % on.
"""

Volume = Literal["grown", "stable", "smaller"]


def doubling_days(before_mm3: float, now_mm3: float, days: int) -> float:
    """Return the volume doubling time in days: days · ln 2 / ln(now / before).

    >>> round(doubling_days(120, 180, 90), 1)
    153.9
    """
    if before_mm3 <= 0 or now_mm3 <= 0 or days <= 0:
        raise UsageError("a doubling time needs two volumes and days between them, all above 0")
    ratio = log(now_mm3 / before_mm3)
    return inf if ratio == 0 else days * log(2) / ratio


def lung_rads_change(tenths: int, days: int) -> Change:
    """Classify a growth in tenths of a millimetre; Lung-RADS v2022, notes on growth."""
    if tenths > GROWTH_TENTHS:
        return "growing" if days <= YEAR_DAYS else "growing slowly"
    return "smaller" if tenths < -GROWTH_TENTHS else "stable"


def volume_class(change: float) -> Volume:
    """Classify a change of volume, given as a share of the earlier volume."""
    if change >= VOLUME_GROWTH:
        return "grown"
    return "smaller" if change <= -VOLUME_GROWTH else "stable"
