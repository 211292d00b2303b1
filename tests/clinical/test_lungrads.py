"""Every row of the Lung-RADS table, at both sides of every threshold."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.clinical.lungrads import (
    BY_CONCERN,
    MANAGEMENT,
    TABLE,
    categorise,
    concern,
    lung_rads,
    nodule_statement,
)
from luna.clinical.nodule import Change, Kind, Nodule, Scope
from luna.clinical.statement import Fact
from luna.run.errors import UsageError

WHOLE = Scope()

# kind, change, mm, solid part mm, category
ROWS = [
    ("solid", "baseline", 3.0, None, "2"),
    ("solid", "baseline", 5.9, None, "2"),
    ("solid", "baseline", 5.949, None, "2"),
    ("solid", "baseline", 5.95, None, "3"),
    ("solid", "baseline", 6.0, None, "3"),
    ("solid", "baseline", 7.9, None, "3"),
    ("solid", "baseline", 8.0, None, "4A"),
    ("solid", "baseline", 14.9, None, "4A"),
    ("solid", "baseline", 15.0, None, "4B"),
    ("solid", "new", 3.9, None, "2"),
    ("solid", "new", 4.0, None, "3"),
    ("solid", "new", 5.9, None, "3"),
    ("solid", "new", 6.0, None, "4A"),
    ("solid", "new", 7.9, None, "4A"),
    ("solid", "new", 8.0, None, "4B"),
    ("solid", "growing", 3.0, None, "4A"),
    ("solid", "growing", 7.9, None, "4A"),
    ("solid", "growing", 8.0, None, "4B"),
    ("solid", "growing slowly", 7.9, None, "3"),
    ("solid", "growing slowly", 8.0, None, "4A"),
    ("solid", "stable", 8.0, None, "4A"),
    ("part-solid", "baseline", 5.9, 5.0, "2"),
    ("part-solid", "baseline", 6.0, 2.0, "3"),
    ("part-solid", "baseline", 20.0, 5.9, "3"),
    ("part-solid", "baseline", 20.0, 6.0, "4A"),
    ("part-solid", "baseline", 20.0, 7.9, "4A"),
    ("part-solid", "baseline", 20.0, 8.0, "4B"),
    ("part-solid", "new", 5.9, 3.9, "3"),
    ("part-solid", "new", 5.9, 4.0, "4B"),
    ("part-solid", "new", 6.0, 3.9, "4A"),
    ("part-solid", "new", 6.0, 4.0, "4B"),
    ("part-solid", "growing", 6.0, 3.9, "4A"),
    ("part-solid", "growing", 6.0, 4.0, "4B"),
    ("part-solid", "stable", 20.0, 6.0, "4A"),
    ("ground-glass", "baseline", 29.9, None, "2"),
    ("ground-glass", "baseline", 30.0, None, "3"),
    ("ground-glass", "new", 29.9, None, "2"),
    ("ground-glass", "new", 30.0, None, "3"),
    ("ground-glass", "growing", 29.9, None, "2"),
    ("ground-glass", "growing", 30.0, None, "3"),
    ("ground-glass", "growing slowly", 30.0, None, "2"),
    ("ground-glass", "stable", 30.0, None, "2"),
]

kinds = st.sampled_from(get_args(Kind))
changes = st.sampled_from(get_args(Change))
axes = st.floats(0.2, 60)


@st.composite
def plain_nodules(draw: Any) -> Nodule:
    """A nodule without special features."""
    kind, a, b = draw(kinds), draw(axes), draw(axes)
    solid = draw(st.floats(0.1, 1)) * min(a, b) if kind == "part-solid" else None
    return Nodule(
        number=draw(st.integers(1, 99)),
        kind=kind,
        long_axis_mm=max(a, b),
        short_axis_mm=min(a, b),
        solid_mm=solid,
        change=draw(changes),
    )


@pytest.mark.parametrize(("kind", "change", "mm", "solid_mm", "category"), ROWS)
def test_every_row_at_its_thresholds(
    nodule: Any, kind: Kind, change: Change, mm: float, solid_mm: float | None, category: str
) -> None:
    statement = lung_rads([nodule(kind, mm, solid_mm, change=change)], WHOLE)
    assert statement.category == category
    assert statement.row.startswith(f"{category}: {kind}")
    assert statement.management == MANAGEMENT[category]


def test_the_rows_above_reach_the_whole_table(nodule: Any) -> None:
    reached = {
        row
        for kind, change, mm, solid_mm, _ in ROWS
        for row in TABLE
        if row.fits(nodule(kind, mm, solid_mm, change=change))
    }
    assert reached == set(TABLE)


@given(plain_nodules())
def test_a_nodule_belongs_to_one_row_and_no_other(n: Nodule) -> None:
    assert sum(row.fits(n) for row in TABLE) == 1


@given(plain_nodules(), st.floats(0, 20), st.floats(0, 20))
def test_a_larger_nodule_is_no_less_suspicious(n: Nodule, more: float, more_solid: float) -> None:
    solid_mm = None if n.solid_mm is None else min(n.solid_mm + more_solid, n.short_axis_mm + more)
    larger = Nodule(
        number=1,
        kind=n.kind,
        long_axis_mm=n.long_axis_mm + more,
        short_axis_mm=n.short_axis_mm + more,
        solid_mm=solid_mm,
        change=n.change,
    )
    assert concern(categorise(larger)[0]) >= concern(categorise(n)[0])


@given(st.lists(plain_nodules(), min_size=1, max_size=6))
def test_the_exam_has_the_category_of_its_most_suspicious_nodule(nodules: list[Nodule]) -> None:
    exam = lung_rads(nodules, WHOLE)
    assert concern(exam.category) == max(concern(categorise(n)[0]) for n in nodules)
    assert exam in [nodule_statement(n) for n in nodules]


@pytest.mark.parametrize("pattern", ["complete", "central", "popcorn", "ring"])
def test_benign_calcification_is_category_1_at_any_size(nodule: Any, pattern: str) -> None:
    assert lung_rads([nodule("solid", 20, calcification=pattern)], WHOLE).category == "1"


def test_fat_is_category_1_and_another_calcification_is_not(nodule: Any) -> None:
    assert lung_rads([nodule("solid", 20, fat=True)], WHOLE).category == "1"
    assert lung_rads([nodule("solid", 20, calcification="other")], WHOLE).category == "4B"


def test_no_nodule_is_category_1() -> None:
    statement = lung_rads([], WHOLE)
    assert (statement.category, statement.row, statement.nodule) == ("1", "1: no lung nodule", None)


@pytest.mark.parametrize(
    ("mm", "change", "category"),
    [
        (9.9, "baseline", "2"),
        (9.9, "new", "2"),
        (10.0, "baseline", "4A"),  # the table's "below 10", not the summary's "up to 10"
        (9.0, "growing", "4B"),
        (9.0, "growing slowly", "4A"),
    ],
)
def test_juxtapleural(nodule: Any, mm: float, change: Change, category: str) -> None:
    found = nodule("solid", mm, juxtapleural=True, change=change)
    assert lung_rads([found], WHOLE).category == category


def test_juxtapleural_is_for_solid_nodules(nodule: Any) -> None:
    assert lung_rads([nodule("part-solid", 9, 7, juxtapleural=True)], WHOLE).category == "4A"


@pytest.mark.parametrize(
    ("earlier", "months", "change", "mm", "category"),
    [
        ("4A", 3, "stable", 9, "3"),
        ("4A", 3, "smaller", 9, "3"),
        ("4A", 2, "stable", 9, "4A"),
        ("3", 6, "stable", 7, "2"),
        ("3", 5, "stable", 7, "3"),
        ("3", 6, "growing slowly", 7, "3"),
        ("3", 6, "stable", 8, "4A"),  # crossed a threshold without growth
        ("4A", 3, "stable", 15, "4B"),
        ("4A", 3, "smaller", 5, "2"),  # its size alone says less
    ],
)
def test_steps_down(
    nodule: Any, earlier: str, months: float, change: Change, mm: float, category: str
) -> None:
    found = nodule("solid", mm, change=change, earlier_category=earlier, months_since=months)
    assert lung_rads([found], WHOLE).category == category


@pytest.mark.parametrize(("mm", "category"), [(5, "2"), (6, "4X"), (8, "4X"), (15, "4X")])
def test_spiculation_makes_3_and_4_more_suspicious(nodule: Any, mm: float, category: str) -> None:
    assert lung_rads([nodule("solid", mm, spiculated=True)], WHOLE).category == category


@pytest.mark.parametrize(
    ("mm", "change", "category", "kind"),
    [
        (5.9, "baseline", "2", "solid"),
        (6, "baseline", "3", "solid"),
        (8, "baseline", "4A", "solid"),
        (3.9, "new", "3", "part-solid"),
        (8, "growing", "4B", "solid"),
        (30, "baseline", "4B", "solid"),
    ],
)
def test_an_unknown_kind_takes_its_strictest_row_and_names_it(
    nodule: Any, mm: float, change: Change, category: str, kind: str
) -> None:
    told = nodule_statement(nodule(None, mm, change=change))
    assert told.category == categorise(nodule(None, mm, change=change))[0] == category
    assert told.row.startswith(f"{category}: {kind}, ")
    assert told.row.endswith("(kind unknown)")
    assert Fact("kind", f"unknown, taken as {kind}") in told.facts
    assert not any(fact.name == "solid part" for fact in told.facts)
    assert any(f"taken as {kind}" in words for words in told.not_assessed)
    assert any("solid part: not measured" in words for words in told.not_assessed)


def of_kind(kind: Kind | None, mm: float, change: Change) -> Nodule:
    return Nodule(number=1, kind=kind, long_axis_mm=mm, short_axis_mm=mm, change=change)


@given(mm=st.floats(1, 40), change=st.sampled_from(get_args(Change)))
def test_an_unknown_kind_is_no_less_suspicious_than_a_known_one(mm: float, change: Change) -> None:
    unknown = concern(categorise(of_kind(None, mm, change))[0])
    for kind in ("solid", "ground-glass"):
        assert unknown >= concern(categorise(of_kind(kind, mm, change))[0])


@pytest.mark.parametrize("why", ["prior awaited", "lungs not all shown", "infection suspected"])
def test_a_reader_may_call_an_exam_incomplete(nodule: Any, why: Any) -> None:
    statement = lung_rads([nodule("solid", 20)], WHOLE, incomplete=why)
    assert (statement.category, statement.row) == ("0", f"0: {why}")


@pytest.mark.parametrize("scope", [Scope(limited=True), Scope(beyond_range=2)])
@pytest.mark.parametrize("found", [False, True])
def test_no_category_where_luna_could_not_judge(nodule: Any, scope: Scope, found: bool) -> None:
    statement = lung_rads([nodule("solid", 20)] * found, scope, incomplete="prior awaited")
    assert statement.category is None
    assert statement.withheld
    assert statement.management == ""


def test_a_statement_tells_its_facts_and_what_was_not_assessed() -> None:
    bare = Nodule(number=4, kind="part-solid", long_axis_mm=9, short_axis_mm=7, solid_mm=3.14)
    statement = lung_rads([bare], WHOLE)
    assert [str(fact) for fact in statement.facts] == [
        "nodule: 4",
        "kind: part-solid",
        "mean diameter: 8.0 mm",
        "solid part: 3.1 mm",
        "change: baseline",
    ]
    for words in ("calcification", "fat", "spiculation", "airway nodules", "infection"):
        assert words in statement.not_assessed
    assert any("prior" in words for words in statement.not_assessed)


def test_management_covers_every_category() -> None:
    assert set(MANAGEMENT) == set(BY_CONCERN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "solid", "long_axis_mm": 3, "short_axis_mm": 4},
        {"kind": "solid", "long_axis_mm": 3, "short_axis_mm": 0},
        {"kind": "solid", "long_axis_mm": 3, "short_axis_mm": 3, "solid_mm": 2},
        {"kind": "part-solid", "long_axis_mm": 3, "short_axis_mm": 3},
        {"kind": "part-solid", "long_axis_mm": 3, "short_axis_mm": 3, "solid_mm": 4},
    ],
)
def test_impossible_nodules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="nodule 7"):
        Nodule(number=7, **wrong)
