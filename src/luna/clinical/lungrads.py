"""Lung-RADS v2022: the category of a screening scan by size, kind and change of its nodules.

Source: American College of Radiology, Lung-RADS v2022, table of November 2022. Where the ACR's
summary differs from the table (juxtapleural "≤ 10 mm"), the table holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

from luna.clinical.nodule import KINDS, Change, Kind, Nodule, Scope, cut_sizes
from luna.clinical.statement import Fact, Statement, nodule_facts

GUIDELINE = "Lung-RADS v2022"
SOURCE = "ACR Lung-RADS v2022, table of November 2022"

Category = Literal["0", "1", "2", "3", "4A", "4B", "4X"]
BY_CONCERN: tuple[Category, ...] = ("0", "1", "2", "3", "4A", "4B", "4X")
"""The exam has the category of its most suspicious nodule."""

Incomplete = Literal["prior awaited", "lungs not all shown", "infection suspected"]
"""Why a reader gives category 0."""

TISSUE = "Referral for further evaluation: diagnostic chest CT, PET/CT or tissue sampling."
MANAGEMENT: dict[Category, str] = {
    "0": "Complete the exam: compare with the prior, or image again in 1 to 3 months.",
    "1": "Low-dose CT in 12 months.",
    "2": "Low-dose CT in 12 months.",
    "3": "Low-dose CT in 6 months.",
    "4A": "Low-dose CT in 3 months; PET/CT may be considered from 8 mm of solid tissue on.",
    "4B": TISSUE,
    "4X": TISSUE,
}

NEVER_ASSESSED = (
    "airway nodules",
    "atypical cysts",
    "infection",
    "enlarged lymph nodes and other features of category 4X",
    "significant findings other than lung cancer (modifier S)",
)

BENIGN_CALCIFICATION = frozenset(("complete", "central", "popcorn", "ring"))
STEPS_DOWN: dict[Category, tuple[Category, float]] = {"4A": ("3", 3), "3": ("2", 6)}
"""From an earlier category to the one of a nodule that is stable after so many months."""


KNOWN: tuple[Change, ...] = ("baseline", "stable", "smaller", "growing slowly")
"""Size alone decides: a known nodule takes the category of its size, also where it crosses a
threshold without growth."""

ANY_MM = (0.0, inf)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    `mm` and `solid_mm`: the mean diameters of the nodule and of its solid part that it is
    about, from the first on and below the second. `seen` is how the table calls `changes`.
    """

    category: Category
    kind: Kind
    seen: str
    changes: tuple[Change, ...]
    mm: tuple[float, float] = ANY_MM
    solid_mm: tuple[float, float] = ANY_MM

    def fits(self, nodule: Nodule) -> bool:
        """Whether a nodule belongs here."""
        return (
            nodule.kind == self.kind
            and nodule.change in self.changes
            and self.mm[0] <= nodule.lung_rads_mm < self.mm[1]
            and self.solid_mm[0] <= nodule.lung_rads_solid_mm < self.solid_mm[1]
        )

    def __str__(self) -> str:
        sizes = (_band("", self.mm), _band("solid part ", self.solid_mm))
        return ", ".join(filter(None, (self.kind, self.seen, *sizes)))


def _band(name: str, mm: tuple[float, float]) -> str:
    low, high = mm
    words = [f"{low:g} mm or more"] * (low > 0) + [f"below {high:g} mm"] * (high < inf)
    return name + " and ".join(words) if words else ""


TABLE: tuple[Row, ...] = (
    Row("4B", "solid", "baseline", KNOWN, (15, inf)),
    Row("4B", "solid", "new or growing", ("new", "growing"), (8, inf)),
    Row("4B", "part-solid", "baseline", KNOWN, solid_mm=(8, inf)),
    Row("4B", "part-solid", "new or growing", ("new", "growing"), solid_mm=(4, inf)),
    Row("4A", "solid", "baseline", KNOWN, (8, 15)),
    Row("4A", "solid", "growing", ("growing",), (0, 8)),
    Row("4A", "solid", "new", ("new",), (6, 8)),
    Row("4A", "part-solid", "baseline", KNOWN, (6, inf), (6, 8)),
    Row("4A", "part-solid", "growing", ("growing",), solid_mm=(0, 4)),
    Row("4A", "part-solid", "new", ("new",), (6, inf), (0, 4)),
    Row("3", "solid", "baseline", KNOWN, (6, 8)),
    Row("3", "solid", "new", ("new",), (4, 6)),
    Row("3", "part-solid", "baseline", KNOWN, (6, inf), (0, 6)),
    Row("3", "part-solid", "new", ("new",), (0, 6), (0, 4)),
    Row("3", "ground-glass", "baseline or new", ("baseline", "new", "growing"), (30, inf)),
    Row("2", "solid", "baseline", KNOWN, (0, 6)),
    Row("2", "solid", "new", ("new",), (0, 4)),
    Row("2", "part-solid", "baseline", KNOWN, (0, 6)),
    Row("2", "ground-glass", "", (*KNOWN, "new", "growing"), (0, 30)),
    Row("2", "ground-glass", "stable or growing slowly", KNOWN[1:], (30, inf)),
)
"""Every nodule without special features belongs to one row and no other.

A new part-solid nodule below 6 mm fits two rows of the ACR's table where its solid part has 4 mm
or more; it stands in the more suspicious one, 4B. A ground-glass nodule of 30 mm or more that
grows by more than 1.5 mm within 12 months has no row there; it stands beside the new ones.
"""

