"""The samples that training reads from a prepared cohort: chunks, crops with masks, slices.

Each reads by index, in any order, from several threads at once, and opens no CT file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from luna.ct.blocks import Irc
from luna.ct.geometry import FloatArray
from luna.ct.resample import Cubes
from luna.ct.scan import AIR_HU
from luna.data.prep.config import CHUNK_IRC, CONTEXT_SLICES, CROP_RC
from luna.data.prep.record import IntArray
from luna.data.prepared import Prepared
from luna.run.errors import UsageError

Batch = tuple[torch.Tensor, torch.Tensor]

CROP_IRC: Irc = (2 * CONTEXT_SLICES + 1, *CROP_RC)


@dataclass(frozen=True, eq=False)
class CandidateChunks:
    """Chunks around candidates, for the classifier.

    `rows` (N,) count in `prepared.candidates`; `labels` (N,) int64. With `cubes`, chunks are
    those around each candidate. Raises UsageError when they were not prepared.
    """

    prepared: Prepared
    rows: IntArray
    labels: IntArray
    cubes: Cubes | None = None

    def __post_init__(self) -> None:
        if len(self.rows) != len(self.labels):
            raise ValueError(f"{len(self.rows)} rows and {len(self.labels)} labels")
        if self.cubes is None or self.prepared.config.slices == "all":
            return
        if (self.prepared.config.spacing_mm or 0) < self.cubes.prepared_mm:
            largest_mm = max(self.cubes.spacings_mm)
            needed_mm = math.ceil(self.cubes.prepared_mm * 1000) / 1000
            raise UsageError(
                f"chunks of {largest_mm:g} mm voxels were not prepared",
                file=self.prepared.folder,
                hint=f"run `luna prep` with --set spacing_mm={needed_mm:g}",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (C, D, H, W) of a chunk: C cubes, or one crop of the scan's voxels."""
        if self.cubes is None:
            return (1, *CHUNK_IRC)
        return (len(self.cubes.spacings_mm), *self.cubes.size_irc)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Sequence[int]) -> Batch:
        """Return HU (N, C, D, H, W) int16, with C, D, H, W of `shape`, and labels (N,) int64."""
        hu = np.empty((len(indices), *self.shape), dtype=np.int16)
        for k, row in enumerate(self.rows[list(indices)]):
            hu[k] = self._chunk(int(row))
        return torch.from_numpy(hu), torch.from_numpy(self.labels[list(indices)])

    def _chunk(self, row: int) -> NDArray[np.int16]:
        table = self.prepared.candidates
        series, center_irc = int(table.series[row]), table.center_irc[row]
        crop = partial(self.prepared.volumes.crop, "hu", series)
        if self.cubes is None:
            return crop(center_irc, CHUNK_IRC)
        return self.cubes.cut(crop, center_irc, self.prepared.spacing_irc[series])


@dataclass(frozen=True, eq=False)
class MaskedCrops:
    """Slices with their neighbours around places (N, 3) in voxels, for U-Net training.

    `series` (N,) count in `prepared.series`; `is_nodule` (N,) says what the place is of.
    """

    prepared: Prepared
    series: IntArray
    center_irc: FloatArray
    is_nodule: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.series)

    def read(self, indices: Sequence[int]) -> Batch:
        """Return HU (N, 7, 96, 96) int16 and masks (N, 1, 96, 96) uint8 of all nodules there."""
        hu = np.empty((len(indices), *CROP_IRC), dtype=np.int16)
        mask = np.empty((len(indices), 1, *CROP_RC), dtype=np.uint8)
        volumes = self.prepared.volumes
        for k, row in enumerate(indices):
            series, center = int(self.series[row]), self.center_irc[row]
            hu[k] = volumes.crop("hu", series, center, CROP_IRC)
            mask[k] = volumes.crop("mask", series, center, (1, *CROP_RC))
        return torch.from_numpy(hu), torch.from_numpy(mask)


