"""Annotations from a CSV table: a centre and a size per nodule, in columns of any name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray, ras_from_lps
from luna.ct.orient import to_stored_axes
from luna.ct.scan import Scan
from luna.data.imports.outlines import Annotated
from luna.run.errors import UsageError
from luna.run.nodules import UNKNOWN
from luna.run.notice import Notice, notice
from luna.run.table import Table, read_table

Frame = Literal["lps", "ras", "voxel"]

COLUMNS = {
    "series": ("seriesuid", "series", "scan", "image", "case", "LNDbID"),
    "x": ("coordX", "x"),
    "y": ("coordY", "y"),
    "z": ("coordZ", "z"),
    "diameter": ("diameter_mm", "diameter"),
    "volume": ("volume_mm3", "volume"),
    "malignant": ("malignant", "mal_bool"),
    "patient": ("patient", "patient_id", "PatientID"),
    "nodule": ("nodule",),
}
"""The columns that are read, and the names under which each is looked for."""

LNDB = "LNDbID"
"""The column of LNDb's tables that numbers its scans, which are called LNDb-0001.mhd."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Points:
    """The nodules of one scan in a table: centres (N, 3) in `frame`, and columns (N,)."""

    center: FloatArray
    frame: Frame
    diameter_mm: FloatArray
    malignant: NDArray[np.int8]

    def annotate(self, scan: Scan) -> tuple[list[Annotated], int]:
        """Return the nodules with their centres in LPS mm; none is left out."""
        nodules = []
        for (x, y, z), diameter, malignant in zip(
            self._xyz(scan).tolist(), self.diameter_mm.tolist(), self.malignant, strict=True
        ):
            nodules.append(
                Annotated(center_xyz=(x, y, z), diameter_mm=diameter, malignant=int(malignant))
            )
        return nodules, 0

    def _xyz(self, scan: Scan) -> FloatArray:
        if self.frame == "ras":
            return ras_from_lps(self.center)  # the change of signs is its own inverse
        if self.frame == "lps":
            return self.center
        # Column, row and slice count from 0 on the grid of the file, not on luna's.
        grid = np.broadcast_to(np.int8(0), scan.shape_irc)
        _, stored = to_stored_axes(grid, scan.geometry, scan.provenance.stored_orientation)
        return stored.xyz_from_irc(self.center[:, ::-1])


def read_points(
    path: Path, columns: Mapping[str, str], frame: Frame, names: Mapping[str, str]
) -> tuple[dict[str, Points], dict[str, str], tuple[Notice, ...]]:
    """Read a table; return the nodules and the patients by series UID, and what was left out.

    `columns` names columns of the table that are called otherwise than in COLUMNS; `names` are
    the scans' UIDs by any name that a table may use. Raises UsageError when there is no column
    for a place, a size or the series, and InputError, naming the line, for a damaged cell.
    """
    table = _only_nodules(read_table(path, ()), columns)
    named = {role: _column(table, role, columns) for role in COLUMNS}
    _refuse_missing(path, table, named)
    uids = [names.get(name, "") for name in _series(table, named["series"])]
    here = np.array([uid != "" for uid in uids], dtype=np.bool_)
    diameter = _diameter(table, named)
    sized = diameter > 0
    kept = here & sized
    center = table.points(named["x"], named["y"], named["z"])
    malignant = _malignant(table, named["malignant"])
    points = {
        uid: Points(
            center=center[rows], frame=frame, diameter_mm=diameter[rows], malignant=malignant[rows]
        )
        for uid in dict.fromkeys(uid for uid, keep in zip(uids, kept, strict=True) if keep)
        if len(rows := np.flatnonzero(kept & (np.array(uids, dtype=object) == uid)))
    }
    patients = table.texts(named["patient"], empty=True) if named["patient"] else [""] * len(uids)
    patient_of = {u: str(p) for u, p in zip(uids, patients, strict=True) if u and p}
    notices = notice("rows of scans that are not in the folder", path, table.lines[~here])
    notices += notice("rows without a size", path, table.lines[here & ~sized])
    return points, patient_of, notices


def _column(table: Table, role: str, columns: Mapping[str, str]) -> str:
    """Return the table's name for a column; nothing where it has none."""
    if role in columns:
        if not table.has(columns[role]):
            raise UsageError(
                f"no column {columns[role]} for {role}",
                file=table.path,
                why=f"there are {', '.join(table.header)}",
            )
        return columns[role]
    return next((name for name in COLUMNS[role] if table.has(name)), "")


def _refuse_missing(path: Path, table: Table, named: Mapping[str, str]) -> None:
    missing = [role for role in ("series", "x", "y", "z") if not named[role]]
    if not (named["diameter"] or named["volume"]):
        missing.append("diameter")
    if missing:
        raise UsageError(
            f"no column for {', '.join(missing)}",
            file=path,
            why=f"there are {', '.join(table.header)}",
            hint=f"name it: --map {missing[0]}=COLUMN",
        )


def _series(table: Table, column: str) -> list[str]:
    texts = [str(text) for text in table.texts(column)]
    return (
        [f"LNDb-{int(t):04d}" if t.isdecimal() else t for t in texts] if column == LNDB else texts
    )


def _diameter(table: Table, named: Mapping[str, str]) -> FloatArray:
    """Return the diameter, or that of a ball of the same volume, in mm."""
    if named["diameter"]:
        return table.numbers(named["diameter"])
    volume_mm3 = table.numbers(named["volume"])
    return np.asarray(np.cbrt(6 * np.maximum(volume_mm3, 0) / np.pi), dtype=np.float64)


def _malignant(table: Table, column: str) -> NDArray[np.int8]:
    """Return 1, 0, or UNKNOWN where the cell is empty or there is no column."""
    verdict = np.full(len(table), UNKNOWN, dtype=np.int8)
    if column:
        filled = np.asarray(table.texts(column, empty=True) != "", dtype=np.bool_)
        verdict[filled] = table.where(filled).flags(column)
    return verdict


def _only_nodules(table: Table, columns: Mapping[str, str]) -> Table:
    """Leave out the rows that a column `nodule` calls something else, as LNDb's has."""
    column = _column(table, "nodule", columns)
    return table.where(table.flags(column)) if column else table
