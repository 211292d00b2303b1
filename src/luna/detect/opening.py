"""Opening of masks by balls, in millimetres."""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import Mask

TAIL = 0.5
"""What is thinner than this share of a mask's inscribed ball is cut off."""


def opened(mask: Mask, spacing_irc: Triple) -> Mask:
    """Open a mask by a ball of half its inscribed radius; the piece around its deepest voxel.

    An empty mask stays empty.
    """
    wide = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(wide, sampling=spacing_irc)
    radius_mm = TAIL * depth.max()
    cores, _ = ndimage.label((depth >= radius_mm) & wide)
    core = cores == cores[np.unravel_index(depth.argmax(), depth.shape)]
    # Distances run between voxel centres; half a voxel more brings back the rounded surface.
    reach_mm = radius_mm + min(spacing_irc) / 2
    body = wide & (ndimage.distance_transform_edt(~core, sampling=spacing_irc) <= reach_mm)
    return np.asarray(body[1:-1, 1:-1, 1:-1])


def largest_ball(mask: Mask, spacing_irc: Triple) -> float:
    """The radius in mm of the largest ball that a mask holds, between voxel centres."""
    wide = np.pad(mask, 1)
    return float(ndimage.distance_transform_edt(wide, sampling=spacing_irc).max())


def holds_cuboid(mask: Mask, reach_mm: float, spacing_irc: Triple) -> bool:
    """Whether a mask holds all voxels within less than a reach of one voxel along each axis."""
    for axis, spacing_mm in enumerate(spacing_irc):
        size = 2 * (ceil(reach_mm / spacing_mm) - 1) + 1
        mask = ndimage.minimum_filter1d(mask.astype(np.uint8), size, axis, mode="nearest") > 0
    return bool(mask.any())


def wall_of(tissue: Mask, radius_mm: float, spacing_irc: Triple) -> Mask:
    """What of a mask balls of a radius fill: chest wall, mediastinum or diaphragm, no nodule.

    The wall goes on beyond the mask's box.
    """
    pad = [(ceil(radius_mm / s), ceil(radius_mm / s)) for s in spacing_irc]
    wide = np.pad(tissue, pad, mode="edge")
    if not holds_cuboid(wide, radius_mm / sqrt(3), spacing_irc):
        return np.zeros_like(tissue)  # so no ball either, and most nodules end here
    core = ndimage.distance_transform_edt(wide, sampling=spacing_irc) >= radius_mm
    if not core.any():
        return np.zeros_like(tissue)
    # What is as far as the radius lies on the surface of a flat wall already.
    reach_mm = radius_mm - min(spacing_irc) / 2
    near = ndimage.distance_transform_edt(~core, sampling=spacing_irc) < reach_mm
    return np.asarray(tissue & near[tuple(slice(p, -p) for p, _ in pad)])
