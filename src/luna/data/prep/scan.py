"""One scan of a cohort into the cache: its blocks, its nodules' voxels, and its record.

What is stored is every block that a sample needs: the chunk of each candidate, the crop of
each slice of a nodule, and whole slices. The record holds places in voxels, so that no table
and no CT file is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from luna.ct.blocks import BLOCK_IRC, BlockFile, grid_of, pack_blocks
from luna.ct.cache import Cache
from luna.ct.labels import Labels, read_labels
from luna.ct.scan import AIR_HU, Scan
from luna.data.luna16.member import read_member
from luna.data.luna16.places import inside
from luna.data.nodule_mask import nodule_voxels
from luna.data.prep.config import PrepConfig, entry_key
from luna.data.prep.job import Job
from luna.data.prep.needed import mark_box, needed_blocks
from luna.data.prep.own import lung_candidates
from luna.data.prep.record import ScanRecord
from luna.run.batch import Done, item_at_fault, resumed
from luna.run.checked import DamagedError
from luna.run.errors import InputError

Voxels = tuple[tuple[slice, slice, slice], NDArray[np.bool_]]
"""A box of a volume and what of it a nodule holds."""


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class StoredScan:
    """One scan as the cache holds it, under `key`.

    `marks` is a digest of its places; the columns `_outside` count rows of the job that lie
    outside the volume.
    """

    key: str
    fingerprint: str
    marks: str
    candidates: int
    stored_bytes: int
    candidates_outside: NDArray[np.int64]
    nodules_outside: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PrepareScan:
    """Stores a scan, unless all of it is in the cache and whole: the work of `luna prep`."""

    cache: Path
    config: PrepConfig

    def __call__(self, uid: str, job: Job) -> Done[StoredScan]:
        """Prepare a scan. Raises InputError when unreadable, EnvironmentFault when not stored."""
        key = job.record_key(self.config)
        with closing(Cache(self.cache)) as cache:
            return resumed(
                lambda: stored(cache, uid, key), lambda: _store(job, cache, self.config, key)
            )


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Packed:
    """A scan on its way to the cache: its entries by key, of which the record is the last."""

    scan: StoredScan
    entries: tuple[tuple[str, bytes], ...]


def pack_scan(job: Job, config: PrepConfig, key: str) -> Packed:
    """Return all that the cache needs of a scan. Raises InputError when it is unreadable."""
    with item_at_fault():
        scan = read_member(job.path, job.uid)
        record, voxels = _record(scan, job, config)
    hu, mask = _pack_hu(scan, record, config), _pack_mask(scan, voxels, record)
    return Packed(
        scan=_stored_scan(key, record, len(hu) + len(mask)),
        entries=((record.hu_key, hu), (record.mask_key, mask), (key, record.to_bytes(key))),
    )


def stored(cache: Cache, uid: str, key: str) -> StoredScan | None:
    """Return what an earlier run stored. Raises DamagedError unless all of it is whole."""
    data = cache.get(key)
    if data is None:
        return None
    record = ScanRecord.from_bytes(data, uid, key)
    total = 0
    for name in (record.hu_key, record.mask_key):
        size = _whole_bytes(cache, name)
        if size is None:
            raise DamagedError(f"its {name.partition(':')[0]} entry is missing or damaged")
        total += size
    return _stored_scan(key, record, total)


def _store(job: Job, cache: Cache, config: PrepConfig, key: str) -> StoredScan:
    with item_at_fault():
        scan = read_member(job.path, job.uid)
        record, voxels = _record(scan, job, config)
    total = _store_blocks(cache, record.hu_key, lambda: _pack_hu(scan, record, config))
    total += _store_blocks(cache, record.mask_key, lambda: _pack_mask(scan, voxels, record))
    # Last, so that a record never stands without its blocks.
    cache.put(key, record.to_bytes(key))
    return _stored_scan(key, record, total)


def _stored_scan(key: str, record: ScanRecord, stored_bytes: int) -> StoredScan:
    return StoredScan(
        key=key,
        fingerprint=record.fingerprint,
        marks=record.marks,
        candidates=len(record.candidate_irc),
        stored_bytes=stored_bytes,
        candidates_outside=record.candidate_outside,
        nodules_outside=record.nodule_outside,
    )


def _whole_bytes(cache: Cache, key: str) -> int | None:
    """Return the bytes of an entry of blocks, or None when it is missing or damaged."""
    path = cache.path(key)
    try:
        return None if path is None else BlockFile(path, key).check()
    except (DamagedError, OSError):
        return None


def _store_blocks(cache: Cache, key: str, pack: Callable[[], bytes]) -> int:
    """Store an entry unless it is there and whole, and return its bytes."""
    size = _whole_bytes(cache, key)
    if size is None:
        packed = pack()
        cache.put(key, packed)
        size = len(packed)
    return size


def _record(scan: Scan, job: Job, config: PrepConfig) -> tuple[ScanRecord, list[Voxels]]:
    """Return the record of a scan, and the voxels of each nodule with their place."""
    geometry = scan.geometry
    every_irc = geometry.irc_from_xyz(job.nodule_xyz)
    nodule_in = inside(every_irc, scan.shape_irc)
    nodule_irc, diameter_mm = every_irc[nodule_in], job.diameter_mm[nodule_in]
    labels = None if job.mask is None else _labels(job.mask, scan, len(job.nodule_xyz))
    voxels, slices = _nodule_voxels(scan, job, np.flatnonzero(nodule_in), config, labels)
    candidate_irc = geometry.irc_from_xyz(job.candidate_xyz)
    lost = job.candidate_nodule >= 0
    lost[lost] = ~nodule_in[job.candidate_nodule[lost]]
    keep = inside(candidate_irc, scan.shape_irc) & ~lost
    renumbered = np.append(np.cumsum(nodule_in) - 1, -1)  # -1 stays -1
    candidate_irc = candidate_irc[keep]
    candidate_nodule = renumbered[job.candidate_nodule[keep]].astype(np.int64)
    if job.own_candidates:
        own = lung_candidates(scan, nodule_irc, diameter_mm)
        candidate_irc = np.concatenate([candidate_irc, own])
        candidate_nodule = np.append(candidate_nodule, np.full(len(own), -1, dtype=np.int64))
    fingerprint = scan.fingerprint()
    places = [candidate_irc, nodule_irc, slices]
    record = ScanRecord(
        uid=job.uid,
        fingerprint=fingerprint,
        shape_irc=scan.shape_irc,
        geometry=geometry,
        config=config.storing(),
        hu_key=entry_key("hu", fingerprint, config.slices, config.spacing_mm, places),
        mask_key=entry_key(
            "mask",
            fingerprint,
            config.nodule_mask,
            [nodule_irc, diameter_mm, *([] if labels is None else [labels])],
        ),
        candidate_irc=candidate_irc,
        candidate_nodule=candidate_nodule,
        candidate_outside=np.flatnonzero(~keep),
        nodule_irc=nodule_irc,
        nodule_diameter_mm=diameter_mm,
        nodule_malignant=job.malignant[nodule_in],
        nodule_outside=np.flatnonzero(~nodule_in),
        nodule_slice=slices,
    )
    return record, voxels


def _labels(path: Path, scan: Scan, nodules: int) -> Labels:
    """Return the label volume of a scan's nodules. Raises InputError when one has no voxel."""
    labels = read_labels(path, scan)
    found = set(np.unique(labels).tolist()) - {0}
    if found != set(range(1, nodules + 1)):
        raise InputError(
            "the mask does not fit the annotations",
            file=path,
            why=f"{len(found)} labels for {nodules} nodules",
            hint="import the annotations again; label N is the scan's N-th row of annotations.csv",
        )
    return labels


