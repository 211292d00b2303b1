"""Where in real lungs a nodule may lie: aerated lung, apart from vessels and known nodules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.lungs.find import Lungs
from luna.ct.mask import Mask
from luna.ct.scan import Scan
from luna.phantom.config import PhantomConfig
from luna.phantom.field import Points

GRID_MM = 1.6
"""Voxel size of the map; a lung of 5 litres has about 1.2 million of them."""

DENSE_HU = -600
"""Mean of a map voxel above which it counts as vessel: tubes from about 1.5 mm on."""

BRIDGE_MM = 5.0
"""Vessels up to twice as wide as this lie in the lung, not beside it."""

VESSEL_SHARE = 0.05
"""No larger share of a nodule may lie where vessels are, unless that is asked for."""

APART_MM = 6.0
"""Least gap between the surfaces of two nodules."""

WALL_MM = 2.0
"""Gap between a nodule deep in the lung and the pleura."""

TRIES = 600

Spot = tuple[Points, float]
"""Centre in grid mm and radius in mm of what is already there."""


@dataclass(frozen=True, slots=True)
class Room:
    """A coarse map of the lungs' box in grid mm: (x, y, z) from the scan's first voxel.

    `lung` has the lungs with their vessels, `dense` the vessels; `depth` is the distance to the
    pleura and `clear` that to the nearest vessel, both in mm.
    """

    low_xyz: Points
    step_xyz: Points
    lung: Mask
    dense: Mask
    depth: NDArray[np.float32]
    clear: NDArray[np.float32]

    def index(self, center: Points) -> NDArray[np.intp]:
        """The map voxel (index, row, column) of a place in grid mm."""
        return np.rint((center - self.low_xyz) / self.step_xyz)[::-1].astype(np.intp)

    def vessel_share(self, center: Points, radius: float) -> float:
        """Share of a ball's part in the lung that lies where vessels are."""
        step = self.step_xyz[::-1]
        middle = self.index(center)
        reach = np.ceil(radius / step).astype(int)
        low = np.maximum(middle - reach, 0)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, middle + reach + 1, strict=True))
        inside = self.lung[box]
        offsets = np.ogrid[tuple(slice(0, n) for n in inside.shape)]
        squares = [
            ((o + a - m) * s) ** 2 for o, a, m, s in zip(offsets, low, middle, step, strict=True)
        ]
        ball = inside & (sum(squares) <= radius**2)
        return float((self.dense[box] & ball).sum() / max(ball.sum(), 1))

    def is_upper(self, center: Points) -> bool:
        """Whether a place is in the upper half of the lungs."""
        return bool(self.index(center)[0] >= len(self.lung) / 2)


def map_room(scan: Scan, lungs: Lungs) -> Room:
    """Map the lungs of a scan. It costs two distance transforms over the coarse grid."""
    spacing = np.array(scan.geometry.spacing_irc)
    factor = np.maximum(np.rint(GRID_MM / spacing), 1).astype(int)
    box = lungs.box()
    start = np.array([s.start for s in box])
    hu = _means(scan, box, factor)
    step = spacing * factor
    hull = _hull(lungs, start, factor, hu.shape)
    air = hull & (hu < DENSE_HU)
    reach = int(np.ceil(BRIDGE_MM / step.min()))
    far = ndimage.distance_transform_edt(np.pad(~air, reach, constant_values=True), sampling=step)
    grown = far <= BRIDGE_MM
    back = ndimage.distance_transform_edt(grown, sampling=step) > BRIDGE_MM
    inner = tuple(slice(reach, -reach) for _ in range(3))
    lung = air | (back[inner] & hull)
    dense = lung & ~air
    depth = ndimage.distance_transform_edt(lung, sampling=step)
    clear = ndimage.distance_transform_edt(~dense, sampling=step)
    low = (start + (factor - 1) / 2) * spacing
    return Room(
        low[::-1], step[::-1], lung, dense, depth.astype(np.float32), clear.astype(np.float32)
    )


def _hull(
    lungs: Lungs, start: NDArray[np.int_], factor: NDArray[np.int_], shape: tuple[int, ...]
) -> Mask:
    """Whether the middle of each map voxel lies in the lungs' mask."""
    along = [
        np.minimum((a + f * np.arange(n) + f // 2) // g, size - 1)
        for a, f, n, g, size in zip(
            start, factor, shape, lungs.factor_irc, lungs.labels.shape, strict=True
        )
    ]
    return np.asarray(lungs.labels[np.ix_(*along)] > 0, dtype=np.bool_)


def _means(scan: Scan, box: tuple[slice, ...], factor: NDArray[np.int_]) -> NDArray[np.float32]:
    """Means of blocks of voxels in a box, one coarse slice at a time; rests are cut off."""
    fi, fr, fc = factor.tolist()
    n, rows, columns = ((s.stop - s.start) // f for s, f in zip(box, factor, strict=True))
    out = np.empty((n, rows, columns), np.float32)
    for k in range(n):
        first = box[0].start + k * fi
        slab = scan.hu[first : first + fi, box[1], box[2]].mean(axis=0, dtype=np.float32)
        slab = slab[: rows * fr, : columns * fc]
        out[k] = slab.reshape(rows, fr, columns, fc).mean(axis=(1, 3))
    return out


def place(
    rng: np.random.Generator,
    config: PhantomConfig,
    room: Room,
    radius: float,
    taken: Sequence[Spot],
) -> Points | None:
    """Find a centre in grid mm: deep in the lung, on the pleura or beside a vessel; None if none.

    Only with `config.on_vessels` may a nodule cover vessels.
    """
    site = rng.random()
    wall = config.juxtapleural_share
    if site < wall:
        wanted = np.abs(room.depth - rng.uniform(0.3, 0.9) * radius) < max(1.0, 0.1 * radius)
    elif site < wall + config.juxtavascular_share:
        wanted = (room.depth > radius) & (np.abs(room.clear - radius) < 1.0)
    else:
        wanted = room.depth > radius + WALL_MM
    places = np.flatnonzero(wanted & room.lung & ~room.dense)
    if not len(places):
        return None
    for pick in rng.choice(places, TRIES):
        voxel = np.array(np.unravel_index(pick, room.lung.shape), dtype=np.float64)
        center = room.low_xyz + (voxel[::-1] + rng.uniform(-0.5, 0.5, 3)) * room.step_xyz
        if not _apart(center, radius, taken):
            continue
        if config.on_vessels or room.vessel_share(center, radius) <= VESSEL_SHARE:
            return np.asarray(center, dtype=np.float64)
    return None


def _apart(center: Points, radius: float, taken: Sequence[Spot]) -> bool:
    return all(
        np.sqrt(((center - other) ** 2).sum()) > radius + size + APART_MM for other, size in taken
    )
