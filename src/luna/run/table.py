"""CSV tables: read by column and refused by line, written so that no cell is a formula.

LUNA16's candidates_V2.csv has 754,975 rows. Columns are converted whole; only when that fails
is each cell tried, to find the lines that are wrong.
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import EnvironmentFault, InputError
from luna.run.files import replace_file
from luna.run.notice import name_lines
from luna.run.text import printable

Rows = list[Sequence[object]]

LARGEST_MM = 1e6
"""No patient is a kilometre from the origin, and squares of this stay exact enough."""

TABLE_BYTES_MAX = 1 << 28
"""Six times candidates_V2.csv, the largest table of LUNA16; a larger file is something else."""

MEND = "correct the table, or download it again"

SAME_COLUMN = {"seriesinstanceuid": "seriesuid"}
"""Names of columns that mean another one; DICOM's own name for the series UID is common."""

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Spreadsheets take a cell that begins so for a formula, the full-width forms included."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """The rows of a CSV file as text, one flat list of cells.

    `header` names the columns. `lines` (R,) is the line of each row in the file, from 1.
    """

    path: Path
    header: tuple[str, ...]
    cells: list[str]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def has(self, column: str) -> bool:
        """Return whether the file has this column."""
        return _column_key(column) in map(_column_key, self.header)

    def texts(self, column: str, *, empty: bool = False) -> NDArray[np.object_]:
        """Return a column (R,) as text without surrounding blanks.

        Raises InputError for a control character, which a terminal or a report would obey,
        and for an empty cell unless `empty` permits it.
        """
        values = np.array([cell.strip() for cell in self._column(column)], dtype=object)
        odd = np.array([not value.isprintable() for value in values], dtype=np.bool_)
        self.refuse(odd, f"{column} holds a control character", column)
        if not empty:
            self.refuse(np.asarray(values == "", dtype=np.bool_), f"no {column}", column)
        return values

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column (R,) as finite numbers up to LARGEST_MM.

        Only ASCII digits count, without the underscores that Python would pass over.
        """
        cells = self._column(column)
        text = "".join(cells)
        plain = text.isascii() and "_" not in text
        what = f"{column} is not a finite number"
        values = self._converted(column, float if plain else _ascii_number, what)
        self.refuse(~np.isfinite(values), what, column)
        self.refuse(np.abs(values) > LARGEST_MM, f"{column} is beyond any scan", column)
        return values

    def points(self, *columns: str) -> NDArray[np.float64]:
        """Return several columns of numbers side by side (R, len(columns))."""
        return np.column_stack([self.numbers(column) for column in columns])

    def flags(self, column: str) -> NDArray[np.bool_]:
        """Return a column (R,) of true and false, or 1 and 0."""
        cells = self._column(column)
        known = {cell: _truth(cell) for cell in set(cells)}
        values = np.array([known[cell] for cell in cells], dtype=np.int8)
        self.refuse(values < 0, f"{column} is neither true nor false (1 nor 0)", column)
        return values > 0

    def where(self, wanted: NDArray[np.bool_]) -> Table:
        """Return the table with the wanted rows alone; they keep their lines."""
        width = len(self.header)
        places = np.flatnonzero(wanted).tolist()
        cells = [cell for k in places for cell in self.cells[k * width : (k + 1) * width]]
        return Table(path=self.path, header=self.header, cells=cells, lines=self.lines[wanted])

    def refuse(self, wrong: NDArray[np.bool_], what: str, column: str, hint: str = "") -> None:
        """Raise InputError with the lines when any row is wrong, quoting the first cell."""
        rows = np.flatnonzero(wrong)
        if rows.size:
            first, *others = (int(line) for line in self.lines[rows])
            cell = printable(self._column(column)[int(rows[0])], keep="")[:80]
            raise InputError(
                f"line {first}: {what}",
                file=self.path,
                why=f"'{cell}'" + _more_lines(others),
                hint=hint or MEND,
            )

    def _column(self, column: str) -> list[str]:
        place = [_column_key(name) for name in self.header].index(_column_key(column))
        return self.cells[place :: len(self.header)]

    def _converted(
        self, column: str, convert: Callable[[str], float], what: str
    ) -> NDArray[np.float64]:
        cells = self._column(column)
        try:
            return np.fromiter(map(convert, cells), dtype=np.float64, count=len(cells))
        except ValueError:
            wrong = np.array([not _converts(convert, cell) for cell in cells], dtype=np.bool_)
            self.refuse(wrong, what, column)
            raise  # unreachable: some cell failed above


