"""Contours on one slice: which slice it is, and the pixels inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from luna.ct.geometry import FloatArray
from luna.ct.mask import Mask
from luna.run.errors import InputError

ON_SLICE_VOX = 0.25
"""A contour farther than this from the middle of a slice is not of this scan."""


def slice_index(places_vox: FloatArray, slices: int, path: Path) -> int:
    """Return the slice of a contour, whose points have these places along the slices.

    Raises InputError, naming the file, for a contour between slices or beyond the scan.
    """
    index = int(np.rint(places_vox[0]))
    if np.abs(places_vox - index).max() > ON_SLICE_VOX or not 0 <= index < slices:
        raise InputError(
            "a contour does not lie on a slice of the scan",
            file=path,
            why=f"at slice {places_vox[0]:.2f} of {slices}",
            hint="is it of this scan?",
        )
    return index


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
            with np.errstate(over="ignore"):  # far from a nearly level edge, outside its span
                crossing = c0 + (rows - r0) * (c1 - c0) / (r1 - r0)
            box ^= spans & (columns < crossing)
    return inside
