"""Splits: by hand, and for any list of series."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.data.splits import SplitConfig, make_split
from luna.run.errors import UsageError

SERIES = st.sets(st.text("0123456789.", min_size=1, max_size=6), max_size=40)
CONFIGS = st.builds(
    SplitConfig,
    method=st.sampled_from(["stride", "folds"]),
    stride=st.integers(2, 12),
    test_fold=st.integers(0, 9),
)


def test_every_third_validates():
    split = make_split("fedcba", SplitConfig(stride=3))
    assert split.validation == ("a", "d")
    assert split.train == ("b", "c", "e", "f")


@given(st.sets(st.text("0123456789.", min_size=1, max_size=6), min_size=5, max_size=60))
def test_of_a_small_cohort_three_series_validate_and_of_a_large_one_every_tenth(series):
    split = make_split(series, SplitConfig())
    assert len(split.validation) >= 3
    assert len(split.train) >= 2
    if len(series) > 20:
        assert split == make_split(series, SplitConfig(stride=10))


def test_folds_keep_one_subset_for_the_test():
    folds = {"a": 0, "b": 1, "c": 2, "d": 2, "e": 0}
    split = make_split("abcdef", SplitConfig(method="folds", stride=3, test_fold=2), folds)
    assert split.test == ("c", "d")
    assert split.validation == ("a",)
    assert split.train == ("b", "e")  # the subset of f is not known


def test_a_patient_of_the_test_trains_nowhere():
    folds = {"a": 0, "b": 1, "c": 2}
    config = SplitConfig(method="folds", stride=2, test_fold=2)
    split = make_split("abc", config, folds, {"b": "p", "c": "p"})
    assert (split.test, split.left_out, split.train) == (("c",), ("b",), ())


@given(SERIES, CONFIGS, st.data())
def test_parts_are_disjoint_by_series_and_patient_and_complete(series, config, data):
    folds = {uid: data.draw(st.integers(0, 9)) for uid in sorted(series)}
    patients = {uid: data.draw(st.sampled_from("xyz")) for uid in sorted(series)}
    split = make_split(series, config, folds, patients)
    parts = (split.train, split.validation, split.test, split.left_out)
    assert sorted(uid for part in parts for uid in part) == sorted(series)
    people = [{patients[uid] for uid in part} for part in parts[:3]]
    assert not people[0] & people[1]
    assert not people[0] & people[2]
    assert not people[1] & people[2]


def test_a_patient_who_may_be_of_the_test_waits():
    """The subset of c, which is not on disk, is not known."""
    config = SplitConfig(method="folds", stride=2, test_fold=2)
    split = make_split("abcd", config, {"a": 0, "b": 1, "d": 2}, {"b": "p", "c": "p"})
    assert (split.test, split.left_out) == (("d",), ("b",))
    assert (split.train, split.validation) == ((), ("a",))


PARTS = ("train", "validation", "test")


@given(SERIES, CONFIGS, st.data())
def test_what_is_on_disk_moves_no_series(series, config, data):
    folds = {uid: data.draw(st.integers(0, 9)) for uid in sorted(series)}
    there = {uid: fold for uid, fold in folds.items() if data.draw(st.booleans())}
    patients = {uid: data.draw(st.sampled_from("vwxyz")) for uid in sorted(series)}
    whole = make_split(series, config, folds, patients)
    part = make_split(series, config, there, patients)
    for name in PARTS:
        now = set(getattr(part, name)) & there.keys()
        later = set(getattr(whole, name)) & there.keys()
        assert now <= later
        waiting = later - now
        assert waiting <= set(part.left_out)
        elsewhere = {patients[uid] for uid in series - there.keys()}
        assert {patients[uid] for uid in waiting} <= elsewhere


@given(SERIES, CONFIGS, st.data())
def test_without_patients_what_is_on_disk_changes_no_part(series, config, data):
    folds = {uid: data.draw(st.integers(0, 9)) for uid in sorted(series)}
    there = {uid: fold for uid, fold in folds.items() if data.draw(st.booleans())}
    whole = make_split(series, config, folds)
    part = make_split(series, config, there)
    for name in PARTS:
        now = [uid for uid in getattr(part, name) if uid in there]
        assert now == [uid for uid in getattr(whole, name) if uid in there]


@pytest.mark.parametrize("wrong", [{"stride": 1}, {"test_fold": 10}, {"more_test_folds": (3, -1)}])
def test_config_refuses(wrong):
    with pytest.raises(UsageError):
        SplitConfig(**wrong)


def test_several_folds_may_be_kept_for_the_test():
    """Two networks that each saw half of a cohort mark the other half."""
    folds = {uid: k % 10 for k, uid in enumerate("abcdefghijkl")}
    even, odd = (
        make_split(
            folds,
            SplitConfig(method="folds", stride=5, test_fold=first, more_test_folds=more),
            folds,
        )
        for first, more in ((0, (2, 4, 6, 8)), (1, (3, 5, 7, 9)))
    )
    assert even.test == tuple("acegik")
    assert odd.test == tuple("bdfhjl")
    assert {*even.train, *even.validation} == {*odd.test}
    assert {*odd.train, *odd.validation} == {*even.test}
