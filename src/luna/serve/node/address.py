"""What a node is called, whom it listens to, and where its results go."""

from __future__ import annotations

import re
from dataclasses import dataclass

from luna.run.errors import UsageError

TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")
"""An AE title: 1 to 16 printable characters without a backslash (DICOM PS3.5, AE)."""

QUIET_S = 30.0


@dataclass(frozen=True, slots=True)
class Peer:
    """An application of another machine that takes objects."""

    host: str
    port: int
    title: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.title}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """How a node listens. Without `allowed` every calling AE title is let in.

    A study is complete when nothing of it came for `quiet_s` seconds.
    """

    port: int
    title: str = "LUNA"
    send_to: Peer | None = None
    allowed: tuple[str, ...] = ()
    quiet_s: float = QUIET_S


def checked_title(text: str) -> str:
    """Return an AE title. Raises UsageError for what is none.

    >>> checked_title("LUNA")
    'LUNA'
    """
    if not TITLE.fullmatch(text):
        raise UsageError(
            f"not an AE title: {text[:40]!r}",
            hint="1 to 16 characters of ASCII, without a backslash",
        )
    return text


def peer_of(text: str) -> Peer:
    """Return the peer that HOST:PORT/AET names. Raises UsageError for what names none.

    >>> str(peer_of("pacs.clinic:4242/ORTHANC"))
    'pacs.clinic:4242/ORTHANC'
    """
    found = re.fullmatch(r"\[?([^\s/\[\]]+?)\]?:([0-9]{1,5})/(.+)", text)
    if found is None or not 0 < int(found[2]) < 1 << 16:
        raise UsageError(f"no peer: {text[:80]!r}", hint="write HOST:PORT/AET, as pacs:4242/PACS")
    return Peer(found[1], int(found[2]), checked_title(found[3]))
