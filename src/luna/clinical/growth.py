"""The growth of a nodule between two scans that one program measured.

Volumes of two software packages are not compared: they differ systematically in most pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Literal

from luna.clinical.nodule import Change
from luna.clinical.size import growth_tenths
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """A nodule at two dates.

    `change_mm`: of the mean diameter, each rounded to 0.1 mm. `volume_change`: as a share of
    the earlier volume. `doubling_days`: negative for a nodule that shrank, infinite for one of
    equal volume. `lung_rads` and `by_volume` are the classes by diameter and by volume.
    """

    days: int
    change_mm: float
    volume_change: float
    doubling_days: float
    lung_rads: Change
    by_volume: Volume


def doubling_days(before_mm3: float, now_mm3: float, days: int) -> float:
    """Return the volume doubling time in days: days · ln 2 / ln(now / before).

    >>> round(doubling_days(120, 180, 90), 1)
    153.9
    """
    if before_mm3 <= 0 or now_mm3 <= 0 or days <= 0:
        raise UsageError("a doubling time needs two volumes and days between them, all above 0")
    ratio = log(now_mm3 / before_mm3)
    return inf if ratio == 0 else days * log(2) / ratio


def growth(
    *, before_mm: float, now_mm: float, before_mm3: float, now_mm3: float, days: int
) -> Growth:
    """Compare a nodule's mean diameter and volume at two dates, `days` apart."""
    doubling = doubling_days(before_mm3, now_mm3, days)
    tenths = growth_tenths(before_mm, now_mm)
    change = now_mm3 / before_mm3 - 1
    return Growth(
        days=days,
        change_mm=tenths / 10,
        volume_change=change,
        doubling_days=doubling,
        lung_rads=lung_rads_change(tenths, days),
        by_volume=volume_class(change),
    )


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
