"""Framed bytes: values of the cache behind a header of our own.

prefix   magic, version, length and CRC-32 of the head, length of the body
head     JSON: what the body is
body     arrays one after another; or blocks of a volume (`blocks`)
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.run.checked import DamagedError

MAGIC = b"LUNAFRM\x01"
VERSION = 1
PREFIX = struct.Struct("<8sIIIQ")
HEAD_BYTES_MAX = 1 << 16
"""More, read in one piece whenever a file is opened, would come in fresh pages each time."""

DTYPES = ("<i2", "|u1", "|i1", "<i8", "<f8")
"""The element types that a frame may hold."""

Head = Mapping[str, Any]
AnyArray = NDArray[Any]


def frame(head: Head, body: bytes = b"") -> bytes:
    """Return head and body behind a prefix."""
    text = json.dumps(head, sort_keys=True).encode()
    return PREFIX.pack(MAGIC, VERSION, len(text), zlib.crc32(text), len(body)) + text + body


def frame_arrays(head: Head, arrays: Mapping[str, AnyArray]) -> bytes:
    """Return a frame of named arrays, little-endian."""
    plain = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    table = [[name, a.dtype.newbyteorder("<").str, a.shape] for name, a in plain.items()]
    body = b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in plain.values())
    return frame({**head, "arrays": table, "crc": zlib.crc32(body)}, body)


def unframe_arrays(data: bytes) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Return head and arrays of `frame_arrays`. Raises DamagedError."""
    head, start = read_head(data, len(data))
    body = memoryview(data)[start:]
    arrays, offset = {}, 0
    try:
        if zlib.crc32(body) != head["crc"]:
            raise DamagedError("a checksum does not fit")
        for name, dtype, shape in head["arrays"]:
            if dtype not in DTYPES or any(n < 0 for n in shape):
                raise DamagedError(f"{dtype} {shape} is not an array of luna")
            count = int(np.prod(shape, dtype=np.int64))
            arrays[str(name)] = np.frombuffer(body, dtype, count, offset).reshape(shape)
            offset += arrays[str(name)].nbytes
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"the head does not fit the arrays: {error}") from error
    return head, arrays


def read_head(data: bytes, size: int) -> tuple[dict[str, Any], int]:
    """Return the head, and where the body starts, of a frame of `size` bytes that begins as `data`.

    Raises DamagedError.
    """
    if len(data) < PREFIX.size:
        raise DamagedError("shorter than a prefix")
    magic, version, length, crc, body = PREFIX.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise DamagedError("not a frame of this version of luna")
    if length > HEAD_BYTES_MAX or size != PREFIX.size + length + body:
        raise DamagedError("truncated")
    text = data[PREFIX.size : PREFIX.size + length]
    if zlib.crc32(text) != crc:
        raise DamagedError("a checksum does not fit")
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"the head is not JSON: {error}") from error
    if not isinstance(head, dict):
        raise DamagedError("the head is not a table")
    return head, PREFIX.size + length
