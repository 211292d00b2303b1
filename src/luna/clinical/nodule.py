"""A nodule as guidelines see it, and how much of the lungs luna judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from luna.clinical.size import fleischner_mm, lung_rads_mm, to_tenth_mm
from luna.run.errors import UsageError

Kind = Literal["solid", "part-solid", "ground-glass"]
"""Guidelines also call ground-glass nodules non-solid, and both of the last two subsolid."""

KINDS: tuple[Kind, ...] = ("solid", "part-solid", "ground-glass")

Calcification = Literal["none", "complete", "central", "popcorn", "ring", "other"]
"""All but the first and the last are patterns of benign nodules."""

Change = Literal["baseline", "new", "growing", "growing slowly", "stable", "smaller"]
"""How a nodule changed since the prior scan; "baseline" without a prior scan.

"growing" is more than 1.5 mm within 12 months, of the nodule or of its solid part; "growing
slowly" the same over a longer time.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodule:
    """One nodule. None means that a fact is not known, and statements say so.

    `cut`: the edge of the scan cuts the nodule, and its sizes are lower bounds. `solid_mm` is the
    mean diameter of the solid part, for part-solid nodules only. `assumed` says
    that the kind is not known, and that the one here is one of those that it can be.
    `juxtapleural` is true for a nodule on the pleura with a smooth margin and an oval, lentiform
    or triangular shape. `earlier_category` is the Lung-RADS category that called for this
    follow-up, `months_since` how long ago it was given.
    """

    number: int
    kind: Kind | None
    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float | None = None
    solid_mm: float | None = None
    change: Change = "baseline"
    calcification: Calcification | None = None
    fat: bool | None = None
    juxtapleural: bool | None = None
    spiculated: bool | None = None
    upper_lobe: bool | None = None
    earlier_category: Literal["3", "4A"] | None = None
    months_since: float | None = None
    assumed: bool = False
    cut: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.short_axis_mm <= self.long_axis_mm:
            raise UsageError(f"nodule {self.number}: its axes are not long before short, above 0")
        measured = self.kind == "part-solid" and not self.assumed
        if measured != (self.solid_mm is not None):
            raise UsageError(f"nodule {self.number}: a solid part belongs to part-solid nodules")
        if self.solid_mm is not None and not 0 < self.solid_mm <= self.long_axis_mm:
            raise UsageError(f"nodule {self.number}: its solid part is larger than the nodule")

    def taken_as(self, kind: Kind) -> Nodule:
        """Return the nodule with this kind if its own is not known; no solid part was measured."""
        return self if self.kind else replace(self, kind=kind, assumed=True)

    @property
    def kind_words(self) -> str:
        """Its kind as a statement names it."""
        return f"unknown, taken as {self.kind}" if self.assumed else self.kind or "unknown"

    @property
    def kind_not_assessed(self) -> tuple[str, ...]:
        """What a statement says of a kind that is not known."""
        if not self.assumed:
            return ()
        return (
            f"kind: could not be told; taken as {self.kind}, which gives the strictest row",
            "solid part: not measured; a large one can make the row stricter",
        )

    @property
    def lung_rads_mm(self) -> float:
        """The mean diameter to 0.1 mm."""
        return lung_rads_mm(self.long_axis_mm, self.short_axis_mm)

    @property
    def lung_rads_solid_mm(self) -> float:
        """The solid part's mean diameter to 0.1 mm, no more than the nodule's; 0 without one."""
        return min(to_tenth_mm(self.solid_mm or 0), self.lung_rads_mm)

    @property
    def fleischner_mm(self) -> int:
        """The mean diameter to a whole mm."""
        return fleischner_mm(self.long_axis_mm, self.short_axis_mm)

    @property
    def fleischner_solid_mm(self) -> int:
        """The solid part's mean diameter to a whole mm; 0 without one."""
        return fleischner_mm(self.solid_mm or 0, self.solid_mm or 0)


def cut_sizes(nodules: Iterable[Nodule]) -> tuple[str, ...]:
    """What a statement says of the sizes of nodules that the edge of the scan cuts."""
    return tuple(
        f"size of nodule {n.number}: the edge of the scan cuts it; what was measured is a lower "
        "bound"
        for n in nodules
        if n.cut
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """How much of the lungs the findings cover.

    `limited`: the report says that luna could not judge part of the lungs, or the scan itself.
    `beyond_range`: opacities larger than the networks were trained for.
    """

    limited: bool = False
    beyond_range: int = 0

    def obstacle(self) -> str:
        """Why no guideline applies to the scan; empty if they do."""
        reasons = []
        if self.limited:
            reasons.append("the report is limited: its warnings say what luna could not judge")
        if self.beyond_range:
            count = "an opacity" if self.beyond_range == 1 else f"{self.beyond_range} opacities"
            reasons.append(f"{count} beyond the networks' range must be read by a radiologist")
        return "; ".join(reasons)
