"""Voxels of one size in mm, whatever the scan's own are: cubes around a place, and a grid.

Training reads from the cache and diagnosis from the scan, both by these functions, so a network
judges what it learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from luna.ct.geometry import Triple
from luna.ct.scan import HuArray

SPACING_MM_MIN, SPACING_MM_MAX = 0.1, 10.0
"""Finer voxels would show nothing that the scan has, coarser ones would show no nodule."""

SLAB = 16
"""Slices of a grid at a time: the scan's voxels under them are held as float32."""

Irc = tuple[int, int, int]
Box = tuple[slice, slice, slice]
Crop = Callable[[ArrayLike, Irc], NDArray[np.int16]]
"""`Scan.crop`, or the same method of a scan in the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cubes:
    """What a classifier sees of a place: a cube of `size_irc` voxels for each of `spacings_mm`.

    With `antialias` a voxel larger than the scan's is a mean over what it covers.
    """

    size_irc: Irc
    spacings_mm: tuple[float, ...]
    antialias: bool = False

    @property
    def prepared_mm(self) -> float:
        """The least `spacing_mm` of prep whose cubes, not averaged, reach as far as these."""
        shortest = min(self.size_irc)
        reach = (shortest + 1) / (shortest - 1) if self.antialias else 1.0
        return max(self.spacings_mm) * reach

    def cut(self, crop: Crop, center_irc: ArrayLike, spacing_irc: Triple) -> HuArray:
        """Return the cubes around a centre, (C, D, H, W), C of them."""
        return np.stack(
            [
                cube_crop(
                    crop, center_irc, spacing_irc, self.size_irc, size, antialias=self.antialias
                )
                for size in self.spacings_mm
            ]
        )


def cubes_of(
    size_irc: Irc, spacing_mm: float | None, scales_mm: Sequence[float], antialias: bool
) -> Cubes | None:
    """Return what a card or a config asks for; None where voxels are the scan's own.

    `spacing_mm` is the voxel of the only cube, `scales_mm` the sides of several.
    """
    if scales_mm:
        spacings_mm = tuple(side / size_irc[0] for side in scales_mm)
    elif spacing_mm is not None:
        spacings_mm = (spacing_mm,)
    else:
        return None
    return Cubes(size_irc=size_irc, spacings_mm=spacings_mm, antialias=antialias)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Cubic voxels laid over a scan, whose first ones coincide: what a segmenter sees.

    `shape_irc` and `spacing_irc` are the scan's.
    """

    shape_irc: Irc
    spacing_irc: Triple
    spacing_mm: float
    antialias: bool = False

    @property
    def shape(self) -> Irc:
        """How many voxels the grid has along each axis; none lies beyond the scan's last."""
        i, r, c = (
            int((n - 1) * s / self.spacing_mm + 1e-9) + 1
            for n, s in zip(self.shape_irc, self.spacing_irc, strict=True)
        )
        return i, r, c

    def from_scan(self, irc: ArrayLike) -> NDArray[np.float64]:
        """Return where voxels (..., 3) of the scan lie on the grid, not rounded."""
        return np.asarray(irc, dtype=np.float64) * self.spacing_irc / self.spacing_mm

    def box(self, scan_box: Box) -> Box:
        """Return the smallest box of the grid that holds a box of the scan, ends included."""
        low = np.floor(self.from_scan([s.start for s in scan_box])).astype(int)
        high = np.ceil(self.from_scan([s.stop - 1 for s in scan_box])).astype(int) + 1
        high = np.minimum(high, self.shape)
        i, r, c = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return i, r, c

    def cut(self, crop: Crop, start: Irc, size: Irc) -> NDArray[np.float32]:
        """Return a box of the grid by its first voxel, not rounded; air lies outside the scan.

        A voxel's value does not depend on the box, to the bit.
        """
        places: list[NDArray[np.float64]] = [
            (a + np.arange(n, dtype=np.float64)) * self.spacing_mm / s
            for a, n, s in zip(start, size, self.spacing_irc, strict=True)
        ]
        return _at(crop, places, _spans(self.spacing_irc, self.spacing_mm, self.antialias))

    def volume(self, crop: Crop, box: Box) -> HuArray:
        """Return a large box of the grid in whole HU."""
        i, r, c = box
        out = np.empty([s.stop - s.start for s in box], dtype=np.int16)
        for first in range(i.start, i.stop, SLAB):
            size = (min(SLAB, i.stop - first), *out.shape[1:])
            at = first - i.start
            out[at : at + size[0]] = whole_hu(self.cut(crop, (first, r.start, c.start), size))
        return out


