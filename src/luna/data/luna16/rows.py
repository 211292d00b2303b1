"""Nodules and candidates of LUNA16: columns checked, cleared of repeats, joined by place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.run.nodules import XYZ, Nodules, unknown_malignancy
from luna.run.notice import Notice, notice
from luna.run.table import Table, read_table

SAME_PLACE_MM = 0.5
"""Two tables print one nodule's centre with different rounding, far below this."""

MAX_DIAMETER_MM = 300.0
"""Lungs are about as long; a nodule is 3 to 30 mm."""

LISTED, MARKED, ANNOTATED = 0, 1, 2
"""Where a candidate comes from: the table of candidates, a system's marks, the annotations."""


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """M candidates, sorted by series.

    `nodule`: (M,) index into Nodules of the nodule a positive candidate marks, -1 for
    negative ones; `source`: (M,) int8, the table whose `line` it is: LISTED, MARKED or
    ANNOTATED. The other columns are as in Nodules.
    """

    series: NDArray[np.int64]
    center_xyz: FloatArray
    nodule: NDArray[np.int64]
    line: NDArray[np.int64]
    source: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.series)

    @property
    def is_nodule(self) -> NDArray[np.bool_]:
        """Whether each candidate marks a nodule, (M,) bool."""
        return self.nodule >= 0

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> CandidateTable:
        """Return some of the candidates, in the order given."""
        return CandidateTable(
            self.series[rows],
            self.center_xyz[rows],
            self.nodule[rows],
            self.line[rows],
            self.source[rows],
        )

    def joined(self, more: CandidateTable) -> CandidateTable:
        """Return these candidates and then the others, not sorted."""
        pairs = [(getattr(self, f.name), getattr(more, f.name)) for f in fields(self)]
        return CandidateTable(*(np.concatenate(pair) for pair in pairs))

    def sorted_by_series(self) -> CandidateTable:
        """Return the candidates sorted by series, else in the order in which they are."""
        return self.take(np.argsort(self.series, kind="stable"))


def series_numbers(table: Table, number: Mapping[str, int]) -> NDArray[np.int64]:
    """Return each row's index into the full list; -1 for a series that is not in it."""
    uids = table.texts("seriesuid")
    return np.fromiter((number.get(uid, -1) for uid in uids), dtype=np.int64, count=len(uids))


def read_nodules(
    table: Table, number: Mapping[str, int], present: NDArray[np.bool_]
) -> tuple[Nodules, tuple[Notice, ...]]:
    """Return the nodules of annotations.csv, malignancy unknown, of scans that are present.

    `number` maps a UID to its index in the full list; `present` (S,) says which are on disk.
    """
    series = series_numbers(table, number)
    center = table.points(*XYZ)
    diameter = table.numbers("diameter_mm")
    too_large = diameter > MAX_DIAMETER_MM
    table.refuse(too_large, "diameter_mm is larger than any lung", "diameter_mm")
    _refuse_contradictions(table, series, center, diameter, "diameter_mm")
    here = present[series]
    sized = diameter > 0
    single = ~repeated_rows(series, center)
    notices = notice("annotations of scans that are not on disk", table.path, table.lines[~here])
    notices += notice("annotations without a diameter", table.path, table.lines[here & ~sized])
    again = here & sized & ~single
    notices += notice("annotations that repeat another", table.path, table.lines[again])
    every = Nodules(
        series=series,
        center_xyz=center,
        diameter_mm=diameter,
        malignant=unknown_malignancy(len(series)),
        line=table.lines,
    )
    order = np.argsort(series, kind="stable")
    return every.take(order[(here & sized & single)[order]]), notices


def read_malignancy(
    path: Path, number: Mapping[str, int], present: NDArray[np.bool_], nodules: Nodules
) -> tuple[NDArray[np.int8], tuple[Notice, ...]]:
    """Return malignancy (N,) as 1, 0 or UNKNOWN, taken from the row at a nodule's own place."""
    malignant = nodules.malignant.copy()
    if not path.exists():
        return malignant, ()
    table = read_table(path, ("seriesuid", *XYZ, "mal_bool"))
    series = series_numbers(table, number)
    verdict = table.flags("mal_bool")
    center = table.points(*XYZ)
    # A row of a scan that is not on disk has no nodule to be joined to, and says nothing.
    here = (series >= 0) & present[series]
    same_place_mm = np.full(len(nodules.line), SAME_PLACE_MM)
    to, beyond_mm = nearest_nodule(series[here], center[here], nodules, same_place_mm)
    joined = beyond_mm <= 0
    malignant[to[joined]] = verdict[here][joined]
    clash = np.zeros(len(series), dtype=np.bool_)
    clash[np.flatnonzero(here)[joined]] = verdict[here][joined] != malignant[to[joined]]
    table.refuse(clash, "mal_bool differs from a later row of the nodule", "mal_bool")
    lost = table.lines[here][~joined]
    return malignant, notice("verdicts that belong to no annotated nodule", path, lost)


