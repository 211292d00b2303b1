"""Fleischner Society 2017: follow-up of nodules found incidentally on CT.

Source: MacMahon et al., Radiology 2017, 284:228, table 1 (A: solid, B: subsolid nodules).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from luna.clinical.nodule import KINDS, Nodule, Scope, cut_sizes
from luna.clinical.patient import Patient, Risk
from luna.clinical.size import fleischner_mm
from luna.clinical.statement import Fact, Statement, nodule_facts

GUIDELINE = "Fleischner Society 2017"
SOURCE = "Radiology 2017, 284:228, table 1"

YOUNGEST = 35
"""The guideline is for adults from this age on."""

AXES_ABOVE_MM = 10
"""Both axes are reported above this mean diameter."""

SOLID_PART_MM = 6
"""A solid part of this size makes a part-solid nodule highly suspicious."""

By = Literal["diameter", "volume"]
Number = Literal["single", "multiple"]

NOT_ASSESSED = (
    "infection",
    "perifissural nodules, which need no follow-up",
    "earlier scans of the patient",
)

KINDS_OF_OTHERS = "kinds of other nodules, which decide whether this one counts as single"

NO_FOLLOW_UP = "No routine follow-up."
OPTIONAL = "Optional CT at 12 months."
SOON = "Consider CT at 3 months, PET/CT or tissue sampling."


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table. `urgency` orders cells: 0 for no follow-up, more for sooner steps."""

    urgency: int
    management: str


SOLID: dict[tuple[Number, Risk], tuple[Cell, Cell, Cell]] = {
    ("single", "low"): (
        Cell(0, NO_FOLLOW_UP),
        Cell(2, "CT at 6 to 12 months, then consider CT at 18 to 24 months."),
        Cell(6, SOON),
    ),
    ("single", "high"): (
        Cell(1, OPTIONAL),
        Cell(3, "CT at 6 to 12 months, then CT at 18 to 24 months."),
        Cell(6, SOON),
    ),
    ("multiple", "low"): (
        Cell(0, NO_FOLLOW_UP),
        Cell(4, "CT at 3 to 6 months, then consider CT at 18 to 24 months."),
        Cell(4, "CT at 3 to 6 months, then consider CT at 18 to 24 months."),
    ),
    ("multiple", "high"): (
        Cell(1, OPTIONAL),
        Cell(5, "CT at 3 to 6 months, then CT at 18 to 24 months."),
        Cell(5, "CT at 3 to 6 months, then CT at 18 to 24 months."),
    ),
}
"""Table 1 A: below 6 mm (100 mm³), 6 to 8 mm (100 to 250 mm³), above 8 mm (250 mm³)."""

SOLID_BANDS = ("below 6 mm", "6 to 8 mm", "above 8 mm")
SOLID_BANDS_MM3 = ("below 100 mm³", "100 to 250 mm³", "above 250 mm³")

GROUND_GLASS: tuple[Cell, Cell] = (
    Cell(0, NO_FOLLOW_UP),
    Cell(2, "CT at 6 to 12 months, then every 2 years until 5 years."),
)
PART_SOLID: tuple[Cell, Cell, Cell] = (
    Cell(0, NO_FOLLOW_UP),
    Cell(
        5,
        "CT at 3 to 6 months; if unchanged with a solid part below 6 mm, "
        "CT every year for 5 years.",
    ),
    Cell(7, "CT at 3 to 6 months; a solid part of 6 mm or more is highly suspicious."),
)
SUBSOLID_MULTIPLE: tuple[Cell, Cell] = (
    Cell(4, "CT at 3 to 6 months; if stable, consider CT at 2 and 4 years."),
    Cell(5, "CT at 3 to 6 months, then by the most suspicious nodule."),
)
"""Table 1 B: below 6 mm (100 mm³), 6 mm or more."""

SUBSOLID_BANDS = ("below 6 mm", "6 mm or more")
SUBSOLID_BANDS_MM3 = ("below 100 mm³", "100 mm³ or more")


def fleischner(
    nodules: Sequence[Nodule], patient: Patient, scope: Scope, by: By = "diameter"
) -> Statement:
    """Return the table's cell for the nodule that needs the earliest step.

    Solid and subsolid nodules are counted separately. Nodules of unknown kind are taken as each
    kind in turn, and the one that needs the earliest step is named. Without `patient.risk` the
    statement has the recommendations for both risks. `by` chooses the table's sizes: mean
    diameter or volume.
    Withheld if the findings do not cover both lungs completely, and for patients whom the guideline
    does not cover.
    """
    if withheld := scope.obstacle() or _not_covered(patient) or _no_volume(nodules, by):
        return Statement(guideline=GUIDELINE, source=SOURCE, withheld=withheld)
    if not nodules:
        return Statement(
            guideline=GUIDELINE,
            source=SOURCE,
            category="no nodule",
            row="none: the table is about nodules",
            management="Nothing that the guideline names.",
            facts=_patient_facts(patient),
            not_assessed=NOT_ASSESSED,
        )
    risk = patient.risk or "high"
    numbered = (pair for kind in KINDS for pair in _numbered([n.taken_as(kind) for n in nodules]))
    first, number = max(
        numbered, key=lambda one: (_cell(one[0], one[1], risk, by)[1].urgency, one[0].fleischner_mm)
    )
    statement = _statement(first, number, patient, by)
    others = () if first.assumed or all(n.kind for n in nodules) else (KINDS_OF_OTHERS,)
    return replace(statement, not_assessed=(*cut_sizes(nodules), *others, *statement.not_assessed))


