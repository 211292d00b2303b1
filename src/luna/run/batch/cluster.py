"""Workers of Dask, on this machine or on others: `--cluster`.

What travels is code and arguments, by pickle: whoever reaches the scheduler can run what they
like as the user who started the workers. A scheduler has to be private; docs/scale.md says how.
"""

from __future__ import annotations

import os
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from luna.run.batch.engines import Outcomes
from luna.run.batch.outcome import Failed, Outcome
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.extras import require_extra
from luna.run.machine.memory import keep_freed_memory
from luna.run.stop import Stop

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")  # its result

Waiting = dict[Any, str]
"""Futures that are waited for, and the names of their items."""

POLL_S = 1.0
"""How often it is looked whether workers came or went."""

FETCH_S = 60.0
"""How long a result may take from its worker to here: prep's are 100 MB."""

CONNECT_S = 30

PATIENT = {"distributed.deploy.lost-worker-timeout": "1 day"}
"""A worker that is started again on a busy machine takes longer than Dask waits for it."""

WORKERS_MAX = 512
"""Processes that one machine is asked for."""

DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Run in each worker of this machine: Ctrl-C is the coordinator's, which lets scans end."""

ROOM = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")}
"""Luna keeps the pages of volumes, which Dask would take for data to write out and wait for."""

PAGE: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""Dask's pages stay on this machine, at a free port."""

_one_item = threading.Lock()


@dataclass(frozen=True, slots=True)
class Cluster:
    """An engine of workers, each with one item at a time.

    `address` is that of a scheduler, a scheduler file, or `local:N` for N workers on this machine
    that end with the run; `cards` are the GPUs which these share, and `threads` how many each
    computes with, where that is not left to the machine. An item whose worker is lost goes to
    another one, until the scheduler gives it up: after its `allowed-failures`, which are 3.
    """

    address: str
    warn: Callable[[str], None]
    cards: Sequence[str] = ()
    threads: int | None = None

    def run(
        self, work: Callable[[str, I], Outcome[R]], items: Iterable[tuple[str, I]], stop: Stop
    ) -> Outcomes[R]:
        with self._connected() as client, client.as_current():
            yield from _spread(client, pickle.dumps(work), iter(items), stop, self.warn)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        distributed, dask = _dask()
        count = local_count(self.address)
        if count:
            with (
                dask.config.set(PATIENT),
                _started(distributed, _local(distributed, count, self.cards)) as cluster,
                distributed.Client(cluster, set_as_default=False) as client,
            ):
                yield client
            return
        named = {"address": self.address} if "://" in self.address else {}
        try:
            client = distributed.Client(
                **named or {"scheduler_file": self.address},
                timeout=CONNECT_S,
                set_as_default=False,
            )
        except (OSError, ValueError) as error:
            raise EnvironmentFault(
                "no scheduler answers",
                file=self.address,
                why=str(error),
                hint="start one with `dask scheduler`, and workers beside it (docs/scale.md)",
            ) from error
        with client:
            yield client


def work_on(work: bytes, named: bytes) -> Any:
    """Do the work on an item, in a worker; one with several threads does one after the other.

    Both come as bytes, so that the scheduler, which looks into what it passes on, loads nothing.
    """
    with _one_item:
        name, item = pickle.loads(named)  # noqa: S301 - from the wire, which is trusted already
        return _ready(work)(name, item)


@lru_cache(maxsize=1)
def _ready(work: bytes) -> Callable[[str, Any], Any]:
    """Return the work with all it has, such as networks, made once in a worker."""
    keep_freed_memory()
    ready: Callable[[str, Any], Any] = pickle.loads(work)  # noqa: S301 - as above
    return ready


def local_count(address: str) -> int:
    """Return N of `local:N`, 0 for another address.

    Raises UsageError for what names no cluster: another N, or a file that is not there.
    """
    match = re.fullmatch(r"local:([0-9]{1,4})", address)
    count = int(match[1]) if match else 0
    if address.startswith("local") and not 1 <= count <= WORKERS_MAX:
        raise UsageError(f"no cluster {address!r}", hint="local:2 starts two workers here")
    if not count and "://" not in address and not Path(address).is_file():
        raise UsageError(
            f"no cluster {address!r}",
            hint="name a scheduler as tcp://HOST:8786 or by its file, or N workers here as local:N",
        )
    return count


