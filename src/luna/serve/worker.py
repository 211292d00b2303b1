"""The worker: the one process that looks at scans, in the order in which they came.

It holds a lock, so that a server that was started anew waits until the worker of the one before
it has ended. Whatever is marked as running then was left behind, and is queued again.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from luna.run.errors import EnvironmentFault, LunaError
from luna.run.lock import lock_file
from luna.run.machine.memory import keep_freed_memory
from luna.run.pool import end_with_parent
from luna.serve.examine import Examiner, ExaminerSettings, load_examiner
from luna.serve.folder import Folder
from luna.serve.rows import Outcome, Row
from luna.serve.store import Store

T = TypeVar("T")

LOOK_S = 0.2
"""How often the worker looks for something to do."""

TELL_S = 0.5
"""How often a stage tells how far it is."""

PATIENCE_S = 1.0
"""The wait before the list is tried again where the disk is full."""


class StoppedError(Exception):
    """Someone cancelled or deleted the scan that is being looked at."""


def work(folder: Folder, settings: ExaminerSettings, ready: Connection) -> None:
    """Look at scans for ever: what the worker's process does.

    `ready` is sent the names of the networks and the device, or the LunaError that kept them from
    being loaded.
    """
    end_with_parent()
    keep_freed_memory()
    with _only_worker(folder):
        folder.clear_work()
        tempfile.tempdir = str(folder.work)  # what is unpacked goes where nobody else may look
        try:
            examiner = load_examiner(folder, settings)
        except LunaError as error:
            ready.send(error)
            return
        ready.send((examiner.models.names(), str(examiner.device)))
        folder.store.recover()
        run_queue(examiner, threading.Event())


def run_queue(examiner: Examiner, stop: threading.Event) -> None:
    """Look at one scan after the other, as they are queued, until `stop` is set."""
    store = examiner.folder.store
    while not stop.is_set():
        row = _insist(store.claim)
        if row is None:
            stop.wait(LOOK_S)
            continue
        steps = _Steps(store, row)
        outcome = _outcome(examiner, row, steps)
        _insist(partial(store.finish, row.id, outcome))
        if _insist(partial(store.drop_deleted, row.id)):
            examiner.folder.remove(row.id)


def _outcome(examiner: Examiner, row: Row, steps: _Steps) -> Outcome:
    try:
        outcome = examiner.examine(row, steps)
    except StoppedError:
        return Outcome(state="cancelled")
    except Exception as error:
        traceback.print_exc()
        name = type(error).__name__
        return Outcome(
            state="failed",
            error=f"a bug in luna: {name}: {error}"[:500],
            hint="please report it; the terminal of `luna serve` shows where",
        )
    steps.end()
    return replace(outcome, seconds=steps.seconds) if outcome.state == "done" else outcome


class _Steps:
    """Writes the progress of a scan into the list, and ends its work when that is wished."""

    def __init__(self, store: Store, row: Row) -> None:
        self.seconds: dict[str, float] = {}
        self._store, self._row = store, row
        self._stage, self._began, self._written = "", time.time(), 0.0

    def __call__(self, stage: str, done: int, total: int, detail: str = "", /) -> None:
        """Take a step of a stage, as a `Progress`. Raises StoppedError."""
        now = time.time()
        if stage != self._stage:
            self.end()
            self._stage, self._began, self._written = stage, now, 0.0
        if now - self._written < TELL_S:
            return
        self._written = now
        if _insist(partial(self._store.step, self._row.id, stage, done, total, self._began)):
            raise StoppedError

    def end(self) -> None:
        """End the stage, and add up its seconds."""
        if self._stage:
            spent = time.time() - self._began
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + spent


def _insist(call: Callable[[], T]) -> T:
    """Call until the list can be written: a scan must not be forgotten over a full disk."""
    while True:
        try:
            return call()
        except EnvironmentFault:
            time.sleep(PATIENCE_S)


@contextmanager
def _only_worker(folder: Folder) -> Iterator[None]:
    """Wait until no other worker is there, and keep others out."""
    handle = os.open(folder.root / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        lock_file(handle, wait=True)
        yield
    finally:
        os.close(handle)
