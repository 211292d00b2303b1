"""NIfTI: `.nii`, `.nii.gz`, and `.hdr` with its `.img`, in both versions.

nibabel reads the header; luna checks what it says and takes the voxels, slice by slice, with
the checksum that nibabel passes over (docs/decisions.md). NIfTI places voxels in RAS
millimetres; luna's geometry is LPS.
Source: nifti1.h and nifti2.h of the NIfTI Data Format Working Group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from luna.ct.formats.stream import Packing, VoxelStream, hu_from_stream, open_stream, sibling
from luna.ct.geometry import LARGEST_MM, Geometry
from luna.ct.volume import HuBuilder, Volume, check_grid
from luna.run.errors import InputError, naming

VERSIONS = {348: Nifti1PairHeader, 540: Nifti2PairHeader}
"""By the size of the header, which is its first number."""
SINGLE = {348: (b"n+1\0", 344, 352), 540: (b"n+2\0", 4, 544)}
"""The magic word of a file that holds its voxels, where it stands, and their first place."""
PAIR = {348: b"ni1\0", 540: b"ni2\0"}

DATA_OFFSET = 352
"""Where the voxels of a NIfTI-1 file begin that has no extensions."""
MAX_OFFSET = 1 << 24

MILLIMETRES, UNKNOWN_UNIT = 2, 0
SPACE_UNIT_BITS = 0x07
DTYPES = {
    **{2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"},
    **{1024: "i8", 1280: "u8"},
}

SAME_PLACE_MM = 0.05
"""sform and qform are float32 and one is often derived from the other; this is rounding."""

SAME_PLACE_VOX = 0.25
"""Tools shift one of the two by up to half a voxel of a coarser grid; beyond this they differ."""

SAME_SPACING = 1e-3
"""How far, as a share, the spacing of the sform may be from pixdim."""

GZIP_MARK = b"\x1f\x8b"

Affine = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of a header that say where the voxels are and what they mean."""

    shape_irc: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    single: bool
    data_offset: int
    slope: float
    intercept: float
    geometry: Geometry
    warnings: tuple[str, ...]


def read_nifti(path: Path) -> Volume:
    """Read the volume of a NIfTI file, or of the pair that a `.hdr` or `.img` belongs to.

    Raises InputError for a damaged or wrongly sized file, for anything but one 3-D volume in
    millimetres, and when sform and qform are both absent or disagree.
    """
    path = _header_file(path)
    with naming(path):
        return _read(path)


def _read(path: Path) -> Volume:
    with open_stream(path, _packing(path)) as stream:
        raw = _header_bytes(stream)
        header = _parse(raw)
        check_grid(header.shape_irc, header.geometry.spacing_xyz)
        builder = HuBuilder(header.shape_irc)
        if header.single:
            # Extensions between header and voxels hold notes only.
            stream.skip(header.data_offset - len(raw))
            _fill(stream, builder, header)
    if not header.single:
        suffix = ".img.gz" if path.name.lower().endswith(".gz") else ".img"
        data = sibling(path, path.name[: -len(suffix)] + suffix)
        with open_stream(data, _packing(data)) as stream:
            stream.skip(header.data_offset)
            _fill(stream, builder, header)
    return Volume(
        hu=builder.finish(),
        geometry=header.geometry,
        format="NIfTI",
        padding_voxels=builder.padding_voxels,
        warnings=header.warnings,
    )


def _header_file(path: Path) -> Path:
    name = path.name
    for suffix in (".img", ".img.gz"):
        if name.lower().endswith(suffix):
            return sibling(path, name[: -len(suffix)] + suffix.replace("img", "hdr"))
    return path


def _packing(path: Path) -> Packing:
    return "gzip" if path.name.lower().endswith(".gz") else "raw"


def _fill(stream: VoxelStream, builder: HuBuilder, header: Header) -> None:
    stream.expect(header.dtype.itemsize * math.prod(header.shape_irc))
    hu_from_stream(stream, builder, header.dtype, slope=header.slope, intercept=header.intercept)


def _header_bytes(stream: VoxelStream) -> bytes:
    start = bytes(stream.take(4))
    sizes = [int.from_bytes(start, order) for order in ("little", "big")]
    size = next((s for s in sizes if s in VERSIONS), 0)
    if not size:
        packed = start.startswith(GZIP_MARK)
        raise InputError(
            "not a NIfTI file",
            why="it is compressed with gzip" if packed else "it does not begin with a header",
            hint="name it .nii.gz" if packed else "convert it to .nii.gz",
        )
    return start + bytes(stream.take(size - len(start)))


