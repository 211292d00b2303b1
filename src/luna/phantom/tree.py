"""Branching vessels and airways: grown over the points of a lobe, then filled with specks.

A tree is grown from the hilum by splitting the lobe's end points in two again and again
(the volume-filling rule of Kitaoka et al., J Appl Physiol 1999, 87:2207), and its calibres
follow Murray's law over the number of ends each branch feeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.phantom.field import Points

MURRAY_EXPONENT = 3.3
MAX_RADIUS_MM = 5.0

REACH_NEAR, REACH_FAR = 0.25, 0.5
"""Share of the way to the middle of what a branch feeds after which it divides: small near
the hilum, where it feeds many ends, larger in the periphery."""


@dataclass(frozen=True)
class Branches:
    """B straight segments: ends (B, 3) in body mm, radii (B,) in mm at either end."""

    start: Points
    end: Points
    start_mm: NDArray[np.float64]
    end_mm: NDArray[np.float64]

    def thicker_than(self, radius_mm: float) -> Branches:
        """Keep the branches with a start radius of at least `radius_mm`."""
        keep = self.start_mm >= radius_mm
        return Branches(self.start[keep], self.end[keep], self.start_mm[keep], self.end_mm[keep])


def join(trees: list[Branches]) -> Branches:
    """Join the branches of several trees."""
    return Branches(
        np.concatenate([t.start for t in trees]),
        np.concatenate([t.end for t in trees]),
        np.concatenate([t.start_mm for t in trees]),
        np.concatenate([t.end_mm for t in trees]),
    )


def grow(rng: np.random.Generator, root: Points, ends: Points, terminal_mm: float) -> Branches:
    """Grow a tree from `root` (3,) that reaches every one of `ends` (M, 3)."""
    rows: list[tuple[float, ...]] = []
    stack = [(root, ends)]
    while stack:
        start, group = stack.pop()
        count = len(group)
        if count == 0:
            continue
        reach = np.clip(REACH_FAR - 0.1 * np.log10(count), REACH_NEAR, REACH_FAR)
        stop = group[0] if count == 1 else start + reach * (group.mean(axis=0) - start)
        if count > 1:
            stop = stop + rng.normal(0, 0.06, 3) * np.linalg.norm(stop - start)
        rows.append((*start, *stop, float(count)))
        if count > 1:
            first = _split(rng, group, stop - start)
            stack.append((stop, group[first]))
            stack.append((stop, group[~first]))
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    radius = np.minimum(terminal_mm * table[:, 6] ** (1 / MURRAY_EXPONENT), MAX_RADIUS_MM)
    last = np.where(table[:, 6] == 1, 0.8, 0.92)
    return Branches(table[:, :3], table[:, 3:6], radius, radius * last)


def _split(rng: np.random.Generator, group: Points, along: Points) -> NDArray[np.bool_]:
    """Choose the points of the first daughter, by a cut across their widest extent."""
    spread = group - group.mean(axis=0)
    if len(group) > 2:
        along = along / max(float(np.sqrt((along * along).sum())), 1e-9)
        spread = spread - 0.5 * (spread * along).sum(axis=1)[:, None] * along
    widest = spread[np.argmax((spread * spread).sum(axis=1))]
    score = (spread * widest).sum(axis=1)
    order = np.argsort(score, kind="stable")
    share = np.clip(rng.normal(0.42, 0.14), 0.15, 0.85)
    cut = int(np.clip(round(share * len(group)), 1, len(group) - 1))
    first = np.zeros(len(group), dtype=bool)
    first[order[:cut]] = True
    return first


def airways_along(branches: Branches, lean: Points) -> tuple[Branches, Branches]:
    """Draw bronchi beside arteries as (walls, lumens); `lean` is the side on which they run."""
    run = branches.end - branches.start
    run = run / np.maximum(np.sqrt((run * run).sum(axis=1))[:, None], 1e-9)
    side = lean - (run * lean).sum(axis=1)[:, None] * run
    side = side / np.maximum(np.sqrt((side * side).sum(axis=1))[:, None], 1e-9)
    ends = []
    for point, radius in ((branches.start, branches.start_mm), (branches.end, branches.end_mm)):
        lumen = 0.72 * radius
        wall = lumen + 0.35 + 0.16 * lumen
        ends.append((point + side * (radius + wall - 0.2)[:, None], wall, lumen))
    (a, wall_a, lumen_a), (b, wall_b, lumen_b) = ends
    return Branches(a, b, wall_a, wall_b), Branches(a, b, lumen_a, lumen_b)


@dataclass(frozen=True)
class Specks:
    """Small masses that fill tubes: (index, row, column) float32 (P, 3), volume (P,).

    `mass` is in voxels; summed over the eight voxels around each speck it gives the share
    of a voxel that the tubes fill, before clipping at 1. Sorted by slice.
    """

    irc: NDArray[np.float32]
    mass: NDArray[np.float32]
    first: NDArray[np.intp]


STEP_VOX = 0.5
"""Distance between specks along a tube."""

RIPPLE = 1.25
"""Extra mass of tubes wider than a voxel, so that clipping leaves them solid inside."""


def specks(
    rng: np.random.Generator,
    branches: Branches,
    low_xyz: Points,
    spacing_xyz: Points,
    slices: int,
    bow: float,
) -> Specks:
    """Fill tubes with specks; `bow` bends each by a normal share of its length."""
    pixel = spacing_xyz[0]
    run = branches.end - branches.start
    length = np.sqrt((run * run).sum(axis=1))
    bend = rng.normal(0, 1, run.shape) * (bow * length)[:, None]
    steps = np.maximum(np.ceil(length / (STEP_VOX * pixel)), 1)
    wide = np.maximum(branches.start_mm, branches.end_mm) / pixel
    across = np.clip(np.ceil(2.2 * np.pi * wide**2), 1, 1200)
    counts = (steps * across).astype(np.intp)
    owner = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    lane = nth % across[owner].astype(np.intp)
    t = (nth // across[owner].astype(np.intp) + 0.5) / steps[owner]
    radius = branches.start_mm[owner] * (1 - t) + branches.end_mm[owner] * t
    center = branches.start[owner] + t[:, None] * run[owner]
    center += (t * (1 - t))[:, None] * bend[owner]
    # Sunflower pattern: equal areas at any number of lanes.
    distance = np.where(across[owner] > 1, radius * np.sqrt((lane + 0.5) / across[owner]), 0)
    angle = lane * 2.399963
    u, v = _frame(run / np.maximum(length, 1e-9)[:, None])
    center += (distance * np.cos(angle))[:, None] * u[owner]
    center += (distance * np.sin(angle))[:, None] * v[owner]
    mass = np.pi * radius**2 * (length / (steps * across))[owner] / spacing_xyz.prod()
    mass *= np.where(wide[owner] > 1, RIPPLE, 1.0)
    return _by_slice(((center - low_xyz) / spacing_xyz)[:, ::-1], mass, slices)


def _frame(run: Points) -> tuple[Points, Points]:
    """Two unit vectors across each direction (B, 3)."""
    other = np.where(np.abs(run[:, 2:]) < 0.8, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    u = np.cross(run, other)
    u /= np.maximum(np.sqrt((u * u).sum(axis=1))[:, None], 1e-9)
    return u, np.cross(run, u)


def _by_slice(irc: Points, mass: NDArray[np.float64], slices: int) -> Specks:
    keep = (irc[:, 0] > -1) & (irc[:, 0] < slices)
    irc, mass = irc[keep], mass[keep]
    level = np.floor(irc[:, 0]).astype(np.intp)
    order = np.argsort(level, kind="stable")
    first = np.searchsorted(level[order], np.arange(-1, slices + 1))
    return Specks(irc[order].astype(np.float32), mass[order].astype(np.float32), first)


def fill(specks_: Specks, index: int, shape_rc: tuple[int, int]) -> NDArray[np.float32]:
    """Compute the share, 0 to 1, of each pixel of slice `index` that the tubes fill."""
    begin, _, end = specks_.first[index : index + 3]
    irc = specks_.irc[begin:end]
    weight = 1 - np.abs(irc[:, 0] - index)
    mass = specks_.mass[begin:end] * weight
    total = np.zeros(shape_rc[0] * shape_rc[1])
    low = np.floor(irc[:, 1:]).astype(np.intp)
    offset = irc[:, 1:] - low
    for dr in (0, 1):
        for dc in (0, 1):
            r, c = low[:, 0] + dr, low[:, 1] + dc
            share = mass * np.abs(1 - dr - offset[:, 0]) * np.abs(1 - dc - offset[:, 1])
            ok = (r >= 0) & (r < shape_rc[0]) & (c >= 0) & (c < shape_rc[1])
            total += np.bincount(
                r[ok] * shape_rc[1] + c[ok], weights=share[ok], minlength=total.size
            )
    return np.minimum(total, 1).astype(np.float32).reshape(shape_rc)
