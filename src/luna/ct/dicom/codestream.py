"""The size that a compressed picture gives for itself, read before anything is decoded.

A decoder makes room for what the stream asks for, whatever the DICOM header says.
Source: ITU-T T.81 (JPEG), T.87 (JPEG-LS), T.800 (JPEG 2000).
"""

from __future__ import annotations

JPEG_2000, SIZE_SEGMENT = b"\xff\x4f", b"\xff\x51"
JPEG = b"\xff\xd8"
FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Start of frame of every JPEG process, and of JPEG-LS."""
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
FILL = 0xFF


def size_of(stream: bytes) -> tuple[int, int] | None:
    """Return the (rows, columns) of a JPEG, JPEG-LS or JPEG 2000 stream; None if not found."""
    if stream.startswith(JPEG):
        return _jpeg(stream)
    at = stream.find(SIZE_SEGMENT, 0, 4096)
    if at < 0 or JPEG_2000 not in stream[:at]:
        return None
    # XSiz, YSiz, XOSiz and YOSiz follow the marker, the length and the capabilities.
    right, bottom, left, top = (
        int.from_bytes(stream[at + start : at + start + 4], "big") for start in (6, 10, 14, 18)
    )
    return bottom - top, right - left


def _jpeg(stream: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(stream) and stream[at] == FILL:
        marker = stream[at + 1]
        if marker in FRAME_MARKERS:
            rows, columns = stream[at + 5 : at + 7], stream[at + 7 : at + 9]
            return int.from_bytes(rows, "big"), int.from_bytes(columns, "big")
        if marker == FILL:
            at += 1
        elif marker in WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None
