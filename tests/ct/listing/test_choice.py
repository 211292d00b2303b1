"""Which series of a study is meant by some words, and which is preferred by a rule."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.dicom.listed import (
    RULES,
    SHARP,
    SOFT,
    UNKNOWN,
    WHOLE_LUNGS_MM,
    Series,
    named,
    preferred,
    sharpness,
)

THICK = Series(
    uid="1.2.840.1", study_uid="1", patient="4711", number="2", description="", kernel="B30f",
    slices=61, low_mm=-300.0, high_mm=0.0,
)  # fmt: skip
THIN = replace(THICK, uid="1.2.840.2", number="3", kernel="B70f", slices=301)
SOFT_THIN = replace(THIN, uid="1.2.850.3", number="4", kernel="B40f")
PART = replace(THIN, uid="1.2.850.4", number="5", slices=101, low_mm=-50.0)
STUDY = [THICK, THIN, SOFT_THIN, PART]


def test_a_series_is_meant_by_uid_by_number_or_by_how_its_uid_begins() -> None:
    assert named(STUDY, "1.2.840.2") == [THIN]
    assert named(STUDY, "4") == [SOFT_THIN]
    assert named(STUDY, "1.2.850.4") == [PART]
    assert named([THICK, SOFT_THIN], "1.2.85") == [SOFT_THIN]
    assert named(STUDY, "1.2.84") == []  # two begin so
    assert named(STUDY, "9") == []


def test_a_number_goes_before_the_beginning_of_a_uid() -> None:
    first = replace(THICK, number="1")
    assert named([first, THIN], "1") == [first]


def test_whole_lungs_then_thin_slices_then_a_soft_kernel() -> None:
    assert preferred(STUDY, "thinnest") == [SOFT_THIN]
    assert preferred([THICK, THIN, PART], "thinnest") == [THIN]
    assert preferred([THICK, PART], "thinnest") == [THICK]
    assert PART.length_mm < WHOLE_LUNGS_MM < THICK.length_mm


def test_the_largest_and_all() -> None:
    more = replace(THICK, uid="1.2.9", slices=400)
    assert preferred([*STUDY, more], "largest") == [more]
    assert preferred(STUDY, "all") == STUDY
    assert set(RULES) == {"thinnest", "largest", "all"}


@given(st.permutations(STUDY), st.sampled_from(["thinnest", "largest", "all"]))
def test_the_order_of_a_study_changes_nothing(study: list[Series], choice: str) -> None:
    assert preferred(study, choice) == preferred(STUDY, choice)


def test_parts_of_a_series_add_up() -> None:
    low, high = replace(THICK, slices=30, high_mm=-155.0), replace(THICK, slices=31, low_mm=-150.0)
    both = low.joined(high)
    assert (both.slices, both.length_mm, both.step_mm) == (61, 300.0, 5.0)
    assert replace(THICK, slices=1).step_mm == float("inf")


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        *(("B30f", SOFT), ("Br40d\\3", SOFT), ("STANDARD", SOFT), ("FC08", SOFT), ("B", SOFT)),
        *(("B70f", SHARP), ("Bl57f", SHARP), ("LUNG", SHARP), ("FC51", SHARP), ("L", SHARP)),
        *(("", UNKNOWN), ("JANE DOE", UNKNOWN), ("bone+", UNKNOWN), ("I50f1", UNKNOWN)),
    ],
)
def test_kernels_by_their_vendors_names(kernel: str, expected: int) -> None:
    assert sharpness(kernel) == expected


def test_a_line_of_the_list_names_what_can_be_asked_for() -> None:
    assert replace(THIN, description="Lung").line() == "1.2.840.2  301 slices  Lung  (number 3)"
    assert "(no description)" in THIN.line()
