"""From marked voxels to candidates (book, chapter 14: `groupSegmentationOutput`).

The mask is eroded once by the 6-neighbour cross, or by the cross within each slice, as the
segmenter's card says. This separates what touches by a corner and drops lone voxels. Each
6-connected piece of what is left is a candidate. Pieces whose regrown masks touch belong to one
nodule. So far this is the book's way. A piece may be a nodule together with the vessels, wall or
mediastinum that it touches, and its centre lies in none of them. So the balls in the mask are
candidates too, each with voxels of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.mask import BoxMask, Mask
from luna.ct.scan import Scan
from luna.detect.balls import Balls, blood_hu, find_balls, is_enhanced, within
from luna.detect.pieces import AXES, Pieces, find_pieces
from luna.nets.card import Erosion

REACH_VOX = 64
"""Half the largest box of a nodule's mask: 64 pixels are at least 30 mm in a chest CT."""

SAME = 1 / 4
"""A ball with its centre within this many radii of a piece's centre is that piece."""

PART = 0.5
"""A ball that lies in a piece is the piece or a part of it when its radius is at least this share
of the piece's; a smaller one is a nodule that touches a heart."""

OWN = 1.5
"""The mask of a ball reaches this many radii, because nodules are not perfect balls."""

JOINED = 1.8
"""Candidates in one marked component within this many radii are one nodule."""

NO_BALLS = Balls(np.empty((0, 3)), np.empty(0))


@dataclass(frozen=True, slots=True)
class Components:
    """The candidates of one scan, M of them: pieces in the order of their labels, then balls.

    `center_irc`: (M, 3) float64, a piece's centre of mass weighted by clip(HU, -1000, 1000) +
    1001, or a ball's centre; `radius_mm`: (M,) float64, of the ball, or of one of the piece's
    volume; `nodule`: (M,) int from 0, equal for candidates of one nodule; `component`: (M,) int,
    equal where the marks around candidates touch; `labels`: int32 (index, row, column), the
    masks labelled by `nodule` + 1, whose voxel (0, 0, 0) is `start_irc` of the scan.
    """

    center_irc: NDArray[np.float64]
    radius_mm: NDArray[np.float64]
    nodule: NDArray[np.int64]
    component: NDArray[np.int64]
    labels: NDArray[np.int32]
    start_irc: tuple[int, int, int]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Components:
        """The candidates of some rows; the labelled volume stays whole."""
        return replace(
            self,
            center_irc=self.center_irc[rows],
            radius_mm=self.radius_mm[rows],
            nodule=self.nodule[rows],
            component=self.component[rows],
        )

    def joined(self, p_nodule: NDArray[np.float64], spacing_irc: Triple) -> NDArray[np.int64]:
        """Return the nodule of each candidate; those near a more probable one belong to its nodule.

        A nodule that is marked with what it touches may hold several balls, and no mark is for
        two of them. The more probable candidate comes first and gives the nodule's mask.
        """
        place_mm = self.center_irc * spacing_irc
        nodule = self.nodule.copy()
        heads = np.zeros(len(nodule), dtype=np.bool_)
        for k in np.argsort(-p_nodule, kind="stable"):
            near = np.flatnonzero(heads & (self.component == self.component[k]))
            far_mm = np.linalg.norm(place_mm[near] - place_mm[k], axis=1)
            one = far_mm < JOINED * np.maximum(self.radius_mm[near], self.radius_mm[k])
            if one.any():
                nodule[k] = nodule[near[one][0]]
            else:
                heads[k] = True
        return nodule

    def masks(self, nodules: NDArray[np.int64], center_irc: NDArray[np.float64]) -> list[BoxMask]:
        """The marked voxels of some nodules near their centres, each in the smallest box.

        A component may follow vessels or pleura through the whole scan. What is measured does
        not, so only voxels within REACH_VOX of a centre count, where there are any.
        """
        boxes = ndimage.find_objects(self.labels)
        masks = []
        for nodule, center in zip(nodules, center_irc - self.start_irc, strict=True):
            near = _near(boxes[nodule], np.rint(center).astype(int))
            box = near if (self.labels[near] == nodule + 1).any() else boxes[nodule]
            i, r, c = (s.start + o for s, o in zip(box, self.start_irc, strict=True))
            masks.append(BoxMask((i, r, c), self.labels[box] == nodule + 1))
        return masks


def _near(box: tuple[slice, ...], center: NDArray[np.int_]) -> tuple[slice, ...]:
    return tuple(
        slice(
            min(max(s.start, c - REACH_VOX), s.stop), max(min(s.stop, c + REACH_VOX + 1), s.start)
        )
        for s, c in zip(box, center.tolist(), strict=True)
    )


def group(
    scan: Scan, segmentation: BoxMask, erosion: Erosion = "cross", *, balls: bool = True
) -> Components:
    """Find the candidates among the marked voxels, and which of them are one nodule.

    Without `balls` they are the book's.
    """
    mask, spacing = segmentation.voxels, np.array(scan.geometry.spacing_irc)
    found = _nodule_balls(scan, segmentation) if balls else NO_BALLS
    pieces, labels = find_pieces(scan, segmentation, AXES[erosion])
    out = Components(
        pieces.center_irc,
        pieces.radius_mm,
        pieces.component.copy(),
        pieces.component,
        labels,
        segmentation.start_irc,
    )
    if len(found.radius_mm):
        out = _add_balls(out, pieces, found, mask, spacing, AXES[erosion])
    return replace(out, center_irc=out.center_irc + segmentation.start_irc)


