"""Opening of masks by balls, in millimetres."""

from __future__ import annotations

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
