"""The worker's process, kept alive: what ends it ends one attempt at one scan, not the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from luna.run.errors import EnvironmentFault, LunaError
from luna.serve.examine import ExaminerSettings
from luna.serve.folder import Folder
from luna.serve.worker import work

LOOK_S = 0.5
AGAIN_S = 2.0
"""The wait before a worker that ended is started again."""

END_S = 10.0
"""How long a worker may take to end."""

Loaded = tuple[dict[str, str], str]
"""The names of the networks by role, and the device."""


class Receiver(Protocol):
    """The end of a pipe that is read; its class differs between systems."""

    def recv(self) -> Any:
        """Return the next object, or raise EOFError."""


class Worker:
    """One process at a time that looks at scans."""

    def __init__(
        self, folder: Folder, settings: ExaminerSettings, warn: Callable[[str], None]
    ) -> None:
        self._folder, self._settings, self._warn = folder, settings, warn
        self._ending = threading.Event()
        self._process, self._ready = self._started()
        self._watch = threading.Thread(target=self._keep, daemon=True)

    def wait_until_ready(self) -> Loaded:
        """Return what was loaded, or raise the LunaError that prevented it."""
        try:
            sent = self._ready.recv()
        except EOFError:
            self._process.join()
            raise _ended(self._process) from None
        if isinstance(sent, LunaError):
            raise sent
        self._watch.start()
        loaded: Loaded = sent
        return loaded

    def lives(self) -> bool:
        """Return whether there is a process."""
        return self._process.is_alive()

    def end(self) -> None:
        """End the process; its scan is queued again, and the attempt does not count."""
        self._ending.set()
        self._process.terminate()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._folder.store.recover(counted=False)
        self._folder.clear_work()

    def _started(self) -> tuple[SpawnProcess, Receiver]:
        context = get_context("spawn")  # a fork would inherit the locks of this one's threads
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=work, args=(self._folder, self._settings, theirs), daemon=True
        )
        process.start()
        theirs.close()
        return process, ours

    def _keep(self) -> None:
        """Start a new process whenever one has ended."""
        while not self._ending.wait(LOOK_S):
            if self._process.is_alive():
                continue
            self._warn(f"{_ended(self._process)}; it is started again")
            if self._ending.wait(AGAIN_S):
                return
            self._process, self._ready = self._started()


@contextmanager
def running_worker(
    folder: Folder, settings: ExaminerSettings, warn: Callable[[str], None]
) -> Iterator[Worker]:
    """Keep a worker while the block runs."""
    worker = Worker(folder, settings, warn)
    try:
        yield worker
    finally:
        worker.end()


def _ended(process: SpawnProcess) -> EnvironmentFault:
    code = process.exitcode or 0
    why = f"signal {-code}; the system sends 9 when memory runs out" if code < 0 else f"code {code}"
    return EnvironmentFault("the worker process has ended", why=why)
