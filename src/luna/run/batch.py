"""Do the same work for many items; keep what is done, and go on past a bad item.

The work knows for each item whether an earlier run did it; an engine runs the work in this process
or in several. The work stores every result whole or not at all, so any stopped run continues where
it was.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

from luna.run.checked import DamagedError
from luna.run.errors import EnvironmentFault, InputError, LunaError, UsageError
from luna.run.machine.memory import is_out_of_memory
from luna.run.pool import worker_pool
from luna.run.progress import SILENT, Listener
from luna.run.stop import Stop, stoppable
from luna.run.text import duration

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")  # its result
Read = Callable[[], object]

STOPPING = "stopping after this step; press Ctrl-C again to stop at once"


@dataclass(frozen=True, kw_only=True, slots=True)
class Done(Generic[R]):
    """The result of an item. `kept`: an earlier run made it; `damage`: what was wrong with one."""

    result: R
    kept: bool = False
    damage: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Why an item has no result."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Generic[R]):
    """Results, and reasons of failures, by the items' names in their order; each is in one."""

    results: dict[str, R]
    failures: dict[str, str]
    kept: int


class Engine(Protocol):
    """Where the work runs; outcomes come in any order. A stop waits for items that were begun."""

    def run(
        self, work: Callable[[str, I], R], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Generator[tuple[str, R], None, None]: ...


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """One item after another."""

    def run(
        self, work: Callable[[str, I], R], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Generator[tuple[str, R], None, None]:
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
        self, work: Callable[[str, I], R], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Generator[tuple[str, R], None, None]:
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
        self, work: Callable[[str, I], R], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Generator[tuple[str, R], None, None]:
        with worker_pool(self.workers, "--workers") as pool:
            waiting: dict[Future[R], str] = {}
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


def run_batch(
    stage: str,
    items: Mapping[str, I],
    work: Callable[[str, I], Done[R]],
    engine: Engine,
    listener: Listener = SILENT,
    each: Callable[[str, Done[R] | Failed], None] = lambda name, outcome: None,
) -> Batch[R]:
    """Do the work for every item by name; `stage` is what the progress is called.

    An item fails when its work raises InputError or runs out of memory. `each` is called with every
    outcome as it comes. The first Ctrl-C waits for items that were begun, then raises
    KeyboardInterrupt.
    """
    found: dict[str, Done[R]] = {}
    failures: dict[str, str] = {}
    clock = _Clock(len(items))
    stop = Stop()
    listener.progress(stage, 0, len(items))
    with (
        stoppable(stop, [signal.SIGINT], lambda: listener.warn(STOPPING)),
        closing(engine.run(_Guarded(work), items.items(), stop)) as outcomes,
    ):
        for name, outcome in outcomes:
            if isinstance(outcome, Failed):
                failures[name] = outcome.reason
                listener.warn(f"no result for {name}: {outcome.reason}")
            else:
                found[name] = outcome
                if outcome.damage:
                    listener.warn(f"{name} was damaged ({outcome.damage}) and is made again")
            each(name, outcome)
            detail = clock.step(name, outcome)
            listener.progress(stage, len(found) + len(failures), len(items), detail)
    if stop.signal:
        raise KeyboardInterrupt
    return Batch(
        results={name: found[name].result for name in items if name in found},
        failures={name: failures[name] for name in items if name in failures},
        kept=sum(done.kept for done in found.values()),
    )


def resumed(load: Callable[[], R | None], make: Callable[[], R]) -> Done[R]:
    """Return the result of an earlier run, or make and store it.

    `load` gives None when there is no result, or one of something else, and raises
    DamagedError.
    """
    damage = ""
    try:
        earlier = load()
    except DamagedError as error:
        earlier, damage = None, str(error)
    if earlier is not None:
        return Done(result=earlier, kept=True)
    return Done(result=make(), damage=damage)


@contextmanager
def item_at_fault() -> Iterator[None]:
    """Turn the fault of one item into an InputError, so that the others go on.

    A path that names nothing is wrong usage, and one that may not be read a fault of the
    machine, only where a user gave it.
    """
    try:
        yield
    except (UsageError, EnvironmentFault) as error:
        raise InputError(error.what, file=error.file, why=error.why) from error


@dataclass(frozen=True, slots=True)
class _Guarded(Generic[I, R]):
    """The work, with its failures returned as values."""

    work: Callable[[str, I], Done[R]]

    def __call__(self, name: str, item: I) -> Done[R] | Failed:
        try:
            return self.work(name, item)
        except InputError as error:
            return Failed(reason=_reason(error))
        except Exception as error:
            if is_out_of_memory(error):
                return Failed(reason="out of memory")
            raise


def _reason(error: LunaError) -> str:
    """Return what is wrong with an item, its file by name: reports travel further than folders."""
    file = "" if error.file is None else f"{Path(error.file).name}: "
    return f"{file}{error.what}" + (f" ({error.why})" if error.why else "")


def _finished(waiting: dict[Future[R], str]) -> Iterator[tuple[str, R]]:
    """Remove and return the outcomes that have come, at least one."""
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()


class _Clock:
    """Times items; those left will take as long as those that were worked on in this run."""

    def __init__(self, items: int) -> None:
        self._left, self._worked, self._failed = items, 0, 0
        self._seconds, self._begun = 0.0, time.perf_counter()

    def step(self, name: str, outcome: Done[R] | Failed) -> str:
        """Return a line for people: the item, its outcome, and the progress of the batch."""
        now = time.perf_counter()
        seconds, self._begun = now - self._begun, now
        self._left -= 1
        kept = isinstance(outcome, Done) and outcome.kept
        self._failed += isinstance(outcome, Failed)
        if not kept:
            self._worked, self._seconds = self._worked + 1, self._seconds + seconds
        word = "kept" if kept else "done" if isinstance(outcome, Done) else "failed"
        return f"{name}: {word}, {seconds:.1f} s{self._rest()}"

    def _rest(self) -> str:
        failed = f"; {self._failed} failed" if self._failed else ""
        if not (self._worked and self._left):
            return failed
        each_s = self._seconds / self._worked
        rate = f"{3600 / max(each_s, 0.001):,.0f} an hour"
        return f"{failed}; {rate}, about {duration(each_s * self._left)} left"
