"""Contours on one slice, filled."""

from __future__ import annotations

import numpy as np

from luna.ct.geometry import FloatArray
from luna.ct.mask import Mask


def fill(points_rc: FloatArray, shape_rc: tuple[int, int]) -> Mask:
    """Return the pixels whose centre lies in a closed polygon of (row, column) corners.

    A pixel is inside when a line from it crosses the border an odd number of times.
    """
    inside = np.zeros(shape_rc, dtype=np.bool_)
    low = np.clip(np.floor(points_rc.min(axis=0)).astype(int), 0, shape_rc)
    high = np.clip(np.ceil(points_rc.max(axis=0)).astype(int) + 1, 0, shape_rc)
    rows = np.arange(low[0], high[0])[:, None]
    columns = np.arange(low[1], high[1])[None]
    box = inside[low[0] : high[0], low[1] : high[1]]
    for (r0, c0), (r1, c1) in zip(points_rc, np.roll(points_rc, -1, axis=0), strict=True):
        if r0 != r1:
            spans = (rows >= min(r0, r1)) & (rows < max(r0, r1))
            box ^= spans & (columns < c0 + (rows - r0) * (c1 - c0) / (r1 - r0))
    return inside
