"""Small inputs bent at random, and what may come of them: a right result, or one clear error."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from luna.run.errors import LunaError

T = TypeVar("T")
Rows = list[list[str]]

MEMORY_BYTES = 1 << 30
"""What one example may take more than the process has: thousands of times the largest input."""

DEADLINE_S = 60
"""What takes longer hangs."""

NUMBERS = (
    *("0", "-0", "1", "-1", "2", "3", "+8", "007", "8.", ".5", "1e3", "1E-3", "1e400", "-1e400"),
    *("1e-400", "1e308", "-1e308", "1e15", "nan", "NaN", "inf", "-inf", "0x10", "1_0", "1,5", "1e"),
    *("--1", "65536", "2147483648", "4294967297", "9223372036854775808", "1" * 40, "9" * 5000),
    *("0.1", "0.9999", "1.0005", "1e-7", "٣", "²", "½", "1 0", "(1)", "1;2", "1/2", "1e1e1", "∞"),
)
"""Numbers, what some parsers take for one, and what is none."""

WORDS = (
    *("", " ", "\t", "x", "None", "null", "True", "False", "true", "TRUE", "yes", "no", "0", "1"),
    *("%s%s%s%n", "%d", "../up", "/dev/zero", "C:\\x", "\0", "\x1b[2J", "\x7f", "\u202e", "\ufeff"),
    *(
        "ä",
        "ﬁ",
        "😀",
        "\u2028",
        "\x85",
        "\v",
        "\f",
        '"',
        "'",
        "''",
        '"x',
        "x'",
        "#",
        "=",
        "==",
        ",",
    ),
    *(";", "[", "]", "{}", "[[x]]", "$(id)", "`id`", "<script>", "__class__", "x" * 3000, "." * 99),
)
"""Words that have broken parsers, terminals or file systems."""

ROW_EDITS = ("drop", "repeat", "swap", "set", "set", "set", "number", "number", "take", "give")
BYTE_EDITS = ("flip", "flip", "insert", "delete", "cut", "crlf", "cr", "utf-16", "latin-1", "bom")


def fuzzed(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Settings of a test: this many examples, the same ones in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def fuzzed_at_length(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Settings of a slow test: new examples in every run, outside CI."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


places = st.integers(0, 63)


def mutants(
    rows: Rows, join: Callable[[Rows], str], words: Sequence[str]
) -> st.SearchStrategy[bytes]:
    """The bytes of a text of rows of cells, after up to four edits of rows and two of bytes."""
    word = st.one_of(st.sampled_from((*words, *WORDS)), st.text(max_size=6))
    number = st.one_of(
        st.sampled_from(NUMBERS), st.integers().map(str), st.floats(width=32).map(str)
    )
    row_edits = st.lists(
        st.tuples(st.sampled_from(ROW_EDITS), places, places, word, number), max_size=4
    )
    byte_edits = st.lists(
        st.tuples(st.sampled_from(BYTE_EDITS), st.floats(0, 1), st.integers(0, 255)), max_size=2
    )

    def bend(edits: tuple[list[Any], list[Any]]) -> bytes:
        bent = [list(row) for row in rows]
        for edit in edits[0]:
            edit_rows(bent, *edit)
        data = join(bent).encode("utf-8", "surrogatepass")
        for edit in edits[1]:
            data = edit_bytes(data, *edit)
        return data

    # Most bent bytes are refused at once: three of four texts have none.
    return st.tuples(row_edits, st.one_of(st.just([]), st.just([]), st.just([]), byte_edits)).map(
        bend
    )


def edit_rows(rows: Rows, how: str, a: int, b: int, word: str, number: str) -> None:
    """One change of a text in place; places count round and round."""
    if not rows:
        rows.append([word, number])
    row = rows[a % len(rows)]
    place = b % max(len(row), 1)
    if how == "drop":
        rows.remove(row)
    elif how == "repeat":
        rows.insert(b % (len(rows) + 1), list(row))
    elif how == "swap":
        other = rows[b % len(rows)]
        row[:], other[:] = other[:], row[:]
    elif how == "give":
        row.insert(place, word)
    elif how == "take":
        row[place : place + 1] = []
    else:
        row[place : place + 1] = [word if how == "set" else number]


def edit_bytes(data: bytes, how: str, where: float, byte: int) -> bytes:
    """One change of the bytes of a text."""
    at = round(where * max(len(data) - 1, 0))
    if how in ("utf-16", "latin-1"):
        return data.decode("utf-8", "replace").encode(how, "replace")
    replaced = {
        "flip": data[:at] + bytes(v ^ (1 << byte % 8) for v in data[at : at + 1]) + data[at + 1 :],
        "insert": data[:at] + bytes([byte]) + data[at:],
        "delete": data[:at] + data[at + 1 + byte % 8 :],
        "cut": data[:at],
        "crlf": data.replace(b"\n", b"\r\n"),
        "cr": data.replace(b"\n", b"\r"),
        "bom": b"\xef\xbb\xbf" + data,
    }
    return replaced[how]


def result_or_refusal(
    read: Callable[[], T], folder: Path, codes: Sequence[int], unsaid: Sequence[str] = ()
) -> T | None:
    """What `read` gives; None when it is refused as it should be, without `unsaid` words.

    Any other exception passes, as do a MemoryError under the limit and the alarm of a hang.
    """
    with _limits():
        try:
            return read()
        except LunaError as error:
            assert_clear(error, folder, codes, unsaid)
            return None


def assert_clear(
    error: LunaError, folder: Path, codes: Sequence[int], unsaid: Sequence[str] = ()
) -> None:
    """The error has one of the exit codes, says what, and names a file in the folder."""
    assert not [word for word in unsaid if word in f"{error} {error.hint}"], repr(error)
    assert error.exit_code in codes, repr(error)
    assert error.what.strip(), repr(error)
    assert str(folder) in str(error.file), repr(error)


@contextmanager
def _limits() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES, hard))
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(DEADLINE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _hangs(signum: int, frame: FrameType | None) -> None:
    raise AssertionError(f"no end within {DEADLINE_S} s")


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
