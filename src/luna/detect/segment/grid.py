"""Runs a segmenter on a grid of cubic voxels laid over the scan, and brings the answer back.

Thick and thin slices look alike to such a network, and its context is the same in mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.resample import Box, Grid, whole_hu
from luna.ct.scan import Scan
from luna.detect.config import SegmentConfig
from luna.detect.segment.forward import probability
from luna.nets.bundle import Bundle
from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d

OVERLAP = 4
"""Patches of a 3-D network overlap by a quarter of their side: a voxel at the rim of one lacks
context, and is deeper in another."""

FloatArray = NDArray[np.float32]


def on_grid(
    scan: Scan,
    box: Box,
    bundle: Bundle,
    spacing_mm: float,
    config: SegmentConfig,
    device: torch.device,
) -> Iterator[tuple[Box, torch.Tensor]]:
    """Compute the probability of nodule of the scan's voxels in a box, some slices at a time.

    Linear between the voxels of the grid, of which those under the box are held in memory.
    """
    grid = Grid(
        shape_irc=scan.shape_irc,
        spacing_irc=scan.geometry.spacing_irc,
        spacing_mm=spacing_mm,
        antialias=bundle.card.antialias,
    )
    inner = grid.box(box)
    p = np.zeros([s.stop - s.start for s in inner], dtype=np.float32)
    ways = [
        _between(np.arange(s.start, s.stop) * step - g.start, g.stop - g.start)
        for s, g, step in zip(box, inner, grid.from_scan((1, 1, 1)), strict=True)
    ]
    fill = _by_slices if isinstance(bundle.module, UNet) else _by_patches
    done = 0
    for ready in fill(scan, grid, inner, bundle, config, device, p):
        # A slice of the scan is known with the grid's slice above it.
        stop = int(np.searchsorted(ways[0][0] + 1, ready)) if ready < len(p) else len(ways[0][0])
        for first in range(done, stop, config.batch_slices):
            part = slice(first, min(first + config.batch_slices, stop))
            place = slice(box[0].start + part.start, box[0].start + part.stop)
            found = _interpolated(p, (ways[0][0][part], ways[0][1][part]), ways[1], ways[2])
            yield (place, box[1], box[2]), torch.from_numpy(found).to(device)
        done = max(done, stop)


def _by_slices(
    scan: Scan,
    grid: Grid,
    inner: Box,
    bundle: Bundle,
    config: SegmentConfig,
    device: torch.device,
    p: FloatArray,
) -> Iterator[int]:
    """Fill `p`, slice by slice with context; yields how many slices are final.

    The first and last slice are repeated where the context reaches beyond the grid. Rows and
    columns reach further by what influences those of the box, on the pooling's own raster.
    """
    net: UNet = bundle.module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    reach, step, margin = net.context_slices // 2, net.alignment, net.receptive_margin
    rows, columns = (
        slice(
            max(s.start - margin, 0) // step * step,
            -(-min(s.stop + margin, n) // step) * step,
        )
        for s, n in zip(inner[1:], grid.shape[1:], strict=True)
    )
    for first in range(inner[0].start, inner[0].stop, config.batch_slices):
        stop = min(first + config.batch_slices, inner[0].stop)
        low, high = max(first - reach, 0), min(stop + reach, grid.shape[0])
        slab = grid.volume(scan.crop, (slice(low, high), rows, columns))
        index = np.arange(first - reach, stop + reach).clip(0, grid.shape[0] - 1) - low
        hu = torch.from_numpy(slab[index]).to(device)
        stacks = hu.float().clamp_(*bundle.card.hu_window).unfold(0, 2 * reach + 1, 1)
        looked_at = stacks.contiguous().permute(0, 3, 1, 2)
        found = probability(net, looked_at, bundle.card, config, device).cpu().numpy()
        inside = [
            slice(s.start - around.start, s.stop - around.start)
            for s, around in zip(inner[1:], (rows, columns), strict=True)
        ]
        p[first - inner[0].start : stop - inner[0].start] = found[:, 0, inside[0], inside[1]]
        yield stop - inner[0].start


def _by_patches(
    scan: Scan,
    grid: Grid,
    inner: Box,
    bundle: Bundle,
    config: SegmentConfig,
    device: torch.device,
    p: FloatArray,
) -> Iterator[int]:
    """Fill `p`, patch by patch; yields how many slices are final.

    Where patches overlap, the mean of their answers, in which the middle of a patch counts most.
    """
    net: UNet3d = bundle.module.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    size = net.input_size
    starts = [_starts(n, side) for n, side in zip(p.shape, size, strict=True)]
    trust = _trust(size)
    weight = np.zeros_like(p)
    for layer, first in enumerate(starts[0]):
        for row, column in product(*starts[1:]):
            at = (first, row, column)
            i, r, c = (s.start + a for s, a in zip(inner, at, strict=True))
            hu = torch.from_numpy(whole_hu(grid.cut(scan.crop, (i, r, c), size))).to(device)
            patch = hu[None, None].float().clamp_(*bundle.card.hu_window)
            patch = patch.contiguous(memory_format=torch.channels_last_3d)
            found = probability(net, patch, bundle.card, config, device)[0, 0].cpu().numpy()
            place = tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))
            kept = tuple(slice(0, n) for n in p[place].shape)
            p[place] += (found * trust)[kept]
            weight[place] += trust[kept]
        ready = starts[0][layer + 1] if layer + 1 < len(starts[0]) else len(p)
        p[first:ready] /= weight[first:ready]
        yield ready


def _starts(length: int, side: int) -> list[int]:
    """Return the starts of patches that cover an axis, the last ending where it ends."""
    step = side - side // OVERLAP
    count = max(1, -(-(length - side) // step) + 1)
    last = max(length - side, 0)
    return sorted({min(k * step, last) for k in range(count)})


def _trust(size: tuple[int, int, int]) -> FloatArray:
    """How much each voxel of a patch counts: least at its rim, and never nothing."""
    ramps = [np.minimum(np.arange(n) + 1, n - np.arange(n)) / n for n in size]
    i, r, c = np.meshgrid(*ramps, indexing="ij")
    return np.asarray(prod((i, r, c)), dtype=np.float32)


def _between(place: NDArray[np.float64], length: int) -> tuple[NDArray[np.intp], FloatArray]:
    """The grid's voxel below each place along an axis of the box, and the share of the next."""
    place = np.clip(place, 0, length - 1)
    below = np.minimum(np.floor(place).astype(np.intp), max(length - 2, 0))
    return below, (place - below).astype(np.float32)


def _interpolated(p: FloatArray, *ways: tuple[NDArray[np.intp], FloatArray]) -> FloatArray:
    """The grid's values at places along each axis, one axis after another."""
    for axis, (below, share) in enumerate(ways):
        shape = [1, 1, 1]
        shape[axis] = -1
        low = p.take(below, axis)
        high = p.take(np.minimum(below + 1, p.shape[axis] - 1), axis)
        p = low + (high - low) * share.reshape(shape)
    return p
