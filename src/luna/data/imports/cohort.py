"""Make a cohort in the layout of LUNA16 from your own scans and annotations.

Scans are linked, not copied. Tables are written last: a folder without them was not finished.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from luna.ct.labels import Labels
from luna.ct.read import scan_suffix
from luna.ct.scan import Scan
from luna.ct.write import write_labels
from luna.data.imports.outlines import Annotated
from luna.data.imports.scans import FoundScan
from luna.data.luna16.fit import FitCount
from luna.data.luna16.folder import ANNOTATIONS, KINDS, MALIGNANCY, PATIENTS, SERIES, mask_of
from luna.data.luna16.member import read_member
from luna.data.splits import FOLDS
from luna.run.batch import Done, engine_for, item_at_fault, run_batch
from luna.run.errors import EnvironmentFault, InputError
from luna.run.files import write_fault
from luna.run.nodules import UNKNOWN, XYZ
from luna.run.progress import SILENT, Listener
from luna.run.table import write_table


class Marks(Protocol):
    """The annotations of one scan, in the form in which they were found."""

    def annotate(self, scan: Scan) -> tuple[list[Annotated], int]:
        """Return the nodules, and how many findings too few readers marked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """The result of an import; `failed` gives the reason for each scan that is left out.

    `unmarked` are scans with no annotation at all, `unagreed` the findings that too few readers
    marked, `patients_unknown` the scans without a known patient.
    """

    scans: int
    nodules: int
    masks: int
    unmarked: int
    unagreed: int
    patients_unknown: int
    failed: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Imported:
    """One scan: its nodules without their voxels, and how many of them fit its lungs."""

    nodules: tuple[Annotated, ...]
    unagreed: int
    fit: FitCount


def write_cohort(
    out: Path,
    scans: Mapping[str, FoundScan],
    marks: Mapping[str, Marks],
    patient_of: Mapping[str, str],
    workers: int = 1,
    listener: Listener = SILENT,
) -> ImportReport:
    """Write a cohort of these scans; one without marks counts as a scan without nodules.

    `patient_of` names patients by series UID; those of the scans' own headers come second.
    Raises InputError when no scan can be read, or most annotations lie on no nodule, and
    EnvironmentFault when the folder cannot be written.
    """
    work = _Import(out, marks)
    done = run_batch("import", scans, work, engine_for(workers), listener)
    if not done.results:
        uid, reason = next(iter(done.failures.items()))
        raise InputError("no scan could be imported", file=scans[uid].path, why=reason)
    fit = FitCount()
    for result in done.results.values():
        fit.join(result.fit)
    fit.refuse_most_off(out / ANNOTATIONS)
    patients = {uid: patient_of.get(uid) or scans[uid].patient for uid in done.results}
    _link(out, {uid: scans[uid].path for uid in done.results}, patients)
    _write_tables(out, {uid: r.nodules for uid, r in done.results.items()}, patients)
    return ImportReport(
        scans=len(done.results),
        nodules=sum(len(r.nodules) for r in done.results.values()),
        masks=sum(mask_of(out, uid).exists() for uid in done.results),
        unmarked=sum(uid not in marks for uid in done.results),
        unagreed=sum(r.unagreed for r in done.results.values()),
        patients_unknown=sum(not patient for patient in patients.values()),
        failed=done.failures,
    )


@dataclass(frozen=True, slots=True)
class _Import:
    """Reads a scan and its marks, and writes the label volume of their voxels."""

    out: Path
    marks: Mapping[str, Marks]

    def __call__(self, uid: str, scan: FoundScan) -> Done[_Imported]:
        with item_at_fault():
            volume = read_member(scan.path, uid)
            nodules, unagreed = self.marks[uid].annotate(volume) if uid in self.marks else ([], 0)
        fit = FitCount()
        if nodules:
            centers = np.array([n.center_xyz for n in nodules])
            fit.add(volume, centers, np.array([n.diameter_mm for n in nodules]))
        if any(n.mask is not None for n in nodules):
            mask_of(self.out, uid).parent.mkdir(exist_ok=True)
            write_labels(mask_of(self.out, uid), _labels(nodules, volume), volume)
        bare = tuple(replace(nodule, mask=None) for nodule in nodules)
        return Done(result=_Imported(nodules=bare, unagreed=unagreed, fit=fit))


def _labels(nodules: Iterable[Annotated], scan: Scan) -> Labels:
    labels = np.zeros(scan.shape_irc, dtype=np.int32)
    for number, nodule in enumerate(nodules, start=1):
        if nodule.mask is not None:
            labels[nodule.mask.slices][nodule.mask.voxels] = number
    return labels


def _link(out: Path, paths: Mapping[str, Path], patients: Mapping[str, str]) -> None:
    """Link each scan into a subset; a patient's scans are in one, and all are about as large."""
    size: Counter[int] = Counter()
    subset_of: dict[str, int] = {}
    for uid in sorted(paths):
        person = patients[uid] or uid
        subset = subset_of.setdefault(person, min(range(FOLDS), key=lambda k: size[k]))
        size[subset] += 1
        link = out / f"subset{subset}" / (uid + scan_suffix(paths[uid]))
        try:
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(paths[uid].resolve())
        except OSError as error:
            raise _link_fault(link, error) from error


def _link_fault(link: Path, error: OSError) -> EnvironmentFault:
    if getattr(error, "winerror", None) == 1314:  # the privilege to make links is not held
        return EnvironmentFault(
            "Windows does not let this user make links",
            file=link,
            hint="turn on Developer Mode, or run as an administrator",
        )
    return write_fault(link, error)


def _write_tables(
    out: Path, nodules: Mapping[str, Iterable[Annotated]], patients: Mapping[str, str]
) -> None:
    rows = [
        ((uid, *n.center_xyz, n.diameter_mm), n) for uid in sorted(nodules) for n in nodules[uid]
    ]
    place = ("seriesuid", *XYZ, "diameter_mm")
    if any(n.kind for _, n in rows):
        kinds = [(*row, n.kind or "unknown") for row, n in rows]
        write_table(out / KINDS, [(*place, "kind"), *kinds])
    verdicts = [(*row, n.malignant == 1) for row, n in rows if n.malignant != UNKNOWN]
    if verdicts:
        write_table(out / MALIGNANCY, [(*place, "mal_bool"), *verdicts])
    known = [(uid, patient) for uid, patient in sorted(patients.items()) if patient]
    if known:
        write_table(out / PATIENTS, [("seriesuid", "patient"), *known])
    write_table(out / SERIES, [("seriesuid",), *((uid,) for uid in sorted(nodules))])
    write_table(out / ANNOTATIONS, [place, *(row for row, _ in rows)])
