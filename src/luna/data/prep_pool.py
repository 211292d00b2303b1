"""Scans prepared by a pool of processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from pathlib import Path

from luna.ct.cache import Cache
from luna.data.prep_scan import Job, Outcome, PrepConfig, prepare_scan
from luna.run.errors import InputError
from luna.run.pool import worker_pool


def prepared_scans(
    todo: Iterator[Job], cache: Path, config: PrepConfig, workers: int
) -> Iterator[tuple[str, Outcome | str]]:
    """Outcome, or the reason of a failure, of each scan as it comes."""
    if workers == 1:
        for job in todo:
            yield _one(job, cache, config)
        return
    with worker_pool(workers, "--workers") as pool:
        waiting: set[Future[tuple[str, Outcome | str]]] = set()
        for job in todo:
            waiting.add(pool.submit(_one, job, cache, config))
            # No more than needed lie in the queue: a stopped run has little to throw away.
            if len(waiting) >= 2 * workers:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _one(job: Job, cache: Path, config: PrepConfig) -> tuple[str, Outcome | str]:
    """One scan's outcome, or why there is none; what the machine lacks is raised."""
    with closing(Cache(cache)) as store:
        try:
            return job.uid, prepare_scan(job, store, config)
        except MemoryError:
            return job.uid, "out of memory"
        except InputError as error:
            file = "" if error.file is None else f"{Path(error.file).name}: "
            return job.uid, f"{file}{error.what}" + (f" ({error.why})" if error.why else "")
