"""Batches read ahead by threads, so that the network waits for no disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from luna.train.tasks import Batch, IntArray, Samples

AHEAD = 2
"""Batches under way per thread: one in hand, one being read."""


def read_ahead(
    samples: Samples, batches: Sequence[IntArray], threads: int
) -> Iterator[tuple[Batch, float]]:
    """Yield the batches in order, each with the seconds that were spent waiting for it.

    Threads, not processes: decompression and torch release the interpreter's lock, and
    nothing is copied or pickled between processes.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="luna-read")
    waiting: deque[Future[Batch]] = deque()
    rest = iter(batches)
    try:
        for _ in range(AHEAD * threads):
            _request(pool, samples, rest, waiting)
        while waiting:
            start = time.perf_counter()
            batch = waiting.popleft().result()
            waited_s = time.perf_counter() - start
            _request(pool, samples, rest, waiting)
            yield batch, waited_s
    finally:
        pool.shutdown(cancel_futures=True)


def _request(
    pool: ThreadPoolExecutor,
    samples: Samples,
    rest: Iterator[IntArray],
    waiting: deque[Future[Batch]],
) -> None:
    indices = next(rest, None)
    if indices is not None:
        waiting.append(pool.submit(samples.read, indices.tolist()))
