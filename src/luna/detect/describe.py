"""Describe a nodule: its kind, calcium, fat, pleural contact, strands, and place.

Every rule is a measurement in HU and millimetres with its threshold beside it. How far they agree
with radiologists and with phantoms is measured in docs/descriptions.md.
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.clinical.nodule import Calcification, Kind
from luna.ct.geometry import Triple
from luna.ct.lungs.find import Lungs
from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import Scan
from luna.detect.axes import plane_axes
from luna.detect.findings import Description, Third
from luna.detect.measure import HAZE_HU, LUNG_HU
from luna.detect.opening import holds_cuboid, largest_ball, opened

Hu = NDArray[np.float32]

MARGIN_MM = 10.0
"""Width of the surroundings that are examined around the mask."""

SOLID_HU = -300.0
"""The solid part of a nodule is denser than this."""

HAZE_MIN_HU = -750.0
"""Ground glass is never fainter than this."""

SOLID_RADIUS_SHARE = 0.65
"""A nodule is solid if its solid part has at least this share of its radius; the rest is the edge
that a scanner blurs."""

CORE_RADIUS_SHARE = 0.3
"""A solid part that holds no ball of this share of the nodule's radius is a vessel."""

CALCIUM_HU = 200.0
"""Calcium is denser than this; soft tissue with contrast is not."""

CALCIUM_SHARE = 0.05
"""Below this share of the core, dense voxels are noise."""

COMPLETE_SHARE = 0.8
"""From this share of the core on, the calcification is complete (diffuse)."""

CENTRAL_SHARE = 0.6
"""Central calcification ends within this share of the nodule's radius."""

POPCORN_PIECES = 3
"""Popcorn calcification has at least so many pieces, …"""

POPCORN_SHARE = 0.2
"""… which make up this share of the core."""

FAT_HU = (-120.0, -30.0)
FAT_SHARE = 0.5
FAT_MM = 8.0
"""A core is fat when half of it has these HU; a smaller nodule's blurred edge looks the same."""

THICK_MM = 4.0
"""Tissue that holds a ball of this radius is pleura, mediastinum or diaphragm, not a vessel."""

CONTACT_MM = 1.5
"""Tissue this near touches the nodule."""

JUXTAPLEURAL_CONTACT = 0.05
"""A nodule is juxtapleural from this share of its surface on that touches thick tissue."""

STRANDS_MM = (1.5, 2.5)
"""Strands are counted where they cross the shell at this distance around the nodule, …"""

STRAND_CONTRAST = 0.4
"""… where it is denser than the lung by this share of the nodule's contrast."""

SOFT_HU = 50.0
"""Denser nodules have no more contrast than soft tissue: calcium does not hide strands."""


def describe(scan: Scan, lungs: Lungs, component: BoxMask, body: BoxMask) -> Description:
    """Describe a nodule by the U-Net's component, which holds its halo, and its trimmed body."""
    around = _Surroundings(scan, component, body)
    kind, solid_mm = kind_of(around)
    calcification, calcified_share = calcification_of(around)
    fat, fat_share = fat_of(around)
    contact = pleural_contact(around)
    center_irc = np.argwhere(body.voxels).mean(axis=0) + body.start_irc
    return Description(
        kind=kind,
        solid_mm=solid_mm,
        calcification=calcification,
        calcified_share=calcified_share,
        fat=fat,
        fat_share=fat_share,
        pleural_contact=contact,
        juxtapleural=contact >= JUXTAPLEURAL_CONTACT,
        strands=count_strands(around),
        third=third_of(lungs, center_irc),
    )


