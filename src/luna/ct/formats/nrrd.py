"""NRRD: `.nrrd`, and `.nhdr` with its data beside it.

Source: the NRRD file format definition (teem.sourceforge.net/nrrd/format.html), the part of
it that 3-D scans use; what is beyond that is refused.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from luna.ct.geometry import Geometry
from luna.ct.stream import Packing, hu_from_stream, open_stream, sibling
from luna.ct.volume import HuBuilder, Volume, check_grid
from luna.run.errors import InputError

HEADER_BYTES_MAX = 1 << 16
MAGIC = re.compile(rb"NRRD000[1-5]\r?\n")

DTYPES = {
    **dict.fromkeys(("int8", "int8_t", "signed char"), "i1"),
    **dict.fromkeys(("uint8", "uint8_t", "uchar", "unsigned char"), "u1"),
    **dict.fromkeys(("int16", "int16_t", "short", "short int", "signed short"), "i2"),
    **dict.fromkeys(("uint16", "uint16_t", "ushort", "unsigned short"), "u2"),
    **dict.fromkeys(("int32", "int32_t", "int", "signed int"), "i4"),
    **dict.fromkeys(("uint32", "uint32_t", "uint", "unsigned int"), "u4"),
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
ENCODINGS: dict[str, Packing] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
KNOWN_FIELDS = {
    *("dimension", "type", "sizes", "endian", "encoding", "data file", "datafile", "content"),
    *("space", "space directions", "space origin", "space units", "space dimension", "kinds"),
    *("line skip", "lineskip", "byte skip", "byteskip", "measurement frame", "labels", "units"),
    *("centers", "centerings", "thicknesses", "spacings", "min", "max", "old min", "old max"),
}

VECTOR = re.compile(r"\(([^()]*)\)")


def read_nrrd(path: Path) -> Volume:
    """The volume of a NRRD file.

    Raises InputError for a damaged or wrongly sized file, for anything but one 3-D volume,
    and when it does not say where it lies in the patient.
    """
    fields, offset = _read_header(path)
    shape_irc, dtype = _layout(fields, path)
    name = fields.get("data file", fields.get("datafile"))
    data_path = sibling(path, name) if name is not None else path
    encoding = fields.get("encoding", "").lower()
    if encoding not in ENCODINGS:
        raise InputError(f"NRRD encoding {encoding[:20]!r} is not read", file=path)
    geometry = _geometry(fields, path)
    check_grid(shape_irc, geometry.spacing_xyz, path)
    start = offset if name is None else 0
    with open_stream(data_path, ENCODINGS[encoding], offset=start) as stream:
        stream.expect(dtype.itemsize * math.prod(shape_irc))
        builder = HuBuilder(shape_irc, path)
        hu_from_stream(stream, builder, dtype)
    return Volume(
        hu=builder.finish(),
        geometry=geometry,
        format="NRRD",
        padding_voxels=builder.padding_voxels,
    )


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Fields by lower-case name, and where the data begins: after the first empty line."""
    with path.open("rb") as stream:
        start = stream.read(HEADER_BYTES_MAX)
    magic = MAGIC.match(start)
    if magic is None:
        raise InputError("not a NRRD file", file=path)
    end = re.compile(rb"\r?\n\r?\n").search(start)
    if end is None and path.suffix.lower() != ".nhdr":
        raise InputError("the NRRD header has no end", file=path)
    stop = end.start() if end else len(start)
    fields: dict[str, str] = {}
    for line in start[magic.end() : stop].decode("utf-8", errors="replace").splitlines():
        if line.startswith("#") or ":=" in line or not line.strip():
            continue
        key, separator, value = line.partition(":")
        key = key.strip().lower()
        if not separator or key in fields or key not in KNOWN_FIELDS:
            raise InputError("the NRRD header is malformed", file=path, why=line[:80])
        fields[key] = value.strip()
    return fields, end.end() if end else len(start)


def _layout(
    fields: dict[str, str], path: Path
) -> tuple[tuple[int, int, int], np.dtype[np.generic]]:
    sizes = fields.get("sizes", "").split()
    if fields.get("dimension") != "3" or len(sizes) != 3:
        raise InputError(
            f"the volume has {fields.get('dimension', 'no')} dimensions, not 3", file=path
        )
    if not all(size.isascii() and size.isdigit() and len(size) < 10 for size in sizes):
        raise InputError("the sizes are impossible", file=path, why=" ".join(sizes)[:80])
    columns, rows, slices = (int(size) for size in sizes)
    kind = fields.get("type", "")
    if kind not in DTYPES:
        raise InputError(f"NRRD voxels of type {kind[:40]!r} are not read", file=path)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    dtype = np.dtype((order or "<") + DTYPES[kind])
    if order is None and dtype.itemsize > 1:
        raise InputError("the NRRD header does not say its byte order", file=path)
    for skip in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(skip, "0") != "0":
            raise InputError(f"a NRRD with a {skip} is not read", file=path)
    return (slices, rows, columns), dtype


def _geometry(fields: dict[str, str], path: Path) -> Geometry:
    space = fields.get("space", "").lower()
    if space not in SPACES:
        raise InputError(
            "the file has no orientation",
            file=path,
            why=f"its space is {space[:40]!r}",
            hint="left and right cannot be told; export the scan again with its orientation",
        )
    unit = fields.get("space units", '"mm" "mm" "mm"')
    if set(re.findall(r'"([^"]*)"', unit)) - {"mm", ""}:
        raise InputError("the coordinates are not in millimetres", file=path, why=unit[:60])
    axes = _vectors(fields.get("space directions", ""), 3, "space directions", path)
    (origin,) = _vectors(fields.get("space origin", ""), 1, "space origin", path)
    signs = np.array(SPACES[space], dtype=np.float64)
    columns = (axes * signs).T
    spacing = np.linalg.norm(columns, axis=0)
    if not spacing.min() > 0:
        raise InputError("the orientation is singular", file=path)
    sx, sy, sz = spacing.tolist()
    x, y, z = (origin * signs).tolist()
    try:
        return Geometry((x, y, z), (sx, sy, sz), tuple((columns / spacing).ravel().tolist()))
    except InputError as error:
        raise InputError(error.what, file=path, why=error.why) from error


def _vectors(
    text: str, count: int, name: str, path: Path
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """`count` vectors written (a,b,c), as (count, 3)."""
    try:
        vectors = np.array(
            [[float(v) for v in vector.split(",")] for vector in VECTOR.findall(text)]
        )
    except ValueError as error:
        raise InputError(f"{name} is not made of vectors", file=path, why=text[:80]) from error
    if vectors.shape != (count, 3) or not np.isfinite(vectors).all():
        raise InputError(f"{name} is not {count} vectors of 3 numbers", file=path, why=text[:80])
    return vectors
