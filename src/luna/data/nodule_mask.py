"""Which voxels belong to an annotated nodule, from its centre and diameter.

LUNA16 gives a point and a diameter per nodule. Segmentation is trained on voxels, so they
have to be made up: as the book does, or bounded by the annotation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from luna.ct.geometry import FloatArray
from luna.ct.mask import BoxMask
from luna.ct.scan import HuArray, Scan

MaskMethod = Literal["bounded", "book"]

BOOK_THRESHOLD_HU = -700
BOOK_FIRST_RADIUS_VOX = 2

REACH = 1.15
"""Share of the annotated radius up to which a voxel may belong to the nodule.

Readers draw to whole voxels, and a nodule is longer one way than the other.
"""

LUNG_HU = -860.0
"""What surrounds a nodule where the shell around it holds no lung at all."""

THRESHOLD_RANGE_HU = (-750.0, -250.0)
"""The half-way attenuation of faint ground glass, and of dense tissue, against lung."""

CORE_SHARE = 0.75
"""The part of the radius over which a nodule's own attenuation is taken."""

CORE_PERCENTILE = 25
"""Below the median, so that the rim of a part-solid nodule counts against its core."""

VESSEL_RADIUS_MM = 2.5
"""Dense tissue outside the annotated sphere that is thicker than this is no vessel."""


def nodule_mask(
    scan: Scan, centers_xyz: ArrayLike, diameters_mm: ArrayLike, method: MaskMethod = "bounded"
) -> NDArray[np.bool_]:
    """Return all nodules of a scan in one mask of its shape.

    `centers_xyz` (M, 3) in LPS mm, `diameters_mm` (M,). Nodules whose centre lies outside
    the volume leave nothing.
    """
    mask = np.zeros(scan.shape_irc, dtype=np.bool_)
    centers = np.asarray(centers_xyz, dtype=np.float64).reshape(-1, 3)
    for center, diameter in zip(centers, np.ravel(np.asarray(diameters_mm)), strict=True):
        nodule = nodule_voxels(scan, center, float(diameter), method)
        mask[nodule.slices] |= nodule.voxels
    return mask


def nodule_voxels(
    scan: Scan, center_xyz: ArrayLike, diameter_mm: float, method: MaskMethod = "bounded"
) -> BoxMask:
    """Return the voxels of one nodule; none when its centre lies outside the volume."""
    center_irc = scan.geometry.irc_from_xyz(center_xyz)
    nearest = np.rint(center_irc).astype(int)
    if (nearest < 0).any() or (nearest >= scan.hu.shape).any():
        return BoxMask((0, 0, 0), np.zeros((0, 0, 0), dtype=np.bool_))
    if method == "book":
        return _book(scan.hu, nearest)
    return _bounded(scan, center_irc, diameter_mm)


def _book(hu: HuArray, center: NDArray[np.int_]) -> BoxMask:
    """Grow a box from the centre along each axis, keep what is over -700 HU in it.

    Where the growth leaves the volume it takes one step back. Source: chapter 13.
    """
    radius = np.array([_book_radius(hu, center, axis) for axis in range(3)])
    low = np.maximum(center - radius, 0)
    high = np.minimum(center + radius + 1, hu.shape)
    i, r, c = (int(v) for v in low)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return BoxMask((i, r, c), hu[box] > BOOK_THRESHOLD_HU)


def _book_radius(hu: HuArray, center: NDArray[np.int_], axis: int) -> int:
    """Return the steps from the centre along one axis until either end is lung."""
    line = np.moveaxis(hu, axis, 0)[(slice(None), *np.delete(center, axis))]
    at = int(center[axis])
    radius = BOOK_FIRST_RADIUS_VOX
    while at >= radius and at + radius < len(line):
        if min(line[at + radius], line[at - radius]) <= BOOK_THRESHOLD_HU:
            return radius
        radius += 1
    return radius - 1


