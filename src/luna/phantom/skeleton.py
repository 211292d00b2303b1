"""Ribs, spine, breastbone, shoulder blades and collarbones of a phantom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from luna.phantom.config import Patient
from luna.phantom.field import CoarseGrid, Field, carve_tube, ellipsoid, smooth_min

VERTEBRA_MM = 24.0
DISC_MM = 5.0
RIBS = 11
RIB_SQUASH = 0.5
"""A rib is about twice as tall as it is thick."""

FAR_MM = 60.0

DISC_RADII = (18.0, 15.0, 1e5)
"""Half axes of vertebral bodies and discs across; endless along the spine."""


def skeleton(patient: Patient, grid: CoarseGrid) -> tuple[Field, Field]:
    """Signed distances to bone, and to the cartilage of ribs and discs."""
    bone = np.full(grid.shape, FAR_MM, np.float32)
    cartilage = np.full(grid.shape, FAR_MM, np.float32)
    top = 0.50 * patient.height
    for number in range(RIBS):
        for side in (-1, 1):
            curve = rib_curve(patient, top - number * VERTEBRA_MM, number, side)
            end = int(0.78 * len(curve))
            carve_tube(bone, grid, curve[:end], 3.7, RIB_SQUASH)
            if number < 9:
                carve_tube(cartilage, grid, curve[end - 1 :], 3.6, RIB_SQUASH)
    np.minimum(bone, _spine(patient, grid, top), out=bone)
    np.minimum(cartilage, ellipsoid(grid, _axis(patient), DISC_RADII, 2.4) + 1, out=cartilage)
    _breastbone(patient, grid, bone)
    _shoulders(patient, grid, bone)
    return bone, cartilage


def rib_curve(patient: Patient, level_z: float, number: int, side: int) -> NDArray[np.float64]:
    """The axis of a rib (N, 3) from the spine around the chest to the breastbone."""
    angle = np.linspace(0.13, 0.93, 40) * np.pi
    drop = (28 + 9 * min(number, 7)) * np.sin(angle / 2) ** 2 - 10 * np.exp(-((angle / 0.5) ** 2))
    z = level_z - drop
    rise = np.clip((z + 0.2 * patient.height) / (0.72 * patient.height), 0, 0.93)
    scale = (1 - rise**2.6) ** (1 / 2.3)
    s, c = np.sin(angle), np.cos(angle)
    w, d = patient.half_width, patient.half_depth
    radius = ((np.abs(s) / w) ** 2.3 + (np.abs(c) / d) ** 2.3) ** (-1 / 2.3) * scale + 5.5
    return np.stack([side * radius * s, radius * c, z], axis=1)


def _axis(patient: Patient) -> tuple[float, float, float]:
    return (0.0, patient.spine_y, 0.0)


def _spine(patient: Patient, grid: CoarseGrid, top: float) -> Field:
    x, _, z = grid.axes()
    cy = patient.spine_y
    waist = 1 - 0.1 * np.cos(2 * np.pi * (z - np.float32(top)) / VERTEBRA_MM)
    body = ellipsoid(grid, _axis(patient), DISC_RADII, 2.4) / waist
    phase = np.mod(z - np.float32(top), VERTEBRA_MM) - np.float32(VERTEBRA_MM / 2)
    disc = np.float32(DISC_MM / 2) - np.abs(phase)
    bone = np.maximum(body, disc + 0 * x)
    ring = np.abs(ellipsoid(grid, (0, cy + 22, 0), (11, 10, 1e5))) - np.float32(2.2)
    bone = smooth_min(np.asarray(bone, np.float32), np.maximum(ring, -disc - 8 + 0 * x), 3)
    level = np.arange(-14, 14) * VERTEBRA_MM + top
    for zc in level:
        carve_tube(bone, grid, [(0, cy + 34, zc), (0, cy + 54, zc - 14)], [3.6, 3.2])
        for side in (-1, 1):
            path = [(side * 11, cy + 18, zc), (side * 34, cy + 30, zc + 2)]
            carve_tube(bone, grid, path, [5, 4])
    return np.asarray(bone, np.float32)


def _breastbone(patient: Patient, grid: CoarseGrid, bone: Field) -> None:
    """Add a flat plate in front of the rib cage, following its slope; in place."""
    x, y, z = grid.axes()
    rise = np.clip((z + 0.2 * patient.height) / (0.72 * patient.height), 0, 0.9)
    front = patient.half_depth * (1 - rise**2.6) ** (1 / 2.3) + 8
    plate = np.maximum(np.abs(x) - np.float32(17), np.abs(y + front) - np.float32(5))
    ends = np.abs(z - np.float32(0.04 * patient.height)) - np.float32(0.23 * patient.height)
    np.minimum(bone, np.maximum(plate, ends).astype(np.float32), out=bone)


def _shoulders(patient: Patient, grid: CoarseGrid, bone: Field) -> None:
    h, w, d = patient.height, patient.half_width, patient.half_depth
    for side in (-1, 1):
        clavicle = [(side * 14, -0.72 * d, 0.36 * h), (side * 70, -0.6 * d, 0.44 * h),
                    (side * (w + 20), -10, 0.52 * h)]  # fmt: skip
        carve_tube(bone, grid, clavicle, [7, 5.5, 6])
        for row in np.linspace(0, 1, 6):
            inner = (side * 0.55 * w, d + 12, (0.02 + 0.38 * row) * h)
            outer = (side * (0.70 + 0.32 * row) * w, (0.92 - 0.45 * row) * d + 10, inner[2])
            middle = ((inner[0] + outer[0]) / 2 + side * 6, (inner[1] + outer[1]) / 2 + 6, inner[2])
            carve_tube(bone, grid, [inner, middle, outer], [2.0, 2.2, 4.0], 0.2)
