"""Slices of a phantom, drawn one after another from coarse fields, specks and lesions.

Only a few slices are held in float32 at a time; the volume itself is int16. Per slice of
512×512 this costs about ten linear interpolations, four Fourier transforms and thirty
passes over the image, some 30 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.ct.scan import HuArray
from luna.phantom.anatomy import Anatomy
from luna.phantom.disease.lesion import Lesion, sampled
from luna.phantom.field import STEP_MM, Field, inside, smooth_noise
from luna.phantom.scanner import (
    Image,
    Noise,
    Scanner,
    blur,
    build_kernel,
    outside_circle,
    pixel_axes,
    table_image,
)
from luna.phantom.tree import Specks, fill, specks
from luna.phantom.vessels import Vessels

CORTEX_HU, MARROW_HU, CORTEX_MM = 850.0, 130.0, 1.3
WALL_HU, LUMEN_HU, FISSURE_HU = 10.0, -990.0, 10.0
FISSURE_MM = 0.3
"""Two layers of pleura."""

TEXTURE_HU = 26.0
"""Standard deviation of the lung's own texture before the kernel."""

LOWEST_HU = -1024
"""The lowest value that scanners store. A Scan has it where a file has padding."""

BOW = 0.25
"""Standard deviation of a vessel's bend, as a share of its length."""


@dataclass(frozen=True)
class Painted:
    """The visible part of a lesion: a box of the scan, and sums over it in voxels."""

    start_irc: tuple[int, int, int]
    voxels: NDArray[np.bool_]
    center_irc: NDArray[np.float64]
    volume_vox: float


class _Patch:
    """A lesion sampled on the scan's grid, and what the slices painted so far show of it."""

    def __init__(self, lesion: Lesion, scanner: Scanner) -> None:
        spacing = scanner.spacing_xyz[::-1]
        reach = lesion.radius * (2.1 if len(lesion.spikes) else 1.7) + 3
        center = ((lesion.center - scanner.low_xyz) / scanner.spacing_xyz)[::-1]
        low = np.maximum(np.floor(center - reach / spacing).astype(int), 0)
        high = np.minimum(np.ceil(center + reach / spacing).astype(int) + 1, scanner.shape_irc)
        high = np.maximum(high, low)
        self.box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        self.soft = lesion.hu < -200 or lesion.rim_hu < -200
        self.body, self.thorns, self.hu = sampled(lesion, low, high, center, spacing)
        self.shown = np.zeros_like(self.body)

    def paint(self, image: Image, lung: Image, index: int) -> None:
        """Blend the lesion into slice `index`, in place, where there is lung."""
        if not self.box[0].start <= index < self.box[0].stop:
            return
        level = index - self.box[0].start
        where = self.box[1:]
        room = lung[where]
        self.shown[level] = self.body[level] * room
        alpha = np.maximum(self.body[level], self.thorns[level]) * room
        old = image[where]
        new = old + alpha * (self.hu[level] - old)
        image[where] = np.maximum(new, old) if self.soft else new

    def result(self) -> Painted:
        """The visible part of the lesion, once every slice is painted."""
        start = tuple(s.start for s in self.box)
        total = float(self.shown.sum())
        center = np.array(start, dtype=np.float64)
        if total > 0:
            for axis in range(3):
                others = tuple(a for a in range(3) if a != axis)
                profile = self.shown.sum(axis=others, dtype=np.float64)
                center[axis] += (profile * np.arange(profile.size)).sum() / profile.sum()
        return Painted((start[0], start[1], start[2]), self.shown > 0.5, center, total)


