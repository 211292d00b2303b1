"""Batches read ahead by threads, so that the network waits for no disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from luna.train.tasks import Batch, IntArray, Samples

AHEAD = 2
"""Batches under way per thread: one in hand, one being read."""


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send a tensor to the device, without waiting for it where that is a GPU."""
    return pinned(tensor, device).to(device, non_blocking=True)


def pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Pin a tensor in memory, from where a GPU copies it without the processor."""
    return tensor.pin_memory() if tensor.device.type != device.type == "cuda" else tensor


def read_ahead(
    samples: Samples, batches: Sequence[IntArray], threads: int, device: torch.device
) -> Iterator[tuple[Batch, float]]:
    """Yield the batches in order, each with the seconds that were spent waiting for it.

    Threads, not processes: decompression and torch release the interpreter's lock, and
    nothing is copied or pickled between processes. They pin what a GPU is to fetch.
    """

    def read(indices: list[int]) -> Batch:
        hu, target = samples.read(indices)
        return pinned(hu, device), pinned(target, device)

    pool = ThreadPoolExecutor(threads, thread_name_prefix="luna-read")
    waiting: deque[Future[Batch]] = deque()
    rest = iter(batches)
    try:
        for _ in range(AHEAD * threads):
            _request(pool, read, rest, waiting)
        while waiting:
            start = time.perf_counter()
            batch = waiting.popleft().result()
            waited_s = time.perf_counter() - start
            _request(pool, read, rest, waiting)
            yield batch, waited_s
    finally:
        pool.shutdown(cancel_futures=True)


def _request(
    pool: ThreadPoolExecutor,
    read: Callable[[list[int]], Batch],
    rest: Iterator[IntArray],
    waiting: deque[Future[Batch]],
) -> None:
    indices = next(rest, None)
    if indices is not None:
        waiting.append(pool.submit(read, indices.tolist()))