class _Surroundings:
    """A nodule and its surroundings, with the distances (mm) that every measure needs."""

    def __init__(self, scan: Scan, component: BoxMask, body: BoxMask) -> None:
        self.spacing_irc = scan.geometry.spacing_irc
        component = _tight(component)
        margin = np.ceil(MARGIN_MM / np.array(self.spacing_irc)).astype(int)
        low = np.maximum(np.array(component.start_irc) - margin, 0)
        high = np.array(component.start_irc) + component.voxels.shape + margin
        box = tuple(slice(a, b) for a, b in zip(low, np.minimum(high, scan.hu.shape), strict=True))
        self.start_irc = (int(low[0]), int(low[1]), int(low[2]))
        self.hu: Hu = scan.hu[box].astype(np.float32)
        self.component = self._placed(component)
        self.body = self._placed(body)
        # The body may reach a voxel beyond the component.
        own = (self.component | self.body).astype(np.uint8)
        self.own_box: tuple[slice, ...] = ndimage.find_objects(own)[0]
        self.outside_mm = self._distance_to(self.body)
        self.at_thick = self._near_thick_tissue()
        self.core = self._core()
        self.lung_hu = self._lung_hu()

    def _placed(self, mask: BoxMask) -> Mask:
        out = np.zeros(self.hu.shape, np.bool_)
        mask = _tight(mask)
        start = np.array(mask.start_irc) - self.start_irc
        box = tuple(slice(a, a + n) for a, n in zip(start, mask.voxels.shape, strict=True))
        out[box] = mask.voxels
        return out

    def _distance_to(self, mask: Mask) -> NDArray[np.float64]:
        """Return the distance to the nearest voxel of a mask; infinite where it is empty."""
        if not mask.any():
            return np.full(mask.shape, np.inf)
        return np.asarray(ndimage.distance_transform_edt(~mask, sampling=self.spacing_irc))

    def _near_thick_tissue(self) -> Mask:
        """Where soft tissue that a ball of THICK_MM fits into touches, beside the nodule."""
        tissue = (self.hu > SOLID_HU) & (self.outside_mm > min(self.spacing_irc))
        pad = [(int(np.ceil(THICK_MM / s)) + 1,) * 2 for s in self.spacing_irc]
        wide = np.pad(tissue, pad, mode="edge")  # the chest wall goes on beyond the box
        if not holds_cuboid(wide, THICK_MM / sqrt(3), self.spacing_irc):
            return np.zeros_like(tissue)  # so no ball either, and most nodules end here
        depth = ndimage.distance_transform_edt(wide, sampling=self.spacing_irc)
        core = depth >= THICK_MM
        if not core.any():
            return np.zeros_like(tissue)
        near = ndimage.distance_transform_edt(~core, sampling=self.spacing_irc) <= THICK_MM
        thick = tissue & near[tuple(slice(p, -p) for p, _ in pad)]
        return np.asarray(self._distance_to(thick) <= CONTACT_MM)

    def _lung_hu(self) -> float:
        """The median of the aerated lung around the nodule."""
        shell = (self.outside_mm > 3) & (self.outside_mm < 10) & (self.hu < -500)
        return float(np.median(self.hu[shell])) if shell.any() else LUNG_HU

    def radius_mm(self, voxels: Mask) -> float:
        """The radius of a ball of the same volume."""
        return float(np.cbrt(3 / (4 * pi) * voxels.sum() * np.prod(self.spacing_irc)))

    def _core(self) -> Mask:
        """The inner half of the body, where no edge is blurred in."""
        wide = np.pad(self.body[self.own_box], 1)
        depth = ndimage.distance_transform_edt(wide, sampling=self.spacing_irc)
        core = np.zeros_like(self.body)
        core[self.own_box] = (depth >= depth.max() / 2)[1:-1, 1:-1, 1:-1]
        return core


def _tight(mask: BoxMask) -> BoxMask:
    """The mask in the smallest box that holds it."""
    box = ndimage.find_objects(mask.voxels.astype(np.uint8))[0]
    i, r, c = (a + s.start for a, s in zip(mask.start_irc, box, strict=True))
    return BoxMask((i, r, c), mask.voxels[box])


def kind_of(around: _Surroundings) -> tuple[Kind | None, float | None]:
    """The kind of a nodule, and the mean diameter of a part-solid one's solid part.

    The nodule is the component's haze and what is denser, opened; its solid part is what is
    above SOLID_HU in there, opened. Their radii, as of balls of the same volume, are compared.
    """
    spacing, box = around.spacing_irc, around.own_box
    hu = around.hu[box]
    haze = around.component[box] & (hu > max(around.lung_hu + HAZE_HU, HAZE_MIN_HU))
    haze &= ~around.at_thick[box]
    nodule = opened(haze if haze.any() else around.body[box], spacing)
    radius_mm = around.radius_mm(nodule)
    solid = nodule & (hu > SOLID_HU)
    ball_mm = largest_ball(solid, spacing)
    solid = opened(solid, spacing)
    if around.radius_mm(solid) >= SOLID_RADIUS_SHARE * radius_mm:
        return "solid", None
    if radius_mm < max(spacing):
        return None, None
    if ball_mm < CORE_RADIUS_SHARE * radius_mm:
        return "ground-glass", None
    return "part-solid", _diameter_mm(hu, solid, spacing)