def _bounded(scan: Scan, center_irc: FloatArray, diameter_mm: float) -> BoxMask:
    """Return voxels denser than half way between nodule and lung, near enough and of one piece.

    No voxel lies further than REACH radii from the centre. Vessels that leave the nodule
    are cut by an opening, and the chest wall as what is thick outside the sphere.
    """
    spacing = np.array(scan.geometry.spacing_irc)
    radius_mm = max(diameter_mm / 2, 0.5)
    margin = np.ceil((2 * radius_mm + 3) / spacing).astype(int)
    nearest = np.rint(center_irc).astype(int)
    low = np.maximum(nearest - margin, 0)
    high = np.minimum(nearest + margin + 1, scan.hu.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    hu = scan.hu[box].astype(np.float32)
    distance_mm = _distance(low, high, center_irc, spacing)
    dense = hu > _half_way(hu, distance_mm, radius_mm)
    near = distance_mm <= REACH * radius_mm + spacing.min() / 2
    own = dense & near & ~_wall(dense, distance_mm, radius_mm, spacing)
    voxels = _central_piece(_opened(own, radius_mm, spacing), own, distance_mm)
    i, r, c = (int(v) for v in low)
    return BoxMask((i, r, c), voxels)


def _distance(
    low: NDArray[np.int_], high: NDArray[np.int_], center: FloatArray, spacing: FloatArray
) -> FloatArray:
    """Return the distance in mm of every voxel of a box from a point."""
    squares = [
        ((np.arange(a, b) - c) * s) ** 2
        for a, b, c, s in zip(low, high, center, spacing, strict=True)
    ]
    total = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :]
    return np.asarray(np.sqrt(total), dtype=np.float64)


def _half_way(hu: NDArray[np.float32], distance_mm: FloatArray, radius_mm: float) -> float:
    """Return the attenuation at which blur puts the border of a nodule of this size."""
    core = hu[distance_mm <= max(CORE_SHARE * radius_mm, distance_mm.min())]
    shell = hu[(distance_mm > 1.2 * radius_mm) & (hu < -600)]
    lung = float(np.median(shell)) if shell.size else LUNG_HU
    middle = 0.5 * (float(np.percentile(core, CORE_PERCENTILE)) + lung)
    return float(np.clip(middle, *THRESHOLD_RANGE_HU))


def _wall(
    dense: NDArray[np.bool_], distance_mm: FloatArray, radius_mm: float, spacing: FloatArray
) -> NDArray[np.bool_]:
    """Return dense voxels that belong to thick tissue outside the annotated sphere."""
    outside = dense & (distance_mm > REACH * radius_mm)
    depth = ndimage.distance_transform_edt(outside, sampling=spacing)
    thick = depth > VESSEL_RADIUS_MM  # chest wall, heart or diaphragm
    if not thick.any():
        return np.zeros_like(dense)
    reach = ndimage.distance_transform_edt(~thick, sampling=spacing)
    return np.asarray(reach <= VESSEL_RADIUS_MM, dtype=np.bool_)


def _opened(own: NDArray[np.bool_], radius_mm: float, spacing: FloatArray) -> NDArray[np.bool_]:
    """Return `own` without what is thinner than about two thirds of the radius."""
    cut = 0.35 * radius_mm
    if cut < spacing.min():
        return own
    padded = np.pad(own, 1)
    kept = ndimage.distance_transform_edt(padded, sampling=spacing) > cut
    if not kept.any():
        return own
    grown = ndimage.distance_transform_edt(~kept, sampling=spacing) <= cut
    return np.asarray((grown & padded)[1:-1, 1:-1, 1:-1], dtype=np.bool_)


def _central_piece(
    opened: NDArray[np.bool_], own: NDArray[np.bool_], distance_mm: FloatArray
) -> NDArray[np.bool_]:
    """Return the connected piece nearest to the centre; at least the central voxel."""
    source = opened if opened.any() else own
    center = distance_mm == distance_mm.min()
    if not source.any():
        return np.asarray(center, dtype=np.bool_)
    labels, _ = ndimage.label(source, np.ones((3, 3, 3)))
    start = np.where(source, distance_mm, np.inf).argmin()
    return np.asarray(labels == labels.flat[start], dtype=np.bool_)