def _nodule_voxels(
    scan: Scan, job: Job, rows: NDArray[np.int64], config: PrepConfig, labels: Labels | None
) -> tuple[list[Voxels], NDArray[np.int64]]:
    """Return the voxels of some of the job's nodules, and in which slices they lie (P, 2).

    They are those of the label volume, where there is one.
    """
    boxes = [] if labels is None else ndimage.find_objects(labels)
    voxels: list[Voxels] = []
    slices: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        if labels is None:
            center_xyz, diameter_mm = job.nodule_xyz[row], float(job.diameter_mm[row])
            grown = nodule_voxels(scan, center_xyz, diameter_mm, config.nodule_mask)
            place, held = grown.slices, grown.voxels
        else:
            place = boxes[row]
            held = labels[place] == row + 1
        voxels.append((place, held))
        index = place[0].start + np.flatnonzero(held.any(axis=(1, 2)))
        slices += [(number, int(k)) for k in index]
    return voxels, np.array(slices, dtype=np.int64).reshape(-1, 2)


def _pack_hu(scan: Scan, record: ScanRecord, config: PrepConfig) -> bytes:
    needed = needed_blocks(
        scan.shape_irc,
        scan.geometry,
        record.candidate_irc,
        record.nodule_irc,
        record.nodule_slice,
        config,
    )
    return _packed(scan.hu, needed, AIR_HU, record.hu_key, sparse=False)


def _pack_mask(scan: Scan, voxels: list[Voxels], record: ScanRecord) -> bytes:
    mask = np.zeros(scan.shape_irc, dtype=np.uint8)
    needed = np.zeros(grid_of(scan.shape_irc), dtype=np.bool_)
    for place, held in voxels:
        mask[place] |= held
        start = np.array([s.start for s in place])
        mark_box(needed, start, np.array(held.shape))
    return _packed(mask, needed, 0, record.mask_key, sparse=True)


def _packed(
    volume: NDArray[Any], needed: NDArray[np.bool_], fill: int, key: str, *, sparse: bool
) -> bytes:
    return pack_blocks(volume, needed, fill, sparse=sparse, block_irc=BLOCK_IRC, key=key)
