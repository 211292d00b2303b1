"""MetaImage: a text header and raw or zlib-compressed voxels (LUNA16's format).

The header is parsed here and not by ITK, which takes missing spacing for 1 mm, prints data
file patterns through printf, and reads damaged compressed data without a word.
Source: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from luna.ct.geometry import IDENTITY_DIRECTION, Geometry
from luna.ct.stream import Packing, hu_from_stream, open_stream, sibling
from luna.ct.volume import HuBuilder, Volume, check_grid
from luna.run.errors import InputError

MAX_HEADER_BYTES = 64 * 1024
"""Headers have about 500 bytes; those that carry DICOM tags along a few thousand."""

DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

DATA_KEYS = ("ElementDataFile", "ElementType", "DimSize", "NDims", "ElementSpacing")
OFFSET_KEYS = ("Offset", "Position", "Origin")
MATRIX_KEYS = ("TransformMatrix", "Rotation", "Orientation")
BYTE_ORDER_KEYS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
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

CARRIED_KEY = re.compile(r"ITK_\w+|[0-9a-fA-F]{4}\|[0-9a-fA-F]{4}")
"""Notes and DICOM tags that ITK carries along; they do not change how voxels are read."""

LOCAL = "LOCAL"
"""What `ElementDataFile` says when the voxels follow in the same file."""

# Python takes digits of any script for numbers; those who write headers do not.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a MetaImage header says, checked; `data_offset` is used by `.mha` only."""

    size_irc: tuple[int, int, int]
    geometry: Geometry
    dtype: np.dtype[np.generic]
    packing: Packing
    data_file: str
    data_offset: int
    warnings: tuple[str, ...]


def read_metaimage(path: Path) -> Volume:
    """A `.mhd` with its data file, or a `.mha`. Raises InputError."""
    header = read_header(path)
    slices, rows, columns = header.size_irc
    expected = slices * rows * columns * header.dtype.itemsize
    local = header.data_file == LOCAL
    data = path if local else sibling(path, header.data_file)
    offset = header.data_offset if local else 0
    with open_stream(data, header.packing, offset=offset) as stream:
        stream.expect(expected)
        builder = HuBuilder(header.size_irc, path)
        hu_from_stream(stream, builder, header.dtype)
    return Volume(
        hu=builder.finish(),
        geometry=header.geometry,
        format="MetaImage",
        padding_voxels=builder.padding_voxels,
        warnings=header.warnings,
    )


def read_header(path: Path) -> Header:
    """The checked header of a `.mhd` or `.mha` file. Raises InputError."""
    if not path.is_file():  # opening a named pipe would wait for ever
        raise InputError("not a plain file", file=path, why="a folder, a device or a pipe")
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES + 1)
    fields, data_offset = _fields(start, path)
    return _Reading(fields, path).header(data_offset)


def _fields(start: bytes, path: Path) -> tuple[dict[str, str], int]:
    """Keys and values up to `ElementDataFile`, which is the last, and where that line ends."""
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", position)
        stop = len(start) if end < 0 else end
        if stop >= MAX_HEADER_BYTES or position >= len(start):
            why = "no ElementDataFile line" if start else "the file is empty"
            raise InputError("not a MetaImage header", file=path, why=why)
        line = start[position:stop]
        position = stop + 1
        if line.strip():
            key, value = _key_value(line, path)
            if key in fields:
                raise InputError("a key appears twice in the header", file=path, why=key)
            fields[key] = value
    if fields["ElementDataFile"] != LOCAL and start[position:].strip():
        raise InputError("the header goes on after ElementDataFile, its last line", file=path)
    return fields, position


def _key_value(line: bytes, path: Path) -> tuple[str, str]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("not a MetaImage header", file=path, why="it is not text") from error
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not (key in KNOWN_KEYS or CARRIED_KEY.fullmatch(key)):
        raise InputError(
            "the MetaImage header has a line that is not understood",
            file=path,
            why=repr(text.strip()[:60]),
        )
    return key, value


