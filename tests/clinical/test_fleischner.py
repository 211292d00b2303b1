"""Every cell of the Fleischner table, at both sides of every threshold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.clinical.fleischner import GROUND_GLASS, PART_SOLID, SOLID, fleischner, size_band
from luna.clinical.nodule import Kind, Nodule, Scope
from luna.clinical.patient import Patient

WHOLE = Scope()

NONE = "No routine follow-up."
OPTIONAL = "Optional CT at 12 months."
SOON = "Consider CT at 3 months, PET/CT or tissue sampling."
CONSIDER_LATE = "CT at 6 to 12 months, then consider CT at 18 to 24 months."
LATE = "CT at 6 to 12 months, then CT at 18 to 24 months."
CONSIDER_EARLY = "CT at 3 to 6 months, then consider CT at 18 to 24 months."
EARLY = "CT at 3 to 6 months, then CT at 18 to 24 months."

# how many, risk, mm, words
SOLID_CELLS = [
    (1, "low", 5.4, NONE),
    (1, "low", 5.5, CONSIDER_LATE),
    (1, "low", 8.4, CONSIDER_LATE),
    (1, "low", 8.5, SOON),
    (1, "high", 5.4, OPTIONAL),
    (1, "high", 5.5, LATE),
    (1, "high", 8.4, LATE),
    (1, "high", 8.5, SOON),
    (2, "low", 5.4, NONE),
    (2, "low", 5.5, CONSIDER_EARLY),
    (2, "low", 8.4, CONSIDER_EARLY),
    (2, "low", 8.5, CONSIDER_EARLY),
    (2, "high", 5.4, OPTIONAL),
    (2, "high", 5.5, EARLY),
    (2, "high", 8.4, EARLY),
    (2, "high", 8.5, EARLY),
]

# kind, how many, mm, solid part mm, what the words begin with
SUBSOLID_CELLS = [
    ("ground-glass", 1, 5.4, None, NONE),
    ("ground-glass", 1, 5.5, None, "CT at 6 to 12 months, then every 2 years until 5 years."),
    ("part-solid", 1, 5.4, 5.0, NONE),
    ("part-solid", 1, 5.5, 5.4, "CT at 3 to 6 months; if unchanged with a solid part below 6 mm"),
    ("part-solid", 1, 9.0, 5.5, "CT at 3 to 6 months; a solid part of 6 mm or more is highly"),
    ("ground-glass", 2, 5.4, None, "CT at 3 to 6 months; if stable, consider CT at 2 and 4 years."),
    ("ground-glass", 2, 5.5, None, "CT at 3 to 6 months, then by the most suspicious nodule."),
    ("part-solid", 2, 5.4, 5.0, "CT at 3 to 6 months; if stable, consider CT at 2 and 4 years."),
    ("part-solid", 2, 5.5, 5.0, "CT at 3 to 6 months, then by the most suspicious nodule."),
]


@pytest.mark.parametrize(("count", "risk", "mm", "words"), SOLID_CELLS)
def test_every_cell_of_solid_nodules(
    nodule: Any, count: int, risk: Any, mm: float, words: str
) -> None:
    statement = fleischner([nodule("solid", mm)] * count, Patient(age=60, risk=risk), WHOLE)
    assert statement.management == words
    assert f"solid, {'single' if count == 1 else 'multiple'}" in statement.row
    assert statement.row.startswith("A: ")


@pytest.mark.parametrize(("kind", "count", "mm", "solid_mm", "words"), SUBSOLID_CELLS)
@pytest.mark.parametrize("risk", [None, "low", "high"])
def test_every_cell_of_subsolid_nodules(
    nodule: Any, kind: Kind, count: int, mm: float, solid_mm: float | None, words: str, risk: Any
) -> None:
    statement = fleischner([nodule(kind, mm, solid_mm)] * count, Patient(risk=risk), WHOLE)
    assert statement.management.startswith(words)
    assert statement.row.startswith("B: ")


@pytest.mark.parametrize(
    ("kind", "mm3", "band"),
    [
        ("solid", 99.9, 0),
        ("solid", 100, 1),
        ("solid", 250, 1),
        ("solid", 250.1, 2),
        ("ground-glass", 99.9, 0),
        ("ground-glass", 100, 1),
    ],
)
def test_volume_bands(nodule: Any, kind: Kind, mm3: float, band: int) -> None:
    assert size_band(nodule(kind, 20, volume_mm3=mm3), "volume") == band


def test_volume_decides_where_it_is_asked_for(nodule: Any) -> None:
    small = nodule("solid", 20, volume_mm3=99)
    statement = fleischner([small], Patient(risk="low"), WHOLE, by="volume")
    assert statement.management == NONE
    assert "below 100 mm³" in statement.row
    assert "volume: 99 mm³" in [str(fact) for fact in statement.facts]
    withheld = fleischner([nodule("solid", 20)], Patient(), WHOLE, by="volume").withheld
    assert withheld == "no volume of nodule 1"


@pytest.mark.parametrize(
    ("patient", "covered"),
    [
        (Patient(age=34), False),
        (Patient(age=35), True),
        (Patient(cancer=True), False),
        (Patient(immunosuppressed=True), False),
        (Patient(cancer=False, immunosuppressed=False), True),
        (Patient(), True),
    ],
)
def test_whom_the_guideline_is_for(nodule: Any, patient: Patient, covered: bool) -> None:
    statement = fleischner([nodule("solid", 7)], patient, WHOLE)
    assert (statement.category is not None) == covered
    assert bool(statement.withheld) == (not covered)


def test_unknown_facts_are_named(nodule: Any) -> None:
    unknown = " ".join(fleischner([nodule("solid", 7)], Patient(), WHOLE).not_assessed)
    for word in ("age", "risk", "cancer", "immunosuppression"):
        assert word in unknown


def test_without_a_risk_both_are_told(nodule: Any) -> None:
    words = fleischner([nodule("solid", 7)], Patient(), WHOLE).management
    assert words == f"Low risk: {CONSIDER_LATE} High risk: {LATE}"
    # Above 8 mm the risk changes nothing.
    assert fleischner([nodule("solid", 9)], Patient(), WHOLE).management == SOON


def test_the_soonest_step_decides_and_kinds_are_counted_apart(nodule: Any) -> None:
    nodules = [
        nodule("solid", 5, number=1),
        nodule("part-solid", 9, 7, number=2),
        nodule("solid", 7, number=3),
    ]
    statement = fleischner(nodules, Patient(risk="low"), WHOLE)
    assert statement.nodule == 2
    assert "part-solid, single" in statement.row


@pytest.mark.parametrize(
    ("mm", "row", "management"),
    [
        (5.4, "A: solid, single, below 6 mm", OPTIONAL),
        (6, "B: part-solid, single, 6 mm or more", "CT at 3 to 6 months; if unchanged"),
        (9, "A: solid, single, above 8 mm", SOON),
    ],
)
def test_an_unknown_kind_takes_the_soonest_step_and_names_its_row(
    nodule: Any, mm: float, row: str, management: str
) -> None:
    told = fleischner([nodule(None, mm)], Patient(age=60, risk="high"), WHOLE)
    assert told.row.startswith(row)
    assert told.row.endswith("(kind unknown)")
    assert told.management.startswith(management)
    assert any(words.startswith("kind: could not be told") for words in told.not_assessed)


def test_how_many_count_is_open_beside_an_unknown_kind(nodule: Any) -> None:
    large, unknown = nodule("solid", 12, number=1), nodule(None, 4, number=2)
    told = fleischner([large, unknown], Patient(age=60, risk="high"), WHOLE)
    assert told.nodule == 1
    assert told.row.startswith("A: solid, single")
    assert "kinds of other nodules" in told.not_assessed[0]


def test_both_axes_are_told_above_10_mm() -> None:
    def facts(mm: float) -> list[str]:
        n = Nodule(number=1, kind="solid", long_axis_mm=mm + 2.4, short_axis_mm=mm - 2.4)
        return [str(f) for f in fleischner([n], Patient(), WHOLE).facts]

    assert "long axis: 13 mm" in facts(11)
    assert "short axis: 9 mm" in facts(11)
    assert not any("axis" in fact for fact in facts(10.4))


@pytest.mark.parametrize("scope", [Scope(limited=True), Scope(beyond_range=1)])
def test_no_row_where_luna_could_not_judge(nodule: Any, scope: Scope) -> None:
    for nodules in ([], [nodule("solid", 7)]):
        statement = fleischner(nodules, Patient(), scope)
        assert statement.category is None
        assert statement.withheld
        assert not statement.management


def test_no_nodules() -> None:
    assert fleischner([], Patient(), WHOLE).category == "no nodule"


def test_urgency_rises_with_size() -> None:
    for cells in (*SOLID.values(), GROUND_GLASS, PART_SOLID):
        assert [c.urgency for c in cells] == sorted(c.urgency for c in cells)


@given(st.floats(1, 50), st.floats(0, 10))
def test_bands_never_fall_with_size(mm: float, more: float) -> None:
    a, b = (
        Nodule(number=1, kind="solid", long_axis_mm=d, short_axis_mm=d, volume_mm3=d**3 / 2)
        for d in (mm, mm + more)
    )
    assert size_band(a) <= size_band(b)
    assert size_band(a, "volume") <= size_band(b, "volume")
