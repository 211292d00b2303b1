"""Ctrl-C and SIGTERM as a request, which work obeys between two of its steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Stop:
    """The signal that came, or 0."""

    signal: int = 0


@contextmanager
def stoppable(
    stop: Stop,
    signals: Sequence[int] = (signal.SIGINT, signal.SIGTERM),
    on_request: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Let signals set `stop` instead of ending the process; a second Ctrl-C does not wait.

    Only the main thread may listen to signals; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def request(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        on_request()

    before = {number: signal.signal(number, request) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
