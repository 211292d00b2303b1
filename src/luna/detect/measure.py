"""The size and attenuation of a segmented nodule."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import AIR_HU, Scan
from luna.detect.axes import Axes, plane_axes
from luna.detect.findings import PLANES, DrawnAxes, Measurement
from luna.detect.opening import largest_ball, opened, wall_of

LUNG_HU = -850.0
"""Aerated lung, where none is seen around a nodule."""

LUNG_MOST_HU = -600
"""Denser voxels around a nodule are vessels, wall or the nodule's own blur, and not lung."""

MARGIN_VOX = 3
"""Voxels around the mask that are examined: its edge may lie outside, and lung must be visible."""

WALL_RADIUS, WALL_RADIUS_MM = 4.0, (10.0, 25.0)
"""The ball that tells a wall is so many times as large as the nodule's own, within bounds.

A smaller one enters nodules that sit on a wall: it takes a sixth of their radius at three times."""

HAZE_HU = 100.0
"""Ground glass is denser than the lung around it by this much."""

FREE_LEAST = 0.5
"""A mask that lies in the wall, and not on it, leaves a rim of smaller balls: it is kept whole."""

CROSS = ndimage.generate_binary_structure(3, 1)


def measure(scan: Scan, mask: BoxMask) -> tuple[BoxMask, Measurement]:
    """Measure the nodule in a segmented component: its voxels, its size and its attenuation.

    The edge is where the attenuation is half way between the lung around the nodule and its
    core, to fractions of a voxel, and towards a wall that it touches where the wall goes on. The
    axes are those of the axial plane where the long axis is longest, or of the coronal or
    sagittal one if the long axis there is longer by more than the distance of two slices. The
    volume counts each voxel by its share of nodule.
    """
    box = _grown(mask, scan.shape_irc, [MARGIN_VOX] * 3)
    spacing = scan.geometry.spacing_irc
    hu = scan.hu[box.slices].astype(np.float32)
    near = ndimage.binary_dilation(box.voxels, CROSS)
    lung_hu = _lung_hu(hu[~near])
    core_hu = _core_hu(hu, box.voxels, lung_hu)
    dense, free = _dense(scan, box, near, (lung_hu + core_hu) / 2)
    if (haze_hu := _haze_hu(hu, box.voxels, dense, free, spacing)) > lung_hu + HAZE_HU:
        core_hu = haze_hu
        dense, free = _dense(scan, box, near, (lung_hu + core_hu) / 2)
    level = (lung_hu + core_hu) / 2
    if largest_ball(free, spacing) >= FREE_LEAST * largest_ball(dense, spacing):
        dense = free
    if core_hu <= lung_hu or not (dense & box.voxels).any():
        # Nothing stands out from the lung: the mask itself is measured, edge to edge.
        body, level = box.voxels, 0.0
        field = np.where(body, np.float32(1), np.float32(-1))
        volume_vox = float(body.sum())
    else:
        body = opened(dense, spacing)
        # Vessels and wall beyond the body are taken for lung, so that the contour closes there.
        field = np.where(body | (hu <= level), hu, np.float32(lung_hu))
        rim = ndimage.binary_dilation(body, CROSS)
        share = (field[rim] - lung_hu) / (core_hu - lung_hu)
        volume_vox = float(np.clip(share, 0, 1).sum())
    padded = np.pad(field, 1, constant_values=min(lung_hu, level - 1))
    planes = [plane_axes(padded, level, spacing, normal) for normal in range(3)]
    axes = _to_report(planes, spacing)
    # To 0.01 mm, far below the error: what is shown, written and compared is one number.
    long_mm, short_mm = round(axes.long_mm, 2), round(axes.short_mm, 2)
    own_hu = hu[body]
    nodule = BoxMask(box.start_irc, body)
    return nodule, Measurement(
        long_axis_mm=long_mm,
        short_axis_mm=short_mm,
        diameter_mm=(long_mm + short_mm) / 2,
        volume_mm3=volume_vox * scan.geometry.voxel_mm3,
        hu_mean=float(own_hu.mean()),
        hu_min=int(own_hu.min()),
        hu_max=int(own_hu.max()),
        plane=PLANES[axes.normal],
        plane_index=box.start_irc[axes.normal] + axes.index - 1,
        drawn=drawn_axes(planes, box),
        cut_by_scan=nodule.at_border(scan.shape_irc),
    )


