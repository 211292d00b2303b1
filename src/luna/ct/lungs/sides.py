"""Tell the right lung from the left, and both from the airways between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import Mask

AERATED_HU = -400
"""Between lung (about -850) and soft tissue (about 40): Hu, Hoffman and Reinhardt 2001."""

AIRWAY_HU = -920
AIRWAY_MAX_MM2 = 800.0
AIRWAY_MIDDLE_MM = 30.0
"""The trachea and main bronchi in a slice: gas, no wider than 32 mm, near the midline."""

RIGHT, LEFT = 1, 2
"""The labels of the patient's right and left lung."""

Hu = NDArray[np.float32]
Labels = NDArray[np.uint8]


def middle_column(lung: Mask, hu: Hu) -> float:
    """Find the column that halves the body at the level of the lungs (of one or both)."""
    body = (hu > AERATED_HU) | lung
    i, r, _ = ndimage.find_objects(lung.astype(np.uint8))[0]
    weight = np.cumsum(body[i, r].sum(axis=(0, 1)))
    return float(np.searchsorted(weight, weight[-1] / 2))


def central_airways(lung: Mask, hu: Hu, spacing: Triple, middle: float) -> Mask:
    """Mark trachea and main bronchi where a slice shows them apart from the lungs.

    Closing would otherwise bridge from them to the lung through the mediastinum.
    """
    airways = np.zeros_like(lung)
    for k in range(len(lung)):
        parts, count = ndimage.label(lung[k])
        index = np.arange(1, count + 1)
        area_mm2 = np.bincount(parts.ravel(), minlength=count + 1)[1:] * spacing[1] * spacing[2]
        density = np.array(ndimage.median(hu[k], parts, index))
        offset = np.array([c for _, c in ndimage.center_of_mass(lung[k], parts, index)]) - middle
        central = np.abs(offset) * spacing[2] < AIRWAY_MIDDLE_MM
        gas = (area_mm2 < AIRWAY_MAX_MM2) & (density < AIRWAY_HU) & central
        airways[k] = np.isin(parts, index[gas])
    return airways


def split_sides(lung: Mask, middle: float, x_per_column: float) -> Labels:
    """Label the voxels right (1) and left (2) by the nearer of two cores.

    The cores are what is left of the lungs after the thinnest erosion that parts them on
    both sides of their middle; the anterior junction is often too thin to see at 2.5 mm.
    """
    columns = np.broadcast_to(np.arange(lung.shape[2]), lung.shape)
    first, second = (RIGHT, LEFT) if x_per_column > 0 else (LEFT, RIGHT)
    by_middle = np.where(columns < middle, first, second).astype(np.uint8)
    depth = ndimage.distance_transform_cdt(lung, metric="taxicab")
    for threshold in range(9):
        parts, count = ndimage.label(depth > threshold)
        sides = _side_of_components(parts, count, by_middle)
        if sides is not None:
            nearest = ndimage.distance_transform_edt(
                sides == 0, return_distances=False, return_indices=True
            )
            return np.where(lung, sides[tuple(nearest)], 0).astype(np.uint8)
    return np.where(lung, by_middle, 0).astype(np.uint8)


def _side_of_components(parts: NDArray[np.int32], count: int, by_middle: Labels) -> Labels | None:
    """Label whole components by where most of them lies; None while a large one straddles."""
    size = np.bincount(parts.ravel(), minlength=count + 1).astype(np.float64)
    right = np.bincount(parts.ravel(), by_middle.ravel() == RIGHT, minlength=count + 1)
    share = right / np.maximum(size, 1)
    large = size > 0.1 * size[1:].sum()
    large[0] = False
    if count == 0 or (large & (share > 0.2) & (share < 0.8)).any():
        return None
    side = np.where(share >= 0.5, RIGHT, LEFT).astype(np.uint8)
    side[0] = 0
    return np.asarray(side[parts])
