"""The Brock and Mayo models, at published points and between them."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.clinical.brock import Variant, brock
from luna.clinical.mayo import mayo
from luna.clinical.nodule import Kind, Nodule, Scope
from luna.clinical.patient import Patient

WHOLE = Scope()
VARIANTS = get_args(Variant)
KNOWN = Patient(
    age=65,
    sex="F",
    smoker=True,
    family_history=True,
    emphysema=False,
    earlier_cancer=False,
    cancer=False,
)

# age, sex, family, emphysema, mm, kind, upper lobe, count, spiculated, 2b, 2a, 1b
BROCK = [
    (62, "M", False, False, 4, "solid", False, 4, False, 0.00112, 0.00110, 0.00134),
    (60, "F", False, True, 8, "solid", True, 1, False, 0.07237, 0.08443, 0.05760),
    (65, "M", False, False, 12, "part-solid", True, 2, True, 0.24390, 0.15310, 0.20242),
    (70, "F", True, True, 20, "solid", True, 1, True, 0.73460, 0.63838, 0.60306),
]


@pytest.mark.parametrize("row", BROCK)
def test_brock_at_known_points(nodule: Any, row: tuple[Any, ...]) -> None:
    age, sex, family, emphysema, mm, kind, upper, count, spiculated, *expected = row
    solid_mm = mm / 2 if kind == "part-solid" else None
    found = nodule(kind, mm, solid_mm, upper_lobe=upper, spiculated=spiculated)
    patient = Patient(age=age, sex=sex, family_history=family, emphysema=emphysema)
    for variant, p in zip(("2b", "2a", "1b"), expected, strict=True):
        result = brock(variant, found, patient, WHOLE, count)
        assert result.lowest == result.highest == pytest.approx(p, abs=5e-6)
        assert result.not_assessed == ()


def test_brock_1a_by_its_formula(nodule: Any) -> None:
    # x = -6.5929 + 0.5806 + 0.6439 - 5.8616 ((10/10)^-1/2 - 1.58113883) = -1.962
    found = nodule("solid", 10, upper_lobe=True)
    p = brock("1a", found, Patient(sex="F"), WHOLE, 1)
    assert p.lowest == pytest.approx(0.12325, abs=5e-5)


def test_ground_glass_is_less_and_part_solid_more_than_solid(nodule: Any) -> None:
    for variant in ("2a", "2b"):
        p = [
            brock(variant, nodule(kind, 10, solid, upper_lobe=True), KNOWN, WHOLE, 1).lowest
            for kind, solid in (("ground-glass", None), ("solid", None), ("part-solid", 5))
        ]
        assert p == sorted(p)


def test_an_unknown_kind_widens_the_range_to_that_of_every_kind(nodule: Any) -> None:
    patient = Patient(age=62, sex="M", family_history=False, emphysema=False)
    facts = {"upper_lobe": False}
    each = [
        brock("2a", nodule(kind, 8, solid, **facts), patient, WHOLE, 1).lowest
        for kind, solid in (("solid", None), ("part-solid", 4), ("ground-glass", None))
    ]
    told = brock("2a", nodule(None, 8, **facts), patient, WHOLE, 1)
    assert (told.lowest, told.highest) == (min(each), max(each))
    assert told.not_assessed == ("kind",)
    assert not any(fact.name == "kind" for fact in told.facts)
    without_kind = brock("1a", nodule(None, 8, **facts), patient, WHOLE, 1)
    assert without_kind.lowest == without_kind.highest
    assert without_kind.not_assessed == ()


def test_mayo_at_a_known_point(nodule: Any) -> None:
    patient = Patient(age=60, smoker=True, earlier_cancer=False, cancer=False)
    p = mayo(nodule("solid", 15, upper_lobe=True), patient, WHOLE)
    assert p.lowest == p.highest == pytest.approx(0.26998, abs=1e-5)
    assert p.not_assessed == ()


def every_model(nodule: Nodule, patient: Patient, scope: Scope = WHOLE) -> list[Any]:
    brocks = [brock(variant, nodule, patient, scope, 2) for variant in VARIANTS]
    return [*brocks, mayo(nodule, patient, scope)]


@given(st.floats(2, 60), st.floats(0, 20), st.sampled_from(get_args(Kind)))
def test_probability_rises_with_size(mm: float, more: float, kind: Kind) -> None:
    small, large = (
        Nodule(
            number=1,
            kind=kind,
            long_axis_mm=d,
            short_axis_mm=d,
            solid_mm=1 if kind == "part-solid" else None,
        )
        for d in (mm, mm + more)
    )
    for a, b in zip(every_model(small, KNOWN), every_model(large, KNOWN), strict=True):
        assert 0 < a.lowest <= a.highest < 1
        assert a.lowest <= b.lowest
        assert a.highest <= b.highest


def test_unknown_facts_widen_the_range_around_every_answer(nodule: Any) -> None:
    unknown = every_model(nodule("solid", 9, spiculated=None), Patient(age=65))
    for spiculated in (False, True):
        for upper in (False, True):
            known = every_model(nodule("solid", 9, spiculated=spiculated, upper_lobe=upper), KNOWN)
            for wide, sure in zip(unknown, known, strict=True):
                assert sure.lowest == sure.highest
                assert wide.lowest <= sure.lowest <= wide.highest
    for p in unknown:
        assert "upper lobe" in p.not_assessed


def test_models_with_an_age_need_it(nodule: Any) -> None:
    given_age = {p.model: p.lowest is not None for p in every_model(nodule("solid", 9), Patient())}
    assert given_age == {
        "Brock 1a": True,
        "Brock 1b": True,
        "Brock 2a": False,
        "Brock 2b": False,
        "Mayo": False,
    }


@pytest.mark.parametrize("scope", [Scope(limited=True), Scope(beyond_range=1)])
def test_no_probability_where_luna_could_not_judge(nodule: Any, scope: Scope) -> None:
    for p in every_model(nodule("solid", 9), KNOWN, scope):
        assert p.lowest is None
        assert p.highest is None
        assert p.withheld


def test_mayo_is_not_for_patients_with_cancer(nodule: Any) -> None:
    p = mayo(nodule("solid", 9), Patient(age=65, cancer=True), WHOLE)
    assert p.lowest is None
    assert "cancer" in p.withheld


def test_a_model_names_its_facts(nodule: Any) -> None:
    p = brock("2b", nodule("solid", 9.25, upper_lobe=True), KNOWN, WHOLE, 3)
    told = [str(fact) for fact in p.facts]
    for fact in ("long axis: 9.25 mm", "age: 65 years", "nodules in the scan: 3", "female: yes"):
        assert fact in told
