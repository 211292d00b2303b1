"""What a command prints: data to stdout, everything else to stderr.

On a terminal there are colours, tables and bars; elsewhere plain lines with tabs. rich honours
NO_COLOR itself and is imported only when something is printed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from luna.run.errors import LunaError
from luna.run.progress import Listener, Progress, silent
from luna.run.text import duration, for_message, printable

if TYPE_CHECKING:
    from rich.console import Console

Row = Sequence[str]

LINE_EVERY_S = 10.0
"""Seconds between two lines of one stage where there is no terminal."""


BARS = 8
"""Bars shown at once; each epoch of a training adds two, and those below the screen are lost."""

_live: list[Console] = []
"""The console on which bars move at the moment, if they do."""


def print_data(text: str) -> None:
    """Print text for programs to stdout as it is, with one line break at the end."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def print_lines(*lines: str) -> None:
    """Print lines for people to stdout."""
    for line in lines:
        _rich(stderr=False).print(printable(line, keep="\t"), soft_wrap=True)


def print_table(header: Row, rows: Sequence[Row], *, left: Sequence[bool] = ()) -> None:
    """Print a table to stdout: ruled on a terminal, with tabs between cells elsewhere.

    `left` says which columns are aligned left; without it all stand right, as numbers do.
    """
    console = _rich(stderr=False)
    if not console.is_terminal:
        for row in (header, *rows):
            print_data("\t".join(printable(cell, keep="") for cell in row))
        return
    from rich import box
    from rich.table import Table

    # The rule's own divider is one column: enough where a row of numbers must fit in 80.
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, padding=0 if console.width < 100 else (0, 1)
    )
    for name, is_left in zip(header, left or [False] * len(header), strict=True):
        # Folded, not cut: series UIDs differ in their last digits.
        table.add_column(name, justify="left" if is_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(printable(cell, keep="") for cell in row))
    console.print(table, markup=False)


def warn(text: str) -> None:
    """Print a warning to stderr; --quiet does not silence it."""
    _labelled("warning", "yellow", for_message(text))


def note(*sentences: str, quiet: bool) -> None:
    """Print to stderr what is being done, unless `quiet`."""
    if not quiet:
        for sentence in sentences:
            _rich(stderr=True).print(for_message(sentence), soft_wrap=True)


def print_error(error: LunaError) -> None:
    """Print `error: …`, and after a blank line `hint: …` when there is one.

    A list continues in lines that are indented: none can pass for another error. Where there is
    no memory left for colours, or no stderr, the plain words are tried.
    """
    text = str(error).replace("\n", "\n  ")
    try:
        _labelled("error", "red", text)
        if error.hint:
            _rich(stderr=True).print()
            _labelled("hint", "cyan", for_message(error.hint))
    except (OSError, MemoryError, ImportError):
        with suppress(OSError):
            os.write(2, f"error: {text}\n".encode(errors="backslashreplace"))


@contextmanager
def progress(*, quiet: bool) -> Iterator[Progress]:
    """Yield a callback that draws bars, or prints lines where there is no terminal."""
    console = _rich(stderr=True)
    if quiet:
        yield silent
    elif console.is_terminal:
        with _bars(console) as advance:
            yield advance
    else:
        lines = _StageLines()
        yield lines.advance
        lines.finish()


@contextmanager
def listening(*, quiet: bool) -> Iterator[Listener]:
    """Yield a listener whose sentences go to stderr and whose progress is drawn there."""
    with progress(quiet=quiet) as advance:
        yield Listener(note=lambda text: note(text, quiet=quiet), warn=warn, progress=advance)


def listener_by_line(*, quiet: bool) -> Listener:
    """Return a listener that prints a line for every step: for steps that take long."""

    def advance(name: str, done: int, total: int, detail: str = "", /) -> None:
        if detail:
            note(f"{name} {done}/{total} {detail}", quiet=quiet)

    return Listener(note=lambda text: note(text, quiet=quiet), warn=warn, progress=advance)


@contextmanager
def stage(advance: Progress, name: str) -> Iterator[None]:
    """Report a stage of one step, begun and ended."""
    advance(name, 0, 1)
    yield
    advance(name, 1, 1)


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        Task,
        TaskID,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bars
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        """The time left of a stage that runs and has no detail of its own."""

        def render(self, task: Task) -> Text:
            known = task.time_remaining if not task.finished and not task.fields["detail"] else None
            return Text("" if known is None else f"{duration(known)} left")

    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeLeft(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Bars(*columns, console=console) as bars, _shared(console):
        tasks: dict[str, TaskID] = {}

        def advance(name: str, done: int, total: int, detail: str = "") -> None:
            if name not in tasks:
                if len(tasks) == BARS:
                    bars.remove_task(tasks.pop(next(iter(tasks))))
                tasks[name] = bars.add_task(printable(name), detail="")
            bars.update(tasks[name], completed=done, total=total, detail=printable(detail))

        yield advance


@contextmanager
def _shared(console: Console) -> Iterator[None]:
    """Let everything on stderr go through one console: it moves the bars out of the way."""
    _live.append(console)
    try:
        yield
    finally:
        _live.pop()


class _StageLines:
    """Prints each stage and its seconds when the next one begins, and the details of long ones."""

    def __init__(self) -> None:
        self._name, self._start, self._printed = "", 0.0, 0.0

    def advance(self, name: str, done: int, total: int, detail: str = "") -> None:
        now = time.perf_counter()
        if name != self._name:
            self.finish()
            self._name, self._start, self._printed = name, now, now
        if detail and now - self._printed > LINE_EVERY_S:
            note(f"{name} {done}/{total} {detail}", quiet=False)
            self._printed = now

    def finish(self) -> None:
        if self._name:
            note(f"{self._name} {time.perf_counter() - self._start:.1f} s", quiet=False)
        self._name = ""


def _labelled(label: str, style: str, text: str) -> None:
    console = _rich(stderr=True)
    console.print(f"[bold {style}]{label}:[/] ", end="", markup=True)
    console.print(text, soft_wrap=True)


def _rich(*, stderr: bool) -> Console:
    from rich.console import Console

    if stderr and _live:
        return _live[-1]
    # Made anew each time: tests and notebooks exchange sys.stdout and sys.stderr.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
