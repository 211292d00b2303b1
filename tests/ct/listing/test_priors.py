"""Which scan of a list is the prior of which: by patient, study and date, never by a guess."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.listing.priors import (
    FIRST,
    NO_DATE,
    NO_PATIENT,
    NO_PERSON,
    NO_VISIT,
    find_priors,
)
from luna.ct.listing.source import Source, Visit

THIN, THICK = (False, 1.0, 0, -300, "a"), (False, 5.0, 0, -60, "b")
BASE = Visit(patient="P1", issuer="", study="1", date="20240102", time="080000", preference=THIN)


def priors_of(**visits: Visit | None) -> dict[str, str]:
    return dict(find_priors(sources(**visits)).of)


def sources(**visits: Visit | None) -> dict[str, Source]:
    return {name: Source(Path(name), visit=visit) for name, visit in visits.items()}


def on(date: str, study: str, **more: object) -> Visit:
    return replace(BASE, date=date, study=study, **more)


def test_the_latest_earlier_study_is_the_prior() -> None:
    found = priors_of(c=on("20250301", "3"), a=BASE, b=on("20240601", "2"))
    assert found == {"b": "a", "c": "b"}


def test_series_of_one_study_are_no_priors_of_each_other() -> None:
    later = replace(BASE, time="090000")
    assert priors_of(a=BASE, b=later) == {}
    found = priors_of(a=replace(BASE, preference=THICK), b=later, c=on("20250101", "2"))
    assert found == {"c": "b"}
    same = priors_of(a=replace(BASE, preference=THICK), b=BASE, c=on("20250101", "2"))
    assert same == {"c": "b"}


@pytest.mark.parametrize(
    ("early", "late", "known"),
    [
        ("080000", "0930", True),
        ("080000.5", "080001", True),
        ("080000", "080000", False),
        ("", "0930", False),
        ("0800", "", False),
        ("8 am", "0930", False),
    ],
)
def test_on_one_day_only_times_tell_which_study_was_first(
    early: str, late: str, known: bool
) -> None:
    found = priors_of(a=replace(BASE, time=early), b=on(BASE.date, "2", time=late))
    assert found == ({"b": "a"} if known else {})


def test_patients_of_two_issuers_are_two() -> None:
    assert priors_of(a=BASE, b=on("20250101", "2", issuer="elsewhere")) == {}
    both = (replace(BASE, issuer="here"), on("20250101", "2", issuer="here"))
    assert priors_of(a=both[0], b=both[1]) == {"b": "a"}


@pytest.mark.parametrize(
    ("patient", "why"),
    [
        ("", NO_PATIENT),
        ("0", NO_PERSON),
        ("0000", NO_PERSON),
        ("ANONYMOUS", NO_PERSON),
        ("anonymized", NO_PERSON),
        ("Anon^Patient", NO_PERSON),
        ("---", NO_PERSON),
        ("XXXX", NO_PERSON),
        ("N/A", NO_PERSON),
    ],
)
def test_an_id_of_nobody_groups_nothing(patient: str, why: str) -> None:
    found = find_priors(
        sources(a=replace(BASE, patient=patient), b=on("20250101", "2", patient=patient))
    )
    assert (found.of, found.without) == ({}, {why: 2})
    assert dict(found.patients) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("patient", ["ANON0001", "10", "LIDC-IDRI-0001", "X1", "Patient 7"])
def test_an_id_that_distinguishes_patients_groups_theirs(patient: str) -> None:
    assert priors_of(a=replace(BASE, patient=patient), b=on("20250101", "2", patient=patient)) == {
        "b": "a"
    }


def test_what_has_no_prior_is_counted_by_reason() -> None:
    found = find_priors(
        sources(a=BASE, b=on("20250101", "2"), c=None, d=on("20250230", "3"), e=on("", "4"))
    )
    assert found.without == {FIRST: 1, NO_VISIT: 1, NO_DATE: 2}
    rule, *rest = found.sentences()
    assert rule.startswith("1 scans have a prior: each scan is compared with the latest earlier")
    assert len(rest) == 1
    assert "P1" not in " ".join(found.sentences())


VISITS = st.builds(
    replace,
    st.just(BASE),
    patient=st.sampled_from(["P1", "P2", ""]),
    study=st.sampled_from("12345"),
    date=st.sampled_from(["20240101", "20240102", "20250101", ""]),
    time=st.sampled_from(["", "0800", "0900"]),
)


@given(st.lists(VISITS, max_size=8), st.randoms())
def test_a_prior_is_always_earlier_and_the_order_of_the_list_changes_nothing(
    visits: list[Visit], random: object
) -> None:
    listed = sources(**{f"s{k}": visit for k, visit in enumerate(visits)})
    found = find_priors(listed)
    for name, prior in found.of.items():
        now, before = listed[name].visit, listed[prior].visit
        assert now is not None
        assert before is not None
        assert before.patient == now.patient
        assert before.study != now.study
        assert (before.date, before.time) < (now.date, now.time)
        assert found.patients[name] == found.patients[prior]
    assert len(found.of) + sum(found.without.values()) == len(listed)
    names = list(listed)
    random.shuffle(names)
    assert find_priors({name: listed[name] for name in names}).of == found.of
