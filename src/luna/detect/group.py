"""From voxel probabilities to candidates (book, chapter 14: `groupSegmentationOutput`).

The mask is eroded once by the 6-neighbour cross, or by the cross within each slice, as the
segmenter's card says. That parts what touches by a corner and drops lone voxels; each 6-connected
component of what is left is a candidate. Eroded fragments whose regrown masks touch belong to one
nodule. With erosion within slices, fragments that are several things are parted first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.scan import AIR_HU, Scan
from luna.detect.part import part
from luna.detect.segment import Segmentation
from luna.nets.bundle import Erosion

HU_CEILING = 1000
"""Denser voxels (metal, thick bone) do not pull the centre of mass further, as in the book."""

AXES: dict[Erosion, tuple[int, ...]] = {"cross": (0, 1, 2), "slice": (1, 2)}
"""Along which axes the mask is eroded and regrown."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Components:
    """The candidates of one scan, M of them, in the order of their first voxel, parted ones last.

    `center_irc`: (M, 3) float64, centre of mass weighted by clip(HU, -1000, 1000) + 1001;
    `voxels`: (M,) int, eroded voxels; `nodule`: (M,) int, equal for fragments of one nodule;
    `opened`: int32 (index, row, column), the regrown mask labelled by `nodule` + 1, whose
    voxel (0, 0, 0) is `start_irc` of the scan.
    """

    center_irc: NDArray[np.float64]
    voxels: NDArray[np.int64]
    nodule: NDArray[np.int64]
    opened: NDArray[np.int32]
    start_irc: tuple[int, int, int]


def group(
    scan: Scan, segmentation: Segmentation, threshold: float, erosion: Erosion = "cross"
) -> Components:
    """The connected components of the segmented voxels and which of them are one nodule."""
    mask = segmentation.p_voxel > threshold
    eroded = erode(mask, AXES[erosion])
    # Label volumes are the largest arrays here, four bytes a voxel: one at a time.
    fragments, count = ndimage.label(eroded)
    index = np.flatnonzero(fragments)
    label = fragments.ravel()[index]
    del fragments
    opened, _ = ndimage.label(dilate(eroded, AXES[erosion]) & mask)
    irc: NDArray[np.int64] = np.stack(np.unravel_index(index, mask.shape), axis=1)
    if erosion == "slice":
        label = part(label, irc, np.array(scan.geometry.spacing_irc))
        kept = np.flatnonzero(label)
        index, irc, label = index[kept], irc[kept], label[kept]
    # One voxel of each fragment tells which opened component it lies in.
    first = np.unique(label, return_index=True)[1]
    nodule = opened.ravel()[index[first]].astype(np.int64) - 1
    if len(first) > count:
        _separate(opened, nodule, nodule[count:], irc, label, scan.geometry.spacing_irc)
    irc += segmentation.start_irc
    hu = np.clip(scan.hu[tuple(irc.T)].astype(np.float64), AIR_HU, HU_CEILING)
    voxels, center_irc = _centers_of_mass(label, irc, hu - AIR_HU + 1)
    return Components(center_irc, voxels, nodule, opened, segmentation.start_irc)


def _separate(
    opened: NDArray[np.int32],
    nodule: NDArray[np.int64],
    joined: NDArray[np.int64],
    irc: NDArray[np.int64],
    label: NDArray[np.int32],
    spacing_irc: Triple,
) -> None:
    """Make each fragment of joined components a nodule of its own, in place.

    A voxel of the component goes to the fragment that has the nearest voxel.
    """
    boxes = ndimage.find_objects(opened)
    end = len(boxes)
    number = np.zeros(len(nodule) + 1, dtype=np.int32)
    for component in np.unique(joined):
        box = boxes[component]
        whole = opened[box] == component + 1
        mine = np.flatnonzero(nodule == component)
        inside = np.isin(label, mine + 1)
        seeds = np.zeros(whole.shape, dtype=np.int32)
        seeds[tuple((irc[inside] - [s.start for s in box]).T)] = label[inside]
        nearest = ndimage.distance_transform_edt(
            seeds == 0, spacing_irc, return_distances=False, return_indices=True
        )
        number[mine + 1] = [component + 1, *range(end + 1, end + len(mine))]
        end += len(mine) - 1
        opened[box][whole] = number[seeds[tuple(nearest)][whole]]
        nodule[mine] = number[mine + 1] - 1


def _centers_of_mass(
    label: NDArray[np.int32], irc: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Voxel counts (M,) and weighted centres (M, 3) of labels 1…M in one pass each."""
    mass = np.bincount(label, weight)[1:]
    moments = [np.bincount(label, weight * axis)[1:] for axis in irc.T]
    return np.bincount(label)[1:], np.stack(moments, axis=1) / mass[:, None]


def erode(mask: Mask, axes: tuple[int, ...] = AXES["cross"]) -> Mask:
    """Erosion by the nearest neighbours along some axes; what lies outside the array is empty.

    An axis of one or two voxels is left out: nothing has two neighbours along it, and a scan
    of so few slices would have no candidates. A few ANDs over whole arrays of bytes: an order
    faster than scipy's generic erosion.
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
    """Dilation by the nearest neighbours along some axes."""
    out = mask.copy()
    for axis in axes:
        low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
        high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
        out[low] |= mask[high]
        out[high] |= mask[low]
    return out
