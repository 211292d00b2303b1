"""Parts a segmenter's marks by one erosion into pieces, as the book does (chapter 14)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.mask import Mask
from luna.ct.scan import AIR_HU, Scan
from luna.detect.segment import Segmentation
from luna.nets.card import Erosion

HU_CEILING = 1000
"""Denser voxels (metal, thick bone) do not pull the centre of mass further, as in the book."""

SPREAD = 1.7
"""A piece whose voxels lie so many times farther from their centre than those of a ball of its
volume is no nodule alone. Its own centre is no candidate where it holds balls."""

AXES: dict[Erosion, tuple[int, ...]] = {"cross": (0, 1, 2), "slice": (1, 2)}
"""Along which axes the mask is eroded and regrown."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of an eroded mask, P of them, and their voxels, V of them.

    `component`: (P,) which regrown component a piece lies in, from 0; `spreads`: (P,) whether a
    piece is far from a ball; `irc`: (V, 3), `label`: (V,) the piece of each voxel, from 1.
    """

    center_irc: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    component: NDArray[np.int64]
    spreads: NDArray[np.bool_]
    irc: NDArray[np.int64]
    label: NDArray[np.int32]


def find_pieces(
    scan: Scan, segmentation: Segmentation, axes: tuple[int, ...]
) -> tuple[Pieces, NDArray[np.int32]]:
    """The pieces of the mask, and the regrown mask labelled by component from 1."""
    eroded = erode(segmentation.marked, axes)
    volume, _ = ndimage.label(eroded)
    # Label volumes are the largest arrays here, four bytes a voxel: of the pieces only the
    # voxels are kept before the second volume is made.
    at = np.nonzero(volume)
    label = volume[at]
    del volume
    labels, _ = ndimage.label(dilate(eroded, axes) & segmentation.marked)
    irc: NDArray[np.int64] = np.stack(at, axis=1)
    # A piece lies in one regrown component: its first voxel tells in which.
    first = irc[np.unique(label, return_index=True)[1]]
    hu = scan.hu[tuple((irc + segmentation.start_irc).T)].astype(np.float64)
    weight = np.clip(hu, AIR_HU, HU_CEILING) - AIR_HU + 1
    radius_mm, spreads = _extent(label, irc, np.array(scan.geometry.spacing_irc))
    return Pieces(
        center_irc=_centers_of_mass(label, irc, weight),
        radius_mm=radius_mm,
        component=labels[tuple(first.T)].astype(np.int64) - 1,
        spreads=spreads,
        irc=irc,
        label=label,
    ), labels


def _extent(
    label: NDArray[np.int32], irc: NDArray[np.int64], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The radius in mm of a ball of each piece's volume, and whether the piece spreads."""
    count = np.bincount(label)[1:]
    radius_mm = np.cbrt(3 * count * spacing.prod() / (4 * np.pi))
    center = _centers_of_mass(label, irc, np.ones(len(label)))
    variance_mm2 = sum(
        np.bincount(label, (irc[:, a] - center[label - 1, a]) ** 2)[1:] * spacing[a] ** 2 / count
        for a in range(3)
    )
    of_ball_mm2 = 0.6 * radius_mm**2  # mean squared distance from the centre of a solid ball
    return radius_mm, np.asarray(variance_mm2 > SPREAD**2 * of_ball_mm2)


def _centers_of_mass(
    label: NDArray[np.int32], irc: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted centres (M, 3) of labels 1…M, in one pass over the voxels per axis."""
    mass = np.bincount(label, weight)[1:]
    moments = [np.bincount(label, weight * axis)[1:] for axis in irc.T]
    return np.stack(moments, axis=1) / mass[:, None]


def erode(mask: Mask, axes: tuple[int, ...] = AXES["cross"]) -> Mask:
    """Erode by the nearest neighbours along some axes; what lies outside the array is empty.

    An axis of one or two voxels is left out: no voxel has two neighbours along it, and a scan
    of so few slices would have no candidates. A few ANDs over whole arrays of bytes are ten
    times faster than scipy's erosion.
    """
    out = np.zeros_like(mask)
    thick = [axis for axis in axes if mask.shape[axis] > 2]
    core = tuple(slice(1, -1) if axis in thick else slice(None) for axis in range(3))
    out[core] = mask[core]
    for axis in thick:
        for shifted in (slice(None, -2), slice(2, None)):
            neighbour = list(core)
            neighbour[axis] = shifted
            out[core] &= mask[tuple(neighbour)]
    return out


def dilate(mask: Mask, axes: tuple[int, ...] = AXES["cross"]) -> Mask:
    """Dilate by the nearest neighbours along some axes."""
    out = mask.copy()
    for axis in axes:
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        out[low] |= mask[high]
        out[high] |= mask[low]
    return out
