"""Folds found by their folders, and their tables pooled."""

from pathlib import Path

import pytest

from luna.evaluate.pooling import evaluated_folder, find_folds, pool
from luna.run.errors import InputError, UsageError

XYZ = "seriesuid,coordX,coordY,coordZ"


def write_fold(folder: Path, uid: str, *, failed: bool = True, kind: bool = True) -> Path:
    """The evaluation of one scan with one nodule and one mark."""
    folder.mkdir(parents=True)
    head, row = ("seriesuid,failed", f"{uid},bad") if failed else ("seriesuid", uid)
    (folder / "series.csv").write_text(f"{head}\n{row}\n")
    (folder / "detections.csv").write_text(f"{XYZ},probability\n{uid},1,2,3,0.5\n")
    head, row = (",kind", ",solid") if kind else ("", "")
    text = f"{XYZ},diameter_mm{head}\n{uid},1,2,3,8{row}\n"
    (folder / "annotations.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (("a/fold0", "a/fold1"), ["fold0", "fold1"]),
        (("a/fold0/evaluation", "a/fold1/evaluation"), ["fold0", "fold1"]),
        (("first/x", "second/x"), ["first", "second"]),
        (("one",), ["one"]),
        (("a", "a/b"), ["a", "b"]),
    ],
)
def test_folds_have_the_names_that_tell_them_apart(tmp_path, places, names):
    folders = [write_fold(tmp_path / place, f"1.{k}") for k, place in enumerate(places)]
    assert [fold.name for fold in find_folds(folders)] == names


def test_the_evaluation_of_a_run_is_found_below_it(tmp_path):
    inner = write_fold(tmp_path / "run" / "evaluation", "1.1")
    assert evaluated_folder(tmp_path / "run") == inner
    assert evaluated_folder(inner) == inner
    (inner / "series.csv").unlink()
    with pytest.raises(UsageError, match="no evaluation here"):
        evaluated_folder(tmp_path / "run")


def test_pooled_tables_hold_every_row_and_the_columns_that_all_folds_have(tmp_path):
    folds = find_folds(
        [
            write_fold(tmp_path / "a", "1.1"),
            write_fold(tmp_path / "b", "1.2", failed=False, kind=False),
        ]
    )
    tables = pool(folds)
    assert [tuple(row) for row in tables["series.csv"]] == [
        ("seriesuid", "subset"),
        ("1.1", "a"),
        ("1.2", "b"),
    ]
    header, *rows = tables["annotations.csv"]
    assert "kind" not in header
    assert [row[0] for row in rows] == ["1.1", "1.2"]
    assert "annotations_excluded.csv" not in tables


def test_reasons_of_failures_are_pooled_when_every_fold_lists_them(tmp_path):
    folds = find_folds([write_fold(tmp_path / name, f"1.{name}") for name in "34"])
    assert [tuple(row) for row in pool(folds)["series.csv"][1:]] == [
        ("1.3", "3", "bad"),
        ("1.4", "4", "bad"),
    ]


def test_a_damaged_table_of_a_fold_is_named_before_anything_is_pooled(tmp_path):
    folder = write_fold(tmp_path / "a", "1.1")
    (folder / "annotations.csv").write_text(f"{XYZ},diameter_mm\n1.1,1,2,3,0\n")
    with pytest.raises(InputError, match="line 2: diameter_mm is not positive") as caught:
        find_folds([folder])
    assert caught.value.file == str(folder / "annotations.csv")
