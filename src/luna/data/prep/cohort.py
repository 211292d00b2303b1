"""Prepare a whole cohort into the cache.

Finished scans are kept: a stopped run continues where it was, and two runs at once make the
same cache. The manifest is written at the end and names the prepared scans. An earlier one stays
if no scan can be read, for instance because their disk is not mounted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luna.ct.cache import Cache
from luna.data.luna16.folder import Luna16
from luna.data.luna16.places import outside_notices
from luna.data.prep.config import FORMAT, PrepConfig
from luna.data.prep.job import Job, jobs
from luna.data.prep.manifest import Manifest, write_manifest
from luna.data.prep.plan import plan, refuse_small_disk
from luna.data.prep.scan import PrepareScan, StoredScan
from luna.data.prep.there import PackScan, WrittenHere
from luna.run.batch import Batch, Done, Engine, engine_for, run_batch
from luna.run.batch.cluster import Cluster
from luna.run.errors import UsageError
from luna.run.notice import Notice
from luna.run.progress import SILENT, Listener


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepReport:
    """The result of a run. `failed` gives the reason for each series that is not prepared."""

    scans: int
    kept: int
    candidates: int
    stored_bytes: int
    seconds: float
    failed: Mapping[str, str]
    notices: tuple[Notice, ...]
    fingerprint: str


def prep(
    cohort: Luna16,
    cache: Path,
    config: PrepConfig,
    workers: int,
    listener: Listener = SILENT,
    *,
    cluster: Cluster | None = None,
) -> PrepReport:
    """Store every scan of the cohort; one that cannot be read stops no other.

    On a cluster its workers pack the scans, and this process stores them.
    Raises EnvironmentFault when the disk is too small or full, InputError when the annotations
    are not of these scans.
    """
    if workers < 1:
        raise UsageError("workers must be at least 1")
    begun = time.perf_counter()
    refuse_small_disk(cache, plan(cohort, cache, config))
    with closing(Cache(cache, create=True, on_damage=listener.warn)) as store:
        store.sweep()
    done = _prepared(cohort, cache, config, cluster or engine_for(workers), listener)
    scans_there = done.results
    manifest = Manifest(
        fingerprint=_fingerprint(cohort, scans_there, config),
        config=config,
        series=cohort.series,
        fold_of=cohort.fold_of,
        patient_of=cohort.patient_of,
        records={uid: scan.key for uid, scan in scans_there.items()},
        failed=done.failures,
        notices=cohort.notices + _outside(cohort, scans_there),
    )
    if scans_there:
        write_manifest(cache, manifest)
    return PrepReport(
        scans=len(scans_there),
        kept=done.kept,
        candidates=sum(scan.candidates for scan in scans_there.values()),
        stored_bytes=sum(scan.stored_bytes for scan in scans_there.values()),
        seconds=time.perf_counter() - begun,
        failed=done.failures,
        notices=manifest.notices,
        fingerprint=manifest.fingerprint,
    )


def _prepared(
    cohort: Luna16, cache: Path, config: PrepConfig, engine: Engine, listener: Listener
) -> Batch[StoredScan]:
    scans = {job.uid: job for job in jobs(cohort)}
    if not isinstance(engine, Cluster):
        return run_batch("prep", scans, PrepareScan(cache, config), engine, listener)
    packing: Callable[[str, Job], Done[Any]] = PackScan(config)
    return run_batch("prep", scans, packing, WrittenHere(engine, cache, config), listener)


def _outside(cohort: Luna16, scans: Mapping[str, StoredScan]) -> tuple[Notice, ...]:
    """Return notices of rows that lay off their volume."""
    none = [np.zeros(0, dtype=np.int64)]
    nodules = [cohort.nodules_of(uid).start + s.nodules_outside for uid, s in scans.items()]
    candidates = [
        cohort.candidates_of(uid).start + s.candidates_outside for uid, s in scans.items()
    ]
    return outside_notices(
        cohort, np.concatenate(none + nodules), np.concatenate(none + candidates)
    )


def _fingerprint(cohort: Luna16, scans: Mapping[str, StoredScan], config: PrepConfig) -> str:
    """Return a SHA-256 over scans, marks, config and what decides the split.

    Equal fingerprints, equal samples.
    """
    split = [list(cohort.series), cohort.fold_of, cohort.patient_of]
    values = [FORMAT, config.storing(), split]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for uid in sorted(scans):
        digest.update(f"{uid} {scans[uid].fingerprint} {scans[uid].marks}\n".encode())
    return digest.hexdigest()
