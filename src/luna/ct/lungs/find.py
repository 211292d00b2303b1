"""Find the lungs: a coarse mask by thresholding and morphology.

The mask says which box the networks must see, and whether and on which side a point lies in a
lung. It errs outwards: vessels, hila, nodules on the pleura and masses are inside. The grid has
voxels of about 2.5 mm, on which a whole chest is 2 million voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.lungs.hull import fill_lung
from luna.ct.lungs.sides import (
    AERATED_HU,
    LEFT,
    RIGHT,
    Hu,
    Labels,
    central_airways,
    middle_column,
    split_sides,
)
from luna.ct.mask import Mask
from luna.ct.scan import Scan
from luna.run.errors import InputError

WORKING_MM = 2.5
"""Voxel size of the mask: fine enough for a 5 mm chest wall, coarse enough to be quick."""

GAS_HU = -970
"""Room air and bowel gas are near -1000; even emphysema keeps a median above this."""

DENSEST_HU = -600
"""No lung is denser than this in its core: the reference scans have medians of -900 to -839 HU.
What is, is stool or foam, or the values are not Hounsfield units."""

CORE_MM = 4.0
"""Depth at which a component's attenuation is read, clear of partial volume at its surface."""

BORDER_SHARE = 0.05
"""A component on more of a lateral face of the volume than this is the air around the patient,
or a lung that the field of view cuts."""

CUT_GAS_HU = -930
"""A component on a lateral face is lung only above this: outside air may be as dense as -940."""

LUNG_MIN_ML = 40.0
LUNG_MIN_MM2 = 1000.0
"""Smaller aerated components are airways, bowel or artefacts. A scan of a few slices cannot
show the volume; there a component must be as large as this area through all of them."""

CHEST_MIN_MM2 = 2500.0
"""Somewhere the lungs of a chest fill more of a slice than a loop of bowel does."""

OUTSIDE_HU_MAX = -850
"""The air around the patient is near -1000; the reference scans have medians of -996 to -938."""

OUTSIDE_PERCENTILE = 25
"""Of that air: where noise is clipped at -1024, half of its values are left and the median is
far too high."""

CLIPPED_HU = -1020
"""At or below this, air is indistinguishable from the padding outside the scanner's field."""

OUTSIDE_MIN_VOXELS = 50
"""Fewer coarse voxels of outside air than this say nothing."""

CUT_MIN_MM2 = 200.0
"""A lung with more than this on a lateral face of the volume is cut by the field of view."""


@dataclass(frozen=True, slots=True)
class Lungs:
    """The lungs of one scan, on a grid that is `factor_irc` times coarser than the scan's.

    `labels`: uint8 (index, row, column), 0 elsewhere, 1 right lung, 2 left lung (the
    patient's). `hu`: float32, the mean of each coarse voxel, which covers scan voxels
    k·factor … (k+1)·factor - 1. `volume_ml`: aerated volume of the right and left lung.
    `limits`: a sentence for each part of the lungs that the scan does not show.
    """

    labels: Labels
    hu: Hu
    factor_irc: tuple[int, int, int]
    shape_irc: tuple[int, int, int]
    spacing_irc: Triple
    volume_ml: tuple[float, float]
    limits: tuple[str, ...]

    @property
    def aerated(self) -> Mask:
        """The voxels of the lungs that hold air: no vessel, nodule or mass."""
        return np.asarray((self.labels > 0) & (self.hu < AERATED_HU))

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
        """Return the scan voxels of an axis that hold lung in coarse slices start…stop."""
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(self.labels[start:stop].any(axis=others))
        offset = start if axis == 0 else 0
        factor = self.factor_irc[axis]
        first, last = int(found[0]) + offset, int(found[-1]) + offset
        return slice(first * factor, min((last + 1) * factor, self.shape_irc[axis]))

    def label_at(self, irc: ArrayLike) -> NDArray[np.uint8]:
        """Return 0, 1 (right) or 2 (left) for each of (..., 3) scan voxel coordinates."""
        coarse = np.rint(np.asarray(irc, dtype=np.float64)).astype(int) // self.factor_irc
        limit = np.array(self.labels.shape) - 1
        inside = ((coarse >= 0) & (coarse <= limit)).all(axis=-1)
        i, r, c = np.moveaxis(np.clip(coarse, 0, limit), -1, 0)
        return np.where(inside, self.labels[i, r, c], 0).astype(np.uint8)

    def side(self, center_irc: ArrayLike) -> Literal["left", "right"]:
        """Return the side of the lung voxel nearest to a point."""
        label = int(self.label_at(center_irc))
        if label == 0:
            voxels = np.argwhere(self.labels)
            coarse = (np.asarray(center_irc, dtype=np.float64) + 0.5) / self.factor_irc - 0.5
            step = ((voxels - coarse) * self.factor_irc) ** 2
            label = int(self.labels[tuple(voxels[int(step.sum(axis=1).argmin())])])
        return "right" if label == RIGHT else "left"


