"""CSV tables: what is read as what, which lines are refused, and what a spreadsheet gets."""

import csv
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.run.errors import InputError
from luna.run.table import FORMULA_STARTS, neutral, read_table, table_text, write_table


@pytest.fixture
def write(tmp_path: Path):
    def write_text(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


@pytest.mark.parametrize(
    "name", ["seriesuid", " SeriesUID ", "SeriesInstanceUID", "series_uid", "Series Instance UID"]
)
def test_a_column_is_found_in_any_case_and_with_blanks(write, name):
    table = read_table(write(f"\ufeff{name},COORDX\n1.2,3\n"), ("seriesuid", "coordX"))
    assert table.texts("seriesuid").tolist() == ["1.2"]
    assert table.numbers("coordX").tolist() == [3.0]


def test_two_spellings_of_one_column_are_refused(write):
    with pytest.raises(InputError, match="line 1: the column SeriesUID is named twice"):
        read_table(write("SeriesUID,seriesuid\n1,2\n"), ("seriesuid",))


@pytest.mark.parametrize("cell", ["١٢", "２", "1_0", "0x10", "", "1,5", "1 2", "nan", "-inf"])
def test_only_finite_numbers_in_ascii_digits_are_numbers(write, cell):
    table = read_table(write(f'x\n1\n"{cell}"\n'), ("x",))
    with pytest.raises(InputError, match="line 3: x is not a finite number"):
        table.numbers("x")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.sampled_from(["{!r}", " {!r} ", "{:e}"]))
def test_every_way_to_write_a_number_is_read_exactly(values, form):
    cells = [form.format(value) for value in values]
    table = table_of(cells)
    np.testing.assert_array_equal(table.numbers("x"), [float(cell) for cell in cells])
    # One odd cell makes every cell go through the slow way, which must read the same.
    slow = table_of([*cells, "1_0"]).where(np.arange(len(cells) + 1) < len(cells))
    np.testing.assert_array_equal(slow.numbers("x"), table.numbers("x"))


def table_of(cells):
    from luna.run.table import Table

    lines = np.arange(len(cells)) + 2
    return Table(path=Path("x.csv"), header=("x",), cells=cells, lines=lines)


def test_truth_is_read_as_pandas_and_spreadsheets_write_it(write):
    table = read_table(write("x\n1\n0\n1.0\n0.0\nTRUE\nfalse\n"), ("x",))
    assert table.flags("x").tolist() == [True, False, True, False, True, False]
    with pytest.raises(InputError, match=r"line 3: x is neither true nor false.*'1.5'"):
        read_table(write("x\n1\n1.5\n"), ("x",)).flags("x")


def test_a_file_without_a_header_takes_the_default_one(write):
    table = read_table(write("1.1\n\n1.2\n"), ("seriesuid",), default_header=("seriesuid",))
    assert table.texts("seriesuid").tolist() == ["1.1", "1.2"]
    assert table.lines.tolist() == [1, 3]


def test_all_bad_lines_are_named_and_the_first_cell_is_shown_escaped(write):
    table = read_table(write("x,y\na\x1b[2J,1\nb,2\nc\x07,3\n"), ("x",))
    with pytest.raises(InputError) as caught:
        table.texts("x")
    assert "line 2: x holds a control character ('a\\x1b[2J', and 1 more line: 4)" in str(
        caught.value
    )


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    outcome = []

    def read() -> None:
        try:
            read_table(path, ("x",))
        except InputError as error:
            outcome.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(10)
    assert outcome == [f"{path}: is not a plain file"]


@given(st.text())
def test_no_written_text_is_a_formula_or_more_than_one_cell(text):
    (row,) = csv.reader([table_text([("1", text)]).removesuffix("\n")], strict=True)
    assert row[0] == "1"
    assert row[1].isprintable() or all(ord(c) > 127 for c in row[1] if not c.isprintable())
    try:
        float(row[1])
    except ValueError:
        assert not row[1].lstrip().startswith(FORMULA_STARTS)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("＝1+1", "'＝1+1"),
        (" =1", "' =1"),
        ("\t=1", "\\t=1"),
        ("\r\n=1", "\\r\\n=1"),
        ("-3.25", "-3.25"),
        ("+1e-3", "+1e-3"),
        ("1.2.840", "1.2.840"),
    ],
)
def test_cells_that_a_spreadsheet_would_obey(cell, shown):
    assert neutral(cell) == shown


def test_numbers_are_written_as_they_are(tmp_path):
    path = tmp_path / "out.csv"
    write_table(path, [("x", "y"), (-1.5, 0.1 + 0.2), (-2, True)])
    assert path.read_bytes() == b"x,y\n-1.5,0.30000000000000004\n-2,True\n"
