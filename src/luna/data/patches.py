"""Patches of one voxel size with the nodules in them: what a segmenter on a grid learns from.

Places are voxels of the grid that diagnosis lays over the same scan, and values are its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.blocks import Irc
from luna.ct.geometry import FloatArray
from luna.ct.resample import Grid, whole_hu
from luna.data.chunks import Batch
from luna.data.prep.record import IntArray
from luna.data.prepared import Prepared
from luna.run.errors import UsageError

HALF = 0.5
"""A voxel of the grid is nodule when at least this much of it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchKind:
    """What patches are like: `size_irc` voxels of `spacing_mm`, averaged with `antialias`.

    `flat`: a stack of slices of which the middle one is judged, and not a volume.
    """

    size_irc: Irc
    spacing_mm: float
    antialias: bool
    flat: bool


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches around places (N, 3) of the grid, whole numbers.

    `series` (N,) count in `prepared.series`; `is_nodule` (N,) says what the place is of.
    """

    prepared: Prepared
    kind: PatchKind
    series: IntArray
    center: IntArray
    is_nodule: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.series)

    def read(self, indices: Sequence[int]) -> Batch:
        """Return HU (N, K, H, W) or (N, 1, D, H, W) int16, and masks of as many dimensions.

        Masks are uint8, of the judged slice or of the whole patch, with one channel.
        """
        pairs = [self._patch(int(row)) for row in indices]
        hu, mask = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        if not self.kind.flat:
            hu, mask = hu[:, None], mask[:, None]
        return torch.from_numpy(hu), torch.from_numpy(mask)

    def _patch(self, row: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        series, size = int(self.series[row]), self.kind.size_irc
        grid = grid_of(self.prepared, self.kind, series)
        i, r, c = (int(place) - n // 2 for place, n in zip(self.center[row], size, strict=True))
        hu_of, mask_of = (
            partial(self.prepared.volumes.crop, kind, series) for kind in ("hu", "mask")
        )
        if not self.kind.flat:
            return whole_hu(grid.cut(hu_of, (i, r, c), size)), _mask(
                grid.cut(mask_of, (i, r, c), size)
            )
        # Beyond the first and last slice these are repeated, as in diagnosis.
        index = np.arange(i, i + size[0]).clip(0, grid.shape[0] - 1)
        first, count = int(index[0]), int(index[-1] - index[0]) + 1
        slab = whole_hu(grid.cut(hu_of, (first, r, c), (count, *size[1:])))
        judged = int(index[size[0] // 2])
        return slab[index - first], _mask(grid.cut(mask_of, (judged, r, c), (1, *size[1:])))


def grid_of(prepared: Prepared, kind: PatchKind, series: int) -> Grid:
    """Return the grid over a series."""
    return Grid(
        shape_irc=prepared.shapes_irc[series],
        spacing_irc=prepared.spacing_irc[series],
        spacing_mm=kind.spacing_mm,
        antialias=kind.antialias,
    )


def training_patches(
    prepared: Prepared, kind: PatchKind, uids: Sequence[str], *, background: bool
) -> Patches:
    """Return patches of nodules and, with `background`, of all other candidates.

    Flat ones are of every slice of the grid that a nodule reaches, others of each nodule.
    Raises UsageError when not every slice was prepared.
    """
    _refuse_partial(prepared)
    series, center = _of_nodules(prepared, kind, uids)
    others = _others(prepared, uids) if background else np.zeros(0, np.int64)
    return _joined(prepared, kind, series, center, others)


def validation_patches(prepared: Prepared, kind: PatchKind, uids: Sequence[str]) -> Patches:
    """Return patches of nodules and of at most as many other candidates, evenly chosen."""
    _refuse_partial(prepared)
    series, center = _of_nodules(prepared, kind, uids)
    others = _others(prepared, uids)
    if len(others):
        count = min(len(others), max(len(series), 1))
        others = others[np.linspace(0, len(others) - 1, count).round().astype(int)]
    return _joined(prepared, kind, series, center, others)


def _refuse_partial(prepared: Prepared) -> None:
    if prepared.config.slices != "all":
        raise UsageError(
            "only slices with nodules were prepared",
            file=prepared.folder,
            hint='run `luna prep` with --set slices="all" for patches of one voxel size',
        )


def _others(prepared: Prepared, uids: Sequence[str]) -> IntArray:
    rows = prepared.rows_in(prepared.candidates.series, uids)
    return rows[~prepared.candidates.is_nodule[rows]]


def _of_nodules(
    prepared: Prepared, kind: PatchKind, uids: Sequence[str]
) -> tuple[IntArray, IntArray]:
    """The series (N,) and places (N, 3) of nodules on their grids."""
    nodules = prepared.nodules
    rows = prepared.rows_in(nodules.series, uids)
    if not kind.flat:
        center_irc = nodules.center_irc[rows]
        return nodules.series[rows], _on_grid(prepared, kind, nodules.series[rows], center_irc)
    series: list[int] = []
    places: list[tuple[int, int, int]] = []
    for row in rows.tolist():
        number = int(nodules.series[row])
        index = prepared.nodule_slices.index[prepared.nodule_slices.nodule == row]
        if not len(index):
            continue
        at = _on_grid(prepared, kind, np.array([number]), nodules.center_irc[[row]])[0]
        grid = grid_of(prepared, kind, number)
        step = float(grid.from_scan((1, 0, 0))[0])
        # Half a slice of the scan belongs to the slice on either side.
        low, high = (index.min() - 0.5) * step, (index.max() + 0.5) * step
        reached = np.arange(max(np.ceil(low), 0), min(np.floor(high) + 1, grid.shape[0]))
        places += [(int(k), at[1], at[2]) for k in (reached if len(reached) else at[:1])]
        series += [number] * (len(places) - len(series))
    return np.array(series, np.int64), np.array(places, np.int64).reshape(-1, 3)


def _on_grid(
    prepared: Prepared, kind: PatchKind, series: IntArray, center_irc: FloatArray
) -> IntArray:
    """The voxels of the grids nearest to places of the scans."""
    spacing = np.array(prepared.spacing_irc).reshape(-1, 3)[series]
    places: IntArray = np.rint(center_irc * spacing / kind.spacing_mm).astype(np.int64)
    return places


def _joined(
    prepared: Prepared, kind: PatchKind, series: IntArray, center: IntArray, others: IntArray
) -> Patches:
    table = prepared.candidates
    elsewhere = _on_grid(prepared, kind, table.series[others], table.center_irc[others])
    return Patches(
        prepared,
        kind,
        np.concatenate([series, table.series[others]]),
        np.concatenate([center, elsewhere]),
        np.arange(len(series) + len(others)) < len(series),
    )


def _mask(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (share >= HALF).astype(np.uint8)
