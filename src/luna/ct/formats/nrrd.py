"""NRRD: `.nrrd`, and `.nhdr` with its data beside it.

The header is parsed here: pynrrd takes notes (`key:=value`) for fields and drops what is no
ASCII, and ITK passes over units, kinds and spacings (docs/decisions.md).
Source: the NRRD file format definition (teem.sourceforge.net/nrrd/format.html), the part of
it that 3-D scans use; what is beyond that is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from luna.ct.formats.stream import Packing, hu_from_stream, open_stream, sibling
from luna.ct.geometry import FloatArray, Geometry
from luna.ct.volume import HuBuilder, Volume, check_grid
from luna.run.errors import InputError, naming

HEADER_BYTES_MAX = 1 << 16
MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")

DTYPES = {
    **dict.fromkeys(("int8", "int8_t", "signed char"), "i1"),
    **dict.fromkeys(("uint8", "uint8_t", "uchar", "unsigned char"), "u1"),
    **dict.fromkeys(("int16", "int16_t", "short", "short int", "signed short"), "i2"),
    "signed short int": "i2",
    "unsigned short int": "u2",
    **dict.fromkeys(("uint16", "uint16_t", "ushort", "unsigned short"), "u2"),
    **dict.fromkeys(("int32", "int32_t", "int", "signed int"), "i4"),
    **dict.fromkeys(("uint32", "uint32_t", "uint", "unsigned int"), "u4"),
    **dict.fromkeys(("int64", "int64_t", "longlong", "long long", "long long int"), "i8"),
    **dict.fromkeys(("signed long long", "signed long long int"), "i8"),
    **dict.fromkeys(("uint64", "uint64_t", "ulonglong", "unsigned long long"), "u8"),
    "unsigned long long int": "u8",
    "float": "f4",
    "double": "f8",
}
# Signs that take each space to LPS.
SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
ENCODINGS: dict[str, Packing] = {
    "raw": "raw",
    **dict.fromkeys(("gzip", "gz"), "gzip"),
    **dict.fromkeys(("bzip2", "bz2"), "bzip2"),
    **dict.fromkeys(("ascii", "text", "txt"), "text"),
    "hex": "hex",
}
KNOWN_FIELDS = {
    *("dimension", "type", "sizes", "endian", "encoding", "data file", "datafile", "content"),
    *("space", "space directions", "space origin", "space units", "space dimension", "kinds"),
    *("line skip", "lineskip", "byte skip", "byteskip", "measurement frame", "labels", "units"),
    *("centers", "centerings", "thicknesses", "spacings", "min", "max", "old min", "old max"),
    *("oldmin", "oldmax", "axis mins", "axismins", "axis maxs", "axismaxs", "block size"),
    *("blocksize", "number", "sample units", "sampleunits"),
}

SPATIAL_KINDS = {"domain", "space", "???", "none", ""}
MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", "???", "none", ""}
HOUNSFIELD = {"hu", "hounsfield", "hounsfield units", "hounsfield unit", "???", ""}

SAME_SPACING = 1e-3
"""How far, as a share, a spacing that is stated twice may differ."""

VECTOR = re.compile(r"\(([^()]*)\)|\bnone\b")
WORD = re.compile(r'"([^"]*)"|(\S+)')


@dataclass(frozen=True, slots=True)
class _Axes:
    """The three axes of space among those of the file, and how many voxels each has."""

    kept: tuple[int, ...]
    shape_irc: tuple[int, int, int]
    vectors: FloatArray


def read_nrrd(path: Path) -> Volume:
    """Read the volume of a NRRD file.

    Raises InputError for a damaged or wrongly sized file, for anything but one 3-D volume,
    and when it does not say where it lies in the patient.
    """
    with naming(path):
        return _read(path)


def _read(path: Path) -> Volume:
    fields, offset = _read_header(path)
    axes = _axes(fields)
    _check_contradictions(fields, axes)
    geometry = _geometry(fields, axes)
    check_grid(axes.shape_irc, geometry.spacing_xyz)
    name = fields.get("data file", fields.get("datafile"))
    data_path = sibling(path, name) if name is not None else path
    packing = _packing(fields)
    dtype = _dtype(fields, packing)
    expected = dtype.itemsize * math.prod(axes.shape_irc)
    with open_stream(data_path, packing, offset=offset if name is None else 0) as stream:
        stream.skip(_byte_skip(fields), before=expected)
        stream.expect(expected)
        builder = HuBuilder(axes.shape_irc)
        hu_from_stream(stream, builder, dtype)
    return Volume(
        hu=builder.finish(),
        geometry=geometry,
        format="NRRD",
        padding_voxels=builder.padding_voxels,
    )


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return fields by lower-case name, and where the data begins: after the first empty line."""
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES_MAX)
    magic = MAGIC.match(start)
    if magic is None:
        raise InputError("not a NRRD file")
    end = re.compile(rb"\r?\n\r?\n").search(start)
    if end is None and path.suffix.lower() != ".nhdr":
        raise InputError("the NRRD header has no end")
    stop = end.start() if end else len(start)
    fields: dict[str, str] = {}
    for line in start[magic.end() : stop].decode("utf-8", errors="replace").splitlines():
        if line.startswith("#") or ":=" in line or not line.strip():
            continue
        key, separator, value = line.partition(":")
        key = key.strip().lower()
        if not separator or key in fields or key not in KNOWN_FIELDS:
            raise InputError("the NRRD header is malformed", why=line[:80])
        fields[key] = value.strip()
    return fields, end.end() if end else len(start)


