"""Marks, nodules and scans as plain arrays, read from LUNA16's CSV files."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import InputError
from luna.run.nodules import XYZ, Nodules, unknown_malignancy
from luna.run.table import Table, read_table

MALIGNANT_COLUMNS = ("malignant", "mal_bool")
"""Either name says whether a nodule is malignant; the second is the book's."""

SERIES_UID = re.compile("[0-9.]+")
"""The form of a DICOM UID."""

FAILED_COLUMN = "failed"
"""The column of a list of scans that says why a scan has no result; empty when it has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cohort:
    """The S scans that are scored, each series UID once.

    `subset` names the part (fold) of each scan, and `failed` says why it has no result (empty
    where it has one), where the list says so.
    """

    series_uids: tuple[str, ...]
    subset: tuple[str, ...] | None = None
    failed: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.series_uids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """M points that a system calls nodules.

    `series`: (M,) index into the cohort; `center_xyz`: (M, 3) LPS mm; `p_nodule`: (M,);
    `p_malignant`: (M,), NaN where unknown; None if the system gives none.
    """

    series: NDArray[np.intp]
    center_xyz: NDArray[np.float64]
    p_nodule: NDArray[np.float64]
    p_malignant: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.series)


def read_cohort(path: Path, known: Container[str] | None = None) -> Cohort:
    """Read the list of scans: LUNA16's `seriesuids.csv`, or one with a header.

    Without a header there is one UID a line; a header `seriesuid` may bring the columns
    `subset` and `failed`. Raises InputError, naming the line, for an empty list, a scan listed
    twice, or one that is not among the `known`.
    """
    table = read_table(path, ("seriesuid",), default_header=("seriesuid",))
    uids = table.texts("seriesuid").tolist()
    if not uids:
        raise InputError("the list of scans is empty", file=path)
    _refuse_odd_header(table, uids)
    _refuse_duplicates(table, [(uid,) for uid in uids], "the scan")
    if known is not None:
        strange = np.array([uid not in known for uid in uids], dtype=np.bool_)
        table.refuse(strange, "this scan is not on disk", "seriesuid")
    return Cohort(
        series_uids=tuple(uids),
        subset=tuple(table.texts("subset", empty=True)) if table.has("subset") else None,
        failed=tuple(table.texts(FAILED_COLUMN, empty=True)) if table.has(FAILED_COLUMN) else None,
    )


def read_marks(path: Path, cohort: Cohort) -> Marks:
    """Read a submission in LUNA16's format.

    The optional column `p_malignant` may be empty where the system does not say. Raises
    InputError, naming the line, for a scan outside the cohort, a value that is not finite, a
    probability outside 0..1, or the same point marked twice.
    """
    table = read_table(path, ("seriesuid", *XYZ, "probability"))
    series = _series_index(table, cohort)
    _refuse_strangers(table, series)
    _refuse_duplicates(table, _places(table), "the mark")
    return Marks(
        series=series,
        center_xyz=_centers(table),
        p_nodule=_probabilities(table, "probability"),
        p_malignant=_some_probabilities(table, "p_malignant"),
    )


def read_nodules(path: Path, cohort: Cohort) -> Nodules:
    """Read annotated nodules: LUNA16's `annotations.csv`, with kind and malignancy if given.

    Rows of scans outside the cohort are counted in `elsewhere` and left out. Raises
    InputError, naming the line, for a diameter that is not positive, a value that is not
    finite, a malignancy that is neither true nor false nor empty, or a nodule listed twice.
    """
    table = read_table(path, ("seriesuid", *XYZ, "diameter_mm"))
    diameter_mm = table.numbers("diameter_mm")
    table.refuse(diameter_mm <= 0, "diameter_mm is not positive", "diameter_mm")
    _refuse_duplicates(table, _places(table), "the nodule")
    kind = tuple(table.texts("kind", empty=True)) if table.has("kind") else None
    return _in_cohort(table, cohort, diameter_mm, _malignant(table), kind)


def read_excluded(path: Path, cohort: Cohort) -> Nodules:
    """Read irrelevant findings: LUNA16's `annotations_excluded.csv`.

    The published list repeats a third of its rows, so repetition is no error here.
    """
    table = read_table(path, ("seriesuid", *XYZ, "diameter_mm"))
    diameter_mm = table.numbers("diameter_mm")
    return _in_cohort(table, cohort, diameter_mm, unknown_malignancy(len(table)))


def pool_marks(folds: Sequence[Marks], files: Sequence[Path], cohort: Cohort) -> Marks:
    """Pool the marks of all folds into one submission, as the challenge does.

    Raises InputError when two files mark the same scan: a scan is tested in one fold only.
    """
    owner = np.full(len(cohort), -1)
    for number, marks in enumerate(folds):
        scans = np.unique(marks.series)
        clash = scans[owner[scans] >= 0]
        if clash.size:
            raise InputError(
                f"the scan {cohort.series_uids[clash[0]]} has marks in two files",
                file=files[number],
                why=f"also in {files[owner[clash[0]]]}",
                hint="pool test folds only: each scan is scored by one of them",
            )
        owner[scans] = number
    malignant = [marks.p_malignant for marks in folds if marks.p_malignant is not None]
    return Marks(
        series=np.concatenate([marks.series for marks in folds]),
        center_xyz=np.concatenate([marks.center_xyz for marks in folds]),
        p_nodule=np.concatenate([marks.p_nodule for marks in folds]),
        p_malignant=np.concatenate(malignant) if len(malignant) == len(folds) else None,
    )


def _series_index(table: Table, cohort: Cohort) -> NDArray[np.intp]:
    """Return the index of each row's scan in the cohort, -1 for other scans."""
    place = {uid: index for index, uid in enumerate(cohort.series_uids)}
    return np.array([place.get(uid, -1) for uid in table.texts("seriesuid")], dtype=np.intp)


