"""Measure a nodule that the networks marked in one scan at its place in the other one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from luna.ct.geometry import FloatArray
from luna.ct.lungs.find import Lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.detect.describe import describe
from luna.detect.measure import measure, wall_beside
from luna.detect.opening import largest_ball
from luna.detect.prior.changes import Sighting

MARGIN_MM = 1.5
"""The nodule is sought this far around the outline that it has in the other scan."""

LEAST_BALL_MM = 1.4
"""What holds no ball of this radius is a vessel or noise."""

DENSITY = 0.5
"""What is there has at least this share of the nodule's contrast to lung of -850 HU."""

LUNG_HU = -850.0

WALL_HU = -400.0
"""Half way between lung and soft tissue."""


def remeasure(
    seen: Sighting, seen_in: Scan, scan: Scan, lungs: Lungs, place_xyz: FloatArray, turn: FloatArray
) -> Sighting | None:
    """Look for a nodule of another scan at `place_xyz` of this one; None where nothing is there.

    `turn` (3, 3) takes directions of this scan to those of the other.
    """
    seed = _outline(seen, seen_in, scan, place_xyz, turn)
    # What the other scan has at the place of a new nodule at the chest wall is the wall.
    free = seed.voxels & ~wall_beside(scan, seed, WALL_HU)
    seed = BoxMask(seed.start_irc, free)
    if not free.any():
        return None
    body, size = measure(scan, seed)
    if not _is_there(seen, scan, body, size.hu_mean):
        return None
    i, r, c = (np.argwhere(body.voxels).mean(axis=0) + body.start_irc).tolist()
    x, y, z = scan.geometry.xyz_from_irc((i, r, c)).tolist()
    description = describe(scan, lungs, seed, body)
    return Sighting(
        name=None,
        center_irc=(i, r, c),
        center_xyz=(x, y, z),
        measurement=size,
        kind=description.kind,
        solid_mm=description.solid_mm,
        mask=body,
    )


def _outline(
    seen: Sighting, seen_in: Scan, scan: Scan, place_xyz: FloatArray, turn: FloatArray
) -> BoxMask:
    """The voxels of this scan that the nodule would have, and a margin."""
    spacing = np.array(seen_in.geometry.spacing_irc)
    pad = np.ceil(2 * MARGIN_MM / spacing).astype(int) + 1
    wide = np.pad(seen.mask.voxels, [(p, p) for p in pad.tolist()])
    far_mm = ndimage.distance_transform_edt(~wide, sampling=spacing)
    reach_mm = float(np.linalg.norm(np.array(wide.shape) * spacing)) / 2
    own = np.array(scan.geometry.spacing_irc)
    center = np.rint(scan.geometry.irc_from_xyz(place_xyz)).astype(int)
    half = np.ceil(reach_mm / own).astype(int)
    low = np.maximum(center - half, 0)
    high = np.minimum(center + half + 1, scan.hu.shape)
    if (high <= low).any():
        return BoxMask((0, 0, 0), np.zeros((1, 1, 1), np.bool_))
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    offset = scan.geometry.xyz_from_irc(grid) - place_xyz
    there = seen_in.geometry.irc_from_xyz(np.array(seen.center_xyz) + offset @ turn.T)
    at = np.moveaxis(there - seen.mask.start_irc + pad, -1, 0)
    near = ndimage.map_coordinates(far_mm, at, order=1, mode="constant", cval=np.inf) <= MARGIN_MM
    i, r, c = low.tolist()
    return BoxMask((i, r, c), np.asarray(near))


def _is_there(seen: Sighting, scan: Scan, body: BoxMask, hu_mean: float) -> bool:
    """Whether the measured thing at a place is as dense as the nodule and not a thin vessel."""
    contrast = (hu_mean - LUNG_HU) / max(seen.measurement.hu_mean - LUNG_HU, 1.0)
    ball_mm = largest_ball(body.voxels, scan.geometry.spacing_irc)
    return contrast >= DENSITY and ball_mm >= LEAST_BALL_MM


def turned(matrix: FloatArray) -> FloatArray:
    """The rotation in an affine matrix: nodules turn with the patient, but do not stretch."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right, dtype=np.float64)
