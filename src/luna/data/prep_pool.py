"""Scans prepared by a pool of processes, which leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path

from luna.ct.cache import Cache
from luna.data.prep_scan import Job, Outcome, PrepConfig, prepare_scan
from luna.run.errors import EnvironmentFault, InputError
from luna.run.memory import keep_freed_memory

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the system keeps locks between processes


def prepared_scans(
    todo: Iterator[Job], cache: Path, config: PrepConfig, workers: int
) -> Iterator[tuple[str, Outcome | str]]:
    """Outcome, or the reason of a failure, of each scan as it comes."""
    if workers == 1:
        for job in todo:
            yield _one(job, cache, config)
        return
    with _pool(workers) as pool:
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


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Spawned processes that end with this one, however it ends."""
    try:
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker
        )
    except OSError as error:
        raise EnvironmentFault(
            "no shared memory for worker processes",
            file=SHARED_MEMORY,
            why=str(error),
            hint="make room there, or run with --workers 1",
        ) from error
    try:
        yield pool
    except BrokenProcessPool as error:
        raise EnvironmentFault(
            "a worker process was killed",
            why="the system does that when memory runs out",
            hint="run again with fewer --workers: what is done stays done",
        ) from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Volumes of one size follow each other: their pages are kept."""
    keep_freed_memory()
    _end_with_parent()


def _end_with_parent() -> None:
    """A worker leaves Ctrl-C to the parent, and goes when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
