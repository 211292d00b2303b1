"""Find soft tissue in the lungs that is larger than any nodule in the networks' training.

A network trained on nodules of 3 to 30 mm cannot recognise a mass: a crop inside it is uniform
tissue. Here a mass is found by shape and place alone: tissue in the outline of a lung, thick enough
to hold a ball, that is not the heart, the great vessels, the diaphragm, the tissue at the apex or a
layer of fluid. The grid is that of `luna.ct.lungs.find`, about 2.5 mm.

The thresholds lie between the masses of the reference scans and the normal tissue of all others
(`scripts/measure_opacities.py`, docs/reliability.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.lungs.find import Lungs
from luna.ct.lungs.sides import AERATED_HU, LEFT, RIGHT
from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import Scan
from luna.detect.axes import plane_axes
from luna.detect.findings import PLANES, Measurement, Opacity
from luna.detect.measure import drawn_axes
from luna.nets.trained import TrainedRange

LARGEST_NODULE_MM = 30.0
"""What is larger is called a mass (Fleischner glossary, 2024); taken where no card says more."""

TISSUE_HU = -250
"""Coarse voxels above this hold mostly tissue; vessels, whose voxels are mixed, are left out."""

CORE_MM = 8.0
"""A region begins where a ball of this radius fits into the tissue; few vessels are as thick."""

LUNG_AROUND = 0.6
"""A mass in the lung has lung of its side on the midline's side, above and below for this share
of its voxels. The heart and great vessels have none towards the midline, the diaphragm none
below, the apex none above. The mass of LIDC-IDRI-0295 has 0.81, normal tissue at most 0.48."""

LUNG_ABOVE_AND_BELOW = 0.5
SEPARATE = 1.5
"""A central mass is so thick that a ball of the largest nodule fits in it (the thickest heart of
the reference scans holds one of 28 mm), and it ends where the lung's outline does: without the
outline, the ball in it would be less than this much larger. In the heart it is twice as large."""

LAYER = 0.3
"""Fluid and thickened pleura are flatter than this: thickness over largest extent."""

CONTRAST_HU = 130
"""Denser on average than this are vessels and heart with contrast agent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Region:
    """A thick piece of tissue in the lungs' outline.

    `radius_mm` is that of the largest ball in it; `free_radius_mm` of the largest ball centred
    in it that may leave the outline. `towards_midline`, `above`, `below`: the share of voxels
    that have lung of their side in that direction.
    """

    start_irc: tuple[int, int, int]
    voxels: Mask = field(repr=False)
    extent_mm: float
    radius_mm: float
    free_radius_mm: float
    hu_mean: float
    towards_midline: float
    above: float
    below: float

    def is_layer(self) -> bool:
        return 2 * self.radius_mm < LAYER * self.extent_mm

    def is_in_lung(self) -> bool:
        return min(self.towards_midline, self.above, self.below) >= LUNG_AROUND

    def is_central_mass(self, largest_mm: float) -> bool:
        thick = 2 * self.radius_mm >= largest_mm
        separate = self.free_radius_mm < SEPARATE * self.radius_mm
        return thick and separate and min(self.above, self.below) >= LUNG_ABOVE_AND_BELOW


def find_opacities(scan: Scan, lungs: Lungs, trained: TrainedRange) -> tuple[Opacity, ...]:
    """Find the regions of soft tissue in the lungs that are wider than the networks' nodules.

    They are in order of falling volume.
    """
    largest_mm = trained.diameter_mm[1] if trained.diameter_mm else LARGEST_NODULE_MM
    x_per_column = float(scan.geometry.matrix[0, 0])
    opacities = []
    for region in regions(lungs, x_per_column):
        if region.is_layer() or region.hu_mean > CONTRAST_HU:
            continue
        if not (region.is_in_lung() or region.is_central_mass(largest_mm)):
            continue
        opacity = _opacity(scan, lungs, region)
        if opacity.measurement.diameter_mm > largest_mm:
            opacities.append(opacity)
    opacities.sort(key=lambda o: -o.measurement.volume_mm3)
    return tuple(opacities)


