"""Find balls in the marks of a segmenter: nodules, also if they touch something larger.

A nodule may be marked in one piece with a vessel tree, the wall or the mediastinum, whose centre
lies elsewhere. But the distance to the edge of the mark has a peak in the nodule, as high as its
radius. Walls, the mediastinum and forks of vessels have peaks too, but much of a shell around
these is marked. A vessel that is thick and straight passes: it is for the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from luna.ct.geometry import Triple
from luna.ct.mask import Mask
from luna.ct.scan import HuArray, Scan

SMALLEST_MM = 2.0
"""Radius of the smallest ball; thinner parts are vessels, and smaller nodules are pieces of their
own."""

LARGEST_MM = 20.0
"""Radius of the largest ball; what is thicker is heart, wall, or an opacity."""

APART = 1.5
"""No larger ball lies within this many radii of a ball; otherwise it is part of that one."""

OUTLINE = 1.2
"""No second ball begins within this many radii of a ball, because nodules are not perfect balls."""

SHELLS = (1.3, 1.4, 1.5, 1.6)
"""Radii of the shell that is examined around a ball, relative to the ball's radius."""

SHELL_SHARE = 0.4
"""At least this of a shell is marked around a part of a wall, the mediastinum or a fork. A plane
through the rim of a ball takes 0.16 of it, a vessel of the ball's width 0.28."""

SETTLE = 1.3
"""A centre moves twice to the centre of the marked voxels within this many radii."""

STEP_MM = 1.0
"""Distances are computed on every n-th voxel where voxels are finer than this."""

SLAB = 32
"""Slices at a time: the distances of a whole scan would take 50 bytes a voxel."""

DIRECTIONS = 96
"""Points of a shell."""


BLOOD_STEP_MM = 4.0
"""Voxels of about this size show the heart and the great vessels well enough."""

BRIGHT_HU = (150, 700)
"""Blood with contrast medium is brighter than any soft tissue, and no metal."""

THICK_STEPS = 2
"""Erosion by this many steps leaves the heart, but no ribs, vessels or calcium."""

ENHANCED_HU, ENHANCED_ML = 200.0, 3.0
"""Without this volume of something so bright and thick, no contrast medium is assumed."""

LIKE_BLOOD = (0.6, 1.25)
"""A small vessel's core is dimmer than blood for its blur; calcium is often brighter."""

CORE = 0.6
"""The share of a ball's radius within which its attenuation is measured."""


@dataclass(frozen=True, slots=True)
class Balls:
    """`center_irc`: (N, 3) float64, not rounded; `radius_mm`: (N,) float64, falling."""

    center_irc: NDArray[np.float64]
    radius_mm: NDArray[np.float64]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Balls:
        """The balls of some rows."""
        return Balls(self.center_irc[rows], self.radius_mm[rows])


def find_balls(mask: Mask, spacing_irc: Triple) -> Balls:
    """Find the balls of SMALLEST_MM to LARGEST_MM in a mask, the largest first."""
    spacing = np.array(spacing_irc)
    peaks = _peaks(mask, spacing)
    balls = peaks.take(apart(peaks, spacing))
    balls = balls.take(balls.radius_mm <= LARGEST_MM)
    balls = balls.take(_shell_share(mask, spacing, balls) < SHELL_SHARE)
    settled = Balls(_settled(mask, spacing, balls), balls.radius_mm)
    return settled.take(apart(settled, spacing, OUTLINE))


def _peaks(mask: Mask, spacing: NDArray[np.float64]) -> Balls:
    """The local maxima of the distance to the edge, the highest first.

    A slab is as much wider as the largest ball's radius, so distances up to it are those of the
    whole mask. Longer ones are cut, which tells no more than that the ball is too large.
    """
    step = np.maximum(1, np.rint(STEP_MM / spacing)).astype(int)
    coarse = mask[tuple(slice(None, None, n) for n in step)]
    reach = int(np.ceil(LARGEST_MM / (spacing * step)[0])) + 1
    places, heights = [np.empty((0, 3))], [np.empty(0)]
    for start in range(0, len(coarse), SLAB):
        stop = min(start + SLAB, len(coarse))
        low, high = max(start - reach, 0), min(stop + reach, len(coarse))
        slab = coarse[low:high]
        if slab.all() or not coarse[start:stop].any():
            continue
        # The array's border is no edge: the wall goes on beyond it, and so does a cut nodule.
        depth = ndimage.distance_transform_edt(slab, sampling=spacing * step)
        depth = np.minimum(depth, LARGEST_MM + 1, dtype=np.float32)
        peak = (depth >= SMALLEST_MM) & (depth == ndimage.maximum_filter(depth, size=3))
        at = np.argwhere(peak)
        height = depth[peak]
        core = (at[:, 0] >= start - low) & (at[:, 0] < stop - low)
        places.append((at[core] + (low, 0, 0)) * step)
        heights.append(height[core])
    place, height = np.concatenate(places), np.concatenate(heights).astype(np.float64)
    order = np.argsort(-height, kind="stable")
    return Balls(place[order].astype(np.float64), height[order])