def _numbered(nodules: Sequence[Nodule]) -> list[tuple[Nodule, Number]]:
    return [(nodule, _number(nodule, nodules)) for nodule in nodules]


def _not_covered(patient: Patient) -> str:
    """Why the guideline does not cover this patient; empty if it does or may."""
    if patient.age is not None and patient.age < YOUNGEST:
        return f"the guideline is not for patients below {YOUNGEST} years"
    if patient.cancer:
        return "the guideline is not for patients with cancer"
    if patient.immunosuppressed:
        return "the guideline is not for patients with immunosuppression"
    return ""


def _no_volume(nodules: Sequence[Nodule], by: By) -> str:
    missing = [str(n.number) for n in nodules if n.volume_mm3 is None]
    return f"no volume of nodule {', '.join(missing)}" if by == "volume" and missing else ""


def _number(nodule: Nodule, nodules: Sequence[Nodule]) -> Number:
    same = [n for n in nodules if (n.kind == "solid") == (nodule.kind == "solid")]
    return "single" if len(same) == 1 else "multiple"


def size_band(nodule: Nodule, by: By = "diameter") -> int:
    """0 below 6 mm or 100 mm³; 1 up to 8 mm or 250 mm³, both within; 2 above."""
    if by == "volume":
        volume_mm3 = nodule.volume_mm3 or 0
        return (volume_mm3 >= 100) + (volume_mm3 > 250)
    return (nodule.fleischner_mm >= 6) + (nodule.fleischner_mm > 8)


def _cell(nodule: Nodule, number: Number, risk: Risk, by: By) -> tuple[str, Cell]:
    """The cell for a nodule, and the words for its row and column."""
    band = size_band(nodule, by)
    if nodule.kind == "solid":
        name = (SOLID_BANDS if by == "diameter" else SOLID_BANDS_MM3)[band]
        return f"solid, {number}, {name}", SOLID[number, risk][band]
    large = min(band, 1)
    name = (SUBSOLID_BANDS if by == "diameter" else SUBSOLID_BANDS_MM3)[large]
    if number == "multiple":
        return f"subsolid, multiple, {name}", SUBSOLID_MULTIPLE[large]
    if nodule.kind == "ground-glass":
        return f"ground-glass, single, {name}", GROUND_GLASS[large]
    suspicious = large == 1 and nodule.fleischner_solid_mm >= SOLID_PART_MM
    solid_part = ("", ", solid part below 6 mm", ", solid part 6 mm or more")[large + suspicious]
    return f"part-solid, single, {name}{solid_part}", PART_SOLID[large + suspicious]


def _statement(nodule: Nodule, number: Number, patient: Patient, by: By) -> Statement:
    row, low = _cell(nodule, number, "low", by)
    _, high = _cell(nodule, number, "high", by)
    if low == high:
        management, risk = low.management, ""
    elif patient.risk is None:
        management = f"Low risk: {low.management} High risk: {high.management}"
        risk = ""
    else:
        management = (low if patient.risk == "low" else high).management
        risk = f", {patient.risk} risk"
    return Statement(
        guideline=GUIDELINE,
        source=SOURCE,
        category=f"{row}{risk}",
        row=f"{'A' if nodule.kind == 'solid' else 'B'}: {row}{risk}"
        f"{' (kind unknown)' if nodule.assumed else ''}",
        management=management,
        nodule=nodule.number,
        facts=(*_nodule_facts(nodule, by), Fact("number", number), *_patient_facts(patient)),
        not_assessed=(*nodule.kind_not_assessed, *_unknown(patient), *NOT_ASSESSED),
    )


def _nodule_facts(nodule: Nodule, by: By) -> tuple[Fact, ...]:
    solid_mm = None if nodule.solid_mm is None else nodule.fleischner_solid_mm
    facts = nodule_facts(nodule.number, nodule.kind_words, nodule.fleischner_mm, solid_mm)
    if by == "volume" and nodule.volume_mm3 is not None:
        facts = (*facts, Fact("volume", round(nodule.volume_mm3), "mm³"))
    if nodule.cut:
        facts = (*facts, Fact("cut by the edge of the scan", True))
    if nodule.fleischner_mm > AXES_ABOVE_MM:
        long_mm, short_mm = (
            fleischner_mm(axis, axis) for axis in (nodule.long_axis_mm, nodule.short_axis_mm)
        )
        facts = (*facts, Fact("long axis", long_mm, "mm"), Fact("short axis", short_mm, "mm"))
    return facts


def _patient_facts(patient: Patient) -> tuple[Fact, ...]:
    known = (
        Fact(name, value, unit)
        for name, value, unit in (
            ("age", patient.age, "years"),
            ("risk", patient.risk, ""),
            ("cancer", patient.cancer, ""),
            ("immunosuppression", patient.immunosuppressed, ""),
        )
        if value is not None
    )
    return tuple(known)


def _unknown(patient: Patient) -> tuple[str, ...]:
    return tuple(
        words
        for value, words in (
            (patient.age, f"age: the guideline is not for patients below {YOUNGEST} years"),
            (patient.risk, "risk"),
            (patient.cancer, "cancer: the guideline is not for patients with cancer"),
            (patient.immunosuppressed, "immunosuppression, which the guideline does not cover"),
        )
        if value is None
    )
