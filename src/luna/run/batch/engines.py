"""Where the work of a batch runs: in this process or in several of this machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from luna.run.batch.outcome import Outcome
from luna.run.pool import worker_pool
from luna.run.stop import Stop

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")  # its result
Read = Callable[[], object]
Outcomes = Generator[tuple[str, Outcome[R]], None, None]


class Engine(Protocol):
    """Where the work runs; outcomes come in any order. A stop waits for items that were begun.

    An engine takes the next item only when there is room for it, so that a batch may be long.
    """

    def run(
        self, work: Callable[[str, I], Outcome[R]], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Outcomes[R]: ...


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """One item after another."""

    def run(
        self, work: Callable[[str, I], Outcome[R]], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Outcomes[R]:
        for name, item in items:
            if stop.signal:
                return
            yield name, work(name, item)


@dataclass(frozen=True, slots=True)
class OneAhead:
    """One item after another, while a thread reads the next.

    Every item is a function that reads. The work gets one that returns what was read, or raises
    what was raised; two items are in memory at once.
    """

    def run(
        self, work: Callable[[str, I], Outcome[R]], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Outcomes[R]:
        with ThreadPoolExecutor(1) as reader:
            begun = ((name, reader.submit(cast("Read", item))) for name, item in items)
            ahead = next(begun, None)
            while ahead is not None and not stop.signal:
                name, reading = ahead
                ahead = next(begun, None)
                yield name, work(name, cast("I", reading.result))


@dataclass(frozen=True, slots=True)
class LocalProcesses:
    """Several items at once; the work, its items and results travel by pickle."""

    workers: int

    def run(
        self, work: Callable[[str, I], Outcome[R]], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Outcomes[R]:
        with worker_pool(self.workers, "--workers") as pool:
            waiting: dict[Future[Outcome[R]], str] = {}
            for name, item in items:
                if stop.signal:
                    break
                waiting[pool.submit(work, name, item)] = name
                # One more than is worked on: a run that stops has little left to finish.
                if len(waiting) > self.workers:
                    yield from _finished(waiting)
            while waiting:
                yield from _finished(waiting)


def engine_for(workers: int) -> Engine:
    """Return the engine for a number of processes."""
    return ThisProcess() if workers == 1 else LocalProcesses(workers)


def _finished(waiting: dict[Future[Outcome[R]], str]) -> Iterator[tuple[str, Outcome[R]]]:
    """Remove and return the outcomes that have come, at least one."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()
