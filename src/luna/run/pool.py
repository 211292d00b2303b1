"""Worker processes that end with the run, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path

from luna.run.errors import EnvironmentFault
from luna.run.machine.memory import keep_freed_memory

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the system keeps locks between processes


@contextmanager
def worker_pool(workers: int, option: str) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes that end with this one.

    They are spawned: forked ones would inherit locks of this one's threads.

    `option` is what sets their number on the command line. Raises EnvironmentFault when there is
    no shared memory or when the system kills a worker.
    """
    try:
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_start_worker
        )
    except OSError as error:
        raise EnvironmentFault(
            "no shared memory for worker processes",
            file=SHARED_MEMORY,
            why=str(error),
            hint=f"make room there, or run with {option} 1",
        ) from error
    try:
        yield pool
    except BrokenProcessPool as error:
        raise EnvironmentFault(
            "a worker process was killed",
            why="the system does that when memory runs out",
            hint=f"run again with fewer {option}",
        ) from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Keep the pages of volumes, which follow each other in one size; end with the parent."""
    keep_freed_memory()
    end_with_parent()


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
