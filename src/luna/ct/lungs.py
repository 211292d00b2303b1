"""Where the lungs are: a coarse mask by thresholding and morphology.

The mask answers two questions, which box the networks must look at and whether (and on
which side) a point lies in a lung, so it errs outwards: vessels, hila, nodules on the pleura
and masses are inside. It works at about 2.5 mm, where a whole chest is 2 million voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import Mask
from luna.ct.scan import Scan
from luna.run.errors import InputError

WORKING_MM = 2.5
"""Voxel size of the mask: fine enough for a 5 mm chest wall, coarse enough to be quick."""

AERATED_HU = -400
"""Between lung (about -850) and soft tissue (about 40): Hu, Hoffman and Reinhardt 2001."""

GAS_HU = -970
"""Room air and bowel gas are near -1000; even emphysema keeps a median above this."""

CORE_MM = 4.0
"""Depth at which a component's attenuation is read, clear of partial volume at its surface."""

BORDER_SHARE = 0.05
"""A component on more of a lateral face of the volume than this is the air around the patient."""

LUNG_MIN_ML = 40.0
LUNG_MIN_MM2 = 1000.0
"""Smaller aerated components are airways, bowel or artefacts. A scan of a few slices cannot
show the volume; there a component must be as large as this area through all of them."""

AIRWAY_HU = -920
AIRWAY_MAX_MM2 = 800.0
AIRWAY_MIDDLE_MM = 30.0
"""The trachea and main bronchi in a slice: gas, no wider than 32 mm, near the midline."""

CLOSING_MM = 25.0
"""Radius that swallows hila, pleural nodules and masses into the lung they touch.

On the real scans beside this repository, 25 mm keeps a 65 mm mass of the left upper lobe that
12 mm would cut in half, and adds less than 2 % to clean lungs.
"""

MASS_MM = 40.0
"""Tissue with lung of the same side this near above and below is a mass, not the chest wall."""

PLEURA_MM = 4.0
"""The mask reaches this far into the wall: the centre of a nodule on the pleura can lie there."""

RIGHT, LEFT = 1, 2
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Lungs:
    """The lungs of one scan, on a grid that is `factor_irc` times coarser than the scan's.

    `labels`: uint8 (index, row, column), 0 elsewhere, 1 right lung, 2 left lung (the
    patient's). Coarse voxel k covers scan voxels k·factor … (k+1)·factor - 1.
    `volume_ml`: aerated volume of the right and left lung.
    """

    labels: Labels
    factor_irc: tuple[int, int, int]
    shape_irc: tuple[int, int, int]
    volume_ml: tuple[float, float]
    warnings: tuple[str, ...]

    def box(self) -> tuple[slice, slice, slice]:
        """The smallest box of scan voxels that holds both lungs."""
        i, r, c = (self._extent(axis, 0, len(self.labels)) for axis in range(3))
        return i, r, c

    def box_in(self, slices: slice) -> tuple[slice, slice]:
        """Rows and columns of the smallest box that holds both lungs in some scan slices.

        Where these slices show no lung, the box of the whole lungs.
        """
        start, stop = slices.start // self.factor_irc[0], -(-slices.stop // self.factor_irc[0])
        if not self.labels[start:stop].any():
            start, stop = 0, len(self.labels)
        return self._extent(1, start, stop), self._extent(2, start, stop)

    def _extent(self, axis: int, start: int, stop: int) -> slice:
        """Scan voxels along an axis that hold lung in coarse slices start…stop."""
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(self.labels[start:stop].any(axis=others))
        offset = start if axis == 0 else 0
        factor = self.factor_irc[axis]
        first, last = int(found[0]) + offset, int(found[-1]) + offset
        return slice(first * factor, min((last + 1) * factor, self.shape_irc[axis]))

    def label_at(self, irc: ArrayLike) -> NDArray[np.uint8]:
        """0, 1 (right) or 2 (left) for each of (..., 3) scan voxel coordinates."""
        coarse = np.rint(np.asarray(irc, dtype=np.float64)).astype(int) // self.factor_irc
        limit = np.array(self.labels.shape) - 1
        inside = ((coarse >= 0) & (coarse <= limit)).all(axis=-1)
        i, r, c = np.moveaxis(np.clip(coarse, 0, limit), -1, 0)
        return np.where(inside, self.labels[i, r, c], 0).astype(np.uint8)

    def side(self, center_irc: ArrayLike) -> Literal["left", "right"]:
        """The side of the lung voxel nearest to a point."""
        voxels = np.argwhere(self.labels)
        coarse = (np.asarray(center_irc, dtype=np.float64) + 0.5) / self.factor_irc - 0.5
        step = ((voxels - coarse) * self.factor_irc) ** 2
        nearest = voxels[int(step.sum(axis=1).argmin())]
        return "right" if self.labels[tuple(nearest)] == RIGHT else "left"