def _refuse_odd_header(table: Table, uids: Sequence[str]) -> None:
    """Raise InputError for a first line that would pass for a scan although it names a column."""
    is_uid = np.array([SERIES_UID.fullmatch(uid) is not None for uid in uids], dtype=np.bool_)
    if len(uids) > 1 and is_uid[1:].all():
        table.refuse(~is_uid, "not a series UID", "seriesuid", "name this column seriesuid")


def _refuse_strangers(table: Table, series: NDArray[np.intp]) -> None:
    hint = "add the scan to the list of series, or take its marks out"
    table.refuse(series < 0, "the scan is not in the list of series", "seriesuid", hint)


def _refuse_duplicates(table: Table, keys: list[tuple[object, ...]], what: str) -> None:
    first: dict[tuple[object, ...], int] = {}
    for key, line in zip(keys, table.lines, strict=True):
        if first.setdefault(key, line) != line:
            raise InputError(
                f"line {line}: {what} is listed twice", file=table.path, why=f"line {first[key]}"
            )


def _places(table: Table) -> list[tuple[object, ...]]:
    centers = _centers(table).tolist()
    return [(uid, *xyz) for uid, xyz in zip(table.texts("seriesuid"), centers, strict=True)]


def _centers(table: Table) -> NDArray[np.float64]:
    return table.points(*XYZ)


def _probabilities(table: Table, column: str) -> NDArray[np.float64]:
    p = table.numbers(column)
    hint = "map raw scores to 0..1 by any increasing function: FROC only uses their order"
    table.refuse((p < 0) | (p > 1), f"{column} is outside 0..1", column, hint)
    return p


def _some_probabilities(table: Table, column: str) -> NDArray[np.float64] | None:
    """Return a column of probabilities, NaN for empty cells; None without the column."""
    if not table.has(column):
        return None
    given = np.asarray(table.texts(column, empty=True) != "", dtype=np.bool_)
    p = np.full(len(given), np.nan)
    p[given] = _probabilities(table.where(given), column)
    return p


def _malignant(table: Table) -> NDArray[np.int8]:
    """Return 1, 0 or UNKNOWN for each row, by whichever column says it."""
    malignant = unknown_malignancy(len(table))
    for column in MALIGNANT_COLUMNS:
        if table.has(column):
            given = np.asarray(table.texts(column, empty=True) != "", dtype=np.bool_)
            malignant[given] = table.where(given).flags(column)
            break
    return malignant


def _in_cohort(
    table: Table,
    cohort: Cohort,
    diameter_mm: NDArray[np.float64],
    malignant: NDArray[np.int8],
    kind: tuple[str, ...] | None = None,
) -> Nodules:
    """Return the rows of the cohort's scans, and count the others."""
    series = _series_index(table, cohort)
    here = series >= 0
    every = Nodules(
        series=series,
        center_xyz=_centers(table),
        diameter_mm=diameter_mm,
        malignant=malignant,
        line=table.lines,
        kind=kind,
        elsewhere=int(np.sum(~here)),
    )
    return every.take(here)
