"""From marked voxels to candidates (book, chapter 14: `groupSegmentationOutput`).

The mask is eroded once by the 6-neighbour cross, or by the cross within each slice, as the
segmenter's card says. This separates what touches by a corner and drops lone voxels. Each
6-connected piece of what is left is a candidate. Pieces whose regrown masks touch belong to one
nodule. With erosion within slices, pieces that are not like a ball are split first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import AIR_HU, Scan
from luna.detect.segment import Segmentation
from luna.detect.split import split
from luna.nets.card import Erosion

HU_CEILING = 1000
"""Denser voxels (metal, thick bone) do not pull the centre of mass further, as in the book."""

REACH_VOX = 64
"""Half the largest box of a nodule's mask: 64 pixels are at least 30 mm in a chest CT."""

AXES: dict[Erosion, tuple[int, ...]] = {"cross": (0, 1, 2), "slice": (1, 2)}
"""Along which axes the mask is eroded and regrown."""


@dataclass(frozen=True, slots=True)
class Components:
    """The candidates of one scan, M of them, in the order of their pieces' labels.

    `center_irc`: (M, 3) float64, centre of mass weighted by clip(HU, -1000, 1000) + 1001;
    `nodule`: (M,) int from 0, equal for pieces of one nodule; `labels`: int32 (index, row,
    column), the regrown mask labelled by `nodule` + 1, whose voxel (0, 0, 0) is `start_irc` of
    the scan.
    """

    center_irc: NDArray[np.float64]
    nodule: NDArray[np.int64]
    labels: NDArray[np.int32]
    start_irc: tuple[int, int, int]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Components:
        """The candidates of some rows; the labelled volume stays whole."""
        return replace(self, center_irc=self.center_irc[rows], nodule=self.nodule[rows])

    def masks(self, nodules: NDArray[np.int64], center_irc: NDArray[np.float64]) -> list[BoxMask]:
        """The marked voxels of some nodules near their centres, each in the smallest box.

        A component may follow vessels or pleura through the whole scan. What is measured does
        not, so only voxels within REACH_VOX of a centre count, where there are any.
        """
        boxes = ndimage.find_objects(self.labels)
        masks = []
        for nodule, center in zip(nodules, center_irc - self.start_irc, strict=True):
            near = _near(boxes[nodule], np.rint(center).astype(int))
            box = near if (self.labels[near] == nodule + 1).any() else boxes[nodule]
            i, r, c = (s.start + o for s, o in zip(box, self.start_irc, strict=True))
            masks.append(BoxMask((i, r, c), self.labels[box] == nodule + 1))
        return masks


def _near(box: tuple[slice, ...], center: NDArray[np.int_]) -> tuple[slice, ...]:
    return tuple(
        slice(
            min(max(s.start, c - REACH_VOX), s.stop), max(min(s.stop, c + REACH_VOX + 1), s.start)
        )
        for s, c in zip(box, center.tolist(), strict=True)
    )


def group(scan: Scan, segmentation: Segmentation, erosion: Erosion = "cross") -> Components:
    """Find the candidates among the marked voxels, and which of them are one nodule."""
    mask = segmentation.marked
    eroded = erode(mask, AXES[erosion])
    pieces, count = ndimage.label(eroded)
    if erosion == "slice":
        pieces = split(pieces, scan.geometry.spacing_irc)
    # Label volumes are the largest arrays here, four bytes a voxel: of the pieces only the
    # voxels are kept before the second volume is made.
    at = np.nonzero(pieces)
    label = pieces[at]
    del pieces
    labels, _ = ndimage.label(dilate(eroded, AXES[erosion]) & mask)
    # A piece lies in one regrown component: its first voxel tells in which.
    first = np.unique(label, return_index=True)[1]
    nodule = labels[tuple(axis[first] for axis in at)].astype(np.int64) - 1
    irc: NDArray[np.int64] = np.stack(at, axis=1)
    if len(first) > count:  # pieces were split, so their component must be divided among them
        _divide(labels, nodule, nodule[count:], irc, label, scan.geometry.spacing_irc)
    irc += segmentation.start_irc
    hu = np.clip(scan.hu[tuple(irc.T)].astype(np.float64), AIR_HU, HU_CEILING)
    return Components(
        _centers_of_mass(label, irc, hu - AIR_HU + 1), nodule, labels, segmentation.start_irc
    )


def _divide(
    labels: NDArray[np.int32],
    nodule: NDArray[np.int64],
    shared: NDArray[np.int64],
    irc: NDArray[np.int64],
    label: NDArray[np.int32],
    spacing_irc: Triple,
) -> None:
    """Make each piece of shared components a nodule of its own, in place.

    A voxel of such a component goes to the piece that has the nearest voxel.
    """
    boxes = ndimage.find_objects(labels)
    last = len(boxes)
    number = np.zeros(len(nodule) + 1, dtype=np.int32)  # of a piece's nodule in `labels`
    for component in np.unique(shared):
        box = boxes[component]
        whole = labels[box] == component + 1
        mine = np.flatnonzero(nodule == component)
        inside = np.isin(label, mine + 1)
        seeds = np.zeros(whole.shape, dtype=np.int32)
        seeds[tuple((irc[inside] - [s.start for s in box]).T)] = label[inside]
        nearest = ndimage.distance_transform_edt(
            seeds == 0, spacing_irc, return_distances=False, return_indices=True
        )
        number[mine + 1] = [component + 1, *range(last + 1, last + len(mine))]
        last += len(mine) - 1
        labels[box][whole] = number[seeds[tuple(nearest)][whole]]
        nodule[mine] = number[mine + 1] - 1


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