def read_table(
    path: Path, required: Sequence[str], *, default_header: Sequence[str] | None = None
) -> Table:
    """Read a CSV file whose first line names the columns, in any case and with blanks.

    `default_header` names the columns of a file whose first line names none of the required
    ones. Blank lines are skipped. Raises InputError, naming the line, for a missing column, a
    column named twice, or a row with more or fewer cells than the header; EnvironmentFault
    when the file may not be read.
    """
    rows = _rows(path)
    line, first = next(rows, (1, []))
    header = tuple(name.strip() for name in first)
    if default_header is not None and not _names_any(header, required):
        header, rows = tuple(default_header), chain([(line, first)] if first else [], rows)
    _refuse_header(path, line, header, required)
    cells, lines = _gathered(path, rows, len(header))
    return Table(path=path, header=header, cells=cells, lines=lines)


def table_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows, the header first, as the text of a CSV file that no spreadsheet obeys."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([neutral(cell) for cell in row] for row in rows)
    return stream.getvalue()


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, the header first, that appears whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(table_text(rows), encoding="utf-8", newline="\n")


def neutral(cell: object) -> object:
    r"""Return a cell that is no formula; numbers and other values stay as they are.

    >>> neutral("=1+1"), neutral("-3.5"), neutral("a\nb"), neutral(-2)
    ("'=1+1", '-3.5', 'a\\nb', -2)
    """
    if not isinstance(cell, str):
        return cell
    text = printable(cell, keep="")
    is_formula = text.lstrip().startswith(FORMULA_STARTS) and not NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that are not blank, each with its line number from 1."""
    try:
        _refuse_odd_file(path)
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


def _gathered(
    path: Path, rows: Iterable[tuple[int, list[str]]], width: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the cells of all rows one after another, and the line of each row.

    One flat list of strings, because a list per row keeps the garbage collector busy for most
    of the time that a large table takes.
    """
    cells: list[str] = []
    lines, ragged = array("q"), array("q")
    found = 0
    for line, row in rows:
        if len(row) == width:
            cells += row
            lines.append(line)
        else:
            found = found or len(row)
            ragged.append(line)
    if ragged:
        raise InputError(
            f"line {ragged[0]}: {found} cells where the header has {width}",
            file=path,
            why=_more_lines(ragged[1:].tolist()).removeprefix(", and "),
            hint=MEND,
        )
    return cells, np.array(lines, dtype=np.int64)


def _refuse_odd_file(path: Path) -> None:
    """Raise InputError for a pipe or device, which may never end, and for a giant file."""
    if path.exists() and not path.is_file():
        raise InputError("is not a plain file", file=path)
    if path.stat().st_size > TABLE_BYTES_MAX:
        raise InputError(f"a table larger than {TABLE_BYTES_MAX >> 20} MiB", file=path)


def _refuse_header(path: Path, line: int, header: Sequence[str], required: Sequence[str]) -> None:
    keys = [_column_key(name) for name in header]
    missing = [name for name in required if _column_key(name) not in keys]
    if missing:
        raise InputError(
            f"line {line}: no column {', '.join(missing)}",
            file=path,
            why=f"the header is {','.join(header)[:200]}" if header else "the file is empty",
            hint=f"the columns are {','.join(required)}",
        )
    twice = sorted(name for name in header if name and keys.count(_column_key(name)) > 1)
    if twice:
        raise InputError(f"line {line}: the column {twice[0]} is named twice", file=path)


def _column_key(name: str) -> str:
    """Return the key of a column: its name without case, blanks and underscores."""
    key = re.sub(r"[\s_]", "", name).casefold()
    return SAME_COLUMN.get(key, key)


def _more_lines(lines: Sequence[int]) -> str:
    if not lines:
        return ""
    word = "line" if len(lines) == 1 else "lines"
    return f", and {len(lines)} more {word}: {name_lines(lines, len(lines)).split(' ', 1)[1]}"


def _names_any(header: Sequence[str], required: Sequence[str]) -> bool:
    return not {*map(_column_key, header)}.isdisjoint(map(_column_key, required))


def _truth(cell: str) -> int:
    """Return 1 or 0 for `true`, `1` or `1.0` (as pandas writes it) and their opposites, or -1."""
    word = cell.strip().lower()
    if word in ("true", "false"):
        return int(word == "true")
    return int(word.partition(".")[0]) if re.fullmatch(r"[01](\.0*)?", word, re.ASCII) else -1


def _ascii_number(text: str) -> float:
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(text)
    return float(text)


def _converts(convert: Callable[[str], float], cell: str) -> bool:
    try:
        convert(cell)
    except ValueError:
        return False
    return True
