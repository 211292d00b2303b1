"""Which blocks of a scan samples need: chunks of candidates, crops and slices of nodules."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.blocks import BLOCK_IRC, Irc, grid_of
from luna.ct.geometry import FloatArray, Geometry
from luna.ct.resample import reach_irc
from luna.data.prep.config import CHUNK_IRC, CONTEXT_SLICES, CROP_RC, CUBE_IRC, PrepConfig
from luna.data.prep.job import Job

NODULE_REACH = 0.65
"""Diameters from a nodule's centre that its slices reach, on the safe side."""

HU_BYTES = 2


def needed_blocks(
    shape_irc: Irc,
    geometry: Geometry,
    candidate_irc: FloatArray,
    nodule_irc: FloatArray,
    nodule_slice: NDArray[np.int64],
    config: PrepConfig,
) -> NDArray[np.bool_]:
    """Return the blocks that samples need, as bool of the grid of blocks.

    Places (M, 3) and (N, 3) are in voxels; `nodule_slice` (P, 2) as in ScanRecord.
    """
    needed = np.full(grid_of(shape_irc), config.slices == "all")
    size = np.array(CHUNK_IRC)
    if config.spacing_mm is not None:
        # Its centre is not rounded: one voxel more on each side.
        cube = np.array(reach_irc(geometry.spacing_irc, CUBE_IRC, config.spacing_mm))
        size = np.maximum(size, cube + 2)
    for center in np.rint(candidate_irc).astype(int):
        mark_box(needed, center - size // 2, size)
    crop = np.array((2 * CONTEXT_SLICES + 1, *CROP_RC))
    for number, index in nodule_slice:
        center = np.rint(nodule_irc[number]).astype(int)
        center[0] = index
        mark_box(needed, center - crop // 2, crop)
        # The same slices whole, for validation; near an end they repeat the last one.
        first = np.array((center[0] - CONTEXT_SLICES, 0, 0))
        mark_box(needed, first, np.array((crop[0], *shape_irc[1:])))
    return needed


def mark_box(needed: NDArray[np.bool_], start: NDArray[Any], size: NDArray[Any]) -> None:
    """Mark the blocks that a box of voxels touches, by its first voxel."""
    low = np.maximum(start, 0) // BLOCK_IRC
    high = -(-np.maximum(start + size, 0) // BLOCK_IRC)
    needed[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))] = True


def needed_bytes(geometry: Geometry, shape_irc: Irc, job: Job, config: PrepConfig) -> int:
    """Return the bytes of a scan's blocks before compression, from its header alone."""
    nodule_irc = geometry.irc_from_xyz(job.nodule_xyz)
    reach = np.ceil(job.diameter_mm / geometry.spacing_irc[0] * NODULE_REACH).astype(int)
    slices = [
        (number, int(index))
        for number, (center, n) in enumerate(zip(np.rint(nodule_irc), reach, strict=True))
        for index in range(int(center[0]) - int(n), int(center[0]) + int(n) + 1)
    ]
    needed = needed_blocks(
        shape_irc,
        geometry,
        geometry.irc_from_xyz(job.candidate_xyz),
        nodule_irc,
        np.array(slices, dtype=np.int64).reshape(-1, 2),
        config,
    )
    return int(needed.sum()) * int(np.prod(BLOCK_IRC)) * HU_BYTES
