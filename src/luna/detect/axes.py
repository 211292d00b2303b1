"""Long and short axes of a nodule in a plane, from its contour at sub-pixel precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from luna.ct.geometry import Triple

LEAST_STEP = 0.05
"""A contour keeps this share of a pixel from the voxel inside, so that its hull has an area."""

BLUR = 1.5 / 12
"""Variance of the blur along an axis, in squared voxels: 1/12 for averaging over a voxel, and
half of that again for the interpolation between voxels and for equators between two slices."""

LARGEST_BLUR = 0.75
"""Voxels larger than this share of a length are taken as this large: beyond it the shift of the
contour is not linear in the blur (docs/reliability.md: balls of 3 mm in slices of 2.5 mm)."""


Ends = NDArray[np.float64]
"""(2, 2) voxel coordinates in a plane: the two ends of a line."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The longest chord of a contour, and the extent of the contour across it.

    `index` is the slice along the axis `normal` of the volume, both 0-based: normal 0 is an
    axial plane, 1 a coronal one and 2 a sagittal one. `long_ends` and `short_ends` are where to
    draw them, as long as they are stated and across each other.
    """

    long_mm: float
    short_mm: float
    normal: int
    index: int
    long_ends: Ends
    short_ends: Ends

    def ends_irc(self, start_irc: Sequence[float]) -> tuple[tuple[float, float, float], ...]:
        """Return the ends of the long and of the short axis in voxels of a scan.

        Voxel (0, 0, 0) of the measured volume is `start_irc` of the scan.
        """
        points = np.insert(
            np.concatenate([self.long_ends, self.short_ends]), self.normal, self.index, axis=1
        )
        return tuple((i, r, c) for i, r, c in (points + start_irc).tolist())


def plane_axes(field: NDArray[np.float32], level: float, spacing_irc: Triple, normal: int) -> Axes:
    """Measure the axes in the plane where the long axis is longest.

    The contour is where `field` (index, row, column), which must be below `level` at all its
    borders and above it somewhere, crosses the level by linear interpolation.
    """
    planes = np.moveaxis(field, normal, 0)
    spacing = [s for axis, s in enumerate(spacing_irc) if axis != normal]
    found = [
        _axes(_contour(planes[k], level, spacing), spacing_irc, normal, k)
        for k in np.flatnonzero((planes > level).any(axis=(1, 2))).tolist()
    ]
    return max(found, key=lambda axes: axes.long_mm)


def _contour(plane: NDArray[np.float32], level: float, spacing: list[float]) -> NDArray[np.float64]:
    """Return the points (P, 2) in mm where rows and columns of the plane cross the level."""
    points = []
    for axis in range(2):
        lines = np.moveaxis(plane, axis, 0)
        inside = lines > level
        first, other = np.nonzero(inside[1:] != inside[:-1])
        low, high = lines[first, other].astype(float), lines[first + 1, other].astype(float)
        step = (level - low) / (high - low)
        # Away from the voxel that is inside: the lower one where the line falls.
        falls = low > level
        step = np.where(falls, np.maximum(step, LEAST_STEP), np.minimum(step, 1 - LEAST_STEP))
        pair = (first + step, other)
        points.append(np.stack(pair if axis == 0 else pair[::-1], axis=1))
    return np.concatenate(points) * spacing


def _axes(points_mm: NDArray[np.float64], spacing_irc: Triple, normal: int, index: int) -> Axes:
    """The longest chord of points and the extent across it, both corrected for blur."""
    spacing = np.delete(spacing_irc, normal)
    hull = points_mm[ConvexHull(points_mm).vertices]
    step_mm = hull[:, None] - hull
    chords = np.sqrt((step_mm**2).sum(axis=2))
    a, b = np.unravel_index(chords.argmax(), chords.shape)
    along = (hull[b] - hull[a]) / chords[a, b]
    across = np.array([-along[1], along[0]])
    heights = hull @ across
    low, high = hull[heights.argmin()], hull[heights.argmax()]
    # A length is blurred along the two tangents at its ends: in the plane, and across it.
    depth_mm = spacing_irc[normal]
    long_mm = _unblurred(float(chords[a, b]), math.hypot(*(across * spacing)), depth_mm)
    short_mm = _unblurred(float(np.ptp(heights)), math.hypot(*(along * spacing)), depth_mm)
    # The points furthest across lie at different places along: the short axis between them.
    middle = (low + high) / 2
    return Axes(
        long_mm,
        short_mm,
        normal,
        index,
        _line((hull[a] + hull[b]) / 2, along * long_mm) / spacing,
        _line(middle, across * short_mm) / spacing,
    )


def _line(middle: NDArray[np.float64], whole: NDArray[np.float64]) -> Ends:
    return np.stack([middle - whole / 2, middle + whole / 2])


def _unblurred(length_mm: float, *tangent_voxels_mm: float) -> float:
    """The length before the voxels blurred it.

    Blur of variance v along a tangent moves a half-way contour of curvature 1/r inwards by
    v / 2r, as heat flow does; so a ball of diameter d measures d - 2v/d for each tangent.
    """
    variance = sum(BLUR * min(voxel, LARGEST_BLUR * length_mm) ** 2 for voxel in tangent_voxels_mm)
    return (length_mm + math.sqrt(length_mm**2 + 8 * variance)) / 2