def _nodule_balls(scan: Scan, segmentation: BoxMask) -> Balls:
    """The balls in the marks that are no vessels full of contrast medium."""
    found = find_balls(segmentation.voxels, scan.geometry.spacing_irc)
    blood = blood_hu(scan)
    if blood is None:
        return found
    hu = scan.hu[segmentation.slices]
    return found.take(~is_enhanced(hu, found, np.array(scan.geometry.spacing_irc), blood))


def _add_balls(
    components: Components,
    pieces: Pieces,
    balls: Balls,
    mask: Mask,
    spacing: NDArray[np.float64],
    axes: tuple[int, ...],
) -> Components:
    """The candidates with the balls among them; writes the balls' masks into `labels`.

    A ball in a piece that is like a ball itself is a further candidate of that piece's nodule. A
    component with other balls is divided: its pieces and balls are a nodule each, and what is
    far from all of them is none.
    """
    labels = components.labels
    last = int(labels.max())
    component = _components_of(labels, balls, spacing, last)
    host, is_host = _hosts(pieces, balls, component, spacing)
    divided = np.unique(component[host < 0])
    kept = ~(pieces.spreads & np.isin(pieces.component, divided))
    separate = kept & np.isin(pieces.component, divided)
    nodule = pieces.component.copy()
    nodule[separate] = last + np.arange(np.count_nonzero(separate))
    own = np.empty_like(host)
    own[host >= 0] = nodule[host[host >= 0]]
    free = np.flatnonzero(host < 0)
    own[free] = last + np.count_nonzero(separate) + np.arange(len(free))
    written = np.ones(len(own), dtype=np.bool_)
    for k in free[::-1]:  # the small ones first: they lie at the rim of large ones
        box, near = within(labels.shape, spacing, balls.center_irc[k], OWN * balls.radius_mm[k])
        was = component[k] + 1 if component[k] < last else 0
        near &= mask[box] & (labels[box] == was)
        labels[box][near] = own[k] + 1
        written[k] = near.any()
    kept &= ~separate | _write_pieces(labels, pieces, separate, nodule, axes)
    # What is left of a divided component is no nodule.
    number = np.arange(labels.max() + 1, dtype=np.int32)
    number[divided[divided < last] + 1] = 0
    for plane in labels:  # one at a time: numpy widens what it indexes by to eight bytes
        plane[:] = number[plane]
    extra = written & ~is_host
    return Components(
        np.concatenate([pieces.center_irc[kept], balls.center_irc[extra]]),
        np.concatenate([pieces.radius_mm[kept], balls.radius_mm[extra]]),
        np.concatenate([nodule[kept], own[extra]]),
        np.concatenate([pieces.component[kept], component[extra]]),
        labels,
        components.start_irc,
    )


def _components_of(
    labels: NDArray[np.int32], balls: Balls, spacing: NDArray[np.float64], last: int
) -> NDArray[np.int64]:
    """The component of each ball, from 0; from `last` on where erosion left nothing of it."""
    component = last + np.arange(len(balls.radius_mm))
    for k, radius_mm in enumerate(balls.radius_mm):
        box, near = within(labels.shape, spacing, balls.center_irc[k], radius_mm)
        count = np.bincount(labels[box][near])
        if count[1:].any():
            component[k] = count[1:].argmax()
    return component


def _hosts(
    pieces: Pieces, balls: Balls, component: NDArray[np.int64], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The ball-like piece in which each ball's centre lies, or -1; and whether it is that piece."""
    host = np.full(len(component), -1)
    same = np.zeros(len(component), dtype=np.bool_)
    for k, center_irc in enumerate(balls.center_irc):
        mine = np.flatnonzero((pieces.component == component[k]) & ~pieces.spreads)
        far_mm = np.linalg.norm((pieces.center_irc[mine] - center_irc) * spacing, axis=1)
        like = PART * pieces.radius_mm[mine] <= balls.radius_mm[k]
        far_mm[(far_mm >= pieces.radius_mm[mine]) | ~like] = np.inf
        if np.isfinite(far_mm).any():
            nearest = far_mm.argmin()
            host[k] = mine[nearest]
            same[k] = far_mm[nearest] < SAME * balls.radius_mm[k]
    return host, same


def _write_pieces(
    labels: NDArray[np.int32],
    pieces: Pieces,
    separate: NDArray[np.bool_],
    nodule: NDArray[np.int64],
    axes: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Label what balls left of some pieces by nodule + 1; returns which pieces have voxels.

    A piece is regrown within its component.
    """
    piece = pieces.label - 1
    mine = separate[piece]
    irc, piece = pieces.irc[mine], piece[mine]
    left = labels[tuple(irc.T)] == pieces.component[piece] + 1
    irc, piece = irc[left], piece[left]
    number = (nodule[piece] + 1).astype(np.int32)
    labels[tuple(irc.T)] = number
    for axis in axes:
        for shift in (-1, 1):
            at = irc.copy()
            at[:, axis] = np.clip(at[:, axis] + shift, 0, labels.shape[axis] - 1)
            free = labels[tuple(at.T)] == pieces.component[piece] + 1
            labels[tuple(at[free].T)] = number[free]
    return np.bincount(piece, minlength=len(separate)) > 0
