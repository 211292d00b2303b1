"""A cohort of real scans with inserted nodules, in the layout of LUNA16."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from luna.ct.geometry import Geometry
from luna.ct.scan import Scan
from luna.phantom.cohort import (
    SUBSETS,
    Tables,
    nodule_rows,
    refuse_tables,
    subset_folders,
    write_metaimage,
    write_tables,
)
from luna.phantom.config import PhantomConfig
from luna.phantom.insert.insertion import Known, insert_nodules, patient_key
from luna.run.batch import Done, engine_for, item_at_fault, run_batch
from luna.run.errors import InputError, UsageError
from luna.run.files import sweep
from luna.run.nodules import XYZ
from luna.run.progress import SILENT, Listener
from luna.run.table import read_table, write_table

PATIENTS = "patients.csv"

KnownBySeries = Mapping[str, tuple[Known, ...]]


class Background(Protocol):
    """A scan that can be read."""

    def read(self) -> Scan:
        """Read it."""
        ...


class Written(NamedTuple):
    """One scan of the cohort: its UID, its patient, how many nodules it got, and its rows."""

    uid: str
    patient: str
    inserted: int
    rows: Tables


@dataclass(frozen=True, kw_only=True, slots=True)
class InsertReport:
    """What was written; `failed` gives the reason for each scan that is left out."""

    scans: int
    nodules: int
    failed: Mapping[str, str]


def read_known(path: Path) -> KnownBySeries:
    """Read the nodules that scans have already, by series UID, from a table as LUNA16's.

    Raises InputError when it is damaged.
    """
    table = read_table(path, ("seriesuid", *XYZ, "diameter_mm"))
    found: dict[str, list[Known]] = {}
    places, sizes = table.points(*XYZ), table.numbers("diameter_mm")
    for uid, (x, y, z), size in zip(table.texts("seriesuid"), places, sizes, strict=True):
        if size > 0:
            found.setdefault(str(uid), []).append(Known((float(x), float(y), float(z)), size))
    return {uid: tuple(nodules) for uid, nodules in found.items()}


def write_insertions(
    out: Path,
    scans: Mapping[str, Background],
    seed: int,
    config: PhantomConfig,
    per_scan: int,
    known: KnownBySeries,
    workers: int = 1,
    listener: Listener = SILENT,
) -> InsertReport:
    """Write every scan with up to `per_scan` nodules in it, and the tables of the cohort.

    The files are the same for any number of workers. Known nodules come along in
    annotations.csv. Raises UsageError when `out` already holds a cohort, InputError when no scan
    can be used, EnvironmentFault when the folder cannot be written.
    """
    if seed < 0 or per_scan < 1:
        raise UsageError("the nodules per scan must be at least 1, the seed at least 0")
    refuse_tables(out)
    if (left := next(out.glob("subset*/*.mhd"), None)) is not None:
        raise UsageError("a scan of another cohort", file=left, hint="choose a new folder")
    subsets = subset_folders(out, len(scans))
    items = {name: (number, scan) for number, (name, scan) in enumerate(scans.items())}
    work = _Insert(out, seed, config, per_scan, known)
    try:
        done = run_batch("insert", items, work, engine_for(workers), listener)
    finally:
        sweep(*subsets)
    if not done.results:
        name, reason = next(iter(done.failures.items()))
        raise InputError("no scan could take a nodule", file=Path(name), why=reason)
    _write_tables(out, done.results.values())
    nodules = sum(result.inserted for result in done.results.values())
    return InsertReport(scans=len(done.results), nodules=nodules, failed=done.failures)


@dataclass(frozen=True, slots=True)
class _Insert:
    """Reads a scan, inserts nodules, and writes it."""

    out: Path
    seed: int
    config: PhantomConfig
    per_scan: int
    known: KnownBySeries = field(default_factory=dict)

    def __call__(self, name: str, item: tuple[int, Background]) -> Done[Written]:
        number, background = item
        with item_at_fault():
            scan = background.read()
            known = self.known.get(scan.series_uid, ())
            made = insert_nodules(scan, self.seed, self.config, self.per_scan, known)
        uid, geometry = made.scan.series_uid, made.scan.geometry
        path = self.out / f"subset{number % SUBSETS}" / f"{uid}.mhd"
        write_metaimage(path, made.scan.hu, geometry)
        ratings = np.random.default_rng([self.seed, number, 1])
        rows = nodule_rows(uid, geometry, made.nodules, ratings)
        rows["annotations.csv"] += _known_rows(uid, geometry, scan, known)
        return Done(result=Written(uid, patient_key(scan.fingerprint()), len(made.nodules), rows))


def _known_rows(
    uid: str, geometry: Geometry, scan: Scan, known: Sequence[Known]
) -> list[tuple[object, ...]]:
    """Rows of the nodules that the scan has already."""
    places = [(geometry.irc_from_xyz(one.center_xyz), one) for one in known]
    return [
        (uid, *one.center_xyz, one.diameter_mm)
        for irc, one in places
        if (irc > -0.5).all() and (irc < np.array(scan.shape_irc) - 0.5).all()
    ]


def _write_tables(out: Path, written: Iterable[Written]) -> None:
    tables: Tables = {}
    patients, uids = [], []
    for one in written:
        uids.append(one.uid)
        patients.append((one.uid, one.patient))
        for name, rows in one.rows.items():
            tables.setdefault(name, []).extend(rows)
    write_table(out / PATIENTS, [("seriesuid", "patient"), *patients])
    write_tables(out, tables, uids)