def find_lungs(scan: Scan) -> Lungs:
    """The lungs of a scan.

    Raises InputError when there are none: too little aerated tissue of lung density.
    """
    factor = _reduction(scan.geometry.spacing_irc)
    hu = _reduce(scan.hu, factor)
    spacing = tuple(s * f for s, f in zip(scan.geometry.spacing_irc, factor, strict=True))
    voxel_ml = float(np.prod(spacing)) / 1000
    aerated = _lung_components(hu, spacing, voxel_ml)
    if not aerated.any():
        raise InputError(
            "no lungs in this volume",
            file=scan.provenance.source,
            why="no aerated region of the size and density of a lung",
            hint="luna reads CT of the chest; was another series of the study meant?",
        )
    middle = _middle_column(aerated, hu)
    aerated &= ~_central_airways(aerated, hu, spacing, middle)
    labels = _split_sides(aerated, middle, scan.geometry.matrix[0, 0])
    right_ml, left_ml = (float((labels == side).sum() * voxel_ml) for side in (RIGHT, LEFT))
    for side in (RIGHT, LEFT):
        labels[_filled(labels == side, spacing) & (labels == 0)] = side
    warnings = _what_is_cut(aerated, labels)
    return Lungs(labels, factor, scan.shape_irc, (right_ml, left_ml), warnings)


def _reduction(spacing_irc: Triple) -> tuple[int, int, int]:
    i, r, c = (max(1, round(WORKING_MM / s)) for s in spacing_irc)
    return i, r, c


