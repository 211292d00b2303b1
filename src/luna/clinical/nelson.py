"""The definitions of the NELSON screening trial, as reference facts beside the guidelines.

The trial's indeterminate classes (by volume and by doubling time) are left out: luna's sources
give them at second hand only.
"""

from __future__ import annotations

from luna.clinical.growth import Growth
from luna.clinical.nodule import Scope
from luna.clinical.statement import Fact, Statement

GUIDELINE = "NELSON"
SOURCE = "NELSON screening trial, definition of a positive nodule"

POSITIVE_MM3 = 500
POSITIVE_DAYS = 400

LARGE = f"volume above {POSITIVE_MM3} mm³"
FAST = f"grown by 25 % or more, doubling time below {POSITIVE_DAYS} days"
NEITHER = "neither large nor growing fast"


def nelson(number: int, volume_mm3: float, grown: Growth | None, scope: Scope) -> Statement:
    """Whether the trial would have called a nodule positive; `grown` is None without a prior."""
    if withheld := scope.obstacle():
        return Statement(guideline=GUIDELINE, source=SOURCE, nodule=number, withheld=withheld)
    row = NEITHER
    if grown and grown.by_volume == "grown" and grown.doubling_days < POSITIVE_DAYS:
        row = FAST
    if volume_mm3 > POSITIVE_MM3:
        row = LARGE
    return Statement(
        guideline=GUIDELINE,
        source=SOURCE,
        category="not positive" if row == NEITHER else "positive",
        row=row,
        management="A trial's definition, not a guideline: no step follows from it alone.",
        nodule=number,
        facts=_facts(number, volume_mm3, grown),
        not_assessed=() if grown else ("growth: no prior scan was compared",),
    )


def _facts(number: int, volume_mm3: float, grown: Growth | None) -> tuple[Fact, ...]:
    facts: tuple[Fact, ...] = (Fact("nodule", number), Fact("volume", round(volume_mm3), "mm³"))
    if grown is None:
        return facts
    facts = (*facts, Fact("change of volume", round(100 * grown.volume_change), "%"))
    if grown.by_volume != "grown":
        return facts
    return (*facts, Fact("doubling time", round(grown.doubling_days, 1), "days"))
