"""Prepares a cohort for training: each scan is read once and stored in the cache.

What is done stays done: a run that was stopped, by whatever means, goes on where it was, and
two at once make the same cache. `prepared.json` appears at the end and names what is there; an
earlier one stays where no scan can be read, as when their disk is away.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import disk_usage

import numpy as np

from luna.ct.cache import Cache
from luna.ct.formats.metaimage import read_header
from luna.data.luna16 import Luna16
from luna.data.luna16_places import outside_notices, refuse_strange_places
from luna.data.prep_pool import prepared_scans
from luna.data.prep_scan import FORMAT, Job, Outcome, PrepConfig, needed_blocks_bytes
from luna.run.errors import EnvironmentFault, InputError, TrustError, UsageError
from luna.run.files import nearest_existing, replace_file
from luna.run.machine import cores
from luna.run.notice import Notice
from luna.run.record import versions

MANIFEST = "prepared.json"

PACKED_SHARE = 0.7
"""Compressed bytes per byte, on the safe side: 0.55 to 0.6 on patients and phantoms."""

WORKER_BYTES = 2 << 30
"""Memory of one worker on a scan of 600 slices."""

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where Linux tells the bytes that a container may use; "max" means all."""

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would do. `needed_bytes` is an estimate on the safe side."""

    scans: int
    done: int
    candidates: int
    needed_bytes: int
    free_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A scan that has just been dealt with; `failure` says why there is nothing of it.

    `candidates_per_s` counts what was computed, not what was there already.
    """

    number: int
    scans: int
    uid: str
    failure: str
    seconds_left: float
    candidates_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepReport:
    """What a run did. `failed` says per series why there is nothing of it."""

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
    on_step: Callable[[Step], None] = lambda step: None,
    on_damage: Callable[[str], None] = lambda sentence: None,
) -> PrepReport:
    """Store every scan of the cohort; one that cannot be read stops no other.

    `on_damage` is told of entries that were damaged and are made anew. Raises
    EnvironmentFault when the disk is too small or full, InputError when the annotations are
    not of these scans.
    """
    if workers < 1:
        raise UsageError("workers must be at least 1")
    begun = time.perf_counter()
    planned = plan(cohort, cache, config)
    refuse_small_disk(cache, planned)
    with closing(Cache(cache, create=True, on_damage=on_damage)) as store:
        store.sweep()
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    clock = _Clock(planned)
    for uid, result in prepared_scans(jobs(cohort), cache, config, workers):
        if isinstance(result, Outcome):
            outcomes[uid] = result
            if result.damage:
                on_damage(f"{uid} was damaged in the cache ({result.damage}) and is made anew")
        else:
            failed[uid] = result
        on_step(clock.step(uid, result))
    notices = cohort.notices + _outside(cohort, outcomes)
    fingerprint = _fingerprint(cohort, outcomes, config)
    if outcomes:
        _write_manifest(cache, cohort, config, outcomes, failed, notices, fingerprint)
    return PrepReport(
        scans=len(outcomes),
        kept=sum(o.kept for o in outcomes.values()),
        candidates=sum(o.candidates for o in outcomes.values()),
        stored_bytes=sum(o.stored_bytes for o in outcomes.values()),
        seconds=time.perf_counter() - begun,
        failed=dict(sorted(failed.items())),
        notices=notices,
        fingerprint=fingerprint,
    )


