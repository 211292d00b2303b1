"""Scans prepared on other machines, and written into the cache by this one alone.

The index of a cache is one file of SQLite, which several machines must not write at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from luna.ct.cache import Cache
from luna.data.prep.config import PrepConfig
from luna.data.prep.job import Job
from luna.data.prep.scan import Packed, StoredScan, pack_scan, stored
from luna.run.batch import Done, Engine, Failed, Outcome
from luna.run.batch.engines import I, Outcomes, R
from luna.run.checked import DamagedError
from luna.run.errors import InputError
from luna.run.stop import Stop


@dataclass(frozen=True, slots=True)
class PackScan:
    """Reads and packs a scan, for another process to store."""

    config: PrepConfig

    def __call__(self, uid: str, job: Job) -> Done[Packed]:
        """Pack a scan. Raises InputError when it is unreadable."""
        return Done(result=pack_scan(job, self.config, job.record_key(self.config)))


@dataclass(frozen=True, slots=True)
class WrittenHere:
    """An engine whose workers pack scans, which this process stores; what is stored stays here."""

    engine: Engine
    cache: Path
    config: PrepConfig

    def run(
        self, work: Callable[[str, I], Outcome[R]], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Outcomes[R]:
        with closing(Cache(self.cache)) as cache:
            for name, outcome in self._run(cast("Work", work), cast("Jobs", items), stop, cache):
                yield name, cast("Outcome[R]", outcome)

    def _run(
        self, work: Work, jobs: Jobs, stop: Stop, cache: Cache
    ) -> Iterator[tuple[str, Outcome[StoredScan]]]:
        kept: deque[tuple[str, Done[StoredScan]]] = deque()
        damage: dict[str, str] = {}

        def left() -> Iterator[tuple[str, Job]]:
            for uid, job in jobs:
                scan, damage[uid] = self._earlier(cache, uid, job)
                if scan is None:
                    yield uid, job
                else:
                    kept.append((uid, Done(result=scan, kept=True)))

        for uid, outcome in self.engine.run(work, left(), stop):
            while kept:
                yield kept.popleft()
            yield uid, _put(cache, outcome, damage.pop(uid))
        yield from kept

    def _earlier(self, cache: Cache, uid: str, job: Job) -> tuple[StoredScan | None, str]:
        """Return what an earlier run stored, and what is wrong with it."""
        try:
            return stored(cache, uid, job.record_key(self.config)), ""
        except DamagedError as error:
            return None, str(error)
        except InputError:
            return None, ""  # the worker fails at it, and says why


Work = Callable[[str, Job], Outcome[Packed]]
Jobs = Iterable[tuple[str, Job]]


def _put(cache: Cache, outcome: Outcome[Packed], damage: str) -> Outcome[StoredScan]:
    if isinstance(outcome, Failed):
        return outcome
    for key, value in outcome.result.entries:  # the record comes last
        cache.put(key, value)
    return Done(result=outcome.result.scan, damage=damage)