def _dask() -> tuple[Any, Any]:
    require_extra("cluster", ("dask", "distributed"), "Dask is not installed")
    import dask
    import distributed

    return distributed, dask


def _started(distributed: Any, made_of: dict[str, Any]) -> Any:
    try:
        return distributed.SpecCluster(**made_of)
    except RuntimeError as error:
        raise EnvironmentFault(
            "the workers on this machine do not start",
            why=str(error),
            hint="are there memory and processes enough for them? Try fewer: local:N",
        ) from error


def _local(distributed: Any, count: int, cards: Sequence[str]) -> dict[str, Any]:
    """Return what a cluster of this machine is made of; a certificate keeps other users out."""
    security = distributed.Security.temporary()
    common = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    worker = {
        **common, "nthreads": 1, "config": ROOM, "preload": [DEAF], **PAGE,
        "memory_limit": "auto", "silence_logs": "CRITICAL",
    }  # fmt: skip
    workers = {}
    for number in range(count):
        card = {"CUDA_VISIBLE_DEVICES": cards[number % len(cards)]} if cards else {}
        workers[number] = {"cls": distributed.Nanny, "options": {**worker, "env": card}}
    return {
        "workers": workers,
        "scheduler": {
            "cls": distributed.Scheduler,
            "options": {**common, "port": 0, **PAGE},
        },
        "security": security,
        "silence_logs": "CRITICAL",
    }


def visible_cards(count: int) -> list[str]:
    """Return the names of the GPUs that this process may use; `count` are there."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _spread(
    client: Any,
    work: bytes,
    items: Iterator[tuple[str, Any]],
    stop: Stop,
    warn: Callable[[str], None],
) -> Outcomes[Any]:
    """Give each worker an item, and another when one comes back; no more are in flight."""
    waiting: Waiting = {}
    workers = _Workers(client, warn)
    left = True
    while waiting or (left and not stop.signal):
        room = workers.count()
        while left and not stop.signal and len(waiting) < room:
            named = next(items, None)
            left = named is not None
            if named is not None:
                future = client.submit(work_on, work, pickle.dumps(named), pure=False, key=_key())
                waiting[future] = named[0]
        yield from _finished(waiting)


def _key() -> str:
    """Return a name for a task that tells nothing of its item: a scheduler's page shows it."""
    return f"luna-{os.urandom(8).hex()}"


class _Workers:
    """Counts the workers, seldom, and says when there are none."""

    def __init__(self, client: Any, warn: Callable[[str], None]) -> None:
        self._client, self._warn = client, warn
        self._seen, self._count, self._warned = 0.0, 0, False

    def count(self) -> int:
        if not self._count or time.monotonic() - self._seen > POLL_S:
            self._count = len(self._client.nthreads())
            self._seen = time.monotonic()
        if not self._count:
            if not self._warned:
                self._warn("the cluster has no worker at the moment: waiting for one")
            time.sleep(POLL_S)
        self._warned = not self._count
        return self._count


def _finished(waiting: Waiting) -> Iterator[tuple[str, Outcome[Any]]]:
    """Take the outcomes that have come out of those waited for, after a second perhaps none."""
    if not waiting:
        return
    distributed, _ = _dask()
    try:
        done = distributed.wait(list(waiting), timeout=POLL_S, return_when="FIRST_COMPLETED").done
    except TimeoutError:
        return
    except distributed.client.CancelledError as error:
        raise _scheduler_gone() from error
    for future in done:
        with suppress(TimeoutError):  # its worker was lost with it, and another makes it anew
            outcome = _outcome(distributed, future)
            yield waiting.pop(future), outcome
            future.release()


def _outcome(distributed: Any, future: Any) -> Outcome[Any]:
    """Return the outcome of an item, or why the scheduler gave it up."""
    try:
        outcome: Outcome[Any] = future.result(timeout=FETCH_S)
    except distributed.scheduler.KilledWorker as error:
        lost = error.allowed_failures + 1
        return Failed(reason=f"{lost} workers were lost at it (is there memory enough for it?)")
    except distributed.client.CancelledError as error:
        raise _scheduler_gone() from error
    return outcome


def _scheduler_gone() -> EnvironmentFault:
    return EnvironmentFault(
        "the scheduler of the cluster is gone",
        hint="start it again and run the same command: what is done stays done",
    )
