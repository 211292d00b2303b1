"""Strings from files cannot steer a terminal, flood it, or show a password."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.run.text import MESSAGE_MAX, UNSAFE_CATEGORIES, duration, for_message, printable

anything = st.text(st.characters(exclude_categories=()), max_size=80)


@given(anything)
def test_what_is_shown_holds_no_control_character(text: str) -> None:
    shown = printable(text, keep="")
    assert not any(unicodedata.category(c) in UNSAFE_CATEGORIES for c in shown)
    shown.encode()  # no half of a pair either: a terminal could not be sent it
    assert printable(shown, keep="") == shown


@given(st.text(st.characters(exclude_categories=UNSAFE_CATEGORIES), max_size=80))
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_line_breaks_and_tabs_stay_where_they_are_wanted() -> None:
    assert printable("a\n\tb") == "a\n\tb"
    assert printable("a\n\tb", keep="\t") == "a\\n\tb"
    assert printable("\u202eexe.png", keep="") == "\\u202eexe.png"


@given(
    st.text(st.characters(exclude_categories=UNSAFE_CATEGORIES), max_size=200), st.integers(8, 90)
)
def test_a_long_message_is_cut_in_the_middle(text: str, most: int) -> None:
    text = text.replace("@", "")
    shown = for_message(text, most=most)
    assert len(shown) <= most
    assert shown.startswith(text[: most // 2 - 2])
    assert shown.endswith(text[len(text) - (most // 2 - 2) :]) or len(text) <= most
    assert (shown == text) == (len(text) <= most) or " … " in text


def test_a_message_has_a_bound_of_its_own() -> None:
    assert len(for_message("x" * 10 * MESSAGE_MAX)) <= MESSAGE_MAX


@pytest.mark.parametrize(
    "address", ["ftp://me:secret@a.org/x", "http://secret@a.org", "s://:secret@b"]
)
def test_no_password_of_an_address_is_shown(address: str) -> None:
    assert "secret" not in for_message(f"cannot reach {address} now")


@pytest.mark.parametrize("text", ["mail me@example.org", "http://a.org/me@home", "a://b c@d"])
def test_what_is_no_password_stays(text: str) -> None:
    assert for_message(text) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")],
)
def test_a_time_is_no_finer_than_it_is_known(seconds: float, words: str) -> None:
    assert duration(seconds) == words
