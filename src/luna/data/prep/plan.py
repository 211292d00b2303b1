"""Plan a run of prep, and check that the machine has room for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from luna.ct.cache import Cache
from luna.ct.formats.metaimage import read_header
from luna.data.luna16.fit import refuse_misplaced
from luna.data.luna16.folder import Luna16
from luna.data.luna16.places import refuse_strange_places
from luna.data.prep.config import PrepConfig
from luna.data.prep.job import Job, jobs
from luna.data.prep.needed import needed_bytes
from luna.run.errors import EnvironmentFault, InputError, TrustError
from luna.run.files import nearest_existing
from luna.run.machine.limits import cores, memory_bytes

PACKED_SHARE = 0.7
"""Compressed bytes per byte, on the safe side: 0.55 to 0.6 on patients and phantoms."""

WORKER_BYTES = 2 << 30
"""Memory of one worker on a scan of 600 slices."""

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would do; `needed_bytes` is an estimate on the safe side."""

    scans: int
    done: int
    candidates: int
    needed_bytes: int
    free_bytes: int


def plan(cohort: Luna16, cache: Path, config: PrepConfig) -> Plan:
    """Return what a run would do, from headers and the index; nothing is written.

    Raises InputError when the annotations are not of these scans.
    """
    refuse_strange_places(cohort)
    left = list(_undone(cohort, cache, config))
    refuse_misplaced(cohort, [job.uid for job in left])
    needed = 0
    for job in left:
        try:
            header = read_header(job.path)
        except (InputError, OSError):
            continue  # it will fail, with its reason, when its turn comes
        needed += needed_bytes(header.geometry, header.size_irc, job, config)
    return Plan(
        scans=len(cohort.files),
        done=len(cohort.files) - len(left),
        candidates=len(cohort.candidates.series),
        needed_bytes=int(needed * PACKED_SHARE),
        free_bytes=disk_usage(nearest_existing(cache)).free,
    )


def refuse_small_disk(cache: Path, planned: Plan) -> None:
    """Raise EnvironmentFault when what is planned does not fit the disk."""
    if planned.needed_bytes > planned.free_bytes:
        raise EnvironmentFault(
            "the disk is too small",
            file=cache,
            why=f"{planned.needed_bytes / GIB:.1f} GiB needed, "
            f"{planned.free_bytes / GIB:.1f} GiB free",
            hint="free some space, or choose another --cache",
        )


def default_workers() -> int:
    """Return as many processes as there are cores, and memory for."""
    memory = memory_bytes()
    return max(1, cores() if memory is None else min(cores(), memory // WORKER_BYTES))


def _undone(cohort: Luna16, cache: Path, config: PrepConfig) -> Iterator[Job]:
    """Yield the jobs whose record is not in the cache."""
    try:
        store = Cache(cache)
    except TrustError:  # nothing there yet, or an index that a run will put aside
        yield from jobs(cohort)
        return
    with closing(store):
        for job in jobs(cohort):
            try:
                done = store.get(job.record_key(config)) is not None
            except InputError:
                done = False
            if not done:
                yield job
