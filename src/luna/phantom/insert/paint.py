"""A nodule painted into a real scan, with the scan's own blur and noise.

A scan shows the blurred tissue and noise: hu = s + n. Where a nodule fills the share `a` of a
voxel with tissue of `t` HU, the scan would have shown blur(a·t + (1 - a)·s) + n. Here `s` is the
scan smoothed where it differs from its neighbourhood by no more than noise does. So the noise in
a nodule is that of its place, and vessels beside it stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.mask import Mask
from luna.ct.scan import HuArray
from luna.phantom.disease.lesion import Lesion, sampled
from luna.phantom.field import Points
from luna.phantom.insert.optics import Optics

Grid = NDArray[np.float32]

TISSUE_HU = 40.0
"""What fills the air spaces of a ground-glass opacity, by the share that its density says."""

SOFT_HU = -200.0
"""Attenuation below which a nodule is a mixture of tissue and air."""

SMOOTH_MM = 1.5
"""Standard deviation, in the plane, of the neighbourhood that a voxel is compared with."""

NOISE_SDS = 2.5
"""Differences beyond so many standard deviations are structure, not noise."""

RAMP_MM = 0.7 * 12**-0.5
"""Blur that the drawn shape has already: its surface is a ramp of 0.7 mm."""

LUNG_HU = -450.0
"""Half way between lung and soft tissue."""

BRIDGE_MM = 4.0
"""Vessels up to twice as wide belong to the lung around them; wider ones and the wall do not."""

REACH = 1.8
"""Reach of a shape in radii; a spiculated one has REACH_SPIKES."""
REACH_SPIKES = 2.1


@dataclass(frozen=True, slots=True)
class Painting:
    """What a nodule changed: a box of the scan and its voxels afterwards.

    `shown` (index, row, column) is the share of each voxel that the nodule's body fills.
    """

    start_irc: tuple[int, int, int]
    hu: HuArray
    shown: Grid

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The slices of the scan that were painted."""
        i, r, c = (slice(a, a + n) for a, n in zip(self.start_irc, self.hu.shape, strict=True))
        return i, r, c

    @property
    def center_irc(self) -> Points:
        """Centre of mass in voxels of the scan."""
        total = self.shown.sum(dtype=np.float64)
        axes = [
            (self.shown.sum(axis=tuple({0, 1, 2} - {k}), dtype=np.float64), self.shown.shape[k])
            for k in range(3)
        ]
        center = [float((profile * np.arange(n)).sum() / total) for profile, n in axes]
        return np.asarray(np.array(center) + np.array(self.start_irc), dtype=np.float64)


def paint(
    hu: HuArray, spacing_irc: Points, lesion: Lesion, optics: Optics, step_hu: int
) -> Painting | None:
    """Paint a lesion, whose centre is in grid mm, into a copy of its box of the scan.

    Values are whole multiples of `step_hu` away from the scan's own. None where there is no lung.
    """
    center = (lesion.center / spacing_irc[::-1])[::-1]
    radii = REACH_SPIKES if len(lesion.spikes) else REACH
    reach = radii * lesion.radius + 3 + 2 * max(optics.in_plane_mm, optics.through_mm)
    low = np.maximum(np.floor(center - reach / spacing_irc).astype(int), 0)
    high = np.minimum(np.ceil(center + reach / spacing_irc).astype(int) + 1, hu.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    old = hu[box].astype(np.float32)
    room = lung_room(old, spacing_irc)
    if not room.any():
        return None
    body, thorns, target = sampled(lesion, low, high, center, spacing_irc)
    body, thorns = body * room, thorns * room
    plain, lung_hu = without_noise(old, spacing_irc, room)
    share, tissue = _filling(np.maximum(body, thorns), target, lung_hu)
    change = blurred(share * tissue, optics, spacing_irc)
    share = blurred(share, optics, spacing_irc)
    change -= share * plain
    new = hu[box] + step_hu * np.rint(change / step_hu)
    painted = np.clip(new, -1024, 3071).astype(np.int16)
    start = (int(low[0]), int(low[1]), int(low[2]))
    return Painting(start, np.where(room, painted, hu[box]), body.astype(np.float32))


def lung_room(hu: Grid, spacing_irc: Points) -> Mask:
    """Voxels (index, row, column) of a box that are lung, or vessels in it, and one more around."""
    in_plane = 0.8 / spacing_irc[1:]
    air = ndimage.gaussian_filter(hu, (0, *in_plane)) < LUNG_HU
    pad = int(np.ceil(BRIDGE_MM / spacing_irc.min())) + 1
    outside = np.pad(~air, pad, mode="edge")
    grown = ndimage.distance_transform_edt(outside, sampling=spacing_irc) <= BRIDGE_MM
    kept = ndimage.distance_transform_edt(grown, sampling=spacing_irc) > BRIDGE_MM
    inner = tuple(slice(pad, -pad) for _ in range(3))
    lung = air | kept[inner]
    return np.asarray(
        ndimage.binary_dilation(lung, ndimage.generate_binary_structure(3, 1)), dtype=np.bool_
    )


def without_noise(hu: Grid, spacing_irc: Points, room: Mask) -> tuple[Grid, float]:
    """Return a box without its noise, and the attenuation of the lung in it."""
    mean = ndimage.gaussian_filter(hu, (0, *(SMOOTH_MM / spacing_irc[1:])))
    rest = hu - mean
    lung = room & (mean < -600)
    if not lung.any():
        lung = room
    sd = 1.4826 * float(np.median(np.abs(rest[lung])))
    noise = np.clip(rest, -NOISE_SDS * sd, NOISE_SDS * sd)
    return hu - noise, float(np.median(mean[lung]))


def _filling(cover: Grid, target: Grid, lung_hu: float) -> tuple[Grid, Grid]:
    """Share of each voxel that gets tissue, and the attenuation of that tissue."""
    mixed = target < SOFT_HU
    filled = np.clip((target - lung_hu) / (TISSUE_HU - lung_hu), 0, 1)
    share = np.where(mixed, cover * filled, cover)
    return share.astype(np.float32), np.where(mixed, TISSUE_HU, target).astype(np.float32)


def blurred(image: Grid, optics: Optics, spacing_irc: Points) -> Grid:
    """Blur what has no blur yet but the ramp of a drawn surface and the thickness of a slice."""
    slice_mm = float(spacing_irc[0])
    plane = np.sqrt(max(optics.in_plane_mm**2 - RAMP_MM**2, 0))
    through = np.sqrt(max(optics.through_mm**2 - slice_mm**2 / 12, 0))
    sigma = np.array([through, plane, plane]) / spacing_irc
    return np.asarray(ndimage.gaussian_filter(image, sigma), dtype=np.float32)
