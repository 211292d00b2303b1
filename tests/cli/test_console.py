"""What is printed where, on a terminal and elsewhere."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.cli.console import note, print_lines, print_table, progress, warn
from luna.run.errors import LunaError
from luna.run.text import printable

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stdout and stderr as one terminal of 80 columns; pytest undoes it when set in a fixture."""
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_tables_are_tabbed_lines_without_a_terminal(capsys: Capture) -> None:
    print_table(("no.", "LPS mm"), [("1", "[red]2\x1b")])
    assert capsys.readouterr() == ("no.\tLPS mm\n1\t[red]2\\x1b\n", "")


def test_tables_are_ruled_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    print_table(("no.", "LPS mm"), [("1", "[red]2")])
    text = screen.getvalue()
    assert "─" in text
    assert "[red]2" in text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    warn("careful")
    assert "\x1b[" in screen.getvalue()
    screen.truncate(0)
    monkeypatch.setenv("NO_COLOR", "1")
    warn("careful")
    assert "\x1b[3" not in screen.getvalue()


def test_long_lines_are_not_broken(capsys: Capture) -> None:
    print_lines("word " * 60)
    assert capsys.readouterr().out.count("\n") == 1


def test_notes_are_silenced_and_warnings_are_not(capsys: Capture) -> None:
    note("a", quiet=True)
    note("b", quiet=False)
    warn("c")
    assert capsys.readouterr() == ("", "b\nwarning: c\n")


def test_progress_is_a_line_per_stage_without_a_terminal(capsys: Capture) -> None:
    with progress(quiet=False) as advance:
        for done in range(3):
            advance("read", done, 2)
        advance("segment", 0, 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == ["read", "segment"]


def test_progress_is_silent_when_quiet(capsys: Capture) -> None:
    with progress(quiet=True) as advance:
        advance("read", 0, 1)
    assert capsys.readouterr() == ("", "")


def test_progress_draws_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with progress(quiet=False) as advance:
        advance("read", 1, 2)
        advance("read", 2, 2)
    assert "read" in screen.getvalue()
    assert "━" in screen.getvalue()


def test_bars_tell_percent_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with progress(quiet=False) as advance:
        for done in range(1, 51):
            advance("segment", done, 100)
    assert re.search(r"\b50%", screen.getvalue())
    assert re.search(r"\d s left", screen.getvalue())
    screen.truncate(0)
    with progress(quiet=False) as advance:
        for done in range(1, 51):
            advance("epoch 1", done, 100, "3 min left")
    assert not re.search(r"\d s left", screen.getvalue())


def test_the_newest_bar_is_seen_however_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv("LINES", "24")
    with progress(quiet=False) as advance:
        for epoch in range(30):
            advance(f"epoch {epoch}", 0, 1)
        assert "epoch 29" in screen.getvalue()


def test_an_error_under_progress_passes() -> None:
    error = LunaError("x")
    with pytest.raises(LunaError), progress(quiet=False):
        raise error


@given(st.text())
def test_nothing_printable_is_lost_and_nothing_else_remains(text: str) -> None:
    shown = printable(text)
    assert all(c.isprintable() or c.isspace() or ord(c) > 127 for c in shown)
    if text.isprintable():
        assert shown == text