def _parse(raw: bytes) -> Header:
    magic, at, first = SINGLE[len(raw)]
    found = raw[at : at + 4]
    if found not in (magic, PAIR[len(raw)]):
        raise InputError(
            "not a NIfTI file",
            why="an Analyze file does not say where left and right are",
            hint="convert the scan to .nii.gz from its source",
        )
    # Any: nibabel's headers carry no types.
    make: Any = VERSIONS[len(raw)]
    header = make(raw, check=False)
    dims = [int(n) for n in header["dim"]]
    if not (dims[0] == 3 or (3 < dims[0] <= 7 and all(n == 1 for n in dims[4 : dims[0] + 1]))):
        name = "NIfTI-1" if len(raw) == min(VERSIONS) else "NIfTI-2"
        raise InputError(f"the {name} volume has {dims[0]} dimensions, not 3")
    kind = int(header["datatype"])
    if kind not in DTYPES:
        raise InputError(f"NIfTI voxels of data type {kind} are not read")
    unit = int(header["xyzt_units"]) & SPACE_UNIT_BITS
    if unit not in (MILLIMETRES, UNKNOWN_UNIT):
        raise InputError("the coordinates are not in millimetres", why=f"unit {unit}")
    slope, intercept = _rescale(header)
    affine, warnings = _affine(header, dims)
    return Header(
        shape_irc=(dims[3], dims[2], dims[1]),
        dtype=np.dtype(header.endianness + DTYPES[kind]),
        single=found == magic,
        data_offset=_offset(float(header["vox_offset"]), first if found == magic else 0),
        slope=slope,
        intercept=intercept,
        geometry=_geometry(affine),
        warnings=warnings,
    )


def _offset(offset: float, first: int) -> int:
    if not first <= offset < MAX_OFFSET or offset != int(offset):
        raise InputError("the header gives an impossible data offset", why=f"{offset}")
    return int(offset)


def _rescale(header: Any) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0 or NaN means that there is no rescale."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise InputError("the rescale is not finite")
    return slope, intercept


def _affine(header: Any, dims: list[int]) -> tuple[Affine, tuple[str, ...]]:
    """Return the (3, 4) map from (column, row, index) to RAS mm: the sform, or else the qform."""
    forms = _forms(header)
    if not forms:
        raise InputError(
            "the file has no orientation",
            why="neither sform nor qform is set",
            hint="left and right are unknown; export the scan again with its orientation",
        )
    if not np.isfinite(forms).all() or np.abs(forms).max() > LARGEST_MM:
        raise InputError("the orientation is not finite, or beyond any scanner")
    spacing = np.linalg.norm(forms[0][:, :3], axis=0)
    pixdim = [float(v) for v in header["pixdim"][1:4]]
    if not np.allclose(spacing, pixdim, rtol=SAME_SPACING):
        raise InputError(
            "sform and pixdim disagree about the voxel spacing",
            why=f"pixdim {', '.join(f'{v:g}' for v in pixdim)}",
        )
    corners = np.array([*product(*((0, n - 1) for n in dims[1:4]), (1,))], dtype=np.float64)
    apart = np.abs(corners @ (forms[0] - forms[-1]).T)
    if apart.max() <= SAME_PLACE_MM:
        return forms[0], ()
    if (apart @ np.abs(forms[0][:, :3] / spacing) / spacing).max() > SAME_PLACE_VOX:
        raise InputError(
            "sform and qform disagree",
            why=f"by {apart.max():.3g} mm at a corner of the volume",
            hint="keep one of the two orientations",
        )
    return forms[0], (
        f"sform and qform are {apart.max():.2g} mm apart: the scan is placed by the sform.",
    )


def _forms(header: Any) -> list[Affine]:
    if header["pixdim"][0] == 0:  # no sign: as 1 (nifti1.h), where nibabel refuses
        header["pixdim"][0] = 1
    try:
        with np.errstate(all="ignore"):
            found = [header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]]
    except (HeaderDataError, ValueError) as error:
        raise InputError("the orientation is impossible", why=str(error)) from error
    return [np.asarray(form, dtype=np.float64)[:3] for form in found if form is not None]


def _geometry(affine_ras: Affine) -> Geometry:
    lps = affine_ras * np.array([[-1.0], [-1.0], [1.0]])
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    if not spacing.min() > 0:
        raise InputError("the orientation is singular")
    sx, sy, sz = spacing.tolist()
    x, y, z = lps[:, 3].tolist()
    return Geometry((x, y, z), (sx, sy, sz), tuple((lps[:, :3] / spacing).ravel().tolist()))