def read_candidates(
    table: Table, number: Mapping[str, int], present: NDArray[np.bool_], nodules: Nodules
) -> tuple[CandidateTable, tuple[Notice, ...]]:
    """Return the candidates of scans that are present, positive ones joined to their nodule."""
    series = series_numbers(table, number)
    center = table.points(*XYZ)
    positive = table.flags("class")
    here = present[series]
    # Positive rows first, so that of two that differ in class the positive stays: lists of
    # several detectors joined into one, as LUNA16's are, may well hold both.
    first = np.argsort(~positive, kind="stable")
    repeated = np.zeros(len(series), dtype=bool)
    repeated[first] = repeated_rows(series[first], center[first])
    nodule, beyond_mm = nearest_nodule(series, center, nodules, nodules.diameter_mm / 2)
    inside = beyond_mm <= 0
    orphan = here & ~repeated & positive & ~inside
    inner = here & ~repeated & ~positive & inside
    notices = notice("candidates of scans that are not on disk", table.path, table.lines[~here])
    notices += notice("candidates that repeat another", table.path, table.lines[here & repeated])
    notices += notice(
        "positive candidates outside all annotated nodules", table.path, table.lines[orphan]
    )
    notices += notice("negative candidates inside a nodule", table.path, table.lines[inner])
    keep = here & ~repeated & ~orphan & ~inner
    listed = np.full(len(series), LISTED, dtype=np.int8)
    every = CandidateTable(series, center, np.where(positive, nodule, -1), table.lines, listed)
    return every.take(keep).sorted_by_series(), notices


def at_nodules(nodules: Nodules, rows: NDArray[np.int64]) -> CandidateTable:
    """Return candidates at the centres of some nodules, by row. Source: book, chapter 14."""
    chosen = nodules.take(rows)
    return CandidateTable(
        chosen.series.astype(np.int64),
        chosen.center_xyz,
        rows,
        chosen.line,
        np.full(len(rows), ANNOTATED, dtype=np.int8),
    )


def without_candidate(nodules: Nodules, candidates: CandidateTable) -> NDArray[np.int64]:
    """Return the rows of the nodules that no candidate marks."""
    return np.setdiff1d(np.arange(len(nodules)), candidates.nodule)


def _refuse_contradictions(
    table: Table, series: NDArray[np.int64], center: FloatArray, values: NDArray[Any], name: str
) -> None:
    """Raise InputError, naming the lines, where one place has two values in column `name`."""
    first_of_value = ~repeated_rows(series, np.column_stack([center, values]))
    clash = repeated_rows(series, center) & first_of_value
    table.refuse(clash, f"{name} differs from an earlier row of the same place", name)


def repeated_rows(series: NDArray[np.int64], center: FloatArray) -> NDArray[np.bool_]:
    """Return which rows have the series and the place of an earlier one."""
    keys = np.column_stack([series.astype(np.float64), center])
    order = np.lexsort(keys.T)  # stable: equal rows stay in the order of the file
    same = np.zeros(len(keys), dtype=bool)
    if len(keys):
        same[order[1:]] = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)
    return same


def nearest_nodule(
    series: NDArray[np.int64], center_xyz: FloatArray, nodules: Nodules, reach_mm: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the nodule of the same series whose border is nearest to each place, and how far.

    `reach_mm` (N,) is from a nodule's centre to its border. The distance (M,) in mm is below 0
    inside; where the series has no nodule it is infinite, and the index (M,) -1.
    """
    nodule = np.full(len(series), -1, dtype=np.int64)
    beyond_mm = np.full(len(series), np.inf)
    order = np.argsort(series, kind="stable")
    ordered = series[order]
    for number in np.unique(nodules.series):
        rows = order[rows_of(ordered, number)]
        those = rows_of(nodules.series, number)
        apart = center_xyz[rows, None] - nodules.center_xyz[None, those]
        gap_mm = np.linalg.norm(apart, axis=2) - reach_mm[those]  # (places, nodules)
        nodule[rows] = those.start + gap_mm.argmin(axis=1)
        beyond_mm[rows] = gap_mm.min(axis=1)
    return nodule, beyond_mm


def rows_of(series: NDArray[np.signedinteger[Any]], number: int) -> slice:
    """Return the rows of a sorted column that hold `number`."""
    low, high = np.searchsorted(series, [number, number + 1])
    return slice(int(low), int(high))
