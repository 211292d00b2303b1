"""Voxel bytes of exactly the announced length, raw or compressed, read piece by piece.

A volume that is shorter or longer than its header says, or whose checksum does not fit, is
refused; a decompression bomb is never inflated beyond the announced length.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.formats.encodings import (
    CHUNK_BYTES,
    Hexadecimal,
    Inflated,
    Numbers,
    Source,
    Unbzipped,
)
from luna.ct.volume import HuBuilder
from luna.run.errors import InputError

Packing = Literal["raw", "zlib", "gzip", "bzip2", "text", "hex"]
"""How voxels are stored. Numbers as text come out as float64, whatever their own type."""

MAX_INFLATION = 1032
"""The largest ratio that deflate can reach (zlib's technical notes), and more than bzip2
reaches on any scan."""

REDO = "copy or export the file again"

SOURCES: dict[Packing, Callable[[BinaryIO], Source]] = {
    "raw": lambda stream: stream,
    "zlib": Inflated,
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bzip2": Unbzipped,
    "text": Numbers,
    "hex": Hexadecimal,
}


def sibling(header: Path, name: str) -> Path:
    """Return the data file that a header names: a regular file in its folder or below.

    Raises InputError for a path that leaves the folder, also by a link, for a pattern, and for
    a missing or special file.
    """
    parts = [part for part in name.split("/") if part != "."]
    if not name or any(part in ("", "..") for part in parts) or any(m in name for m in "\\%\0"):
        raise InputError(
            "the header names its data by something other than a plain file name",
            file=header,
            why=repr(name[:80]),
            hint="the data file must lie beside the header, or in a folder there",
        )
    path = header.parent.joinpath(*parts)
    try:
        mode = path.stat().st_mode
        inside = path.resolve().is_relative_to(header.parent.resolve())
    except (FileNotFoundError, NotADirectoryError) as error:
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
        self._source: Source = SOURCES[packing](stream)

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

    def skip(self, count: int, *, before: int = 0) -> None:
        """Pass over the next `count` bytes; -1 passes over all but the last `before` of the file.

        Raises InputError when there are fewer, or the data is packed and its end unknown.
        """
        if count < 0:
            start = self._path.stat().st_size - before
            if self._packing != "raw":
                raise InputError("only raw data can be the last bytes of a file", file=self._path)
            if start < self._stream.tell():
                raise InputError("the data has the wrong length", file=self._path, hint=REDO)
            self._stream.seek(start)
        while count > 0:
            count -= len(self.take(min(count, CHUNK_BYTES)))

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
        except (zlib.error, gzip.BadGzipFile, EOFError, ValueError) as error:
            raise InputError(
                "the packed data is damaged", file=self._path, why=str(error), hint=REDO
            ) from error


@contextmanager
def open_stream(path: Path, packing: Packing, *, offset: int = 0) -> Iterator[VoxelStream]:
    """Open a file's data from byte `offset` on."""
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