def _reduce(hu: NDArray[np.int16], factor: tuple[int, int, int]) -> NDArray[np.float32]:
    """Block means (I/f, R/f, C/f) of the volume, the last blocks padded by their edge.

    One coarse slice at a time: the float copy never exceeds a few slices.
    """
    fi, fr, fc = factor
    rows, columns = -(-hu.shape[1] // fr), -(-hu.shape[2] // fc)
    pad = ((0, rows * fr - hu.shape[1]), (0, columns * fc - hu.shape[2]))
    out = np.empty((-(-hu.shape[0] // fi), rows, columns), dtype=np.float32)
    for k in range(len(out)):
        slab = hu[k * fi : (k + 1) * fi].mean(axis=0, dtype=np.float32)
        slab = np.pad(slab, pad, mode="edge")
        out[k] = slab.reshape(rows, fr, columns, fc).mean(axis=(1, 3))
    return out


def _lung_components(hu: NDArray[np.float32], spacing: tuple[float, ...], voxel_ml: float) -> Mask:
    """The aerated components that are lung by volume and by the attenuation of their core."""
    labels, count = ndimage.label(hu < AERATED_HU)
    min_ml = min(LUNG_MIN_ML, LUNG_MIN_MM2 * len(hu) * spacing[0] / 1000)
    large = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml >= min_ml
    large[0] = False
    for face in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        large &= np.bincount(face.ravel(), minlength=count + 1) < BORDER_SHARE * face.size
    # The volume's own border is no surface: a lung cut by the first slice has its core there.
    depth = ndimage.distance_transform_edt(np.pad(labels > 0, 1, mode="edge"), sampling=spacing)
    core = depth[1:-1, 1:-1, 1:-1] > CORE_MM
    keep = np.zeros(count + 1, dtype=np.bool_)
    for label in np.flatnonzero(large):
        values = hu[core & (labels == label)]
        keep[label] = values.size * voxel_ml > min_ml / 4 and np.median(values) > GAS_HU
    return np.asarray(keep[labels])


def _middle_column(lung: Mask, hu: NDArray[np.float32]) -> float:
    """The column that halves the body at the level of the lungs, whether one or two are there."""
    body = (hu > AERATED_HU) | lung
    i, r, _ = ndimage.find_objects(lung.astype(np.uint8))[0]
    weight = np.cumsum(body[i, r].sum(axis=(0, 1)))
    return float(np.searchsorted(weight, weight[-1] / 2))


def _central_airways(
    lung: Mask, hu: NDArray[np.float32], spacing: tuple[float, ...], middle: float
) -> Mask:
    """Trachea and main bronchi where a slice shows them apart from the lungs.

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


def _split_sides(lung: Mask, middle: float, x_per_column: float) -> Labels:
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
        sides = _side_of_parts(parts, count, by_middle)
        if sides is not None:
            nearest = ndimage.distance_transform_edt(
                sides == 0, return_distances=False, return_indices=True
            )
            return np.where(lung, sides[tuple(nearest)], 0).astype(np.uint8)
    return np.where(lung, by_middle, 0).astype(np.uint8)


def _side_of_parts(parts: NDArray[np.int32], count: int, by_middle: Labels) -> Labels | None:
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


def _filled(lung: Mask, spacing: tuple[float, ...]) -> Mask:
    """One lung with its vessels, pleural nodules and masses."""
    if not lung.any():
        return lung
    closed = _close(lung, spacing, CLOSING_MM, grow_mm=PLEURA_MM)
    reach = max(1, round(MASS_MM / spacing[0]))
    below = _seen_within(closed, reach)
    above = _seen_within(closed[::-1], reach)[::-1]
    closed |= below & above
    for k in range(len(closed)):
        closed[k] = ndimage.binary_fill_holes(closed[k])
    return closed


def _close(mask: Mask, spacing: tuple[float, ...], radius_mm: float, grow_mm: float) -> Mask:
    """Closing by a ball and growth by `grow_mm`, through distances.

    Dilation by `radius_mm` and erosion by less leave the mask closed and grown.
    """
    margin = [int(np.ceil(radius_mm / s)) + 1 for s in spacing]
    # Only the lung's own box is worked on; the ball reaches no further than the margin.
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    # A lung that the scan cuts goes on beyond it: its first and last slice are repeated.
    wide = np.pad(mask[box], [(margin[0],) * 2, (0, 0), (0, 0)], mode="edge")
    for end, inside in (
        (slice(0, margin[0]), box[0].start > 0),
        (slice(-margin[0], None), box[0].stop < len(mask)),
    ):
        wide[end] &= not inside
    wide = np.pad(wide, [(0, 0), (margin[1],) * 2, (margin[2],) * 2])
    grown = ndimage.distance_transform_edt(~wide, sampling=spacing) <= radius_mm
    closed = ndimage.distance_transform_edt(grown, sampling=spacing) > radius_mm - grow_mm
    return _pasted(closed, [s.start - m for s, m in zip(box, margin, strict=True)], mask.shape)


def _pasted(part: Mask, start: list[int], shape: tuple[int, ...]) -> Mask:
    """`part` on an empty volume with its first voxel at `start`, cut where it overhangs."""
    out = np.zeros(shape, dtype=np.bool_)
    into, out_of = [], []
    for a, n, length in zip(start, part.shape, shape, strict=True):
        low, high = max(a, 0), min(a + n, length)
        into.append(slice(low, high))
        out_of.append(slice(low - a, high - a))
    out[tuple(into)] = part[tuple(out_of)]
    return out


def _seen_within(mask: Mask, reach: int) -> Mask:
    """Whether one of the `reach` slices before has the mask at the same row and column."""
    seen = np.zeros(mask.shape[1:], dtype=np.int32)
    out = np.empty_like(mask)
    for k in range(len(mask)):
        out[k] = seen > 0
        seen = np.where(mask[k], reach, np.maximum(seen - 1, 0))
    return out


def _what_is_cut(aerated: Mask, labels: Labels) -> tuple[str, ...]:
    """Sentences about lung that the scan does not show."""
    area = aerated.sum(axis=(1, 2))
    widest = area.max()
    # A whole lung tapers to less than a tenth of its widest slice at apex and base.
    cut = [end for end, k in (("lower", 0), ("upper", -1)) if area[k] > 0.1 * widest]
    warnings = []
    if cut:
        warnings.append(
            f"Partial scan: the lungs continue beyond its {' and '.join(cut)} end; "
            "what lies there was not looked at."
        )
    for side, name in ((RIGHT, "right"), (LEFT, "left")):
        if not (labels == side).any():
            warnings.append(f"No aerated {name} lung was found; that side was not looked at.")
    return tuple(warnings)
