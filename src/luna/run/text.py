"""Text for people: strings from files made safe to show, and times to wait."""

from __future__ import annotations

import re
import unicodedata

UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and direction-changing characters, halves of surrogate pairs, line separators."""

MESSAGE_MAX = 2000
"""Characters of one piece of a message: its file, its reason, or a warning."""

SECRETS = re.compile(r"(?<=://)[^/\s@]+@")
"""The user and password of an address."""


def for_message(text: str, *, most: int = MESSAGE_MAX, keep: str = "") -> str:
    r"""Return text from a file or an address as a message may show it.

    It is cut to `most` characters, control characters are escapes but for those in `keep`, and
    passwords in addresses are left out.

    >>> for_message("https://me:secret@example.org/a\nb"), for_message("word " * 9, most=16)
    ('https://…@example.org/a\\nb', 'word wo …  word ')
    """
    # Before the rest, which takes time for each character.
    if len(text) > most:
        half = max(most - 3, 2) // 2
        text = f"{text[: max(most - 3, 2) - half]} … {text[-half:]}"
    return printable(SECRETS.sub("…@", text), keep=keep)


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""Return the text with control and direction-changing characters written as escapes.

    `keep` names the control characters that stay as they are.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in keep or unicodedata.category(c) not in UNSAFE_CATEGORIES else _escape(c)
        for c in text
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def duration(seconds: float) -> str:
    """Return a time to wait, no finer than it is known.

    >>> duration(40), duration(400), duration(40_000)
    ('40 s', '7 min', '11.1 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