def _diameter_mm(hu: Hu, solid: Mask, spacing_irc: Triple) -> float:
    """The mean axial diameter of a solid part, at its contour of SOLID_HU."""
    field = np.where(solid | (hu <= SOLID_HU), hu, np.float32(SOLID_HU - 1))
    field = np.pad(field, 1, constant_values=SOLID_HU - 1)
    axes = plane_axes(field, SOLID_HU, spacing_irc, normal=0)
    return (axes.long_mm + axes.short_mm) / 2


def calcification_of(around: _Surroundings) -> tuple[Calcification, float]:
    """The pattern of calcification, "other" where no rule fits, and its share of the core."""
    core = around.core
    calcium = around.body & (around.hu > CALCIUM_HU)
    share = float((calcium & core).sum() / core.sum())
    if share < CALCIUM_SHARE:
        return "none", share
    if share >= COMPLETE_SHARE:
        return "complete", share
    if _is_central(around, calcium):
        return "central", share
    sizes = np.bincount(ndimage.label(calcium)[0].ravel())[1:]
    if (sizes > 1).sum() >= POPCORN_PIECES and share >= POPCORN_SHARE:
        return "popcorn", share
    return "other", share


def _is_central(around: _Surroundings, calcium: Mask) -> bool:
    """Whether all calcium lies near the middle of the nodule."""
    spacing = np.array(around.spacing_irc)
    middle = np.argwhere(around.body).mean(axis=0)
    reach_mm = np.linalg.norm((np.argwhere(calcium) - middle) * spacing, axis=1).max()
    return bool(reach_mm <= CENTRAL_SHARE * around.radius_mm(around.body))


def fat_of(around: _Surroundings) -> tuple[bool | None, float]:
    """Whether the core is fat, None for a nodule too small to tell, and the share that is."""
    core = around.core
    low, high = FAT_HU
    share = float(((around.hu > low) & (around.hu < high) & core).sum() / core.sum())
    small = 2 * around.radius_mm(around.body) < FAT_MM
    return (None if small else share >= FAT_SHARE), share


def pleural_contact(around: _Surroundings) -> float:
    """The share of the nodule's surface that touches pleura, mediastinum or diaphragm."""
    surface = ndimage.binary_dilation(around.body) & ~around.body
    return float((surface & around.at_thick).sum() / max(surface.sum(), 1))


def count_strands(around: _Surroundings) -> int:
    """How many strands and vessels leave the nodule, counted 2 mm from its surface."""
    contrast_hu = min(float(np.median(around.hu[around.body])), SOFT_HU) - around.lung_hu
    dense = around.hu > around.lung_hu + STRAND_CONTRAST * contrast_hu
    connected, _ = ndimage.label(dense | around.body)
    dense &= connected == connected[around.body][0]
    near, far = STRANDS_MM
    shell = (around.outside_mm > near) & (around.outside_mm <= far)
    shell &= ~around.at_thick
    return int(ndimage.label(dense & shell, np.ones((3, 3, 3)))[1])


def third_of(lungs: Lungs, center_irc: NDArray[np.float64]) -> Third | None:
    """The third of the lung's height, on the nodule's side; None where the scan cuts the lungs."""
    if lungs.limits:
        return None
    side = 1 if lungs.side(center_irc) == "right" else 2
    slices = np.flatnonzero((lungs.labels == side).any(axis=(1, 2)))
    height = center_irc[0] / lungs.factor_irc[0] - slices[0]
    share = (height + 0.5) / (slices[-1] + 1 - slices[0])
    return "lower" if share < 1 / 3 else "middle" if share < 2 / 3 else "upper"