def regions(lungs: Lungs, x_per_column: float) -> Iterator[_Region]:
    """Every piece of tissue in the outline of the lungs that holds a ball of CORE_MM."""
    box = ndimage.find_objects((lungs.labels > 0).astype(np.uint8))[0]
    hu, labels, spacing = lungs.hu[box], lungs.labels[box], lungs.spacing_irc
    depth_mm = _depth_mm((labels > 0) & (hu > TISSUE_HU), spacing)
    free_mm = _depth_mm(hu > AERATED_HU, spacing)
    from_core_mm = ndimage.distance_transform_edt(depth_mm < CORE_MM, sampling=spacing)
    # The rim of a core holds mixed voxels; half a voxel more brings them back.
    body = (labels > 0) & (hu > AERATED_HU) & (from_core_mm <= CORE_MM + spacing[1])
    around = _lung_around(labels, lungs.aerated[box], x_per_column)
    pieces, _ = ndimage.label(body)
    for k, place in enumerate(ndimage.find_objects(pieces), start=1):
        voxels = pieces[place] == k
        shares = [float(lung[place][voxels].mean()) for lung in around]
        start = [s.start + b.start for s, b in zip(place, box, strict=True)]
        yield _Region(
            start_irc=(start[0], start[1], start[2]),
            voxels=voxels,
            extent_mm=max(n * mm for n, mm in zip(voxels.shape, spacing, strict=True)),
            radius_mm=float(depth_mm[place][voxels].max()),
            free_radius_mm=float(free_mm[place][voxels].max()),
            hu_mean=float(hu[place][voxels].mean()),
            towards_midline=shares[0],
            above=shares[1],
            below=shares[2],
        )


def _depth_mm(mask: Mask, spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """The distance to the outside of a mask that goes on beyond the volume's border."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"), sampling=spacing)
    return np.asarray(depth[1:-1, 1:-1, 1:-1])


def _lung_around(
    labels: NDArray[np.uint8], aerated: Mask, x_per_column: float
) -> tuple[Mask, Mask, Mask]:
    """Where lung of the same side lies towards the midline, above, and below."""
    towards, above, below = (np.zeros_like(aerated) for _ in range(3))
    for side in (RIGHT, LEFT):
        outline = labels == side
        lung = aerated & outline
        midline_last = (side == RIGHT) == (x_per_column > 0)
        towards |= outline & _seen(lung, axis=2, forwards=midline_last)
        # A lung that the scan cuts goes on beyond its first and last slice.
        going_on = lung.copy()
        going_on[0] |= outline[0]
        going_on[-1] |= outline[-1]
        above |= outline & _seen(going_on, axis=0, forwards=True)
        below |= outline & _seen(going_on, axis=0, forwards=False)
    return towards, above, below


def _seen(mask: Mask, axis: int, *, forwards: bool) -> Mask:
    """Where the mask has a voxel further on along an axis (or further back)."""
    turned = np.flip(mask, axis) if forwards else mask
    seen = np.logical_or.accumulate(turned, axis=axis)
    return np.asarray(np.flip(seen, axis) if forwards else seen)


def _opacity(scan: Scan, lungs: Lungs, region: _Region) -> Opacity:
    """Measure a region on the scan's own grid."""
    mask = _on_scan(region, lungs)
    i, r, c = (np.argwhere(mask.voxels).mean(axis=0) + mask.start_irc).tolist()
    x, y, z = scan.geometry.xyz_from_irc((i, r, c)).tolist()
    return Opacity(
        center_irc=(i, r, c),
        center_xyz=(x, y, z),
        measurement=_measurement(scan, mask),
        side=lungs.side((i, r, c)),
        mask=mask,
    )


def _measurement(scan: Scan, mask: BoxMask) -> Measurement:
    """Measure a region as it is: nothing is trimmed from a mass as vessels are from a nodule."""
    field = np.where(np.pad(mask.voxels, 1), np.float32(1), np.float32(-1))
    planes = [plane_axes(field, 0.0, scan.geometry.spacing_irc, normal) for normal in range(3)]
    axes = planes[0]
    hu = scan.hu[mask.slices][mask.voxels]
    return Measurement(
        long_axis_mm=axes.long_mm,
        short_axis_mm=axes.short_mm,
        diameter_mm=(axes.long_mm + axes.short_mm) / 2,
        volume_mm3=float(mask.voxels.sum() * scan.geometry.voxel_mm3),
        hu_mean=float(hu.mean()),
        hu_min=int(hu.min()),
        hu_max=int(hu.max()),
        plane=PLANES[0],
        plane_index=mask.start_irc[0] + axes.index - 1,
        drawn=drawn_axes(planes, mask),
        cut_by_scan=mask.at_border(scan.shape_irc),
    )


def _on_scan(region: _Region, lungs: Lungs) -> BoxMask:
    """Interpolate a region's mask to the scan's grid."""
    factor = lungs.factor_irc
    fine = ndimage.zoom(
        region.voxels.astype(np.float32), factor, order=1, mode="nearest", grid_mode=True
    )
    start = [k * f for k, f in zip(region.start_irc, factor, strict=True)]
    inside = tuple(slice(n - k) for n, k in zip(lungs.shape_irc, start, strict=True))
    return BoxMask((start[0], start[1], start[2]), np.asarray(fine[inside] > 0.5))
