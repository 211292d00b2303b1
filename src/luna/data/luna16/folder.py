"""A cohort in the layout of LUNA16, as downloaded or as `luna import` writes it.

    subset0 … subset9/UID.mhd       the scans; any part of them may be there. Other formats too,
                                    a DICOM series as a folder; links to scans are followed
    annotations.csv                 nodules: centre in LPS mm, diameter
    candidates_V2.csv               places to judge (candidates.csv where there is no V2);
                                    optional: prep finds places of its own
    masks/UID.nii.gz                optional: the voxels of the scan's nodules, labels 1 … N in
                                    the order of its annotations
    annotations_with_malignancy.csv optional: the readers' verdicts, joined by place
    annotations_kind.csv            optional: the kind of each nodule, for evaluations by kind
    seriesuids.csv                  optional: the full list of series
    patients.csv                    optional: columns seriesuid, patient

A table that is damaged or contradicts itself is refused, with the lines. Rows that sound tables
have too are skipped, with a Notice: duplicates, diameters of 0 or less, scans that are not on
disk, positive candidates outside of every nodule, negative ones inside one. Places outside their
volume are found when the scans are read (`prep`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from luna.ct.dicom.file import is_dicom
from luna.ct.read import scan_suffix
from luna.data.luna16.rows import (
    CandidateTable,
    at_nodules,
    read_candidates,
    read_malignancy,
    read_nodules,
    rows_of,
    without_candidate,
)
from luna.run.errors import InputError, UsageError
from luna.run.nodules import XYZ, Nodules
from luna.run.notice import Notice, notice
from luna.run.table import Table, read_table

ANNOTATIONS = "annotations.csv"
MALIGNANCY = "annotations_with_malignancy.csv"
KINDS = "annotations_kind.csv"
CANDIDATES = "candidates_V2.csv"
OLD_CANDIDATES = "candidates.csv"
SERIES = "seriesuids.csv"
PATIENTS = "patients.csv"

NOT_SHOWN = (
    "annotated nodules contain no candidate, so the classifier is not trained on them; "
    "add them with --set candidates.from_annotations=true"
)

SUBSET, SCAN = "subset[0-9]", "[!.]*"
MASKS, MASK_SUFFIX = "masks", ".nii.gz"

DOWNLOAD = "https://zenodo.org/records/3723295"
"""The first part of LUNA16, which holds the tables too."""


OWN_CANDIDATES = (
    "there is no such table, so prep takes candidates from the lungs of each scan; "
    f"LUNA16's is part of its download ({DOWNLOAD}, as a zip)"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Luna16:
    """The scans on disk, with their nodules, candidates, folds and patients.

    `series` is the full list of series UIDs, sorted, whether on disk or not; `files` and
    `fold_of` have those on disk, `masks` those with a label volume of their nodules. Nodules and
    candidates are of scans on disk only. `has_candidates`: there is a table of candidates.
    `marks_file` is where candidates that are a system's marks came from.
    """

    root: Path
    series: tuple[str, ...]
    files: Mapping[str, Path]
    fold_of: Mapping[str, int]
    patient_of: Mapping[str, str]
    nodules: Nodules
    candidates: CandidateTable
    notices: tuple[Notice, ...]
    masks: Mapping[str, Path]
    has_candidates: bool = True
    marks_file: Path | None = None

    def nodules_of(self, uid: str) -> slice:
        """Return the rows of `nodules` that belong to a series."""
        return rows_of(self.nodules.series, self.series.index(uid))

    def candidates_of(self, uid: str) -> slice:
        """Return the rows of `candidates` that belong to a series."""
        return rows_of(self.candidates.series, self.series.index(uid))


def read_luna16(root: Path) -> Luna16:
    """Read the tables and find the scans of a LUNA16 folder, or of the one in it.

    No scan is opened. Raises UsageError when a series lies in two subsets, InputError when
    there is no scan, a table is missing or damaged, or a series is not in the full list.
    """
    root = _find_root(root)
    files, fold_of = _find_scans(root)
    annotations = _read_download(root / ANNOTATIONS, ("seriesuid", *XYZ, "diameter_mm"))
    candidates, notices = _candidate_table(root)
    series = _full_list(root, files, [annotations, *([candidates] if candidates else [])])
    number = {uid: k for k, uid in enumerate(series)}
    present = np.array([uid in files for uid in series])
    nodules, seen = read_nodules(annotations, number, present)
    notices += seen
    malignant, seen = read_malignancy(root / MALIGNANCY, number, present, nodules)
    nodules = replace(nodules, malignant=malignant)
    notices += seen
    if candidates is None:
        marks = at_nodules(nodules, np.arange(len(nodules)))
    else:
        marks, seen = read_candidates(candidates, number, present, nodules)
        missing = nodules.line[without_candidate(nodules, marks)]
        notices += seen + notice(NOT_SHOWN, annotations.path, missing)
    patient_of, seen = _patients(root / PATIENTS)
    return Luna16(
        root=root,
        series=series,
        files=files,
        fold_of=fold_of,
        patient_of=patient_of,
        nodules=nodules,
        candidates=marks,
        notices=notices + seen,
        masks={uid: path for uid in files if (path := mask_of(root, uid)).exists()},
        has_candidates=candidates is not None,
    )


def mask_of(root: Path, uid: str) -> Path:
    """Return where the label volume of a scan's nodules lies, if there is one."""
    return root / MASKS / f"{uid}{MASK_SUFFIX}"