def default_workers() -> int:
    """As many processes as there are cores, and memory for."""
    return max(1, min(cores(), _memory_bytes() // WORKER_BYTES))


def _memory_bytes() -> int:
    """The machine's memory, or less where a container may not use all of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.is_file() else ""
    return min(memory, int(limit)) if limit.isdecimal() else memory


def jobs(cohort: Luna16) -> Iterator[Job]:
    """A job per scan on disk, in the order of series."""
    n, c = cohort.nodules, cohort.candidates
    for uid in sorted(cohort.files):
        nodules, candidates = cohort.nodules_of(uid), cohort.candidates_of(uid)
        joined = c.nodule[candidates]
        yield Job(
            uid=uid,
            path=cohort.files[uid],
            candidate_xyz=c.center_xyz[candidates],
            candidate_nodule=np.where(joined >= 0, joined - nodules.start, -1),
            nodule_xyz=n.center_xyz[nodules],
            diameter_mm=n.diameter_mm[nodules],
            malignant=n.malignant[nodules],
        )


def plan(cohort: Luna16, cache: Path, config: PrepConfig) -> Plan:
    """What a run would do, from headers and the index; nothing is written.

    Raises InputError when the annotations are not of these scans.
    """
    refuse_strange_places(cohort)
    try:
        store = Cache(cache)
    except TrustError:
        store = None  # nothing there yet, or an index that a run will put aside
    done = needed = 0
    for job in jobs(cohort):
        try:
            if store is not None and store.get(job.record_key(config)) is not None:
                done += 1
                continue
            header = read_header(job.path)
        except (InputError, OSError):
            continue  # it will fail, and be said, when its turn comes
        needed += needed_blocks_bytes(header.geometry, header.size_irc, job, config)
    if store is not None:
        store.close()
    nearest = nearest_existing(cache)
    return Plan(
        scans=len(cohort.files),
        done=done,
        candidates=len(cohort.candidates.series),
        needed_bytes=int(needed * PACKED_SHARE),
        free_bytes=disk_usage(nearest).free,
    )


def refuse_small_disk(cache: Path, planned: Plan) -> None:
    """Raises EnvironmentFault when what is planned does not fit the disk."""
    if planned.needed_bytes > planned.free_bytes:
        raise EnvironmentFault(
            "the disk is too small",
            file=cache,
            why=f"{planned.needed_bytes / GIB:.1f} GiB needed, "
            f"{planned.free_bytes / GIB:.1f} GiB free",
            hint="free some space, or choose another --cache",
        )


def _outside(cohort: Luna16, outcomes: Mapping[str, Outcome]) -> tuple[Notice, ...]:
    """Notices of rows that lay off their volume."""
    nodules = [cohort.nodules_of(uid).start + o.nodules_outside for uid, o in outcomes.items()]
    candidates = [
        cohort.candidates_of(uid).start + o.candidates_outside for uid, o in outcomes.items()
    ]
    none = [np.zeros(0, dtype=np.int64)]
    return outside_notices(
        cohort, np.concatenate(none + nodules), np.concatenate(none + candidates)
    )


def _fingerprint(cohort: Luna16, outcomes: Mapping[str, Outcome], config: PrepConfig) -> str:
    """SHA-256 over scans, marks, config and what decides the split: equal where samples are."""
    split = [list(cohort.series), cohort.fold_of, cohort.patient_of]
    digest = hashlib.sha256(json.dumps([FORMAT, asdict(config), split], sort_keys=True).encode())
    for uid in sorted(outcomes):
        digest.update(f"{uid} {outcomes[uid].fingerprint} {outcomes[uid].marks}\n".encode())
    return digest.hexdigest()


def _write_manifest(
    cache: Path,
    cohort: Luna16,
    config: PrepConfig,
    outcomes: Mapping[str, Outcome],
    failed: Mapping[str, str],
    notices: Sequence[Notice],
    fingerprint: str,
) -> None:
    manifest = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "config": asdict(config),
        "versions": versions(),
        "series": cohort.series,
        "fold_of": dict(cohort.fold_of),
        "patient_of": dict(cohort.patient_of),
        "records": {uid: outcomes[uid].key for uid in sorted(outcomes)},
        "failed": dict(sorted(failed.items())),
        "notices": [str(n) for n in notices],
    }
    with replace_file(cache / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


class _Clock:
    """Times scans; those left will take as long as those that were computed."""

    def __init__(self, planned: Plan) -> None:
        self._planned = planned
        self._number = self._kept = self._candidates = 0
        self._begun = time.perf_counter()

    def step(self, uid: str, result: Outcome | str) -> Step:
        self._number += 1
        kept = isinstance(result, Outcome) and result.kept
        self._kept += kept
        if isinstance(result, Outcome) and not kept:
            self._candidates += result.candidates
        elapsed = time.perf_counter() - self._begun
        computed = self._number - self._kept
        left = max(self._planned.scans - self._planned.done - computed, 0)
        return Step(
            number=self._number,
            scans=self._planned.scans,
            uid=uid,
            failure=result if isinstance(result, str) else "",
            seconds_left=elapsed / max(computed, 1) * left,
            candidates_per_s=self._candidates / elapsed,
        )
