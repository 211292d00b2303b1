"""NIfTI-1: `.nii` and `.nii.gz`.

Source: the NIfTI-1 header definition (nifti1.h) of the NIfTI Data Format Working Group.
NIfTI places voxels in RAS millimetres; luna's geometry is LPS.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Geometry
from luna.ct.stream import Packing, hu_from_stream, open_stream
from luna.ct.volume import HuBuilder, Volume, check_grid
from luna.run.errors import InputError

HEADER_BYTES = 348
DATA_OFFSET = 352
MILLIMETRES, UNKNOWN_UNIT = 2, 0
DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}

SAME_PLACE_MM = 0.05
"""sform and qform are float32 and one is often derived from the other; this is rounding."""

SAME_SPACING = 1e-3
"""How far, as a share, the spacing of the sform may be from pixdim."""

Affine = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a header that say where the voxels are and what they mean."""

    shape_irc: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    data_offset: int
    slope: float
    intercept: float
    affine_ras: Affine


def read_nifti(path: Path) -> Volume:
    """The volume of a NIfTI-1 file.

    Raises InputError for a damaged or wrongly sized file, for anything but one 3-D volume in
    millimetres, and when sform and qform are both absent or disagree.
    """
    packing: Packing = "gzip" if path.name.lower().endswith(".gz") else "raw"
    with open_stream(path, packing) as stream:
        header = _parse(bytes(stream.take(HEADER_BYTES)), path)
        geometry = _geometry(header.affine_ras, path)
        check_grid(header.shape_irc, geometry.spacing_xyz, path)
        # Extensions between header and voxels hold notes only.
        stream.take(header.data_offset - HEADER_BYTES)
        stream.expect(header.dtype.itemsize * math.prod(header.shape_irc))
        builder = HuBuilder(header.shape_irc, path)
        hu_from_stream(
            stream, builder, header.dtype, slope=header.slope, intercept=header.intercept
        )
    return Volume(
        hu=builder.finish(),
        geometry=geometry,
        format="NIfTI",
        padding_voxels=builder.padding_voxels,
    )


def _parse(raw: bytes, path: Path) -> Header:
    order = next((o for o in "<>" if struct.unpack_from(o + "i", raw)[0] == HEADER_BYTES), None)
    if order is None or raw[344:348] != b"n+1\0":
        raise InputError(
            "not a single-file NIfTI-1",
            file=path,
            hint="convert NIfTI-2 or .hdr/.img pairs to .nii.gz",
        )
    dims = struct.unpack_from(order + "8h", raw, 40)
    if not (dims[0] == 3 or (3 < dims[0] <= 7 and all(n == 1 for n in dims[4 : dims[0] + 1]))):
        raise InputError(f"the volume has {dims[0]} dimensions, not 3", file=path)
    shape_irc = (dims[3], dims[2], dims[1])
    kind = struct.unpack_from(order + "h", raw, 70)[0]
    if kind not in DTYPES:
        raise InputError(f"NIfTI voxels of data type {kind} are not read", file=path)
    pixdim = struct.unpack_from(order + "8f", raw, 76)
    offset, slope, intercept = struct.unpack_from(order + "3f", raw, 108)
    if not (DATA_OFFSET <= offset < 1 << 24) or offset != int(offset):
        raise InputError("the header gives an impossible data offset", file=path, why=f"{offset}")
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError("the rescale is not finite", file=path)
    unit = raw[123] & 0x07
    if unit not in (MILLIMETRES, UNKNOWN_UNIT):
        raise InputError("the coordinates are not in millimetres", file=path, why=f"unit {unit}")
    return Header(
        shape_irc,
        np.dtype(order + DTYPES[kind]),
        int(offset),
        # A slope of 0 means that there is no rescale (nifti1.h).
        slope if slope else 1.0,
        intercept if slope else 0.0,
        _affine(raw, order, dims, pixdim, path),
    )


def _affine(
    raw: bytes, order: str, dims: tuple[int, ...], pixdim: tuple[float, ...], path: Path
) -> Affine:
    """The (3, 4) map from (column, row, index) to RAS mm: the sform, or else the qform."""
    qform_code, sform_code = struct.unpack_from(order + "2h", raw, 252)
    quaternion = struct.unpack_from(order + "6f", raw, 256)
    rows = struct.unpack_from(order + "12f", raw, 280)
    sform = np.array(rows, dtype=np.float64).reshape(3, 4)
    qform = _qform(quaternion, pixdim)
    forms = [form for form, code in ((sform, sform_code), (qform, qform_code)) if code > 0]
    if not forms:
        raise InputError(
            "the file has no orientation",
            file=path,
            why="neither sform nor qform is set",
            hint="left and right cannot be told; export the scan again with its orientation",
        )
    if not np.isfinite(forms).all():
        raise InputError("the orientation is not finite", file=path)
    corners = np.array([*product(*((0, n - 1) for n in dims[1:4]), (1,))], dtype=np.float64)
    apart_mm = float(np.abs(corners @ (forms[0] - forms[-1]).T).max())
    if apart_mm > SAME_PLACE_MM:
        raise InputError(
            "sform and qform disagree",
            file=path,
            why=f"by {apart_mm:.3g} mm at a corner of the volume",
            hint="keep one of the two orientations",
        )
    spacing = np.linalg.norm(forms[0][:, :3], axis=0)
    if not np.allclose(spacing, pixdim[1:4], rtol=SAME_SPACING):
        raise InputError(
            "sform and pixdim disagree about the voxel spacing",
            file=path,
            why=f"pixdim {', '.join(f'{v:g}' for v in pixdim[1:4])}",
        )
    return forms[0]


def _qform(quaternion: tuple[float, ...], pixdim: tuple[float, ...]) -> Affine:
    """Method 2 of nifti1.h: a unit quaternion (its first part implied), spacing and offset."""
    b, c, d, x, y, z = (float(v) for v in quaternion)
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    handed = -1.0 if pixdim[0] < 0 else 1.0
    scale = np.array([pixdim[1], pixdim[2], pixdim[3] * handed], dtype=np.float64)
    return np.column_stack([rotation * scale, [x, y, z]])


def _geometry(affine_ras: Affine, path: Path) -> Geometry:
    lps = affine_ras * np.array([[-1.0], [-1.0], [1.0]])
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    if not spacing.min() > 0:
        raise InputError("the orientation is singular", file=path)
    sx, sy, sz = spacing.tolist()
    x, y, z = lps[:, 3].tolist()
    try:
        return Geometry((x, y, z), (sx, sy, sz), tuple((lps[:, :3] / spacing).ravel().tolist()))
    except InputError as error:
        raise InputError(error.what, file=path, why=error.why) from error
