"""A CSV file as columns whose every cell still knows its line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import EnvironmentFault, InputError
from luna.run.files import replace_file

Rows = list[Sequence[object]]

LARGEST = 1e6
"""Millimetres: no patient is a kilometre from the origin, and squares stay exact enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text cells; `columns` maps a name to its place, `lines` counts from 1."""

    path: Path
    columns: dict[str, int]
    rows: list[list[str]]
    lines: list[int]

    def has(self, column: str) -> bool:
        """Whether the file has this column."""
        return column in self.columns

    def texts(self, column: str) -> list[str]:
        """The cells of a column, without surrounding space.

        Raises InputError for a control character, which would reach terminals and reports.
        """
        place = self.columns[column]
        cells = [row[place].strip() for row in self.rows]
        unprintable = np.array([not cell.isprintable() for cell in cells], dtype=np.bool_)
        self.refuse(unprintable, f"{column} holds a control character", column)
        return cells

    def numbers(self, column: str) -> NDArray[np.float64]:
        """The cells of a column as finite numbers; raises InputError naming the line.

        A number beyond LARGEST is refused too.
        """
        cells = self.texts(column)
        values = np.array([_number(cell) for cell in cells], dtype=np.float64)
        self.refuse(~np.isfinite(values), f"{column} is not a finite number", column)
        self.refuse(np.abs(values) > LARGEST, f"{column} is beyond any scan", column)
        return values

    def where(self, wanted: NDArray[np.bool_]) -> Table:
        """Some of the rows, with their lines."""
        places = np.flatnonzero(wanted).tolist()
        rows, lines = [self.rows[k] for k in places], [self.lines[k] for k in places]
        return Table(path=self.path, columns=self.columns, rows=rows, lines=lines)

    def refuse(self, bad: NDArray[np.bool_], what: str, column: str, hint: str = "") -> None:
        """Raise InputError for the first bad row, if there is one."""
        where = np.flatnonzero(bad)
        if where.size:
            row = int(where[0])
            cell = self.rows[row][self.columns[column]]
            others = f", and {where.size - 1} more lines" if where.size > 1 else ""
            raise InputError(
                f"line {self.lines[row]}: {what}",
                file=self.path,
                why=f"{cell!r}{others}",
                hint=hint,
            )


def read_table(
    path: Path, required: tuple[str, ...], *, header: tuple[str, ...] | None = None
) -> Table:
    """Read a CSV file; `header` names the columns of a file that has no header line.

    Blank lines are skipped. Raises InputError for a missing column, a column named twice,
    or a row with more or fewer cells than the header, naming the line.
    """
    numbered = table_rows(path)
    line = 1
    names = list(header) if header is not None else []
    if header is None:
        line, cells = next(numbered, (1, []))
        names = [cell.strip() for cell in cells]
    _check_header(path, line, names, required)
    lines, rows = [], []
    for line, row in numbered:
        if len(row) != len(names):
            raise InputError(
                f"line {line}: {len(row)} cells where the header has {len(names)}", file=path
            )
        lines.append(line)
        rows.append(row)
    columns = {name: place for place, name in enumerate(names)}
    return Table(path=path, columns=columns, rows=rows, lines=lines)


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, each with its line number from 1."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except PermissionError as error:
        raise EnvironmentFault("may not be read", file=path, why=str(error)) from error
    except OSError as error:
        raise InputError("cannot be read", file=path, why=error.strerror or "") from error
    except UnicodeDecodeError as error:
        raise InputError("is not a text file in UTF-8", file=path, why=str(error)) from error
    except csv.Error as error:
        raise InputError(
            f"line {reader.line_num}: not a CSV row", file=path, why=str(error)
        ) from error


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """A CSV file, header first, that appears whole or not at all."""
    with replace_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _check_header(path: Path, line: int, names: list[str], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        raise InputError(
            f"line {line}: no column {', '.join(missing)}",
            file=path,
            why=f"the header is {','.join(names)}" if names else "the file is empty",
            hint=f"the columns are {','.join(required)}",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"line {line}: the column {twice[0]} is named twice", file=path)


def _number(cell: str) -> float:
    """The number in a cell, NaN for anything else, so that one check names every bad line."""
    if "_" in cell:  # Python reads 1_0 as ten; no table means that
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return float("nan")
