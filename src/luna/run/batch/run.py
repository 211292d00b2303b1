"""`run_batch`: the work for every item, told as it comes, stopped by Ctrl-C, gone on with later.

The work says of each item whether an earlier run did it already; an engine runs the work in
this process or in others. Every result is stored by the work itself, whole or not at all, so
a run that ends by whatever means goes on where it was.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

from luna.run.batch.engines import Engine, Outcomes
from luna.run.batch.outcome import Done, Failed, Guarded, Outcome
from luna.run.progress import SILENT, Listener
from luna.run.stop import Stop, stoppable
from luna.run.text import duration

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")  # its result

STOPPING = "stopping after this step; press Ctrl-C again to stop at once"


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch(Generic[R]):
    """Results, and reasons of failures, by the items' names in their order; each is in one."""

    results: dict[str, R]
    failures: dict[str, str]
    kept: int


def run_batch(
    stage: str,
    items: Mapping[str, I],
    work: Callable[[str, I], Done[R]],
    engine: Engine,
    listener: Listener = SILENT,
    each: Callable[[str, Outcome[R]], None] = lambda name, outcome: None,
    after: Mapping[str, str] | None = None,
) -> Batch[R]:
    """Do the work for every item by name; `stage` is what the progress is called.

    `after` names, for an item that needs it, another whose outcome comes before it is begun.
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
        closing(_outcomes(items, after or {}, Guarded(work), engine, stop)) as outcomes,
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


def _outcomes(
    items: Mapping[str, I],
    after: Mapping[str, str],
    work: Guarded[I, R],
    engine: Engine,
    stop: Stop,
) -> Outcomes[R]:
    for names in rounds(items, after):
        if stop.signal:
            return
        yield from engine.run(work, ((name, items[name]) for name in names), stop)


def rounds(names: Iterable[str], after: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the names in rounds, each of which needs only those before it.

    One that is not among the names is waited for by none.

    >>> list(rounds("abcd", {"a": "c", "c": "d", "b": "x"}))
    [['b', 'd'], ['c'], ['a']]
    """
    left = dict.fromkeys(names)
    while left:
        ready = [name for name in left if after.get(name) not in left]
        if not ready:
            raise ValueError(f"{len(left)} items wait for each other")
        for name in ready:
            del left[name]
        yield ready


class _Clock:
    """Times items; those left will take as long as those that were worked on in this run."""

    def __init__(self, items: int) -> None:
        self._left, self._worked, self._failed = items, 0, 0
        self._seconds, self._begun = 0.0, time.perf_counter()

    def step(self, name: str, outcome: Outcome[R]) -> str:
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
