"""Marks of a system as candidates: joined, negative, between, repeated, of other scans, damaged."""

from pathlib import Path

import numpy as np
import pytest

from luna.data.luna16.folder import Luna16, read_luna16
from luna.data.luna16.marks import MARGIN_MM, add_detections
from luna.data.luna16.rows import MARKED
from luna.run.errors import InputError

HEAD = "seriesuid,coordX,coordY,coordZ"


def write(path: Path, head: str, *rows: str) -> Path:
    path.write_text("\n".join([f"{HEAD},{head}", *rows]) + "\n")
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> Luna16:
    """Scans a, b and c on disk, d in the tables only; nodules of radius 5 and 3 in a, 3 in b."""
    for name in "abc":
        (tmp_path / f"subset0/{name}.mhd").parent.mkdir(exist_ok=True)
        (tmp_path / f"subset0/{name}.mhd").touch()
    write(tmp_path / "annotations.csv", "diameter_mm", "b,5,5,5,6", "a,0,0,0,10", "a,9,0,0,6")
    write(tmp_path / "candidates_V2.csv", "class", "b,5,5,5,1", "a,50,0,0,0", "d,0,0,0,0")
    return read_luna16(tmp_path)


def marks(cohort: Luna16, *rows: str) -> Path:
    return write(cohort.root / "detections.csv", "probability,diameter_mm", *rows)


def test_marks_become_positive_negative_or_nothing(cohort):
    far = 3 + MARGIN_MM + 0.01
    after = add_detections(
        cohort,
        marks(
            cohort,
            f"b,5,5,{5 + far},0.9,",  # just beyond the margin: negative
            "b,5,5,5.01,0.2,4",  # in the nodule of b
            "b,5,5,8.5,0.9,",  # between
            "c,0,0,0,1,",  # a scan without nodules: negative
            "a,0,5,0,0.5,",  # on the border of the large nodule of a: its
            "a,4.9,0,0,0.5,",  # nearer to the centre of the small nodule, in the large one
            "a,50,0,0,0.5,",  # there already
            "c,0,0,0,0.3,",  # twice
            "d,0,0,0,0.9,",  # known, not on disk
            "x,0,0,0,0.9,",  # not known
        ),
    )
    table = after.candidates
    assert (np.diff(table.series) >= 0).all()
    rows = zip(
        (after.series[s] for s in table.series),
        table.nodule.tolist(),
        (table.source == MARKED).tolist(),
        table.line.tolist(),
        strict=True,
    )
    large, _, of_b = range(3)
    assert list(rows) == [
        ("a", -1, False, 3),
        ("a", large, True, 6),
        ("a", large, True, 7),
        ("b", of_b, False, 2),
        ("b", -1, True, 2),
        ("b", of_b, True, 3),
        ("c", -1, True, 5),
    ]
    assert after.nodules is cohort.nodules
    told = [str(n) for n in after.notices[len(cohort.notices) :]]
    assert told == [
        "detections.csv: 2 marks of scans that are not in the cohort (lines 10 and 11)",
        "detections.csv: 2 marks that repeat a candidate (lines 8 and 9)",
        "detections.csv: 1 marks at the border of a nodule (line 4)",
    ]


def test_an_empty_table_adds_nothing(cohort):
    after = add_detections(cohort, marks(cohort))
    assert np.array_equal(after.candidates.center_xyz, cohort.candidates.center_xyz)
    assert after.notices == cohort.notices


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,0,0,0,high,", "probability is not a finite number"),
        ("a,0,0,0,nan,", "probability is not a finite number"),
        ("a,0,0,0,2,", "probability is outside 0..1"),
        ("a,0,,0,0.5,", "coordY is not a finite number"),
        ("a,0,0,0", "4 cells where the header has 6"),
        (",0,0,0,0.5,", "no seriesuid"),
    ],
)
def test_a_damaged_table_is_refused_by_line(cohort, row, words):
    with pytest.raises(InputError, match=words) as caught:
        add_detections(cohort, marks(cohort, "a,0,0,0,0.5,", row))
    assert "detections.csv" in str(caught.value)
    assert "line 3" in str(caught.value)


def test_annotations_are_no_marks(cohort):
    with pytest.raises(InputError, match="no column probability"):
        add_detections(cohort, cohort.root / "annotations.csv")
