"""Crops with voxels of one size in mm, whatever the scan's own are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from luna.ct.scan import HuArray

SPACING_MM_MIN, SPACING_MM_MAX = 0.1, 10.0
"""Finer voxels would show nothing that the scan has, coarser ones would show no nodule."""

Irc = tuple[int, int, int]
Crop = Callable[[ArrayLike, Irc], NDArray[np.int16]]
"""`Scan.crop`, or the same method of a scan in the cache."""


def cube_crop(
    crop: Crop,
    center_irc: ArrayLike,
    spacing_irc: tuple[float, float, float],
    size_irc: Irc,
    spacing_mm: float,
) -> HuArray:
    """Resample `size_irc` cubic voxels of `spacing_mm` around a centre, rounded to whole HU.

    The centre is not rounded and stands in the middle of the crop, between two voxels where
    their number is even. Trilinear between the scan's voxels, air outside the scan.
    """
    center = np.asarray(center_irc, dtype=np.float64)
    places = [
        c + (np.arange(n) - (n - 1) / 2) * spacing_mm / s
        for c, n, s in zip(center, size_irc, spacing_irc, strict=True)
    ]
    start = np.array([int(np.floor(p[0])) for p in places])
    size = [int(np.floor(p[-1])) + 2 - int(a) for p, a in zip(places, start, strict=True)]
    box = crop(start + np.array(size) // 2, (size[0], size[1], size[2])).astype(np.float32)
    for axis, (place, first) in enumerate(zip(places, start, strict=True)):
        box = _between(box, place, first, axis)
    return np.rint(box).astype(np.int16)


def wrong_spacing(spacing_mm: float | None) -> str:
    """Return what is wrong with a voxel size; nothing when it may be used, or is None."""
    if spacing_mm is None or SPACING_MM_MIN <= spacing_mm <= SPACING_MM_MAX:
        return ""
    return f"spacing_mm is {spacing_mm}, not between {SPACING_MM_MIN:g} and {SPACING_MM_MAX:g}"


def reach_irc(spacing_irc: tuple[float, float, float], size_irc: Irc, spacing_mm: float) -> Irc:
    """Return how many voxels of the scan, along each axis, such a crop may touch."""
    i, r, c = (
        int(np.ceil((n - 1) * spacing_mm / s)) + 3
        for n, s in zip(size_irc, spacing_irc, strict=True)
    )
    return i, r, c


def _between(
    box: NDArray[np.float32], place: NDArray[np.float64], first: int, axis: int
) -> NDArray[np.float32]:
    """Interpolate along one axis at places in the scan's voxels; `box` begins at `first`."""
    low = np.floor(place).astype(int)
    shape = [1, 1, 1]
    shape[axis] = -1
    share = (place - low).astype(np.float32).reshape(shape)
    below, above = box.take(low - first, axis), box.take(low - first + 1, axis)
    return np.asarray(below + (above - below) * share)
