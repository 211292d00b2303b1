"""Notices of the rows of a table that were skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LINES_SHOWN = 5
"""How many line numbers a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Rows of a table that were skipped: why, how many, and the first lines (from 1).

    A notice about the table as a whole has no rows.
    """

    what: str
    file: str
    count: int = 0
    lines: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.count:
            return f"{self.file}: {self.what}"
        return f"{self.file}: {self.count} {self.what} ({name_lines(self.lines, self.count)})"


def notice(what: str, path: Path, lines: NDArray[np.int64]) -> tuple[Notice, ...]:
    """Return one notice about these lines of a table; none when there are none."""
    if not len(lines):
        return ()
    first = tuple(int(n) for n in np.sort(lines)[:LINES_SHOWN])
    return (Notice(what=what, file=path.name, count=len(lines), lines=first),)


def name_lines(lines: Sequence[int], count: int) -> str:
    """Return the words `line 7`, `lines 7, 9 and 12`, or `lines 7, 9, 12, …`.

    >>> name_lines([7, 9], 2), name_lines([1, 2, 3, 4, 5], 80)
    ('lines 7 and 9', 'lines 1, 2, 3, 4, 5, …')
    """
    names = [str(n) for n in lines[:LINES_SHOWN]]
    if len(names) == 1 and count == 1:
        return f"line {names[0]}"
    if count > len(names):
        return f"lines {', '.join(names)}, …"
    return f"lines {', '.join(names[:-1])} and {names[-1]}"
