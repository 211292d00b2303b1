"""Marks in other coordinates than the annotations are noticed; right ones are not."""

from dataclasses import replace

import numpy as np
import pytest

from luna.score.warnings import warnings_of

SCANS = 30
PLACES = np.array([[60.0, -20.0, -150.0], [-70.0, 35.0, -90.0]])


@pytest.fixture
def scored(make_cohort, make_marks, make_nodules):
    """Warnings about two marks a scan, moved from the nodules by a function."""
    from luna.run.nodules import NO_NODULES
    from luna.score.matching import match

    rows = [(scan, 0, 0.9) for scan in range(SCANS) for _ in PLACES]
    nodules = make_nodules(*[(scan, 0, 8) for scan, *_ in rows])
    nodules = replace(nodules, center_xyz=np.tile(PLACES, (SCANS, 1)))

    def warnings(moved, keep=slice(None)):
        marks = make_marks(*rows[keep])
        marks = replace(marks, center_xyz=moved(nodules.center_xyz[keep]))
        matching = match(make_cohort(SCANS), marks, nodules, NO_NODULES)
        return [line for line in warnings_of(matching, None, 0.5) if "near" in line]

    return warnings


def test_marks_on_nodules_are_not_warned_about(scored):
    assert scored(lambda xyz: xyz + 1.0) == []


def test_a_system_that_finds_little_is_not_warned_about(scored):
    assert scored(lambda xyz: np.vstack([xyz[:3], xyz[3:] + 40.0])) == []


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        (lambda xyz: xyz * [-1, -1, 1], "near 60 with the signs of x and y changed"),
        (lambda xyz: xyz[:, ::-1], "near 60 with x and z exchanged"),
    ],
)
def test_another_frame_is_named(scored, moved, words):
    (line,) = scored(moved)
    assert line.startswith("the detections come near 0 of 60 nodules, and ")
    assert words in line


def test_marks_near_no_nodule_at_all_are_warned_about(scored):
    (line,) = scored(lambda xyz: xyz + 500.0)
    assert line.startswith("no mark of the detections comes near any nodule")


def test_without_a_mark_in_the_scans_with_nodules_nothing_is_said(scored):
    assert scored(lambda xyz: xyz, keep=slice(0, 0)) == []


def test_a_second_system_is_checked_too(make_cohort, make_marks, make_nodules, matched):
    good = matched(1, make_marks((0, 1, 0.5)), make_nodules((0, 0, 8)))
    bad = matched(1, make_marks((0, 300, 0.5)), make_nodules((0, 0, 8)))
    assert any(
        "no mark of the second system's detections comes near" in line
        for line in warnings_of(good, bad, 0.5)
    )
