"""Parts what the U-Net marked in one piece: a nodule, and the vessel or the nodule it touches.

The centre of mass of such a piece lies in neither. A piece that spreads wider than a ball of its
volume would is covered by balls, the largest that fits first; each that is large enough to be the
inside of a nodule is a candidate of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SPREAD = 1.7
"""Root mean square distance from the centre, over that of a ball of the same volume."""

RADIUS_MM = 2.0
"""Smallest ball that is a candidate; of the same piece thinner ones are vessel."""

REACH = 4.0
"""No further ball begins within so many radii of one: it would be the same nodule."""

ROUND = 1.2
"""A ball's part of the piece, in radii: nodules are no perfect balls."""

MOST = 200
"""Balls of one piece, the largest; a network that marks half a lung would have thousands."""


def part(
    label: NDArray[np.int32], irc: NDArray[np.int64], spacing_irc: NDArray[np.float64]
) -> NDArray[np.int32]:
    """The labels of voxels once pieces are parted.

    `label` (V,) is 1…M and `irc` (V, 3) the voxels' place; `spacing_irc` in mm. Returns (V,)
    labels 1…M', the first ball of a piece keeping its number; 0 for voxels of a parted piece
    that lie in no ball.
    """
    out = label.copy()
    number = label.max(initial=0)
    for piece in _spread_out(label, irc * spacing_irc, float(np.prod(spacing_irc))):
        voxels = np.flatnonzero(label == piece)
        balls = _balls(irc[voxels], spacing_irc)
        if balls:
            out[voxels] = 0
        for k, inside in enumerate(balls):
            number += k > 0
            out[voxels[inside]] = number if k else piece
    return out


def _spread_out(
    label: NDArray[np.int32], place_mm: NDArray[np.float64], voxel_mm3: float
) -> NDArray[np.intp]:
    """Labels of the pieces that are no ball and could hold one that counts."""
    count = np.maximum(np.bincount(label), 1)
    variance = sum(
        np.bincount(label, axis**2) / count - (np.bincount(label, axis) / count) ** 2
        for axis in place_mm.T
    )
    radius_mm = np.cbrt(3 * count * voxel_mm3 / (4 * np.pi))
    of_ball = 0.6 * radius_mm**2
    return np.flatnonzero((variance > SPREAD**2 * of_ball) & (radius_mm > RADIUS_MM))


def _balls(irc: NDArray[np.int64], spacing_irc: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """Which voxels (V,) of a piece lie in each ball, the largest ball first."""
    low = irc.min(axis=0)
    box = np.zeros(irc.max(axis=0) - low + 3, dtype=np.bool_)
    inner = tuple((irc - low + 1).T)
    box[inner] = True
    radius_mm = ndimage.distance_transform_edt(box, sampling=spacing_irc)[inner]
    place_mm = irc * spacing_irc
    balls: list[NDArray[np.bool_]] = []
    while radius_mm.max() >= RADIUS_MM and len(balls) < MOST:
        center = radius_mm.argmax()
        far_mm = np.linalg.norm(place_mm - place_mm[center], axis=1)
        balls.append(far_mm < ROUND * radius_mm[center])
        radius_mm[far_mm < REACH * radius_mm[center]] = 0
    return balls