class _Slicer:
    """Linear interpolation of coarse fields at the pixels of one slice after another."""

    def __init__(self, anatomy: Anatomy, scanner: Scanner) -> None:
        corner = anatomy.grid.index(scanner.low_xyz)
        steps = scanner.spacing_xyz[::-1] / STEP_MM
        self._at = [
            corner[axis] + steps[axis] * np.arange(n) - _moved_by(scanner, axis) / STEP_MM
            for axis, n in enumerate(scanner.shape_irc)
        ]

    def cut(self, field: Field, index: int) -> Image:
        """The field at slice `index`, (R, C)."""
        level = int(self._at[0][index])
        t = np.float32(self._at[0][index] - level)
        plane = field[level] * (1 - t) + field[level + 1] * t
        for axis in (2, 1):
            at = self._at[axis]
            low = at.astype(np.intp)
            high = (at - low).astype(np.float32)
            if axis == 2:
                plane = plane[:, low] * (1 - high) + plane[:, low + 1] * high
            else:
                plane = plane[low] * (1 - high)[:, None] + plane[low + 1] * high[:, None]
        return np.asarray(plane, dtype=np.float32)


def _moved_by(scanner: Scanner, axis: int) -> NDArray[np.float64]:
    """Return how far (mm) breathing moved the tissue at the voxels of an axis (index first)."""
    places = scanner.low_xyz[2 - axis] + scanner.spacing_xyz[2 - axis] * np.arange(
        scanner.shape_irc[axis]
    )
    return np.asarray(places - scanner.breath.at_rest(2 - axis, places), dtype=np.float64)


def render(
    rng: np.random.Generator,
    bends: np.random.Generator,
    scanner: Scanner,
    anatomy: Anatomy,
    vessels: Vessels,
    lesions: list[Lesion],
) -> tuple[HuArray, list[Painted]]:
    """Render the volume (index, row, column) int16, and return the visible part of each lesion.

    Vessels and lesions stand where the scanner's breath took them. `bends` draws how the vessels
    bend.
    """
    patches = [_Patch(lesion, scanner) for lesion in lesions]
    kernel = build_kernel(scanner)
    noise = Noise(rng, kernel.noise, scanner.shape_irc[2], scanner.noise_memory)
    strength = _noise_map(scanner, anatomy)
    hu = np.empty(scanner.shape_irc, np.int16)
    sharp = _anatomy_slices(rng, bends, scanner, anatomy, vessels, patches)
    for index, image in enumerate(_through_plane(sharp, scanner.neighbour)):
        seen = blur(image, kernel) + noise.next() * strength
        hu[index] = np.clip(np.rint(seen), LOWEST_HU, 3071)
    if scanner.circle:
        hu[:, outside_circle(hu.shape[1:])] = LOWEST_HU
    return hu, [patch.result() for patch in patches]


def _through_plane(slices: Iterator[Image], neighbour: float) -> Iterator[Image]:
    """Mix into each slice a share of the one before and of the one after."""
    share = np.float32(neighbour)
    before = current = next(slices)
    for after in slices:
        yield share * before + (1 - 2 * share) * current + share * after
        before, current = current, after
    yield share * before + (1 - share) * current


def _anatomy_slices(
    rng: np.random.Generator,
    bends: np.random.Generator,
    scanner: Scanner,
    anatomy: Anatomy,
    vessels: Vessels,
    patches: list[_Patch],
) -> Iterator[Image]:
    """Draw the slices without blur and noise, from the lowest up."""
    slicer = _Slicer(anatomy, scanner)
    size = scanner.shape_irc[2]
    memory = float(np.exp(-scanner.spacing_xyz[2] / 1.5))
    texture = Noise(rng, build_kernel(scanner).texture, size, memory)
    tubes = [
        specks(bends, tree, scanner.low_xyz, scanner.spacing_xyz, scanner.shape_irc[0], bow)
        for tree, bow in ((vessels.blood, BOW), (vessels.walls, 0.0), (vessels.lumens, 0.0))
    ]
    backdrop = table_image(scanner)
    blanket = _blanket(rng, scanner, anatomy) if scanner.blanket else None
    for index in range(scanner.shape_irc[0]):
        image, lung = _tissue_slice(slicer, scanner, anatomy, index, texture.next())
        _add_tubes(image, tubes, index, anatomy.patient.blood_hu)
        for patch in patches:
            patch.paint(image, lung, index)
        body = slicer.cut(anatomy.body, index)
        outside = backdrop
        if blanket is not None:
            gap = np.abs(body - slicer.cut(blanket, index))
            outside = backdrop + np.clip(1.6 - gap, 0, 1) * np.float32(170)
        image += (1 - inside(body, scanner.spacing_xyz[0])) * (outside - image)
        yield image


