"""The standard streams, signals and working folder of a command.

Imports nothing heavy: it is in place before the rest of luna is loaded.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, TextIO

from luna.run.errors import EnvironmentFault
from luna.run.machine.limits import address_space_bytes

HUNG_UP, INTERRUPTED, READER_GONE, TERMINATED = 129, 130, 141, 143
"""128 plus the number of SIGHUP, SIGINT, SIGPIPE and SIGTERM, as the shell has it."""

STOPPED = {HUNG_UP: "hung up", INTERRUPTED: "interrupted", TERMINATED: "terminated"}

SIGNALS = [
    number
    for name in ("SIGHUP", "SIGINT", "SIGTERM")
    if (number := getattr(signal, name, None)) is not None
]
"""The signals that end a command; Windows has no SIGHUP."""

MEBIBYTE = 2**20

LEAST_ADDRESS_SPACE_BYTES = 1536 * MEBIBYTE
"""luna's libraries take 1,020 MiB once they are loaded, a diagnosis more.

With less, the C library may abort in the middle of loading them, and then nobody can say why.
"""

PATIENCE_S = 2.0
"""A second signal that comes later than this ends the process without tidying up."""


def leave_at_once(signum: int, frame: FrameType | None) -> NoReturn:
    """End the process at once: nothing has begun yet, or the user does not want to wait."""
    os._exit(128 + signum)


def open_streams() -> None:
    """Make stdin, stdout and stderr usable: open, and able to take every character.

    A closed stream would give its number to the next file that is opened. Characters that the
    terminal's encoding lacks are written as escapes.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - a number, no path
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def set_environment() -> None:
    """Set the variables that libraries read when they load.

    No variable steers how luna draws: a notebook sets one for the commands it starts. Threads
    that wait for each other sleep unless the user chose otherwise: spinning takes the cores from
    every other program, and from a second luna (docs/performance.md).
    """
    os.environ["MPLBACKEND"] = "agg"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def check_working_folder() -> None:
    """Raise EnvironmentFault when the folder in which the command was started is gone."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib would add nothing
    except OSError as error:
        raise EnvironmentFault(
            "the working folder is gone",
            why=str(error),
            hint="change to a folder that exists, then run again",
        ) from error


def check_address_space() -> None:
    """Raise EnvironmentFault when this process may take too little to load luna's libraries."""
    limit = address_space_bytes()
    if limit is not None and limit < LEAST_ADDRESS_SPACE_BYTES:
        least = LEAST_ADDRESS_SPACE_BYTES // MEBIBYTE
        raise EnvironmentFault(
            "out of memory",
            why=f"this process may take {limit // MEBIBYTE} MiB of addresses; luna needs {least}",
            hint="raise the limit with `ulimit -v`, or ask who set it",
        )


def close_streams() -> OSError | None:
    """Write out what stdout and stderr still hold; the first error, if there was one.

    What cannot be written is dropped: Python would try again when it ends, and complain.
    """
    return _flushed(sys.stdout, 1) or _flushed(sys.stderr, 2)


def _flushed(stream: TextIO, number: int) -> OSError | None:
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
        return error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
    return None


@contextmanager
def signals_end_it() -> Iterator[None]:
    """Turn the signals that end a command into SystemExit, so that every `finally` runs.

    Impatient repetitions are ignored for a moment, in which temporary files go. Only the main
    thread may listen to signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first_s = 0.0

    def end(signum: int, frame: FrameType | None) -> None:
        nonlocal first_s
        if not first_s:
            first_s = time.monotonic()
            raise SystemExit(128 + signum)
        if time.monotonic() - first_s > PATIENCE_S:
            leave_at_once(signum, frame)

    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