class _Reading:
    """The fields of one header on their way to a checked Header."""

    def __init__(self, fields: Mapping[str, str], path: Path) -> None:
        self._fields = fields
        self._path = path
        self._warnings: list[str] = []

    def header(self, data_offset: int) -> Header:
        self._check_kind()
        size_cri = self._whole_numbers("DimSize")
        if len(size_cri) != self._dimensions() or min(size_cri, default=0) < 1:
            raise self._refuse("DimSize is not one positive number for each axis", "DimSize")
        spacing = self._numbers("ElementSpacing")
        check_grid(size_cri[::-1], spacing, self._path)
        columns, rows, slices = size_cri
        return Header(
            size_irc=(slices, rows, columns),
            geometry=self._geometry((spacing[0], spacing[1], spacing[2])),
            dtype=self._dtype(),
            packing="zlib" if self._true("CompressedData") else "raw",
            data_file=self._data_file(),
            data_offset=data_offset,
            warnings=tuple(self._warnings),
        )

    def _check_kind(self) -> None:
        for key, wanted in (("ObjectType", "Image"), ("ElementNumberOfChannels", "1")):
            if self._fields.get(key, wanted) != wanted:
                raise self._refuse(f"{key} must be {wanted}", key)
        if self._fields.get("Modality", "MET_MOD_CT") not in ("MET_MOD_CT", "MET_MOD_UNKNOWN"):
            raise self._refuse("the image is not a CT", "Modality")
        if self._fields.get("DistanceUnits", "mm") not in ("mm", "?"):
            raise self._refuse("lengths must be in millimetres", "DistanceUnits")
        if self._fields.get("HeaderSize", "0") != "0":
            raise self._refuse("data files with a header of their own are not read", "HeaderSize")
        if "BinaryData" in self._fields and not self._true("BinaryData"):
            raise self._refuse("voxels stored as text are not read", "BinaryData")

    def _dimensions(self) -> int:
        counts = self._whole_numbers("NDims")
        if counts != (3,):
            raise self._refuse("the image is not 3-D", "NDims")
        return 3

    def _dtype(self) -> np.dtype[np.generic]:
        name = self._required("ElementType")
        if name not in DTYPES:
            raise self._refuse("voxels of this type are not read", "ElementType")
        big = any(self._true(key) for key in BYTE_ORDER_KEYS)
        return np.dtype((">" if big else "<") + DTYPES[name])

    def _data_file(self) -> str:
        name = self._required("ElementDataFile")
        if name.split()[0].upper() == "LIST":
            raise self._refuse(
                "a volume spread over a LIST of files is not read", "ElementDataFile"
            )
        return name

    def _geometry(self, spacing_xyz: tuple[float, float, float]) -> Geometry:
        matrix = self._one_of(MATRIX_KEYS, 9, IDENTITY_DIRECTION, "axes are taken as LPS")
        offset = self._one_of(
            OFFSET_KEYS, 3, (0.0, 0.0, 0.0), "positions in mm are not the scanner's"
        )
        # MetaIO writes one axis after the other; ITK's matrix has the axes as columns.
        direction = tuple(np.array(matrix).reshape(3, 3).T.ravel().tolist())
        try:
            return Geometry((offset[0], offset[1], offset[2]), spacing_xyz, direction)
        except InputError as error:
            raise InputError(error.what, file=self._path, why=error.why) from error

    def _one_of(
        self, keys: tuple[str, ...], count: int, default: tuple[float, ...], so: str
    ) -> tuple[float, ...]:
        present = [key for key in keys if key in self._fields]
        if len(present) > 1:
            raise self._refuse("the header says one thing twice", present[1])
        if not present:
            self._warnings.append(f"The header has no {keys[0]}: {so}.")
            return default
        numbers = self._numbers(present[0])
        if len(numbers) != count:
            raise self._refuse(f"{present[0]} must have {count} numbers", present[0])
        return numbers

    def _numbers(self, key: str) -> tuple[float, ...]:
        words = self._required(key).split()
        numbers = tuple(float(w) if NUMBER.fullmatch(w) else math.nan for w in words)
        if not numbers or not all(math.isfinite(n) for n in numbers):
            raise self._refuse(f"{key} holds something that is not a number", key)
        return numbers

    def _whole_numbers(self, key: str) -> tuple[int, ...]:
        words = self._required(key).split()
        if not all(WHOLE_NUMBER.fullmatch(w) for w in words):
            raise self._refuse(f"{key} holds something that is not a whole number", key)
        return tuple(int(w) for w in words)

    def _true(self, key: str) -> bool:
        word = self._fields.get(key, "False").lower()
        if word not in ("true", "false", "1", "0"):
            raise self._refuse(f"{key} must be True or False", key)
        return word in ("true", "1")

    def _required(self, key: str) -> str:
        value = self._fields.get(key, "")
        if not value:
            raise InputError(f"the MetaImage header has no {key}", file=self._path)
        return value

    def _refuse(self, what: str, key: str) -> InputError:
        return InputError(what, file=self._path, why=f"{key} = {self._fields.get(key, '')[:80]}")
