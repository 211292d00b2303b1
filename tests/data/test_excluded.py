"""Candidates on findings that scores ignore are no negatives to learn from."""

from pathlib import Path

import pytest

from luna.data.luna16.excluded import LEFT_OUT, without_excluded
from luna.data.luna16.folder import Luna16, read_luna16
from luna.run.errors import InputError

HEAD = "seriesuid,coordX,coordY,coordZ"


def write(path: Path, head: str, *rows: str) -> None:
    path.write_text("\n".join([f"{HEAD},{head}", *rows]) + "\n")


@pytest.fixture
def cohort(tmp_path: Path) -> Luna16:
    (tmp_path / "subset0").mkdir()
    for name in "ab":
        (tmp_path / f"subset0/{name}.mhd").touch()
    write(tmp_path / "annotations.csv", "diameter_mm", "a,0,0,0,10")
    write(
        tmp_path / "candidates_V2.csv", "class",
        "a,1,0,0,1",  # the nodule, which an excluded finding covers too
        "a,50,0,0,0",  # within a finding of 8 mm
        "a,54,0,0,0",  # on its border: a mark there counts as false
        "a,100,4.9,0,0",  # within a finding without a size
        "a,100,5.1,0,0",
        "b,50,0,0,0",  # another scan
    )  # fmt: skip
    return read_luna16(tmp_path)


def test_negatives_in_excluded_findings_are_left_out_as_in_scores(cohort: Luna16) -> None:
    write(
        cohort.root / "annotations_excluded.csv", "diameter_mm",
        "x,54,0,0,8", "a,50,0,0,8", "a,100,0,0,-1", "a,50,0,0,8", "a,0,0,0,6",
    )  # fmt: skip
    after = without_excluded(cohort)
    assert after.candidates.center_xyz.tolist() == [
        [1, 0, 0],
        [54, 0, 0],
        [100, 5.1, 0],
        [50, 0, 0],
    ]
    assert after.candidates.is_nodule.tolist() == [True, False, False, False]
    (told,) = [n for n in after.notices if n.what == LEFT_OUT]
    assert list(told.lines) == [3, 5]


def test_a_list_without_a_finding_of_the_cohort_changes_nothing(cohort: Luna16) -> None:
    write(cohort.root / "annotations_excluded.csv", "diameter_mm", "x,1,2,3,4")
    assert len(without_excluded(cohort).candidates) == len(cohort.candidates)


def test_a_list_that_is_not_there_is_an_error(cohort: Luna16) -> None:
    with pytest.raises(InputError):
        without_excluded(cohort)