def masked_crops(prepared: Prepared, series: Sequence[str], *, background: bool) -> MaskedCrops:
    """Return crops of every slice of a nodule and, with `background`, of other candidates.

    Raises UsageError when the latter were not prepared.
    """
    table = prepared.nodule_slices
    rows = prepared.rows_in(table.series, series)
    center_irc = prepared.nodules.center_irc[table.nodule[rows]]
    center_irc[:, 0] = table.index[rows]
    nodules = MaskedCrops(prepared, table.series[rows], center_irc, np.ones(len(rows), np.bool_))
    if not background:
        return nodules
    if prepared.config.slices != "all":
        raise UsageError(
            "only slices with nodules were prepared",
            file=prepared.folder,
            hint='run `luna prep` with --set slices="all" for crops around other candidates',
        )
    others = prepared.rows_in(prepared.candidates.series, series)
    others = others[~prepared.candidates.is_nodule[others]]
    return MaskedCrops(
        prepared,
        np.concatenate([nodules.series, prepared.candidates.series[others]]),
        np.concatenate([center_irc, prepared.candidates.center_irc[others]]),
        np.arange(len(rows) + len(others)) < len(rows),
    )


class MaskedSlices:
    """Whole slices with their neighbours, for validation of the U-Net.

    Slices of the given series in which a nodule has voxels or, with `every`, all of them.
    Rows and columns are made a multiple of `alignment`, as the U-Net halves them.
    """

    def __init__(
        self,
        prepared: Prepared,
        series: Sequence[str],
        *,
        every: bool = False,
        alignment: int = 4,
    ) -> None:
        if every and prepared.config.slices != "all":
            raise UsageError(
                "only slices with nodules were prepared",
                file=prepared.folder,
                hint='run `luna prep` with --set slices="all" to validate on every slice',
            )
        self.prepared, self.alignment = prepared, alignment
        self.places = _every(prepared, series) if every else _positive(prepared, series)

    def __len__(self) -> int:
        return len(self.places)

    def read(self, indices: Sequence[int]) -> Batch:
        """HU (N, 7, H, W) int16 and masks (N, 1, H, W) uint8.

        Beyond the first and last slice these are repeated. H and W are those of the largest
        slice, up to a multiple of `alignment`, the others padded at their end with air.
        """
        places = self.places[list(indices)]
        shapes = np.array([self.prepared.shapes_irc[s] for s, _ in places])
        rows, columns = -(-shapes[:, 1:].max(axis=0) // self.alignment) * self.alignment
        hu = np.full((len(places), CROP_IRC[0], rows, columns), AIR_HU, dtype=np.int16)
        mask = np.zeros((len(places), 1, rows, columns), dtype=np.uint8)
        for k, (series, index) in enumerate(places):
            _, height, width = self.prepared.shapes_irc[series]
            hu[k, :, :height, :width] = self._context(int(series), int(index))
            mask[k, :, :height, :width] = self.prepared.volumes.box(
                "mask", int(series), (int(index), 0, 0), (1, height, width)
            )
        return torch.from_numpy(hu), torch.from_numpy(mask)

    def _context(self, series: int, index: int) -> NDArray[np.int16]:
        """Return the slice and its neighbours (7, H, W)."""
        slices, height, width = self.prepared.shapes_irc[series]
        around = np.arange(index - CONTEXT_SLICES, index + CONTEXT_SLICES + 1)
        around = np.clip(around, 0, slices - 1)
        first = int(around[0])
        size = (int(around[-1]) - first + 1, height, width)
        hu = self.prepared.volumes.box("hu", series, (first, 0, 0), size)
        return np.asarray(hu[around - first], dtype=np.int16)


def _positive(prepared: Prepared, series: Sequence[str]) -> IntArray:
    """Return series and slice (P, 2), each slice once however many nodules are in it."""
    table = prepared.nodule_slices
    rows = prepared.rows_in(table.series, series)
    both = np.column_stack([table.series[rows], table.index[rows]])
    return np.unique(both, axis=0).astype(np.int64)


def _every(prepared: Prepared, series: Sequence[str]) -> IntArray:
    wanted = set(series)
    return np.array(
        [
            (number, index)
            for number, uid in enumerate(prepared.series)
            if uid in wanted
            for index in range(prepared.shapes_irc[number][0])
        ],
        dtype=np.int64,
    ).reshape(-1, 2)
