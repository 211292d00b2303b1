"""Smooth scalar fields on a coarse grid, from which the slices of a phantom are drawn.

Signed distances (negative inside, mm) are smooth where the tissue itself is not, so a grid
of 2 mm carries boundaries that are sharp at 0.5 mm. All arithmetic is element by element:
no BLAS call, whose threads could change the last bit and with it a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Points = NDArray[np.float64]

STEP_MM = 2.0


@dataclass(frozen=True)
class CoarseGrid:
    """A grid of STEP_MM in the body frame.

    The body frame is LPS-like millimetres with its origin in the middle of the chest.
    Arrays are (z, y, x); `low_xyz` is the position of element (0, 0, 0).
    """

    low_xyz: tuple[float, float, float]
    shape: tuple[int, int, int]

    def axes(self) -> tuple[Field, Field, Field]:
        """x, y and z in mm as broadcastable (1, 1, C), (1, R, 1) and (Z, 1, 1)."""
        x, y, z = (
            (low + STEP_MM * np.arange(n)).astype(np.float32)
            for low, n in zip(self.low_xyz, self.shape[::-1], strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def index(self, points_xyz: ArrayLike) -> Points:
        """Continuous (z, y, x) element coordinates (..., 3) of body positions (..., 3)."""
        offset = np.asarray(points_xyz, dtype=np.float64) - np.array(self.low_xyz)
        return np.asarray(offset[..., ::-1] / STEP_MM, dtype=np.float64)

    def at(self, field: Field, points_xyz: ArrayLike) -> Points:
        """Interpolate a field linearly at (M, 3) positions; outside, the border's value holds."""
        where = self.index(points_xyz).T
        return np.asarray(
            ndimage.map_coordinates(field, where, order=1, mode="nearest"), dtype=np.float64
        )

    def positions(self, chosen: NDArray[np.bool_]) -> Points:
        """Body positions (M, 3) of the chosen elements."""
        zyx = np.argwhere(chosen)
        return np.asarray(zyx[:, ::-1] * STEP_MM + np.array(self.low_xyz), dtype=np.float64)


def smooth_min(a: Field, b: Field, blend_mm: float) -> Field:
    """The lesser of two distances with a fillet of about `blend_mm`."""
    # In place: fresh pages for every step of a 20 MB field cost more than the arithmetic.
    fillet = np.asarray(a - b, dtype=np.float32)
    np.abs(fillet, out=fillet)
    np.subtract(np.float32(blend_mm), fillet, out=fillet)
    np.maximum(fillet, 0, out=fillet)
    fillet *= fillet
    fillet *= np.float32(-0.25 / blend_mm)
    fillet += np.minimum(a, b)
    return fillet


def smooth_max(a: Field, b: Field, blend_mm: float) -> Field:
    """The greater of two distances with a fillet of about `blend_mm`."""
    return -smooth_min(-a, -b, blend_mm)


def inside(distance: Field, width_mm: float) -> Field:
    """Coverage 0 to 1 of a voxel `width_mm` wide at a signed distance."""
    share = np.asarray(distance * np.float32(-1 / width_mm), dtype=np.float32)
    share += np.float32(0.5)
    return np.clip(share, 0, 1, out=share)


def put(tissue: Field, distance: Field, hu: float | Field) -> None:
    """Paint a material into `tissue`, in place, with a transition of one element."""
    change = np.float32(hu) - tissue
    change *= inside(distance, STEP_MM)
    tissue += change


def ellipsoid(grid: CoarseGrid, center: ArrayLike, radii: ArrayLike, power: float = 2.0) -> Field:
    """Distance to a (super)ellipsoid, approximate; exact at its surface along the axes."""
    total: Field = np.zeros((1, 1, 1), np.float32)
    for axis, c, r in zip(grid.axes(), np.asarray(center), np.asarray(radii), strict=True):
        scaled = np.abs(axis - np.float32(c)) / np.float32(r)
        total = total + (scaled * scaled if power == 2.0 else scaled ** np.float32(power))
    norm = np.sqrt(total) if power == 2.0 else total ** np.float32(1 / power)
    return np.asarray((norm - 1) * np.float32(np.min(np.asarray(radii))), dtype=np.float32)


def smooth_noise(rng: np.random.Generator, grid: CoarseGrid, scale_mm: float) -> Field:
    """A random field of mean 0 and standard deviation about 1 that changes over `scale_mm`."""
    knots = [int(np.ceil(n * STEP_MM / scale_mm)) + 3 for n in grid.shape]
    field = rng.standard_normal(knots).astype(np.float32)
    for axis, n in enumerate(grid.shape):
        at = np.arange(n, dtype=np.float32) * np.float32(STEP_MM / scale_mm)
        first = at.astype(np.intp)
        t = at - first
        weights = (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        moved = np.moveaxis(field, axis, -1)
        rows = np.asarray(moved[..., first] * weights[0], dtype=np.float32)
        for k, weight in enumerate(weights[1:], start=1):
            term = moved[..., first + k]
            term *= weight
            rows += term
        field = np.moveaxis(rows, -1, axis)
    # A cubic B-spline of white knots has a variance of about 0.48 per axis.
    return np.ascontiguousarray(field / np.float32(0.48**1.5))


def normalised(distance: Field) -> Field:
    """Rescale a field so that it grows by about 1 mm per mm near its surface."""
    slopes = np.gradient(distance, np.float32(STEP_MM))
    steep = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2)
    return np.asarray(distance / np.maximum(steep, np.float32(0.3)), dtype=np.float32)


def carve_tube(
    field: Field, grid: CoarseGrid, path: ArrayLike, radius_mm: ArrayLike, squash_z: float = 1.0
) -> None:
    """Lower `field`, in place, to the distance to a tube along `path` (N, 3).

    `radius_mm` is one number or N. `squash_z` below 1 makes the section taller than wide:
    heights are multiplied by it before distances are taken.
    """
    points = np.asarray(path, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius_mm, dtype=np.float64), len(points))
    scale = np.array([1.0, 1.0, squash_z])
    x, y, z = grid.axes()
    for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
        reach = (max(ra, rb) + 4 * STEP_MM) / scale
        lo = np.floor(grid.index(np.minimum(a, b) - reach)).astype(int)
        hi = np.ceil(grid.index(np.maximum(a, b) + reach)).astype(int) + 1
        lo, hi = np.maximum(lo, 0), np.minimum(hi, grid.shape)
        if (hi <= lo).any():
            continue
        box = tuple(slice(p, q) for p, q in zip(lo, hi, strict=True))
        u = ((b - a) * scale).astype(np.float32)
        dx = x[:, :, box[2]] - np.float32(a[0])
        dy = y[:, box[1]] - np.float32(a[1])
        dz = (z[box[0]] - np.float32(a[2])) * np.float32(squash_z)
        length2 = np.float32(max(float((u * u).sum()), 1e-6))
        t = np.clip((dx * u[0] + dy * u[1] + dz * u[2]) / length2, 0, 1)
        gap = np.sqrt((dx - t * u[0]) ** 2 + (dy - t * u[1]) ** 2 + (dz - t * u[2]) ** 2)
        gap -= np.float32(ra) + t * np.float32(rb - ra)
        field[box] = np.minimum(field[box], gap)
