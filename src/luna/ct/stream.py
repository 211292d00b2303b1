"""Voxel bytes of exactly the announced length, raw or compressed, read piece by piece.

A volume that is shorter or longer than its header says, or whose checksum does not fit, is
refused; a decompression bomb is never inflated beyond the announced length.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.volume import HuBuilder
from luna.run.errors import InputError

Packing = Literal["raw", "zlib", "gzip"]

CHUNK_BYTES = 1 << 20

MAX_INFLATION = 1032
"""The largest ratio that deflate can reach (zlib's technical notes)."""

REDO = "copy or export the file again"


def sibling(header: Path, name: str) -> Path:
    """The data file that a header names: a plain name of a regular file beside it.

    Raises InputError for a path, a pattern, a missing or special file, and a link that
    leaves the folder.
    """
    if not name or name in (".", "..") or any(mark in name for mark in "/\\%\0"):
        raise InputError(
            "the header names its data by something other than a plain file name",
            file=header,
            why=repr(name[:80]),
            hint="the data file must lie beside the header",
        )
    path = header.parent / name
    try:
        mode = path.stat().st_mode
        inside = path.resolve().parent == header.parent.resolve()
    except FileNotFoundError as error:
        raise InputError(
            "the data file is missing", file=path, hint=f"it belongs beside {header.name}"
        ) from error
    if not stat.S_ISREG(mode):
        raise InputError("the data file is not a regular file", file=path)
    if not inside:
        raise InputError("the data file is a link that leaves the folder", file=path)
    return path


class VoxelStream:
    """A stream of bytes out of one file; `take` gives exactly what it is asked for."""

    def __init__(self, stream: BinaryIO, path: Path, packing: Packing) -> None:
        self._path = path
        self._packing = packing
        self._stream = stream
        source: BinaryIO | gzip.GzipFile | _Inflated = stream
        if packing == "gzip":
            source = gzip.GzipFile(fileobj=stream)
        elif packing == "zlib":
            source = _Inflated(stream)
        self._source = source

    def take(self, count: int) -> bytearray:
        """The next `count` bytes; InputError when there are fewer or they are damaged."""
        out = bytearray(count)
        filled = 0
        while filled < count:
            piece = self._read(min(CHUNK_BYTES, count - filled))
            if not piece:
                raise InputError(
                    "the data ends too early",
                    file=self._path,
                    why=f"{count - filled} bytes short",
                    hint=REDO,
                )
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
        return out

    def expect(self, count: int) -> None:
        """Raise InputError when the file's size alone rules out `count` more bytes.

        A raw file must fit exactly; a compressed one must not be too short for them, so that
        no memory is asked for on the word of a header.
        """
        left = self._path.stat().st_size - self._stream.tell()
        if self._packing == "raw" and left != count:
            why = f"{left} bytes, the header says {count}"
            raise InputError("the data has the wrong length", file=self._path, why=why, hint=REDO)
        size = self._path.stat().st_size
        if count > size * MAX_INFLATION:
            why = f"{size} compressed bytes for {count}"
            raise InputError("the data is too short", file=self._path, why=why, hint=REDO)

    def finish(self) -> None:
        """Raise InputError unless everything was taken and the checksum fits."""
        if self._read(1):
            raise InputError("the data is longer than its header says", file=self._path, hint=REDO)

    def _read(self, count: int) -> bytes:
        try:
            return self._source.read(count)
        except (zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise InputError(
                "the compressed data is damaged", file=self._path, why=str(error), hint=REDO
            ) from error


class _Inflated:
    """One zlib stream that must fill its file, with its checksum (RFC 1950) verified."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj()

    def read(self, count: int) -> bytes:
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


@contextmanager
def open_stream(path: Path, packing: Packing, *, offset: int = 0) -> Iterator[VoxelStream]:
    """The data from byte `offset` of a file on."""
    with path.open("rb") as stream:
        stream.seek(offset)
        yield VoxelStream(stream, path, packing)


def hu_from_stream(
    stream: VoxelStream,
    builder: HuBuilder,
    dtype: np.dtype[np.generic],
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> None:
    """Fill every slice of the builder from the stream, then see that the stream is done."""
    slices, rows, columns = builder.hu.shape
    for index in range(slices):
        data = stream.take(rows * columns * dtype.itemsize)
        values: NDArray[np.generic] = np.frombuffer(data, dtype=dtype).reshape(rows, columns)
        builder.put(index, values, slope=slope, intercept=intercept)
    stream.finish()