NO_NODULE = "no lung nodule"
BENIGN = "complete, central, popcorn or ring calcification, or fat"
JUXTAPLEURAL = "solid, juxtapleural, smooth, oval, lentiform or triangular, below 10 mm"
JUXTAPLEURAL_MM = 10


def categorise(nodule: Nodule) -> tuple[Category, str]:
    """Return the category of one nodule and the table row that gives it.

    Benign features come before size, then the steps down of a stable nodule, then the features
    that make a category 3 or 4 more suspicious. A nodule of unknown kind has its strictest row.
    """
    return _of_known(strictest(nodule))


def strictest(nodule: Nodule) -> Nodule:
    """Return the nodule, of the kind with the most suspicious row if its own is not known."""
    readings = (nodule.taken_as(kind) for kind in KINDS)
    return max(readings, key=lambda reading: concern(_of_known(reading)[0]))


def _of_known(nodule: Nodule) -> tuple[Category, str]:
    if nodule.calcification in BENIGN_CALCIFICATION or nodule.fat:
        return "1", BENIGN
    if _is_juxtapleural(nodule):
        return "2", JUXTAPLEURAL
    row = next(row for row in TABLE if row.fits(nodule))
    category, text = _stepped_down(nodule, row)
    if nodule.spiculated and category in ("3", "4A", "4B"):
        return "4X", f"spiculated, and {category} ({text})"
    return category, text


def _is_juxtapleural(nodule: Nodule) -> bool:
    grows = nodule.change in ("growing", "growing slowly")
    small = nodule.lung_rads_mm < JUXTAPLEURAL_MM
    return nodule.kind == "solid" and bool(nodule.juxtapleural) and small and not grows


def _stepped_down(nodule: Nodule, row: Row) -> tuple[Category, str]:
    """Return the next lower category for a nodule that did not grow until its follow-up.

    A nodule whose size has since crossed into a higher category stays there.
    """
    earlier = nodule.earlier_category
    if earlier is None or nodule.change not in ("stable", "smaller"):
        return row.category, str(row)
    category, months = STEPS_DOWN[earlier]
    early = (nodule.months_since or 0) < months
    if early or not concern(category) < concern(row.category) <= concern(earlier):
        return row.category, str(row)
    return category, f"category {earlier}, stable or smaller after {months:g} months"


def concern(category: Category) -> int:
    """The rank of a category: a higher one is more suspicious."""
    return BY_CONCERN.index(category)


def nodule_statement(nodule: Nodule) -> Statement:
    """Return the table's statement on one nodule by itself."""
    nodule = strictest(nodule)
    category, text = _of_known(nodule)
    return Statement(
        guideline=GUIDELINE,
        source=SOURCE,
        category=category,
        row=f"{category}: {text}{' (kind unknown)' if nodule.assumed else ''}",
        management=MANAGEMENT[category],
        nodule=nodule.number,
        facts=_facts(nodule),
        not_assessed=_not_assessed(nodule),
    )


def lung_rads(
    nodules: Sequence[Nodule], scope: Scope, incomplete: Incomplete | None = None
) -> Statement:
    """Return the category of a screening exam: that of its most suspicious nodule.

    Withheld if the findings do not cover both lungs completely. `incomplete` is a
    reader's reason for category 0.
    """
    if obstacle := scope.obstacle():
        return Statement(guideline=GUIDELINE, source=SOURCE, withheld=obstacle)
    if incomplete is not None:
        return _without_nodule("0", incomplete)
    if not nodules:
        return _without_nodule("1", NO_NODULE)
    worst = max(nodules, key=lambda n: (concern(categorise(n)[0]), n.lung_rads_mm))
    statement = nodule_statement(worst)
    return replace(statement, not_assessed=(*cut_sizes(nodules), *statement.not_assessed))


def _without_nodule(category: Category, text: str) -> Statement:
    return Statement(
        guideline=GUIDELINE,
        source=SOURCE,
        category=category,
        row=f"{category}: {text}",
        management=MANAGEMENT[category],
        not_assessed=NEVER_ASSESSED,
    )


def _facts(nodule: Nodule) -> tuple[Fact, ...]:
    solid_mm = None if nodule.solid_mm is None else nodule.lung_rads_solid_mm
    known: list[Fact] = [Fact("change", nodule.change)]
    for name in ("calcification", "fat", "juxtapleural", "spiculated"):
        if (value := getattr(nodule, name)) is not None:
            known.append(Fact(name, value))
    if nodule.earlier_category is not None:
        known.append(Fact("earlier category", nodule.earlier_category))
    if nodule.months_since is not None:
        known.append(Fact("time since the earlier category", nodule.months_since, "months"))
    if nodule.cut:
        known.append(Fact("cut by the edge of the scan", True))
    size = nodule_facts(nodule.number, nodule.kind_words, nodule.lung_rads_mm, solid_mm)
    return (*size, *known)


def _not_assessed(nodule: Nodule) -> tuple[str, ...]:
    unknown = [
        words
        for name, words in (
            ("calcification", "calcification"),
            ("fat", "fat"),
            ("juxtapleural", "juxtapleural shape"),
            ("spiculated", "spiculation"),
        )
        if getattr(nodule, name) is None
    ]
    if nodule.change == "baseline":
        unknown.append("growth: no prior scan was compared")
    if nodule.change == "growing slowly":
        unknown.append("growth over several exams, which can make it 4B")
    if nodule.kind == "ground-glass" and nodule.change == "growing" and nodule.lung_rads_mm >= 30:
        unknown.append("the table has no row for a growing nodule of 30 mm or more; taken as new")
    return (*nodule.kind_not_assessed, *unknown, *NEVER_ASSESSED)