def cube_crop(
    crop: Crop,
    center_irc: ArrayLike,
    spacing_irc: Triple,
    size_irc: Irc,
    spacing_mm: float,
    *,
    antialias: bool = False,
) -> HuArray:
    """Resample `size_irc` cubic voxels of `spacing_mm` around a centre, rounded to whole HU.

    The centre is not rounded and stands in the middle of the crop, between two voxels where
    their number is even. Trilinear between the scan's voxels, air outside the scan. With
    `antialias`, along an axis on which the scan's voxels are finer, a mean weighted by a triangle
    as wide as two voxels of the crop: noise falls as it would in a coarser scan.
    """
    center = np.asarray(center_irc, dtype=np.float64)
    places = [
        c + (np.arange(n) - (n - 1) / 2) * spacing_mm / s
        for c, n, s in zip(center, size_irc, spacing_irc, strict=True)
    ]
    return whole_hu(_at(crop, places, _spans(spacing_irc, spacing_mm, antialias)))


def whole_hu(values: NDArray[np.float32]) -> HuArray:
    """Round to whole HU."""
    return np.rint(values).astype(np.int16)


def wrong_spacing(spacing_mm: float | None) -> str:
    """Return what is wrong with a voxel size; nothing when it may be used, or is None."""
    if spacing_mm is None or SPACING_MM_MIN <= spacing_mm <= SPACING_MM_MAX:
        return ""
    return f"spacing_mm is {spacing_mm}, not between {SPACING_MM_MIN:g} and {SPACING_MM_MAX:g}"


def reach_irc(spacing_irc: Triple, size_irc: Irc, spacing_mm: float) -> Irc:
    """Return how many voxels of the scan, along each axis, a cube that is no mean may touch."""
    i, r, c = (
        int(np.ceil((n - 1) * spacing_mm / s)) + 3
        for n, s in zip(size_irc, spacing_irc, strict=True)
    )
    return i, r, c


def _spans(spacing_irc: Triple, spacing_mm: float, antialias: bool) -> list[float]:
    """Return how many scan voxels a voxel of the result averages along each axis, at least 1."""
    return [max(spacing_mm / s, 1.0) if antialias else 1.0 for s in spacing_irc]


def _at(
    crop: Crop, places: Sequence[NDArray[np.float64]], spans: Sequence[float]
) -> NDArray[np.float32]:
    """The scan at every combination of places along its axes, in voxels, one axis after another.

    Each result is a fixed sum of products, so it does not depend on what else is computed. A
    cube of 96 mm at .7×.7×1.25 mm takes 2 million voxels in and three passes of up to ten taps.
    """
    taps = [_taps(p, span) for p, span in zip(places, spans, strict=True)]
    start = np.array([int(first[0]) for first, _ in taps])
    i, r, c = (
        int(first[-1]) + weight.shape[1] - int(a)
        for (first, weight), a in zip(taps, start, strict=True)
    )
    box = crop(start + np.array((i, r, c)) // 2, (i, r, c)).astype(np.float32)
    for axis, (first, weight) in enumerate(taps):
        box = _weighted(box, first - start[axis], weight, axis)
    return box


def _taps(place: NDArray[np.float64], span: float) -> tuple[NDArray[np.int_], NDArray[np.float32]]:
    """The first voxel that each place takes from, (N,), and the weights of it and its next."""
    if span <= 1:
        first = np.floor(place).astype(int)
        share = (place - first).astype(np.float32)
        return first, np.stack([1 - share, share], axis=1)
    first = np.ceil(place - span).astype(int)
    far = np.abs(first[:, None] + np.arange(int(2 * span) + 1) - place[:, None])
    weight = np.maximum(1 - far / span, 0)
    return first, (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def _weighted(
    box: NDArray[np.float32], first: NDArray[np.int_], weight: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Sum the voxels from `first` on along one axis by their weights (N, T)."""
    shape = [1, 1, 1]
    shape[axis] = -1
    if weight.shape[1] == 2:
        below, above = box.take(first, axis), box.take(first + 1, axis)
        return np.asarray(below + (above - below) * weight[:, 1].reshape(shape))
    out = box.take(first, axis) * weight[:, 0].reshape(shape)
    for tap in range(1, weight.shape[1]):
        out += box.take(first + tap, axis) * weight[:, tap].reshape(shape)
    return out