def _axes(fields: dict[str, str]) -> _Axes:
    """Return the axes of space. Further ones are dropped where they hold a single voxel."""
    sizes = fields.get("sizes", "").split()
    dimension = fields.get("dimension", "no")
    if dimension != str(len(sizes)) or len(sizes) < 3:
        raise InputError(f"the volume has {dimension[:20]} dimensions, not 3")
    if not all(size.isascii() and size.isdigit() and len(size) < 10 for size in sizes):
        raise InputError("the sizes are impossible", why=" ".join(sizes)[:80])
    if sum(size != "1" for size in sizes) > 3:
        raise InputError(f"the volume has {len(sizes)} dimensions, not 3", why=" ".join(sizes)[:80])
    _check_space(fields)
    vectors = _vectors(fields.get("space directions", ""), len(sizes), "space directions")
    placed = [k for k in range(len(sizes)) if np.isfinite(vectors[k]).all()]
    others = [k for k in range(len(sizes)) if k not in placed]
    if len(placed) != 3 or any(sizes[k] != "1" for k in others):
        raise InputError(
            "the space directions are not of 3 axes",
            why=f"{len(placed)} of {len(sizes)} axes have one",
        )
    columns, rows, slices = (int(sizes[k]) for k in placed)
    return _Axes(tuple(placed), (slices, rows, columns), vectors[placed])


def _check_space(fields: dict[str, str]) -> None:
    space = fields.get("space", "").lower()
    if space not in SPACES:
        raise InputError(
            "the file has no orientation",
            why=f"its space is {space[:40]!r}",
            hint="left and right are unknown; export the scan again with its orientation",
        )


def _check_contradictions(fields: dict[str, str], axes: _Axes) -> None:
    """Raise InputError for units, kinds and spacings that contradict a volume in millimetres."""
    units = {*_words(fields, "space units"), *_words(fields, "units", axes.kept)}
    if {unit.lower() for unit in units} - MILLIMETRES:
        why = ", ".join(sorted(units))[:60]
        raise InputError("the coordinates are not in millimetres", why=why)
    sample = fields.get("sample units", fields.get("sampleunits", "")).strip('"')
    if sample.lower() not in HOUNSFIELD:
        raise InputError("the values are not Hounsfield units", why=sample[:60])
    kinds = [kind.lower() for kind in _words(fields, "kinds", axes.kept)]
    if set(kinds) - SPATIAL_KINDS:
        raise InputError("an axis has no direction in space", why=" ".join(kinds)[:60])
    lengths = np.linalg.norm(axes.vectors, axis=1)
    for word, length in zip(_words(fields, "spacings", axes.kept), lengths, strict=False):
        if not _agrees(word, float(length)):
            raise InputError(
                "spacings and space directions contradict each other",
                why=f"spacings {fields['spacings'][:60]}",
            )


