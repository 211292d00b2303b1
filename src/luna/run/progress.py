"""The progress of long work: one protocol, which commands draw and tests count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Called whenever a stage has come further.

    `stage` names what is being done, `done` of `total` steps are finished, and `detail` is what
    else there is to show, as a rate or the time left.
    """

    def __call__(self, stage: str, done: int, total: int, detail: str = "", /) -> None: ...


def silent(stage: str, done: int, total: int, detail: str = "", /) -> None:
    """Show nothing; for work that nobody watches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who watches long work: `note` and `warn` take sentences, `progress` each step."""

    note: Callable[[str], None] = lambda sentence: None
    warn: Callable[[str], None] = lambda sentence: None
    progress: Progress = silent


SILENT = Listener()
