"""Read annotations from any known source, and sort them by scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from luna.data.imports.cohort import Marks
from luna.data.imports.dicom import find_dicom_outlines
from luna.data.imports.lidc import find_lidc
from luna.data.imports.masks import find_masks
from luna.data.imports.scans import FoundScan, by_name
from luna.data.imports.table import Frame, read_points
from luna.run.notice import Notice

Source = Literal["table", "masks", "seg", "rtstruct", "lidc"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How annotations are read.

    `columns` and `frame` are for tables, `readers` (how many must agree) for outlines, and `roi`
    (patterns of names) for DICOM.
    """

    columns: Mapping[str, str]
    frame: Frame = "lps"
    readers: int = 1
    roi: tuple[str, ...] = ()


def read_marks(
    kind: Source, path: Path, scans: Mapping[str, FoundScan], reading: Reading
) -> tuple[Mapping[str, Marks], dict[str, str], tuple[Notice, ...]]:
    """Return marks and patients by series UID, and what was left out.

    Raises UsageError for a table without the columns, and InputError for damaged files or
    when nothing is of these scans.
    """
    names = by_name(scans.values())
    if kind == "table":
        return read_points(path, reading.columns, reading.frame, names)
    if kind == "masks":
        return _without_patients(find_masks(path, reading.readers, names))
    if kind == "lidc":
        return _without_patients(find_lidc(path, reading.readers, names))
    modality = {"seg": "SEG", "rtstruct": "RTSTRUCT"}[kind]
    return _without_patients(
        find_dicom_outlines(path, modality, reading.readers, reading.roi, names)
    )


def _without_patients(
    found: tuple[Mapping[str, Marks], tuple[Notice, ...]],
) -> tuple[Mapping[str, Marks], dict[str, str], tuple[Notice, ...]]:
    marks, notices = found
    return marks, {}, notices