def _agrees(word: str, length_mm: float) -> bool:
    """Return whether a spacing is that of the directions; NaN says nothing."""
    try:
        spacing = float(word)
    except ValueError:
        return False
    return math.isnan(spacing) or abs(spacing - length_mm) <= SAME_SPACING * length_mm


def _words(fields: dict[str, str], name: str, kept: tuple[int, ...] = ()) -> list[str]:
    """Return the words of a field, quoted or not; only those of some axes, where it has all."""
    words = [quoted or bare for quoted, bare in WORD.findall(fields.get(name, ""))]
    return [words[k] for k in kept] if kept and len(words) > max(kept) else words


def _packing(fields: dict[str, str]) -> Packing:
    encoding = fields.get("encoding", "").lower()
    if encoding not in ENCODINGS:
        raise InputError(f"NRRD encoding {encoding[:20]!r} is not read")
    return ENCODINGS[encoding]


def _dtype(fields: dict[str, str], packing: Packing) -> np.dtype[np.generic]:
    kind = fields.get("type", "").lower()
    if kind not in DTYPES:
        raise InputError(f"NRRD voxels of type {kind[:40]!r} are not read")
    if packing == "text":
        return np.dtype(np.float64)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    dtype = np.dtype((order or "<") + DTYPES[kind])
    if order is None and dtype.itemsize > 1:
        raise InputError("the NRRD header does not say its byte order")
    return dtype


def _byte_skip(fields: dict[str, str]) -> int:
    if fields.get("line skip", fields.get("lineskip", "0")) != "0":
        raise InputError("a NRRD with a line skip is not read")
    text = fields.get("byte skip", fields.get("byteskip", "0"))
    if not re.fullmatch(r"-1|[0-9]{1,9}", text, re.ASCII):
        raise InputError("the byte skip is not understood", why=text[:40])
    return int(text)


def _geometry(fields: dict[str, str], axes: _Axes) -> Geometry:
    signs = np.array(SPACES[fields["space"].lower()], dtype=np.float64)
    (origin,) = _vectors(fields.get("space origin", ""), 1, "space origin")
    columns = (axes.vectors * signs).T
    spacing = np.linalg.norm(columns, axis=0)
    if not spacing.min() > 0:
        raise InputError("the orientation is singular")
    sx, sy, sz = spacing.tolist()
    x, y, z = (origin * signs).tolist()
    try:
        return Geometry((x, y, z), (sx, sy, sz), tuple((columns / spacing).ravel().tolist()))
    except InputError as error:
        raise InputError(error.what, why=error.why) from error


def _vectors(text: str, count: int, name: str) -> FloatArray:
    """Return `count` vectors written (a,b,c), as (count, 3); an axis without one is NaN."""
    fault = InputError(f"{name} is not {count} vectors of 3 numbers", why=text[:80])
    found = [match.group(1) for match in VECTOR.finditer(text)]
    try:
        vectors = [[float(v) for v in (v or "nan,nan,nan").split(",")] for v in found]
    except ValueError as error:
        raise fault from error
    if len(vectors) != count or any(len(vector) != 3 for vector in vectors):
        raise fault
    written = np.array([v for v, t in zip(vectors, found, strict=True) if t is not None])
    if not np.isfinite(written).all() or (count == 1 and not len(written)):
        raise fault
    return np.array(vectors, dtype=np.float64)
