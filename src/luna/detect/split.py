"""Splits what the segmenter marked in one piece: a nodule, and the vessel or nodule it touches.

The centre of mass of such a piece lies in neither. A piece that spreads wider than a ball of its
volume is covered by balls, the largest that fits first. Each ball that is large enough to be the
inside of a nodule becomes a candidate of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import Mask

SPREAD = 1.7
"""Root mean square distance from the centre, over that of a ball of the same volume."""

RADIUS_MM = 2.0
"""The smallest ball that becomes a candidate; thinner parts of a piece are vessels."""

REACH = 4.0
"""No second ball begins within so many radii of a ball: it would be the same nodule."""

ROUND = 1.2
"""A ball takes the voxels within so many radii, for a nodule is no perfect ball."""

MOST = 200
"""Balls of one piece, the largest; a network that marks half a lung would have thousands."""


def split(labels: NDArray[np.int32], spacing_irc: Triple) -> NDArray[np.int32]:
    """Split pieces of a labelled volume into balls, in place.

    `labels` holds 1…N. Returns it with labels 1…M, M ≥ N: the first ball of a piece keeps the
    piece's label, the others take new ones, and voxels of a split piece in no ball become 0.
    """
    boxes = ndimage.find_objects(labels)
    last = len(boxes)
    for label, box in enumerate(boxes, start=1):
        view = labels[box]
        piece = view == label
        if not _spreads(piece, np.array(spacing_irc)):
            continue
        for k, ball in enumerate(_balls(piece, spacing_irc)):
            if k == 0:
                view[piece] = 0
            last += k > 0
            view[ball] = last if k else label
    return labels


def _spreads(piece: Mask, spacing_irc: NDArray[np.float64]) -> bool:
    """Whether a piece is no ball, and large enough to hold one that counts."""
    count = np.count_nonzero(piece)
    radius_mm = np.cbrt(3 * count * spacing_irc.prod() / (4 * np.pi))
    if radius_mm <= RADIUS_MM:
        return False
    variance_mm2 = (np.argwhere(piece) * spacing_irc).var(axis=0).sum()
    of_ball_mm2 = 0.6 * radius_mm**2  # mean squared distance from the centre of a solid ball
    return bool(variance_mm2 > SPREAD**2 * of_ball_mm2)


def _balls(piece: Mask, spacing_irc: Triple) -> list[Mask]:
    """The voxels of a piece that lie in each ball, the largest ball first."""
    depth_mm = ndimage.distance_transform_edt(np.pad(piece, 1), sampling=spacing_irc)
    radius_mm = depth_mm[1:-1, 1:-1, 1:-1][piece]
    place_mm = np.argwhere(piece) * spacing_irc
    balls: list[Mask] = []
    while radius_mm.max() >= RADIUS_MM and len(balls) < MOST:
        center = radius_mm.argmax()
        far_mm = np.linalg.norm(place_mm - place_mm[center], axis=1)
        ball = np.zeros_like(piece)
        ball[piece] = far_mm < ROUND * radius_mm[center]
        balls.append(ball)
        radius_mm[far_mm < REACH * radius_mm[center]] = 0
    return balls
