"""The book's table, by hand and against the goldens."""

import json
from pathlib import Path

import numpy as np
import pytest

from luna.run.nodules import Nodules
from luna.score.confusion import confusion
from luna.score.marks import Marks


def marks_at(xs, p_nodule, p_malignant=None) -> Marks:
    return Marks(
        series=np.zeros(len(xs), np.intp),
        center_xyz=np.array([(x, 0.0, 0.0) for x in xs]).reshape(-1, 3),
        p_nodule=np.array(p_nodule, np.float64),
        p_malignant=None if p_malignant is None else np.array(p_malignant, np.float64),
    )


def nodules_at(xs, malignant=None) -> Nodules:
    return Nodules(
        series=np.zeros(len(xs), np.intp),
        center_xyz=np.array([(x, 0.0, 0.0) for x in xs]).reshape(-1, 3),
        diameter_mm=np.full(len(xs), 10.0),
        malignant=np.full(len(xs), -1, np.int8) if malignant is None else np.int8(malignant),
        line=np.arange(len(xs)) + 2,
    )


def test_each_nodule_lands_in_one_column():
    nodules = nodules_at([0, 100, 200, 300], malignant=[False, True, True, False])
    table = confusion(
        marks_at([0, 100, 200], [0.4, 0.9, 0.9], p_malignant=[0.9, 0.2, 0.8]), nodules
    )
    assert table.counts.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]


def test_the_most_alarming_mark_of_a_nodule_counts():
    table = confusion(marks_at([1, 0, 2], [0.1, 0.9, 0.4]), nodules_at([0]))
    assert table.counts.tolist() == [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_a_mark_between_two_nodules_counts_for_both():
    table = confusion(marks_at([5], [0.9]), nodules_at([0, 10]))
    assert table.counts.tolist() == [[0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(("distance_mm", "missed"), [(6.99, 0), (7.0, 1), (7.01, 1)])
def test_reach_is_seven_tenths_of_the_diameter_exclusive(distance_mm, missed):
    table = confusion(marks_at([distance_mm], [0.9]), nodules_at([0]))
    assert table.counts[1, 0] == missed


def test_a_probability_at_the_threshold_passes():
    assert confusion(marks_at([0], [0.5]), nodules_at([0])).counts[1, 2] == 1


def test_stray_marks_count_in_the_first_row_and_none_is_missed():
    table = confusion(marks_at([50, 60, 70], [0.2, 0.8, 0.9], [0.1, 0.1, 0.7]), nodules_at([0]))
    assert table.counts.tolist() == [[0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_nothing_marked_misses_every_nodule():
    table = confusion(marks_at([], []), nodules_at([0, 50], malignant=[True, False]))
    assert table.counts.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


def test_another_scan_is_out_of_reach():
    far = nodules_at([0])
    marks = marks_at([0], [0.9])
    elsewhere = Marks(series=np.array([1]), center_xyz=marks.center_xyz, p_nodule=marks.p_nodule)
    assert confusion(elsewhere, far).counts.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "series_uid",
    [
        "1.2.826.0.1.3680043.10.9999.20261123.0000",
        "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805",
        "1.3.6.1.4.1.14519.5.2.1.7085.2626.242193282649561899185427104083",
    ],
)
def test_equals_the_books_table(shared: Path, series_uid: str):
    truth = json.loads((shared / "goldens" / f"{series_uid}.json").read_text())
    with np.load(shared / "goldens" / f"{series_uid}.npz") as golden:
        # The book marks the voxel it classified; those rows are in the order of p_nodule.
        center_xyz, p_nodule = golden["classified_center_xyz"], golden["p_nodule"]
    nodules = truth["truth"]
    table = confusion(
        Marks(series=np.zeros(len(p_nodule), np.intp), center_xyz=center_xyz, p_nodule=p_nodule),
        Nodules(
            series=np.zeros(len(nodules), np.intp),
            center_xyz=np.array([each["center_xyz"] for each in nodules]).reshape(-1, 3),
            diameter_mm=np.array([each["diameter_mm"] for each in nodules], np.float64),
            malignant=np.array([each["malignant"] for each in nodules], np.int8),
            line=np.arange(len(nodules)),
        ),
    )
    assert table.counts.tolist() == truth["confusion_3x4"]
