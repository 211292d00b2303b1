"""The lines of a MetaImage header, as keys and values."""

from __future__ import annotations

import re
from difflib import get_close_matches

from luna.run.errors import InputError

MAX_HEADER_BYTES = 64 * 1024
"""Headers have about 500 bytes; those that carry DICOM tags along a few thousand."""

DATA_KEYS = ("ElementDataFile", "ElementType", "DimSize", "NDims", "ElementSpacing")
OFFSET_KEYS = ("Offset", "Position", "Origin")
MATRIX_KEYS = ("TransformMatrix", "Rotation", "Orientation")
BYTE_ORDER_KEYS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
ORIENTATION_KEY, FROM_SIDES, UNSTATED = "AnatomicalOrientation", "RAI", ("", "???")
"""MetaIO names the sides that axes come from; RAI are the axes of an identity matrix."""
KNOWN_KEYS = {
    *DATA_KEYS,
    *OFFSET_KEYS,
    *MATRIX_KEYS,
    *BYTE_ORDER_KEYS,
    *("ObjectType", "ObjectSubType", "ObjectTypeName", "ObjectSubTypeName", "Comment"),
    *("Name", "ID", "ParentID", "Color", "TransformType", "CompressionLevel"),
    *("BinaryData", "CompressedData", "CompressedDataSize", "HeaderSize", "Modality"),
    *("AnatomicalOrientation", "CenterOfRotation", "ElementNumberOfChannels"),
    *("ElementSize", "ElementMin", "ElementMax", "DistanceUnits", "AcquisitionDate"),
}

IN_LOWER_CASE = {key.lower(): key for key in KNOWN_KEYS}

CARRIED_KEY = re.compile(r"ITK_\w+|[0-9a-fA-F]{4}\|[0-9a-fA-F]{4}")
"""Notes and DICOM tags that ITK carries along; they do not change how voxels are read."""

KEY = re.compile(r"[\w|.\- ]{1,64}", re.ASCII)
ALIKE = 0.9
"""A key that is so like a known one is taken for a slip, and not for a key of another program."""

LOCAL = "LOCAL"
"""What `ElementDataFile` says, in any case, when the voxels follow in the same file."""


def fields_of(start: bytes) -> tuple[dict[str, str], int]:
    """Return keys and values up to `ElementDataFile`, the last, and where that line ends."""
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", position)
        stop = len(start) if end < 0 else end
        if stop >= MAX_HEADER_BYTES or position >= len(start):
            why = "no ElementDataFile line" if start else "the file is empty"
            raise InputError("not a MetaImage header", why=why)
        line = start[position:stop]
        position = stop + 1
        if line.strip():
            key, value = _key_value(line)
            if key in fields:
                raise InputError("a key appears twice in the header", why=key)
            fields[key] = value
    if fields["ElementDataFile"].upper() == LOCAL:
        fields["ElementDataFile"] = LOCAL
    elif start[position:].strip():
        raise InputError("the header goes on after ElementDataFile, its last line")
    return fields, position


def _key_value(line: bytes) -> tuple[str, str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("not a MetaImage header", why="it is not text") from error
    key, equals, value = (part.strip() for part in text.partition("="))
    meant = [] if is_known(key) else get_close_matches(key.lower(), IN_LOWER_CASE, 1, ALIKE)
    if not equals or not KEY.fullmatch(key) or meant:
        raise InputError(
            "the MetaImage header has a line that is not understood",
            why=repr(text.strip()[:60]),
            hint=f"did you mean {IN_LOWER_CASE[meant[0]]}?" if meant else "",
        )
    return key, value


def is_known(key: str) -> bool:
    """Return whether a key is MetaIO's, or a note that ITK carries along."""
    return key in KNOWN_KEYS or bool(CARRIED_KEY.fullmatch(key))