def apart(balls: Balls, spacing: NDArray[np.float64], outline: float = 0.0) -> NDArray[np.intp]:
    """Return the rows of the balls that are not part of a larger one; larger balls come first.

    `outline` is asked for once the larger ones are known to be no walls.
    """
    if not len(balls.radius_mm):
        return np.empty(0, dtype=np.intp)
    place_mm, radius_mm = balls.center_irc * spacing, balls.radius_mm
    tree = cKDTree(place_mm)
    gone = np.zeros(len(radius_mm), dtype=np.bool_)
    kept = []
    for k, radius in enumerate(radius_mm):
        if gone[k]:
            continue
        kept.append(k)
        reach_mm = max(APART, outline) * radius
        near = np.array(tree.query_ball_point(place_mm[k], reach_mm), dtype=np.intp)
        near = near[near > k]
        far_mm = np.linalg.norm(place_mm[near] - place_mm[k], axis=1)
        gone[near[far_mm < np.maximum(APART * radius_mm[near], outline * radius)]] = True
    return np.array(kept, dtype=np.intp)


def _shell_share(mask: Mask, spacing: NDArray[np.float64], balls: Balls) -> NDArray[np.float64]:
    """The share of the shell around each ball that is marked."""
    share = np.zeros(len(balls.radius_mm))
    last = np.array(mask.shape) - 1
    for factor in SHELLS:
        offset = directions() * (factor * balls.radius_mm)[:, None, None] / spacing
        at = np.rint(balls.center_irc[:, None] + offset).astype(int)
        i, r, c = np.moveaxis(np.clip(at, 0, last), -1, 0)
        share += mask[i, r, c].mean(axis=1)
    return np.asarray(share / len(SHELLS))


def directions() -> NDArray[np.float64]:
    """Points on the unit sphere (DIRECTIONS, 3), evenly spread along a spiral."""
    k = np.arange(DIRECTIONS) + 0.5
    polar, turn = np.arccos(1 - 2 * k / DIRECTIONS), np.pi * (1 + np.sqrt(5)) * k
    return np.stack(
        [np.cos(polar), np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn)], axis=1
    )


def _settled(mask: Mask, spacing: NDArray[np.float64], balls: Balls) -> NDArray[np.float64]:
    """Return the centres, moved to the centre of the marked voxels around them.

    A peak is a voxel, and where several are as high, any of them.
    """
    center_irc = balls.center_irc.copy()
    for k, radius_mm in enumerate(balls.radius_mm):
        for _ in range(2):
            box, near = within(mask.shape, spacing, center_irc[k], SETTLE * radius_mm)
            found = np.argwhere(near & mask[box])
            if len(found):
                center_irc[k] = found.mean(axis=0) + [s.start for s in box]
    return center_irc


def within(
    shape: tuple[int, ...],
    spacing: NDArray[np.float64],
    center_irc: NDArray[np.float64],
    radius_mm: float,
) -> tuple[tuple[slice, ...], Mask]:
    """Return the box of an array around a ball, and the voxels in the ball."""
    reach = radius_mm / spacing
    low = np.maximum(np.ceil(center_irc - reach), 0).astype(int)
    high = np.minimum(np.floor(center_irc + reach) + 1, shape).astype(int)
    box = tuple(slice(a, max(a, b)) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    offsets = np.ogrid[box]
    squared = sum(((o - c) * s) ** 2 for o, c, s in zip(offsets, center_irc, spacing, strict=True))
    return box, np.asarray(squared <= radius_mm**2)


def is_enhanced(hu: HuArray, balls: Balls, spacing: NDArray[np.float64], blood: float) -> Mask:
    """Return which balls, in voxels of this array, are as bright as the blood: (N,) bool."""
    like = np.zeros(len(balls.radius_mm), dtype=np.bool_)
    for k, radius_mm in enumerate(balls.radius_mm):
        box, near = within(hu.shape, spacing, balls.center_irc[k], CORE * radius_mm)
        core = float(hu[box][near].mean()) if near.any() else -np.inf
        like[k] = LIKE_BLOOD[0] * blood < core < LIKE_BLOOD[1] * blood
    return like


def blood_hu(scan: Scan) -> float | None:
    """Return the attenuation of blood with contrast medium; None in a scan without."""
    spacing = np.array(scan.geometry.spacing_irc)
    step = np.maximum(1, np.rint(BLOOD_STEP_MM / spacing)).astype(int)
    hu = scan.hu[tuple(slice(None, None, n) for n in step)]
    bright = (hu > BRIGHT_HU[0]) & (hu < BRIGHT_HU[1])
    # A slab shows the heart in few slices: each is judged by itself.
    cross = ndimage.generate_binary_structure(2, 1)[None]
    thick = ndimage.binary_erosion(bright, cross, iterations=THICK_STEPS)
    volume_ml = np.count_nonzero(thick) * np.prod(spacing * step) / 1000
    if volume_ml < ENHANCED_ML:
        return None
    blood = float(np.median(hu[thick]))
    return blood if blood >= ENHANCED_HU else None
