"""Text for people: strings from files made safe to show, and times to wait."""

from __future__ import annotations

import unicodedata

UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and direction-changing characters, halves of surrogate pairs, line separators."""


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
