"""Which scans of a cohort are evaluated, and what the tables in its folder say of them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from luna.data.luna16.folder import read_luna16
from luna.evaluate.cohort import CohortRun
from luna.evaluate.result import ScanResult
from luna.evaluate.scans import choose_scans, chosen_scans, fragments_of, write_outcome, write_truth
from luna.run.errors import InputError, UsageError
from luna.score.marks import read_cohort, read_marks, read_nodules

UIDS = [f"1.2.3.{number}" for number in range(4)]


@pytest.fixture
def root(small_cohort: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_cohort, tmp_path / "data"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def result(p: list[float], component: list[int], findings: int) -> ScanResult:
    """Candidates at (k, 0, 0) mm with these probabilities; the first ones are findings."""
    return ScanResult(
        center_xyz=np.column_stack([np.arange(len(p)), *np.zeros((2, len(p)))]).astype(float),
        p_nodule=np.array(p, dtype=float),
        component=np.array(component, dtype=np.int64),
        p_malignant=np.array([0.5, np.nan][:findings]),
        diameter_mm=np.arange(5.0, 5.0 + findings),
        warnings=(),
        seconds=1.0,
    )


def test_all_a_fold_or_a_list_of_scans_is_chosen(small_cohort: Path, tmp_path: Path) -> None:
    data = read_luna16(small_cohort)
    assert list(choose_scans(data, None, None)) == UIDS
    assert choose_scans(data, 2, None) == {UIDS[2]: data.files[UIDS[2]]}
    listed = tmp_path / "list.csv"
    listed.write_text(f"{UIDS[3]}\n{UIDS[1]}\n")
    assert list(choose_scans(data, None, listed)) == [UIDS[3], UIDS[1]]  # in the list's order


def test_a_choice_of_nothing_is_refused(small_cohort: Path, tmp_path: Path) -> None:
    data = read_luna16(small_cohort)
    with pytest.raises(UsageError, match="fold 7 has no scans") as error:
        choose_scans(data, 7, None)
    assert error.value.hint == "there are the folds 0, 1, 2, 3"
    listed = tmp_path / "list.csv"
    for lines, message in ((f"{UIDS[0]}\n9.9\n", "9.9"), (f"{UIDS[0]}\n{UIDS[0]}\n", "twice")):
        listed.write_text(lines)
        with pytest.raises(InputError) as refused:
            choose_scans(data, None, listed)
        assert message in f"{refused.value} {refused.value.hint}"


def test_annotations_of_other_scans_are_refused(root: Path) -> None:
    table = root / "annotations.csv"
    head, *rows = table.read_text().splitlines()
    moved = [",".join([uid, str(float(x) + 5000), *rest]) for uid, x, *rest in map(_cells, rows)]
    table.write_text("\n".join([head, *moved]) + "\n")
    (root / "annotations_with_malignancy.csv").unlink()
    (root / "candidates_V2.csv").write_text("seriesuid,coordX,coordY,coordZ,class\n")
    with pytest.raises(InputError):
        chosen_scans(root, None, None)


def _cells(row: str) -> list[str]:
    return row.split(",")


def test_the_truth_is_that_of_the_chosen_scans(root: Path, tmp_path: Path) -> None:
    data = read_luna16(root)
    excluded = [
        "seriesuid,coordX,coordY,coordZ,diameter_mm",
        f"{UIDS[0]},1,2,3,-1",
        f"{UIDS[1]},4,5,6,-1",
    ]
    (root / "annotations_excluded.csv").write_text("\n".join(excluded) + "\n")
    out = tmp_path / "out"
    out.mkdir()
    write_truth(out, data, UIDS[1:3])
    rows = rows_of(out / "annotations.csv")
    assert {row["seriesuid"] for row in rows} == set(UIDS[1:3])
    assert [row["malignant"] for row in rows] == ["False", "True"] * 4
    assert "kind" not in rows[0]
    assert [row["seriesuid"] for row in rows_of(out / "annotations_excluded.csv")] == [UIDS[1]]
    (out / "list.csv").write_text("\n".join(UIDS) + "\n")
    nodules = read_nodules(out / "annotations.csv", read_cohort(out / "list.csv"))
    kept = np.isin(data.nodules.series, [1, 2])
    assert np.array_equal(nodules.center_xyz, data.nodules.center_xyz[kept])  # to the last bit


def test_kinds_are_joined_by_place(root: Path, tmp_path: Path) -> None:
    head, *rows = (root / "annotations.csv").read_text().splitlines()
    kinds = [f"{head},kind", *(f"{row},solid" for row in rows[:3])]
    (root / "annotations_kind.csv").write_text("\n".join(kinds) + "\n")
    write_truth(tmp_path, read_luna16(root), UIDS)
    found = [row["kind"] for row in rows_of(tmp_path / "annotations.csv")]
    assert found.count("solid") == 3
    assert found.count("unknown") == len(rows) - 3


def test_every_mark_is_written_and_only_findings_have_a_size(
    small_cohort: Path, tmp_path: Path
) -> None:
    data = read_luna16(small_cohort)
    run = CohortRun(
        results={UIDS[0]: result([0.9, 0.8, 0.3], [0, 1, 0], 2), UIDS[2]: result([], [], 0)},
        failures={UIDS[1]: "cut off"},
    )
    write_outcome(tmp_path, data, run, malignancy=True)
    series = rows_of(tmp_path / "series.csv")
    assert [(row["seriesuid"], row["subset"], row["failed"]) for row in series] == [
        (UIDS[0], "0", ""), (UIDS[1], "1", "cut off"), (UIDS[2], "2", ""),
    ]  # fmt: skip
    marks = rows_of(tmp_path / "detections.csv")
    # The third candidate is a fragment of the first: the nodule has one mark.
    assert [row["probability"] for row in marks] == ["0.9", "0.8"]
    assert [row["diameter_mm"] for row in marks] == ["5.0", "6.0"]
    assert [row["p_malignant"] for row in marks] == ["0.5", ""]
    cohort = read_cohort(tmp_path / "series.csv")
    assert cohort.failed == ("", "cut off", "")
    assert len(read_marks(tmp_path / "detections.csv", cohort)) == 2
    every = fragments_of(run, cohort)
    assert every.p_nodule.tolist() == [0.9, 0.8, 0.3]
    assert set(every.series.tolist()) == {0}
    write_outcome(tmp_path, data, run, malignancy=False)
    assert "p_malignant" not in rows_of(tmp_path / "detections.csv")[0]
