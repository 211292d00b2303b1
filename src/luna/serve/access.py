"""Who may talk to the server: which names it answers to, which pages may call it, which token.

A page of another site can make a browser send requests here, and a name that its owner points to
127.0.0.1 makes them look as if they came from the same site (DNS rebinding). So the Host header
must be a name of this server, and what changes something must come from its own page or from no
page at all.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from luna.run.errors import UsageError
from luna.run.files import read_plain

COOKIE = "luna_session"
LEAST_TOKEN = 16
MOST_TOKEN_BYTES = 4096
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered, and its HTTP status."""

    status: int
    error: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What requests must bring. Without a token, everybody on this machine may come in."""

    names: frozenset[str] = frozenset()
    token: str = ""

    def refusal(self, method: str, headers: Mapping[str, str]) -> Refusal | None:
        """Return why a request is refused, whatever it is for; None where it is not."""
        host = host_of(headers.get("host", ""))
        if not self._is_ours(host):
            hint = "name it with --allow-host if it is this server's"
            return Refusal(421, f"this server is not called {host[:80]!r}", hint)
        if method not in SAFE_METHODS and not _same_origin(headers):
            return Refusal(403, "the request came from another site", "use luna's own page")
        return None

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request brings the token, as Bearer or as the page's cookie."""
        if not self.token:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return _equal(_cookie(headers.get("cookie", "")), self.session())

    def is_token(self, given: str) -> bool:
        """Compare with the token in a time that tells nothing about it."""
        return _equal(given, self.token)

    def session(self) -> str:
        """Return what the page's cookie holds: it proves the token and is not the token."""
        return hmac.new(self.token.encode(), b"luna session", hashlib.sha256).hexdigest()

    def _is_ours(self, host: str) -> bool:
        """Whether a host is a name of this server, or an address, which nobody points elsewhere."""
        return host in {"localhost", *self.names} or _address(host) is not None


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def host_of(header: str) -> str:
    """Return the host of a Host header, without its port.

    >>> host_of("LocalHost:8765"), host_of("[::1]:8765"), host_of("::1:x]")
    ('localhost', '::1', '')
    """
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def read_token(path: Path | None, host: str) -> str:
    """Return the token in a file. Raises UsageError where one is needed, or is too short."""
    if path is None:
        if is_loopback(host):
            return ""
        raise UsageError(
            f"others can reach {host}, so a token is needed",
            hint="write one to a file that only you may read (`openssl rand -hex 32 > token`), "
            "and name it with --token-file",
        )
    try:
        token = read_plain(path, MOST_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the token cannot be read", file=path, why=str(error)) from error
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise UsageError(
            f"a token has {LEAST_TOKEN} or more letters, digits and signs in one line",
            file=path,
            hint="`openssl rand -hex 32 > token` makes a good one",
        )
    return token


def _same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(
        hashlib.sha256(one.encode("utf-8", "surrogateescape")).digest(),
        hashlib.sha256(other.encode()).digest(),
    )
