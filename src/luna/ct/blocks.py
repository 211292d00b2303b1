"""A volume cut into blocks that are read one by one.

The body of a frame is an index of blocks, then the blocks. They are compressed singly
(zstandard level 1, the low bytes of all voxels before the high ones), each with its CRC-32, so
that a crop reads and checks only what it touches.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import ArrayLike, NDArray

from luna.ct.frames import DTYPES, HEAD_BYTES_MAX, PREFIX, AnyArray, Head, frame, read_head
from luna.run.checked import DamagedError
from luna.run.files import read_at

CODEC = "zstd-planes"
LEVEL = 1
"""Higher levels save 1 % of a CT's noise and cost a fifth of the speed."""

BLOCK_IRC = (8, 24, 24)
"""Voxels of a block. Decided by measurement: docs/decisions.md."""

INDEX = np.dtype([("block", "<i8"), ("offset", "<i8"), ("length", "<i8"), ("crc", "<u4")])

Irc = tuple[int, int, int]
Entry = tuple[int, int, int]
"""Where a block lies behind the index, its length, and its CRC-32."""

_tools = threading.local()


def grid_of(shape_irc: Irc, block_irc: Irc = BLOCK_IRC) -> Irc:
    """Return how many blocks a volume has along each axis."""
    i, r, c = (-(-n // b) for n, b in zip(shape_irc, block_irc, strict=True))
    return i, r, c


def pack_blocks(
    volume: AnyArray,
    wanted: NDArray[np.bool_],
    fill: int,
    *,
    sparse: bool,
    block_irc: Irc,
    key: str | None = None,
) -> bytes:
    """Return the wanted blocks of a volume as a frame.

    `volume`: (index, row, column) int16 or uint8; `wanted`: bool of `grid_of` its shape.
    `fill` is what lies outside the volume; with `sparse` also what a missing block holds.
    `key` is what `BlockFile` will be asked to find in it.
    """
    dtype = volume.dtype.newbyteorder("<")
    index, parts, offset = [], [], 0
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    for number in np.flatnonzero(wanted):
        place = np.unravel_index(int(number), wanted.shape)
        part = compressor.compress(_planes(volume[_slices(place, block_irc)].astype(dtype)))
        index.append((int(number), offset, len(part), zlib.crc32(part)))
        parts.append(part)
        offset += len(part)
    table = np.array(index, dtype=INDEX).tobytes()
    head = {
        "key": key,
        "dtype": dtype.str,
        "shape": volume.shape,
        "block": block_irc,
        "codec": CODEC,
        "fill": fill,
        "sparse": sparse,
        "count": len(index),
        "crc": zlib.crc32(table),
    }
    return frame(head, b"".join((table, *parts)))


def _slices(place: tuple[Any, ...], block_irc: Irc) -> tuple[slice, ...]:
    return tuple(slice(int(p) * b, (int(p) + 1) * b) for p, b in zip(place, block_irc, strict=True))


def _planes(block: AnyArray) -> bytes:
    """Return the first bytes of all voxels, then their second ones."""
    size = block.dtype.itemsize
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8).reshape(-1, size).T.tobytes()


def _voxels(planes: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> AnyArray:
    raw = np.frombuffer(planes, np.uint8).reshape(dtype.itemsize, -1)
    # Whole numbers put together are vector instructions; bytes interleaved are seven times slower.
    words: AnyArray = raw[0].astype(f"<u{dtype.itemsize}")
    for number, plane in enumerate(raw[1:], start=1):
        words |= plane.astype(words.dtype) << 8 * number
    return words.view(dtype).reshape(shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    dtype: np.dtype[Any]
    shape_irc: Irc
    block_irc: Irc
    fill: int
    sparse: bool


class BlockFile:
    """A volume's blocks in a file that stays open; several threads may read at once.

    Raises DamagedError when the file is not a whole frame of blocks, or was packed for another
    `key` than the one given; frames of older versions of luna have none.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        # Closed when the last reader lets go, even if a cache dropped it meanwhile.
        weakref.finalize(self, os.close, self._file)
        size = os.fstat(self._file).st_size
        head, start = read_head(read_at(self._file, PREFIX.size + HEAD_BYTES_MAX, 0), size)
        if key is not None and head.get("key") not in (None, key):
            raise DamagedError("it is another entry's")
        try:
            self._layout = _layout(head)
            length, crc = int(head["count"]) * INDEX.itemsize, int(head["crc"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"the head is not one of blocks: {error}") from error
        # Compared before anything is allocated: a frame may claim any size.
        if not 0 <= length <= size - start:
            raise DamagedError("truncated")
        table = read_at(self._file, length, start)
        if zlib.crc32(table) != crc:
            raise DamagedError("a checksum does not fit")
        self._start = start + len(table)
        index = np.frombuffer(table, INDEX)
        self._entries = index[["offset", "length", "crc"]]
        # Alone, as a search would copy the column out of the records each time.
        self._blocks = index["block"].copy()
        if np.any(self._blocks[1:] <= self._blocks[:-1]):
            raise DamagedError("the index is not in order")

    @property
    def shape_irc(self) -> Irc:
        """Number of slices, rows and columns of the volume."""
        return self._layout.shape_irc

    def check(self) -> int:
        """Read every block and compare its checksum; the file's bytes. Raises DamagedError."""
        for entry in self._entries.tolist():
            self._packed(*entry)
        return os.fstat(self._file).st_size

    def crop(self, center_irc: ArrayLike, size_irc: Irc) -> AnyArray:
        """Return what `Scan.crop` of the volume gives. Raises DamagedError, as `box` does."""
        center = np.rint(np.asarray(center_irc, dtype=np.float64)).astype(int)
        i, r, c = (int(v) for v in center - np.array(size_irc) // 2)
        return self.box((i, r, c), size_irc)

    def box(self, start_irc: Irc, size_irc: Irc) -> AnyArray:
        """Return a copy of `size_irc` voxels from `start_irc` on, padded with the fill.

        Raises DamagedError when a block is damaged or was not stored.
        """
        layout = self._layout
        out = np.full(size_irc, layout.fill, dtype=layout.dtype)
        low = [max(a, 0) for a in start_irc]
        high = [
            min(a + n, m) for a, n, m in zip(start_irc, size_irc, layout.shape_irc, strict=True)
        ]
        for place, entry in self._stored(list(_places(low, high, layout.block_irc))):
            block = self._block(place, *entry)
            into, out_of = [], []
            for axis in range(3):
                first = place[axis] * layout.block_irc[axis]
                a, b = max(low[axis], first), min(high[axis], first + block.shape[axis])
                into.append(slice(a - start_irc[axis], b - start_irc[axis]))
                out_of.append(slice(a - first, b - first))
            out[tuple(into)] = block[tuple(out_of)]
        return out

    def _stored(self, places: list[Irc]) -> Iterator[tuple[Irc, Entry]]:
        """Return the places whose blocks were stored, with their entries.

        Raises DamagedError when one was not, unless the volume is sparse.
        """
        _, rows, columns = grid_of(self._layout.shape_irc, self._layout.block_irc)
        numbers = np.array([(i * rows + r) * columns + c for i, r, c in places], dtype=np.int64)
        # A box's records at once: one by one each costs as much as a block to check, and a
        # scan's, all made plain numbers when it is opened, as much as reading two chunks.
        first, end = (np.searchsorted(self._blocks, numbers, side) for side in ("left", "right"))
        stored = first < end
        if not (self._layout.sparse or stored.all()):
            raise DamagedError("a block that is needed was not stored")
        return zip(compress(places, stored), self._entries[first[stored]].tolist(), strict=True)

    def _block(self, place: Irc, offset: int, length: int, crc: int) -> AnyArray:
        """Return the voxels of one block."""
        layout = self._layout
        shape = tuple(
            min(b, n - p * b)
            for p, b, n in zip(place, layout.block_irc, layout.shape_irc, strict=True)
        )
        packed = self._packed(offset, length, crc)
        size = math.prod(shape) * layout.dtype.itemsize
        try:
            if zstandard.frame_content_size(packed) != size:
                raise DamagedError("a block of another size")
            return _voxels(_decompressor().decompress(packed), layout.dtype, shape)
        except zstandard.ZstdError as error:
            raise DamagedError(f"a block cannot be decompressed: {error}") from error

    def _packed(self, offset: int, length: int, crc: int) -> bytes:
        data = read_at(self._file, length, self._start + offset)
        if zlib.crc32(data) != crc:
            raise DamagedError("a checksum does not fit")
        return data


def _layout(head: Head) -> _Layout:
    if head["codec"] != CODEC or head["dtype"] not in DTYPES:
        raise ValueError("another codec or dtype")
    (i, r, c), (bi, br, bc) = head["shape"], head["block"]
    if min(i, r, c) < 1 or min(bi, br, bc) < 1:
        raise ValueError("an empty volume")
    return _Layout(
        dtype=np.dtype(head["dtype"]),
        shape_irc=(int(i), int(r), int(c)),
        block_irc=(int(bi), int(br), int(bc)),
        fill=int(head["fill"]),
        sparse=bool(head["sparse"]),
    )


def _places(low: list[int], high: list[int], block_irc: Irc) -> Iterator[Irc]:
    """Yield the blocks that a box of voxels touches; none when it is empty."""
    if any(b <= a for a, b in zip(low, high, strict=True)):
        return
    spans = [range(a // n, -(-b // n)) for a, b, n in zip(low, high, block_irc, strict=True)]
    for i in spans[0]:
        for r in spans[1]:
            for c in spans[2]:
                yield i, r, c


def _decompressor() -> zstandard.ZstdDecompressor:
    """Return the decompressor of this thread: one serves one thread at a time."""
    tool: zstandard.ZstdDecompressor | None = getattr(_tools, "decompressor", None)
    if tool is None:
        tool = _tools.decompressor = zstandard.ZstdDecompressor()
    return tool
