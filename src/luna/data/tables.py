"""CSV tables of places in scans, read by column, refused by line.

LUNA16's candidates_V2.csv has 754,975 rows. Columns are converted whole; only when that
fails are rows looked at one by one, to say which lines are wrong.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import LARGEST_MM
from luna.run.errors import EnvironmentFault, InputError

LINES_SHOWN = 5
"""How many line numbers a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Rows of a table that were skipped: why, how many, and the first lines (1-based)."""

    what: str
    file: str
    count: int
    lines: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.count} {self.what} ({name_lines(self.lines, self.count)})"


def notice(what: str, path: Path, lines: NDArray[np.int64]) -> tuple[Notice, ...]:
    """One notice over these lines; none when there are none."""
    if not len(lines):
        return ()
    first = tuple(int(n) for n in np.sort(lines)[:LINES_SHOWN])
    return (Notice(what=what, file=path.name, count=len(lines), lines=first),)


def name_lines(lines: Sequence[int], count: int) -> str:
    """`line 7`, `lines 7, 9 and 12`, or `lines 7, 9, 12, … `, for messages.

    >>> name_lines([7, 9], 2), name_lines([1, 2, 3, 4, 5], 80)
    ('lines 7 and 9', 'lines 1, 2, 3, 4, 5, …')
    """
    names = [str(n) for n in lines[:LINES_SHOWN]]
    if len(names) == 1 and count == 1:
        return f"line {names[0]}"
    if count > len(names):
        return f"lines {', '.join(names)}, …"
    return f"lines {', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True)
class Table:
    """Columns of one file by name, as text, with the line (1-based) of every row."""

    path: Path
    columns: dict[str, tuple[str, ...]]
    line: NDArray[np.int64]

    def text(self, name: str) -> NDArray[np.object_]:
        """A column without surrounding blanks.

        Raises InputError where it is empty, or holds what cannot be printed: it ends up in
        reports and on terminals.
        """
        values = np.array([v.strip() for v in self.columns[name]], dtype=object)
        self.refuse(np.array([not v for v in values], dtype=bool), f"no {name}")
        odd = np.array([not v.isprintable() for v in values], dtype=bool)
        self.refuse(odd, f"a control character in {name}")
        return values

    def numbers(self, *names: str) -> NDArray[np.float64]:
        """Columns as float64 (rows, len(names)).

        Raises InputError for what is no number, not finite, or beyond any scan.
        """
        out = np.empty((len(self.line), len(names)))
        for k, name in enumerate(names):
            # Python reads 1_0 as ten; no table means that.
            plain = "_" not in "".join(self.columns[name])
            out[:, k] = self._convert(name, float if plain else _plain_number)
        wrong = np.asarray(~np.isfinite(out).all(axis=1), dtype=np.bool_)
        self.refuse(wrong, f"no finite number in {' or '.join(names)}")
        beyond = np.asarray((np.abs(out) > LARGEST_MM).any(axis=1), dtype=np.bool_)
        self.refuse(beyond, f"a number beyond any scan in {' or '.join(names)}")
        return out

    def flags(self, name: str, words: dict[str, bool]) -> NDArray[np.bool_]:
        """A column of known words as bool. Raises InputError for another word."""
        return self._convert(name, lambda word: words[word.strip()]).astype(np.bool_)

    def _convert(self, name: str, convert: Callable[[str], float | bool]) -> NDArray[np.float64]:
        column = self.columns[name]
        try:
            return np.fromiter(map(convert, column), dtype=np.float64, count=len(column))
        except (ValueError, KeyError):
            wrong = np.array([not _converts(convert, v) for v in column], dtype=bool)
            self.refuse(wrong, f"a {name} that cannot be read")
            raise  # unreachable: some value failed above

    def refuse(self, wrong: NDArray[np.bool_], what: str) -> None:
        """Raise InputError, naming the lines, when any row is wrong."""
        if wrong.any():
            lines = self.line[wrong]
            raise InputError(
                f"{len(lines)} of {len(self.line)} rows have {what}",
                file=self.path,
                why=name_lines(lines[:LINES_SHOWN].tolist(), len(lines)),
                hint="download the table again, or correct these lines",
            )


def _plain_number(text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _converts(convert: Callable[[str], float | bool], value: str) -> bool:
    try:
        convert(value)
    except (ValueError, KeyError):
        return False
    return True


def read_table(path: Path, needed: Sequence[str]) -> Table:
    """The needed columns of a CSV file with a header line; others are ignored.

    Raises InputError when the file cannot be read, lacks a column or has it twice, or has
    rows of another length than its header, naming the lines; EnvironmentFault when it may
    not be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            header, fields, lines, ragged = _read_fields(handle)
    except PermissionError as error:
        raise EnvironmentFault("may not be read", file=path, why=str(error)) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot read this table", file=path, why=str(error)) from error
    missing = [name for name in needed if name not in header]
    if missing:
        raise InputError(
            f"the table has no column {missing[0]!r}",
            file=path,
            why=f"line 1 reads {','.join(header)[:200]!r}",
            hint=f"luna needs the columns {', '.join(needed)}",
        )
    twice = [name for name in needed if header.count(name) > 1]
    if twice:
        raise InputError(f"the table has two columns {twice[0]!r}", file=path)
    if ragged:
        raise InputError(
            f"{len(ragged)} of {len(ragged) + len(lines)} rows do not have {len(header)} fields",
            file=path,
            why=name_lines(ragged, len(ragged)),
            hint="download the table again, or correct these lines",
        )
    columns = {name: tuple(fields[header.index(name) :: len(header)]) for name in needed}
    return Table(path, columns, np.array(lines, dtype=np.int64))


def _read_fields(handle: TextIO) -> tuple[list[str], list[str], array[int], list[int]]:
    """Header; the fields of all rows one after another; their lines; lines of other length.

    One flat list of strings, because a list per row keeps the garbage collector busy for
    most of the time that a large table takes.
    """
    reader = csv.reader(handle, strict=True)
    header = [name.strip() for name in next(reader, [])]
    fields: list[str] = []
    lines = array("q")
    ragged = []
    for row in reader:
        if len(row) == len(header):
            fields += row
            lines.append(reader.line_num)
        elif row:
            ragged.append(reader.line_num)
    return header, fields, lines, ragged