def _find_root(root: Path) -> Path:
    """Return the folder that holds the subsets: the one that was named, or one in it."""
    if any(root.glob(SUBSET)):
        return root
    inner = sorted({path.parent for path in root.glob(f"*/{SUBSET}") if path.is_dir()})
    if len(inner) > 1:
        raise UsageError(
            f"{len(inner)} folders with scans here",
            file=root,
            why=", ".join(path.name for path in inner[:3]),
            hint="name one of them",
        )
    return inner[0] if inner else root


def _find_scans(root: Path) -> tuple[dict[str, Path], dict[str, int]]:
    files: dict[str, Path] = {}
    fold_of: dict[str, int] = {}
    # A zip unpacked into a folder of its own name makes subset0/subset0. A copy by macOS leaves
    # a hidden "._UID.mhd", which is no scan, beside each file.
    for path in sorted([*root.glob(f"{SUBSET}/{SCAN}"), *root.glob(f"{SUBSET}/{SUBSET}/{SCAN}")]):
        uid = _uid_of(path)
        if not uid:
            continue
        if uid in files:
            raise UsageError(
                "this series lies in two subsets",
                file=path,
                why=f"also {files[uid]}",
                hint="remove one: a series in two folds would train and test at once",
            )
        files[uid] = path.resolve() if path.is_symlink() and path.exists() else path
        fold_of[uid] = int(path.parent.name[-1])
    if not files:
        raise InputError(
            "no scans here",
            file=root,
            why="no subset0 … subset9 with scans in them",
            hint="unpack the LUNA16 subsets, make a cohort with `luna phantom`, or lay out your "
            "own scans with `luna import`",
        )
    return files, fold_of


def _uid_of(path: Path) -> str:
    """Return the series UID that a name in a subset stands for; nothing if it is no scan."""
    suffix = scan_suffix(path)
    if suffix:
        return path.name[: -len(suffix)]
    if not path.is_dir() or path.is_symlink():  # `luna import` links the folders of series
        return path.name if path.is_dir() else ""
    first = next((p for p in sorted(path.iterdir()) if not p.name.startswith(".")), None)
    return path.name if first is not None and first.is_file() and is_dicom(first) else ""


def _candidate_table(root: Path) -> tuple[Table | None, tuple[Notice, ...]]:
    columns = ("seriesuid", *XYZ, "class")
    path = root / CANDIDATES
    if path.exists():
        return read_table(path, columns), ()
    if not (root / OLD_CANDIDATES).exists():
        return None, (Notice(what=OWN_CANDIDATES, file=CANDIDATES),)
    old = Notice(
        what="old candidates in use; the challenge replaced them by candidates_V2.csv",
        file=OLD_CANDIDATES,
    )
    return read_table(root / OLD_CANDIDATES, columns), (old,)


def _read_download(path: Path, columns: tuple[str, ...]) -> Table:
    if not path.exists():
        raise InputError(
            "this table is missing",
            file=path,
            why="luna needs it beside the subset folders",
            hint=f"it is part of the LUNA16 download ({DOWNLOAD}); `luna import` writes one from "
            "your own annotations",
        )
    return read_table(path, columns)


def _full_list(root: Path, files: Mapping[str, Path], tables: list[Table]) -> tuple[str, ...]:
    """Return the series of seriesuids.csv, or without it all that a table or a file names."""
    named = {uid for table in tables for uid in table.texts("seriesuid")}
    path = root / SERIES
    if not path.exists():
        return tuple(sorted(named | set(files)))
    listed = {*read_table(path, ("seriesuid",), default_header=("seriesuid",)).texts("seriesuid")}
    unlisted = sorted(named - listed)
    if unlisted:
        raise InputError(
            f"{len(unlisted)} series are not in the full list",
            file=path,
            why=_where_named(unlisted[0], tables),
            hint="the list and the tables have different versions; download both again",
        )
    strange = sorted(set(files) - listed)
    if strange:
        raise InputError(
            f"{len(strange)} scans on disk are not in the full list",
            file=path,
            why=f"the first is {files[strange[0]]}",
            hint="move them out of the subsets, or add a line to the list for each",
        )
    return tuple(sorted(listed))


def _where_named(uid: str, tables: list[Table]) -> str:
    lines = {table.path.name: table.lines[table.texts("seriesuid") == uid] for table in tables}
    name = next(name for name, found in lines.items() if len(found))
    return f"{uid} is in {name}, line {lines[name][0]}"


def _patients(path: Path) -> tuple[dict[str, str], tuple[Notice, ...]]:
    if not path.exists():
        return {}, ()
    table = read_table(path, ("seriesuid", "patient"))
    uids, patients = table.texts("seriesuid"), table.texts("patient")
    _, first = np.unique(uids, return_index=True)
    patient_of = dict(zip(uids[first], patients[first], strict=True))
    clash = np.array([patient_of[uid] for uid in uids], dtype=object) != patients
    table.refuse(clash, "patient differs from an earlier row of the series", "patient")
    again = np.delete(table.lines, first)
    return patient_of, notice("rows that repeat another", path, again)
