"""MetaImage: a text header and raw or zlib-compressed voxels (LUNA16's format).

The header is parsed here and not by ITK, which takes missing spacing for 1 mm, prints data
file patterns through printf, and reads damaged compressed data without an error.
Source: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from luna.ct.formats.keys import (
    BYTE_ORDER_KEYS,
    FROM_SIDES,
    LOCAL,
    MATRIX_KEYS,
    MAX_HEADER_BYTES,
    OFFSET_KEYS,
    ORIENTATION_KEY,
    UNSTATED,
    fields_of,
    is_known,
)
from luna.ct.formats.stream import Packing, hu_from_stream, open_stream, sibling
from luna.ct.geometry import IDENTITY_DIRECTION, Geometry
from luna.ct.orient import orientation_code
from luna.ct.volume import HuBuilder, Volume, check_grid
from luna.run.errors import InputError, naming

DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # as MetaIO has it, whatever the machine's long is
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}

OPPOSITE = dict(zip("LRPASI", "RLAPIS", strict=True))

MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "?", "")

AT_THE_END = -1
"""The `HeaderSize` of a data file whose voxels are its last bytes."""

# Python takes digits of any script for numbers; those who write headers do not.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a MetaImage header says, checked.

    The voxels begin `skip_bytes` after byte `data_offset` of the data file; -1 means that they
    are its last.
    """

    size_irc: tuple[int, int, int]
    geometry: Geometry
    dtype: np.dtype[np.generic]
    packing: Packing
    data_file: str
    data_offset: int
    skip_bytes: int
    warnings: tuple[str, ...]


def read_metaimage(path: Path) -> Volume:
    """Read a `.mhd` with its data file, or a `.mha`. Raises InputError."""
    with naming(path):
        return _read(path)


def _read(path: Path) -> Volume:
    header = read_header(path)
    slices, rows, columns = header.size_irc
    expected = slices * rows * columns * header.dtype.itemsize
    data = path if header.data_file == LOCAL else sibling(path, header.data_file)
    with open_stream(data, header.packing, offset=header.data_offset) as stream:
        stream.skip(header.skip_bytes, before=expected)
        stream.expect(expected)
        builder = HuBuilder(header.size_irc)
        hu_from_stream(stream, builder, header.dtype)
    return Volume(
        hu=builder.finish(),
        geometry=header.geometry,
        format="MetaImage",
        padding_voxels=builder.padding_voxels,
        warnings=header.warnings,
    )


def read_header(path: Path) -> Header:
    """Read and check the header of a `.mhd` or `.mha` file. Raises InputError."""
    if not path.is_file():  # opening a named pipe would wait for ever
        raise InputError("not a plain file", file=path, why="a folder, a device or a pipe")
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES + 1)
    with naming(path):
        fields, data_offset = fields_of(start)
        return _Reading(fields).header(data_offset)


class _Reading:
    """The fields of one header on their way to a checked Header."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields
        self._warnings: list[str] = []

    def header(self, data_offset: int) -> Header:
        self._check_kind()
        self._note_unknown_keys()
        size_cri = self._whole_numbers("DimSize")
        if len(size_cri) != self._dimensions() or min(size_cri, default=0) < 1:
            raise self._refuse("DimSize is not one positive number for each axis", "DimSize")
        spacing = self._numbers("ElementSpacing")
        check_grid(size_cri[::-1], spacing)
        columns, rows, slices = size_cri
        return Header(
            size_irc=(slices, rows, columns),
            geometry=self._geometry((spacing[0], spacing[1], spacing[2])),
            dtype=self._dtype(),
            packing=self._packing(),
            data_file=self._data_file(),
            data_offset=data_offset if self._data_file() == LOCAL else 0,
            skip_bytes=self._skip_bytes(),
            warnings=tuple(self._warnings),
        )

    def _check_kind(self) -> None:
        for key, wanted in (("ObjectType", "Image"), ("ElementNumberOfChannels", "1")):
            if self._fields.get(key, wanted) != wanted:
                raise self._refuse(f"{key} must be {wanted}", key)
        if self._fields.get("Modality", "MET_MOD_CT") not in ("MET_MOD_CT", "MET_MOD_UNKNOWN"):
            raise self._refuse("the image is not a CT", "Modality")
        if self._fields.get("DistanceUnits", "mm").lower() not in MILLIMETRES:
            raise self._refuse("lengths must be in millimetres", "DistanceUnits")

    def _note_unknown_keys(self) -> None:
        unknown = [key for key in self._fields if not is_known(key)]
        if unknown:
            names = ", ".join(unknown[:4]) + (", …" if len(unknown) > 4 else "")
            self._warnings.append(f"The header has keys that luna does not know: {names}.")

    def _packing(self) -> Packing:
        as_text = "BinaryData" in self._fields and not self._true("BinaryData")
        if as_text and self._true("CompressedData"):
            raise self._refuse("voxels are stored as text and compressed", "BinaryData")
        return "text" if as_text else "zlib" if self._true("CompressedData") else "raw"

    def _skip_bytes(self) -> int:
        if "HeaderSize" not in self._fields:
            return 0
        sizes = self._whole_numbers("HeaderSize")
        packed = self._packing() != "raw"
        if len(sizes) != 1 or sizes[0] < AT_THE_END or (packed and sizes[0] != 0):
            raise self._refuse("the header of the data file cannot be passed over", "HeaderSize")
        return sizes[0]

    def _dimensions(self) -> int:
        counts = self._whole_numbers("NDims")
        if counts != (3,):
            raise self._refuse("the image is not 3-D", "NDims")
        return 3

    def _dtype(self) -> np.dtype[np.generic]:
        name = self._required("ElementType")
        if name not in DTYPES:
            raise self._refuse("voxels of this type are not read", "ElementType")
        if self._packing() == "text":
            return np.dtype(np.float64)
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
        self._check_orientation_has_matrix()
        matrix = self._one_of(MATRIX_KEYS, 9, IDENTITY_DIRECTION, "axes are taken as LPS")
        offset = self._one_of(
            OFFSET_KEYS, 3, (0.0, 0.0, 0.0), "positions in mm are not the scanner's"
        )
        # MetaIO writes one axis after the other; ITK's matrix has the axes as columns.
        direction = tuple(np.array(matrix).reshape(3, 3).T.ravel().tolist())
        geometry = Geometry((offset[0], offset[1], offset[2]), spacing_xyz, direction)
        self._compare_orientation(geometry)
        return geometry

    def _stated_orientation(self) -> str:
        stated = self._fields.get(ORIENTATION_KEY, "").upper()
        return "" if stated in UNSTATED else stated

    def _check_orientation_has_matrix(self) -> None:
        """Raise InputError where only a word says how the axes lie, and other than by default."""
        given = any(key in self._fields for key in MATRIX_KEYS)
        if not given and self._stated_orientation() not in ("", FROM_SIDES):
            raise self._refuse("the axes are named, but no matrix says so", ORIENTATION_KEY)

    def _compare_orientation(self, geometry: Geometry) -> None:
        sides = "".join(OPPOSITE[letter] for letter in orientation_code(geometry))
        if self._stated_orientation() not in ("", sides):
            self._warnings.append(
                f"AnatomicalOrientation says {self._stated_orientation()[:8]}, the matrix says "
                f"{sides}: the matrix was taken."
            )

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
            raise InputError(f"the MetaImage header has no {key}")
        return value

    def _refuse(self, what: str, key: str) -> InputError:
        return InputError(what, why=f"{key} = {self._fields.get(key, '')[:80]}")