def wall_beside(scan: Scan, mask: BoxMask, level: float) -> Mask:
    """The voxels in a mask's box, denser than a level, that are chest wall, mediastinum, diaphragm.

    A ball that is larger than the nodule rolls below their surface, and cannot enter the nodule.
    """
    spacing = scan.geometry.spacing_irc
    rough = mask.voxels & (scan.hu[mask.slices] > level)
    low_mm, high_mm = WALL_RADIUS_MM
    radius_mm = min(max(WALL_RADIUS * largest_ball(rough, spacing), low_mm), high_mm)
    box = _grown(mask, scan.shape_irc, [ceil(radius_mm / s) for s in spacing])
    wall = wall_of(scan.hu[box.slices] > level, radius_mm, spacing)
    inner = (
        slice(a - b, a - b + n)
        for a, b, n in zip(mask.start_irc, box.start_irc, mask.voxels.shape, strict=True)
    )
    return wall[tuple(inner)]


def _dense(scan: Scan, box: BoxMask, near: Mask, level: float) -> tuple[Mask, Mask]:
    """What of `near` is denser than a level, and what of that is not the wall."""
    dense = near & (scan.hu[box.slices] > level)
    return dense, dense & ~wall_beside(scan, box, level)


def _haze_hu(
    hu: NDArray[np.float32], mask: Mask, dense: Mask, free: Mask, spacing_irc: Triple
) -> float:
    """The attenuation of a mask whose dense part is the wall's; that of air for any other.

    A network that marks ground glass at a wall marks some of the wall, too, which is no core.
    """
    haze = mask & ~ndimage.binary_dilation(dense, CROSS)
    in_wall = 2 * free.sum() < dense.sum()
    if in_wall and largest_ball(haze, spacing_irc) > largest_ball(dense, spacing_irc):
        return float(np.median(hu[haze]))
    return AIR_HU


def drawn_axes(planes: Sequence[Axes], box: BoxMask) -> tuple[DrawnAxes, ...]:
    """The axes of planes as lines in a scan; they were measured in a box padded by one voxel."""
    return tuple(_drawn(axes, [k - 1 for k in box.start_irc]) for axes in planes)


def _drawn(axes: Axes, start_irc: Sequence[int]) -> DrawnAxes:
    a, b, c, d = axes.ends_irc(start_irc)
    return DrawnAxes(
        long_axis_mm=round(axes.long_mm, 2),
        short_axis_mm=round(axes.short_mm, 2),
        long_ends_irc=(a, b),
        short_ends_irc=(c, d),
        plane_index=start_irc[axes.normal] + axes.index,
    )


def _grown(mask: BoxMask, shape_irc: tuple[int, int, int], margin: Sequence[int]) -> BoxMask:
    """The same mask in a box with a margin around it, cut at the border of the scan."""
    sides = list(zip(mask.slices, margin, shape_irc, strict=True))
    low = [max(s.start - m, 0) for s, m, _ in sides]
    high = [min(s.stop + m, n) for s, m, n in sides]
    voxels = np.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=np.bool_)
    box = BoxMask((low[0], low[1], low[2]), voxels)
    inner = tuple(slice(s.start - a, s.stop - a) for s, a in zip(mask.slices, low, strict=True))
    voxels[inner] = mask.voxels
    return box


def _lung_hu(around: NDArray[np.float32]) -> float:
    lung = around[around < LUNG_MOST_HU]
    return float(np.median(lung)) if lung.size else LUNG_HU


def _core_hu(hu: NDArray[np.float32], mask: Mask, lung_hu: float) -> float:
    """The attenuation inside a nodule, clear of its edge; the densest voxel where all is edge.

    The mask may be a voxel too wide, so its inside is sought in what is dense of it.
    """
    rough = mask & (hu > (lung_hu + hu[mask].max()) / 2)
    inside = ndimage.binary_erosion(rough, CROSS)
    if not inside.any():
        inside = mask & (hu == hu[mask].max())
    return float(np.median(hu[inside]))


def _to_report(planes: Sequence[Axes], spacing_irc: Triple) -> Axes:
    """The axes in the plane to report."""
    axial, *others = planes
    longest = max(others, key=lambda axes: axes.long_mm)
    # Across slices the contour is coarser: a small difference may be no more than that.
    far_longer = longest.long_mm > axial.long_mm + max(spacing_irc)
    return longest if far_longer else axial
