"""Packed voxels as a stream of bytes: each source gives at most what it is asked for.

Unlike Python's own file objects for bzip2, a source ends with its file: what follows the packed
stream is damage.
"""

from __future__ import annotations

import bz2
import zlib
from typing import BinaryIO, Protocol

import numpy as np

CHUNK_BYTES = 1 << 20


class Source(Protocol):
    """What voxels are taken from."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes; none at the end."""


class Inflated:
    """One zlib stream that must fill its file, with its checksum (RFC 1950) verified."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes. Raises EOFError or zlib.error for a damaged stream."""
        while not self._inflate.eof:
            pending = self._inflate.unconsumed_tail or self._stream.read(CHUNK_BYTES)
            piece = self._inflate.decompress(pending, count)
            if piece:
                return piece
            if not pending and not self._inflate.eof:
                raise EOFError("the stream is cut off")
        if self._inflate.unused_data or self._stream.read(1):
            raise zlib.error("something follows the end of the stream")
        return b""


class Unbzipped:
    """One bzip2 stream that must fill its file, with its checksums verified."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._bunzip = bz2.BZ2Decompressor()

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes. Raises EOFError or ValueError for a damaged stream."""
        while not self._bunzip.eof:
            pending = self._stream.read(CHUNK_BYTES) if self._bunzip.needs_input else b""
            if self._bunzip.needs_input and not pending:
                raise EOFError("the stream is cut off")
            try:
                piece = self._bunzip.decompress(pending, count)
            except OSError as error:
                raise ValueError(str(error)) from error
            if piece:
                return piece
        if self._bunzip.unused_data or self._stream.read(1):
            raise EOFError("something follows the end of the stream")
        return b""


class Numbers:
    """Numbers written as text with blanks between them, given as float64."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._word = b""
        self._ready = b""

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes. Raises ValueError for what is not a number."""
        while not self._ready:
            text = self._stream.read(CHUNK_BYTES)
            whole, self._word = _whole_words(self._word + text, last=not text)
            self._ready = _packed(whole)
            if not text:
                break
        given, self._ready = self._ready[:count], self._ready[count:]
        return given


class Hexadecimal:
    """Bytes written as pairs of hexadecimal digits, with blanks where the writer likes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digits = b""

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes. Raises ValueError for what is not a digit."""
        while len(self._digits) < 2:
            text = self._stream.read(CHUNK_BYTES)
            if not text:
                if self._digits:
                    raise ValueError("half a byte at the end")
                return b""
            self._digits += b"".join(text.split())
        size = 2 * min(count, len(self._digits) // 2)
        given, self._digits = self._digits[:size], self._digits[size:]
        return bytes.fromhex(given.decode("ascii"))


def _packed(words: list[bytes]) -> bytes:
    try:
        return np.array(words).astype(np.float64).tobytes() if words else b""
    except ValueError as error:
        raise ValueError("a word of the text is not a number") from error


def _whole_words(text: bytes, *, last: bool) -> tuple[list[bytes], bytes]:
    """Return the words of a text, and the beginning of one that may go on."""
    words = text.split()
    if last or not words or text[-1:].isspace():
        return words, b""
    return words[:-1], words[-1]
