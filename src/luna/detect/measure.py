"""The size and attenuation of a segmented nodule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from luna.ct.geometry import Triple
from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import Scan
from luna.detect.findings import Measurement

LUNG_HU = -850.0
"""Aerated lung around a nodule; a nodule's edge is half way from here to its core."""

TAIL = 0.5
"""What is thinner than this share of the nodule is a vessel or a pleural tail, and is cut off."""


def trim(scan: Scan, mask: BoxMask) -> BoxMask:
    """Cut a segmented component down to the nodule's body.

    The U-Net's mask is a voxel too wide and runs along vessels and pleura. The body is the part
    that is denser than half way between lung and the component's median, opened by a ball of
    half its inscribed radius. It is never empty: a component too small or too faint for that is
    kept as it is.
    """
    hu = scan.hu[mask.slices].astype(np.float32)
    median_hu = float(
        np.median(hu[ndimage.binary_erosion(mask.voxels) | _densest(hu, mask.voxels)])
    )
    dense = mask.voxels & (hu > (LUNG_HU + median_hu) / 2)
    body = _body(dense, scan.geometry.spacing_irc) if dense.any() else mask.voxels
    return BoxMask(mask.start_irc, body)


def _densest(hu: NDArray[np.float32], voxels: Mask) -> Mask:
    """The densest voxels of the mask: the core of a component that erosion empties."""
    return np.asarray(voxels & (hu == hu[voxels].max()))


def _body(mask: Mask, spacing_irc: Triple) -> Mask:
    """The piece around the deepest voxel, after opening by a ball of half its inscribed radius."""
    wide = np.pad(mask, 1)
    depth = ndimage.distance_transform_edt(wide, sampling=spacing_irc)
    radius_mm = TAIL * depth.max()
    cores, _ = ndimage.label(depth >= radius_mm)
    core = cores == cores[np.unravel_index(depth.argmax(), depth.shape)]
    # Distances run between voxel centres; half a voxel more brings back the rounded surface.
    reach_mm = radius_mm + min(spacing_irc) / 2
    body = wide & (ndimage.distance_transform_edt(~core, sampling=spacing_irc) <= reach_mm)
    return np.asarray(body[1:-1, 1:-1, 1:-1])


def measure(scan: Scan, mask: BoxMask) -> Measurement:
    """Measure axes in the axial plane, volume and attenuation of a nodule's body (see `trim`)."""
    hu = scan.hu[mask.slices][mask.voxels]
    _, row_mm, column_mm = scan.geometry.spacing_irc
    axes = {
        k: _axes_mm(mask.voxels[k], (row_mm, column_mm))
        for k in np.flatnonzero(mask.voxels.any(axis=(1, 2)))
    }
    widest = max(axes, key=lambda k: axes[k][0])
    long_mm, short_mm = axes[widest]
    return Measurement(
        long_axis_mm=long_mm,
        short_axis_mm=short_mm,
        diameter_mm=(long_mm + short_mm) / 2,
        volume_mm3=float(mask.voxels.sum() * scan.geometry.voxel_mm3),
        hu_mean=float(hu.mean()),
        hu_min=int(hu.min()),
        hu_max=int(hu.max()),
        axial_index=mask.start_irc[0] + int(widest),
    )


def _axes_mm(pixels: Mask, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Longest chord of a slice's pixels, corner to corner, and the extent across it."""
    corners = [(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)]
    points = np.concatenate([np.argwhere(pixels) + np.array(c) for c in corners]) * spacing_mm
    hull = points[ConvexHull(points).vertices]
    chords = squareform(pdist(hull))
    a, b = np.unravel_index(chords.argmax(), chords.shape)
    along = (hull[b] - hull[a]) / chords[a, b]
    across = hull @ np.array([-along[1], along[0]])
    return float(chords[a, b]), float(np.ptp(across))