def find_lungs(scan: Scan) -> Lungs:
    """Find the lungs of a scan.

    Raises InputError when there are none (too little aerated tissue of lung density) and when
    the air around the patient shows that the values are not Hounsfield units.
    """
    factor = _reduction(scan.geometry.spacing_irc)
    hu = _reduce(scan.hu, factor)
    i, r, c = (s * f for s, f in zip(scan.geometry.spacing_irc, factor, strict=True))
    spacing = (i, r, c)
    _refuse_wrong_units(hu, scan)
    aerated = _lung_components(hu, spacing)
    if aerated.sum(axis=(1, 2)).max() * r * c < CHEST_MIN_MM2:
        raise InputError(
            "no lungs in this volume",
            file=scan.provenance.source,
            why="no aerated region of the size and density of a lung",
            hint="luna reads CT of the chest; was another series of the study meant?",
        )
    middle = middle_column(aerated, hu)
    aerated &= ~central_airways(aerated, hu, spacing, middle)
    labels = split_sides(aerated, middle, scan.geometry.matrix[0, 0])
    voxel_ml = i * r * c / 1000
    right_ml, left_ml = (float((labels == side).sum() * voxel_ml) for side in (RIGHT, LEFT))
    limits = _missing_parts(aerated, labels, spacing)
    for side in (RIGHT, LEFT):
        labels[fill_lung(labels == side, spacing) & (labels == 0)] = side
    return Lungs(labels, hu, factor, scan.shape_irc, spacing, (right_ml, left_ml), limits)


def _reduction(spacing_irc: Triple) -> tuple[int, int, int]:
    i, r, c = (max(1, round(WORKING_MM / s)) for s in spacing_irc)
    return i, r, c


def _reduce(hu: NDArray[np.int16], factor: tuple[int, int, int]) -> Hu:
    """Average blocks of the volume to (I/f, R/f, C/f); the last blocks are padded by their edge.

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


def _refuse_wrong_units(hu: Hu, scan: Scan) -> None:
    """Raise InputError when the air around the patient is not near -1000 HU.

    That air reaches an edge between two lateral faces of the volume; lungs do not. Clipped air
    and padding are left out, since their value says nothing.
    """
    labels, _ = ndimage.label(hu < AERATED_HU)
    outside = np.isin(labels, _labels_on_edges(labels)) & (hu > CLIPPED_HU)
    if outside.sum() < OUTSIDE_MIN_VOXELS:
        return
    air_hu = float(np.percentile(hu[outside], OUTSIDE_PERCENTILE))
    if air_hu > OUTSIDE_HU_MAX:
        raise InputError(
            "the values of this volume are not Hounsfield units",
            file=scan.provenance.source,
            why=f"the air around the patient has {air_hu:.0f} HU instead of about -1000",
            hint="the rescale slope or intercept was lost or changed; convert the series again",
        )


def _labels_on_edges(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The components (without 0) that reach an edge between two lateral faces."""
    edges = np.unique(labels[:, (0, 0, -1, -1), (0, -1, 0, -1)])
    return np.asarray(edges[edges > 0])


def _lung_components(hu: Hu, spacing: Triple) -> Mask:
    """The aerated components that are lung by volume and by the attenuation of their core."""
    voxel_ml = float(np.prod(spacing)) / 1000
    labels, count = ndimage.label(hu < AERATED_HU)
    min_ml = min(LUNG_MIN_ML, LUNG_MIN_MM2 * len(hu) * spacing[0] / 1000)
    large = np.bincount(labels.ravel(), minlength=count + 1) * voxel_ml >= min_ml
    large[0] = False
    on_face = np.zeros_like(large)
    for face in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        on_face |= np.bincount(face.ravel(), minlength=count + 1) >= BORDER_SHARE * face.size
    large[np.intersect1d(np.flatnonzero(on_face), _labels_on_edges(labels))] = False
    # The volume's own border is no surface: a lung cut by the first slice has its core there.
    depth = ndimage.distance_transform_edt(np.pad(labels > 0, 1, mode="edge"), sampling=spacing)
    core = depth[1:-1, 1:-1, 1:-1] > CORE_MM
    keep = np.zeros(count + 1, dtype=np.bool_)
    for label in np.flatnonzero(large):
        values = hu[core & (labels == label)]
        lowest_hu = CUT_GAS_HU if on_face[label] else GAS_HU
        if values.size * voxel_ml > min_ml / 4:
            keep[label] = lowest_hu < np.median(values) < DENSEST_HU
    return np.asarray(keep[labels])


def _missing_parts(aerated: Mask, labels: Labels, spacing: Triple) -> tuple[str, ...]:
    """A sentence for each part of the lungs that the scan does not show."""
    area = aerated.sum(axis=(1, 2))
    # A whole lung tapers to less than a tenth of its widest slice at apex and base.
    ends = [end for end, k in (("lower", 0), ("upper", -1)) if area[k] > 0.1 * area.max()]
    limits = []
    if ends:
        limits.append(
            f"Partial scan: the lungs continue beyond its {' and '.join(ends)} end; "
            "luna did not see what lies there."
        )
    for side, name in ((RIGHT, "right"), (LEFT, "left")):
        lung = labels == side
        if not lung.any():
            limits.append(f"No aerated {name} lung was found; luna did not see that side.")
        elif _cut_mm2(lung, spacing) > CUT_MIN_MM2:
            limits.append(
                f"Small field of view: the {name} lung continues beyond the edge of the images; "
                "luna did not see what lies there."
            )
    return tuple(limits)


def _cut_mm2(lung: Mask, spacing: Triple) -> float:
    """The area of a lung on the lateral faces of the volume."""
    index_mm, row_mm, column_mm = spacing
    columns_mm2 = lung[:, (0, -1)].sum() * index_mm * column_mm
    rows_mm2 = lung[:, :, (0, -1)].sum() * index_mm * row_mm
    return float(columns_mm2 + rows_mm2)
