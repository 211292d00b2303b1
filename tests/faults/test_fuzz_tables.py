"""CSV tables bent at random: every row is taken as it stands, skipped and said, or refused."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.data.luna16.folder import NOT_SHOWN, Luna16, read_luna16
from luna.score.marks import Cohort, read_cohort, read_excluded, read_marks, read_nodules

from .fuzzing import Rows, fuzzed, fuzzed_at_length, mutants, result_or_refusal

XYZ = ("coordX", "coordY", "coordZ")
PLACE = ("seriesuid", *XYZ)
TABLES: dict[str, Rows] = {
    "annotations.csv": [
        [*PLACE, "diameter_mm"],
        ["1.1", "1.5", "-2", "3", "8"],
        ["1.1", "40", "4", "-30.25", "5.5"],
        ["1.2", "0", "0", "0", "21"],
        ["1.3", "0", "0", "0", "6"],
    ],
    "candidates_V2.csv": [
        [*PLACE, "class"],
        ["1.1", "1.5", "-1", "3", "1"],
        ["1.1", "-60", "4", "3", "0"],
        ["1.2", "0", "0", "2", "1"],
        ["1.3", "7", "7", "7", "0"],
    ],
    "annotations_with_malignancy.csv": [
        [*PLACE, "mal_bool"],
        ["1.1", "1.5", "-2", "3", "True"],
        ["1.2", "0", "0", "0", "False"],
    ],
    "seriesuids.csv": [["1.1"], ["1.2"], ["1.3"]],
    "patients.csv": [["seriesuid", "patient"], ["1.1", "p1"], ["1.2", "p1"]],
    "marks.csv": [
        [*PLACE, "probability", "p_malignant"],
        ["1.1", "1.5", "-2", "3", "0.9", "0.5"],
        ["1.1", "30", "20", "3", "0.25", ""],
        ["1.2", "0", "0", "0", "1", "0"],
    ],
    "nodules.csv": [
        [*PLACE, "diameter_mm", "kind", "malignant"],
        ["1.1", "1.5", "-2", "3", "8", "solid", "true"],
        ["1.2", "0", "0", "0", "21", "ground glass", ""],
    ],
    "series.csv": [
        ["seriesuid", "subset", "failed"],
        ["1.1", "0", ""],
        ["1.2", "1", "the file is damaged"],
        ["1.3", "1", ""],
    ],
}
WORDS = (*PLACE, "diameter_mm", "class", "probability", "1.1", "1.2", "1.3", "1.4", "True", "False")
COHORT = Cohort(series_uids=("1.1", "1.2", "1.3"))
LUNA16_TABLES = list(TABLES)[:5]


def join(rows: Rows) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def bent(names: Sequence[str]) -> st.SearchStrategy[tuple[str, bytes]]:
    """A table's name and its bent bytes."""
    return st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), mutants(TABLES[name], join, WORDS))
    )


def naive(path: Path) -> dict[int, dict[str, str]]:
    """The rows of a table by line, as anyone would read them."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream)
        header = [name.strip() for name in next(reader)]
        rows = ((reader.line_num, row) for row in reader if row)
        return {line: dict(zip(header, map(str.strip, row), strict=True)) for line, row in rows}


def assert_rows(rows: Sequence[dict[str, str]], table: Any, uids: Sequence[str]) -> None:
    """These rows, in this order, are the ones of a table of places."""
    assert [row["seriesuid"] for row in rows] == [uids[k] for k in table.series]
    places = np.array([[float(row[name]) for name in XYZ] for row in rows]).reshape(-1, 3)
    np.testing.assert_array_equal(table.center_xyz, places)
    assert np.isfinite(places).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort in LUNA16's layout with all tables; no scan is opened."""
    root = tmp_path_factory.mktemp("cohort")
    for place in ("subset0/1.1", "subset1/1.2"):
        path = root / f"{place}.mhd"
        path.parent.mkdir()
        path.touch()
    for name in TABLES:
        (root / name).write_text(join(TABLES[name]))
    return root


def judge(folder: Path, name: str, data: bytes, check: Callable[[Path, str], None]) -> None:
    """Check a folder with one bent table, then put the good one back."""
    (folder / name).write_bytes(data)
    try:
        check(folder, name)
    finally:
        (folder / name).write_text(join(TABLES[name]))


def check_luna16(folder: Path, name: str) -> None:
    data = result_or_refusal(lambda: read_luna16(folder), folder, codes=(3,))
    if data is not None:
        assert_nothing_lost(data, folder / "annotations.csv", data.nodules)
        assert_nothing_lost(data, folder / "candidates_V2.csv", data.candidates)


def assert_nothing_lost(data: Luna16, path: Path, table: Any) -> None:
    """Every row is kept as it stands, or counted in one notice."""
    rows = naive(path)
    assert_rows([rows[int(line)] for line in table.line], table, data.series)
    skipped = sum(
        notice.count
        for notice in data.notices
        if notice.file == path.name and notice.what != NOT_SHOWN
    )
    assert len(table.line) + skipped == len(rows)


def check_scored(folder: Path, name: str) -> None:
    path = folder / name
    read = {"marks.csv": read_marks, "nodules.csv": read_nodules}[name]
    table = result_or_refusal(lambda: read(path, COHORT), folder, codes=(3,))
    if table is None:
        return
    rows = [row for row in naive(path).values() if row["seriesuid"] in COHORT.series_uids]
    assert_rows(rows, table, COHORT.series_uids)
    if name == "marks.csv":
        assert [float(row["probability"]) for row in rows] == table.p_nodule.tolist()
    else:
        assert [float(row["diameter_mm"]) for row in rows] == table.diameter_mm.tolist()
        assert len(rows) + table.elsewhere == len(naive(path))


def check_series(folder: Path, name: str) -> None:
    path = folder / name
    cohort = result_or_refusal(lambda: read_cohort(path), folder, codes=(3,))
    if cohort is not None and "seriesuid" in path.read_text(encoding="utf-8-sig"):
        assert [row["seriesuid"] for row in naive(path).values()] == list(cohort.series_uids)


def check_excluded(folder: Path, name: str) -> None:
    path = folder / name
    table = result_or_refusal(lambda: read_excluded(path, COHORT), folder, codes=(3,))
    if table is not None:
        rows = [row for row in naive(path).values() if row["seriesuid"] in COHORT.series_uids]
        assert_rows(rows, table, COHORT.series_uids)


CHECKS: dict[str, Callable[[Path, str], None]] = {
    **dict.fromkeys(LUNA16_TABLES, check_luna16),
    "marks.csv": check_scored,
    "nodules.csv": check_scored,
    "series.csv": check_series,
}


def test_the_good_tables_are_good(folder: Path) -> None:
    assert len(read_luna16(folder).candidates.line) == 3
    for name in ("marks.csv", "nodules.csv", "series.csv"):
        CHECKS[name](folder, name)
    check_excluded(folder, "nodules.csv")


@fuzzed(300)
@given(table=bent(list(CHECKS)))
def test_any_table_is_read_or_refused(folder: Path, table: tuple[str, bytes]) -> None:
    judge(folder, *table, CHECKS[table[0]])


@pytest.mark.slow
@fuzzed_at_length(20_000)
@given(table=bent(list(CHECKS)))
def test_many_tables(folder: Path, table: tuple[str, bytes]) -> None:
    judge(folder, *table, CHECKS[table[0]])


@pytest.mark.slow
@fuzzed_at_length(3_000)
@given(table=bent(["nodules.csv"]))
def test_many_excluded_findings(folder: Path, table: tuple[str, bytes]) -> None:
    judge(folder, *table, check_excluded)