def _tissue_slice(
    slicer: _Slicer, scanner: Scanner, anatomy: Anatomy, index: int, texture: Image
) -> tuple[Image, Image]:
    """Draw soft tissue, bone, lung and fissures of one slice; also return the share of lung."""
    pixel = scanner.spacing_xyz[0]
    image = slicer.cut(anatomy.tissue, index)
    bone = slicer.cut(anatomy.bone, index)
    marrow = inside(bone + np.float32(CORTEX_MM), pixel)
    hard = CORTEX_HU + marrow * np.float32(MARROW_HU - CORTEX_HU) + 3 * marrow * texture * 10
    image += inside(bone, pixel) * (hard - image)
    lung = inside(slicer.cut(anatomy.lung, index), pixel)
    air = slicer.cut(anatomy.parenchyma, index)
    # Texture is skewed: thin walls and capillaries in much air.
    air = air + np.float32(TEXTURE_HU) * (np.exp(np.float32(0.6) * texture) - np.float32(1.2))
    air += _fissures(slicer, scanner, anatomy, index) * (FISSURE_HU - air)
    image += lung * (air - image)
    return image, lung


def _fissures(slicer: _Slicer, scanner: Scanner, anatomy: Anatomy, index: int) -> Image:
    """Share of each voxel that lies in a fissure."""
    x, _ = pixel_axes(scanner)
    thickness = float(scanner.spacing_xyz[2])
    major = slicer.cut(anatomy.major, index)
    minor = slicer.cut(anatomy.minor, index)
    across = max(float(scanner.spacing_xyz[0]), 0.8 * thickness)
    share = np.clip(1 - np.abs(major) / across, 0, 1) * min(FISSURE_MM / across, 1)
    level = np.clip(1 - np.abs(minor) / thickness, 0, 1) * min(FISSURE_MM / thickness, 1)
    return np.asarray(np.maximum(share, level * ((major > 0) & (x < 0))), dtype=np.float32)


def _add_tubes(image: Image, tubes: list[Specks], index: int, blood_hu: float) -> None:
    """Blend vessels, then bronchial walls, then the air in them into a slice, in place."""
    shape = (image.shape[0], image.shape[1])
    for tree, hu in zip(tubes, (blood_hu, WALL_HU, LUMEN_HU), strict=True):
        share = fill(tree, index, shape)
        image += share * (np.float32(hu) - image)


def _blanket(rng: np.random.Generator, scanner: Scanner, anatomy: Anatomy) -> Field:
    """Height of the blanket's folds over the skin, in mm."""
    folds = smooth_noise(rng, anatomy.grid, 30) + 0.5 * smooth_noise(rng, anatomy.grid, 12)
    y = anatomy.grid.axes()[1]
    lift = 9 + 5 * folds
    return np.asarray(np.where(y < 0.3 * scanner.table_y, lift, 500), dtype=np.float32)


def _noise_map(scanner: Scanner, anatomy: Anatomy) -> Image:
    """Standard deviation of the noise per pixel: more where rays cross more tissue."""
    x, y = pixel_axes(scanner)
    patient = anatomy.patient
    w, d = patient.half_width + patient.fat + 30, patient.half_depth + patient.fat + 25
    depth = np.clip(1 - (x / w) ** 2 * 0.6 - (y / d) ** 2 * 0.6, -1, 1)
    size = (patient.half_depth + patient.fat) / 110
    return np.asarray(scanner.noise_hu * size * (0.55 + 0.45 * depth), dtype=np.float32)
