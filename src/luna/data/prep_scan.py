"""One scan of a cohort into the cache: its blocks, its nodules' voxels, and its record.

What is stored is every block that a sample needs: the chunk of each candidate, the crop of
each slice of a nodule, and whole slices. The record holds places in voxels, so that no table
and no CT file is read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.blocks import (
    BLOCK_IRC,
    BlockFile,
    DamagedError,
    Irc,
    frame_arrays,
    grid_of,
    pack_blocks,
    unframe_arrays,
)
from luna.ct.cache import Cache
from luna.ct.formats.metaimage import LOCAL, read_header
from luna.ct.geometry import FloatArray, Geometry
from luna.ct.payload import sibling
from luna.ct.read import read_scan
from luna.ct.resample import reach_irc, wrong_spacing
from luna.ct.scan import AIR_HU, Scan
from luna.data.luna16_places import inside
from luna.data.nodule_mask import MaskMethod, nodule_voxels
from luna.run.errors import EnvironmentFault, InputError, UsageError

FORMAT = 1
"""Raised when what is stored, or how it is made, changes: older entries are not found."""

CHUNK_IRC: Irc = (32, 48, 48)
"""What the classifier sees of a candidate. Source: book, chapter 11."""

CUBE_IRC: Irc = (32, 32, 32)
"""The same in cubic voxels of a chosen size, for luna's own classifier."""

CONTEXT_SLICES = 3
"""Slices on each side of the one that the U-Net judges. Source: book, chapter 13."""

CROP_RC = (96, 96)
"""Rows and columns around a nodule that U-Net training draws from. Source: chapter 13."""

OUTSIDE = "_outside"
"""Ends the names of a record's arrays that no sample depends on."""

RECORD_HEAD = ("uid", "fingerprint", "shape", "geometry", "hu", "mask")
RECORD_ARRAYS = (
    *("candidate_irc", "candidate_nodule", f"candidate{OUTSIDE}"),
    *("nodule_irc", "nodule_diameter_mm", "nodule_malignant", f"nodule{OUTSIDE}"),
    "nodule_slice",
)

Arrays = dict[str, NDArray[Any]]
Voxels = tuple[tuple[slice, slice, slice], NDArray[np.bool_]]
"""A box of a volume and what of it a nodule holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepConfig:
    """What is stored of each scan."""

    nodule_mask: MaskMethod = "bounded"
    """Which voxels belong to a nodule: bounded by its annotation, or grown as in the book."""
    slices: Literal["positive", "all"] = "positive"
    """Whole slices kept for validation: those with nodule voxels, or every slice of the scan."""
    spacing_mm: float | None = None
    """Keep also what chunks of cubic voxels of this size (mm) touch; "none" keeps those of the
    scan's own voxels only."""

    def __post_init__(self) -> None:
        if wrong := wrong_spacing(self.spacing_mm):
            raise UsageError(wrong)


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """A scan and what is marked on it; centres in LPS mm, `nodule` counts from 0 in the scan."""

    uid: str
    path: Path
    candidate_xyz: FloatArray
    candidate_nodule: NDArray[np.int64]
    nodule_xyz: FloatArray
    diameter_mm: FloatArray
    malignant: NDArray[np.int8]

    def record_key(self, config: PrepConfig) -> str:
        """The key of the scan's record: its files as they are on disk, and all marks.

        Raises InputError when the header cannot be read or its data file is not there.
        """
        return _key("record", self.uid, _stamp(self.path), asdict(config), self._arrays())

    def _arrays(self) -> list[NDArray[Any]]:
        return [
            self.candidate_xyz,
            self.candidate_nodule,
            self.nodule_xyz,
            self.diameter_mm,
            self.malignant,
        ]


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Outcome:
    """What came of one scan. `marks` is a digest of its places; `damage` says what of an
    earlier entry was damaged; what lay off the volume counts in the job's columns."""

    uid: str
    key: str
    fingerprint: str
    marks: str
    candidates: int
    kept: bool
    stored_bytes: int
    damage: str
    candidates_outside: NDArray[np.int64]
    nodules_outside: NDArray[np.int64]


def _key(kind: str, *parts: Any) -> str:
    """A key over everything that shapes a value; arrays by their bytes."""
    digest = hashlib.sha256(json.dumps([FORMAT, BLOCK_IRC, CHUNK_IRC, CROP_RC]).encode())
    for part in parts:
        for item in part if isinstance(part, list) else [part]:
            if isinstance(item, np.ndarray):
                digest.update(np.ascontiguousarray(item).tobytes())
            else:
                digest.update(json.dumps(item, sort_keys=True).encode())
            digest.update(b"\0")
    return f"{kind}:{digest.hexdigest()}"


def _stamp(path: Path) -> list[Any]:
    """Name, size and time of the header and of the file with the voxels."""
    if not path.is_file():
        raise InputError("not a plain file", file=path)
    try:
        name = read_header(path).data_file
        files = [path] if name == LOCAL else [path, sibling(path, name)]
        return [[p.name, (s := p.stat()).st_size, s.st_mtime_ns] for p in files]
    except OSError as error:
        raise InputError("cannot be read", file=path, why=str(error)) from error


def prepare_scan(job: Job, cache: Cache, config: PrepConfig) -> Outcome:
    """Store one scan, unless all of it is there and whole.

    Raises InputError when the scan cannot be read, EnvironmentFault when it cannot be stored.
    """
    key = job.record_key(config)
    earlier, damage = _earlier(cache, job.uid, key)
    if earlier is not None:
        return _told(job, key, *earlier, kept=True, damage="")
    scan = _read(job.path)
    head, arrays, voxels = _record(scan, job, config)
    wanted = wanted_blocks(scan.shape_irc, scan.geometry, arrays, config)
    stored = _store_blocks(cache, head["hu"], lambda: _pack_hu(scan, wanted, head["hu"]))
    stored += _store_blocks(cache, head["mask"], lambda: _pack_mask(scan, voxels, head["mask"]))
    # Last, so that a record never stands without its blocks.
    cache.put(key, frame_arrays({**head, "key": key}, arrays))
    return _told(job, key, head, arrays, stored, kept=False, damage=damage)


def _read(path: Path) -> Scan:
    """Raises InputError for whatever keeps this one scan from being read."""
    try:
        return read_scan(path)
    except (UsageError, EnvironmentFault) as error:
        raise InputError(error.what, file=error.file, why=error.why) from error


def unframe_record(data: bytes, uid: str, key: str) -> tuple[dict[str, Any], Arrays]:
    """Head and arrays of the record of a scan. Raises DamagedError, also for another's record."""
    head, arrays = unframe_arrays(data)
    if not head.keys() >= {*RECORD_HEAD} or arrays.keys() != {*RECORD_ARRAYS}:
        raise DamagedError("it is no record of a scan")
    # Records of older versions of luna have no key.
    if head["uid"] != uid or head.get("key", key) != key:
        raise DamagedError("it is another entry's")
    return head, arrays


def _earlier(
    cache: Cache, uid: str, key: str
) -> tuple[tuple[dict[str, Any], Arrays, int] | None, str]:
    """A record whose blocks are all there and whole, and their bytes; else None and what is
    damaged, if anything is."""
    data = cache.get(key)
    if data is None:
        return None, ""
    stored = 0
    try:
        head, arrays = unframe_record(data, uid, key)
        for name in ("hu", "mask"):
            size = _whole_bytes(cache, head[name])
            if size is None:
                return None, f"its {name} entry is missing or damaged"
            stored += size
    except DamagedError as error:
        return None, str(error)
    return (head, arrays, stored), ""


def _whole_bytes(cache: Cache, key: str) -> int | None:
    """Bytes of an entry of blocks, or None when it is missing or damaged."""
    path = cache.path(key)
    try:
        return None if path is None else BlockFile(path, key).check()
    except (DamagedError, OSError):
        return None


def _store_blocks(cache: Cache, key: str, pack: Callable[[], bytes]) -> int:
    """Store an entry unless it is there and whole; its bytes."""
    stored = _whole_bytes(cache, key)
    if stored is None:
        packed = pack()
        cache.put(key, packed)
        stored = len(packed)
    return stored


def _record(
    scan: Scan, job: Job, config: PrepConfig
) -> tuple[dict[str, Any], Arrays, list[Voxels]]:
    """Head and arrays of the record, and the voxels of each nodule with their place."""
    geometry = scan.geometry
    nodule_irc = geometry.irc_from_xyz(job.nodule_xyz)
    nodule_in = inside(nodule_irc, scan.shape_irc)
    candidate_irc = geometry.irc_from_xyz(job.candidate_xyz)
    lost = job.candidate_nodule >= 0
    lost[lost] = ~nodule_in[job.candidate_nodule[lost]]
    keep = inside(candidate_irc, scan.shape_irc) & ~lost
    renumbered = np.append(np.cumsum(nodule_in) - 1, -1)  # -1 stays -1
    voxels: list[Voxels] = []
    slices: list[tuple[int, int]] = []
    for number, row in enumerate(np.flatnonzero(nodule_in)):
        found = nodule_voxels(
            scan, job.nodule_xyz[row], float(job.diameter_mm[row]), config.nodule_mask
        )
        voxels.append((found.slices, found.voxels))
        index = found.start_irc[0] + np.flatnonzero(found.voxels.any(axis=(1, 2)))
        slices += [(number, int(k)) for k in index]
    arrays: Arrays = {
        "candidate_irc": candidate_irc[keep],
        "candidate_nodule": renumbered[job.candidate_nodule[keep]].astype(np.int64),
        f"candidate{OUTSIDE}": np.flatnonzero(~keep),
        "nodule_irc": nodule_irc[nodule_in],
        "nodule_diameter_mm": job.diameter_mm[nodule_in],
        "nodule_malignant": job.malignant[nodule_in],
        f"nodule{OUTSIDE}": np.flatnonzero(~nodule_in),
        "nodule_slice": np.array(slices, dtype=np.int64).reshape(-1, 2),
    }
    return _head_of(scan, geometry, job.uid, arrays, config), arrays, voxels


def _head_of(
    scan: Scan, geometry: Geometry, uid: str, arrays: Arrays, config: PrepConfig
) -> dict[str, Any]:
    fingerprint = scan.fingerprint()
    places = [arrays[n] for n in ("candidate_irc", "nodule_irc", "nodule_slice")]
    return {
        "uid": uid,
        "fingerprint": fingerprint,
        "shape": scan.shape_irc,
        "geometry": asdict(geometry),
        "config": asdict(config),
        "hu": _key("hu", fingerprint, config.slices, config.spacing_mm, places),
        "mask": _key(
            "mask",
            fingerprint,
            config.nodule_mask,
            [arrays["nodule_irc"], arrays["nodule_diameter_mm"]],
        ),
    }


def wanted_blocks(
    shape_irc: Irc, geometry: Geometry, arrays: Arrays, config: PrepConfig
) -> NDArray[np.bool_]:
    """The blocks that samples need, as bool of the grid of blocks."""
    wanted = np.full(grid_of(shape_irc), config.slices == "all")
    size = np.array(CHUNK_IRC)
    if config.spacing_mm is not None:
        # Its centre is not rounded: one voxel more on each side.
        cube = np.array(reach_irc(geometry.spacing_irc, CUBE_IRC, config.spacing_mm))
        size = np.maximum(size, cube + 2)
    for center in np.rint(arrays["candidate_irc"]).astype(int):
        _mark(wanted, center - size // 2, size)
    crop = np.array((2 * CONTEXT_SLICES + 1, *CROP_RC))
    for number, index in arrays["nodule_slice"]:
        center = np.rint(arrays["nodule_irc"][number]).astype(int)
        center[0] = index
        _mark(wanted, center - crop // 2, crop)
        # The same slices whole, for validation; near an end they repeat the last one.
        first = np.array((center[0] - CONTEXT_SLICES, 0, 0))
        _mark(wanted, first, np.array((crop[0], *shape_irc[1:])))
    return wanted


def _mark(wanted: NDArray[np.bool_], start: NDArray[Any], size: NDArray[Any]) -> None:
    low = np.maximum(start, 0) // BLOCK_IRC
    high = -(-np.maximum(start + size, 0) // BLOCK_IRC)
    wanted[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))] = True


def _pack_hu(scan: Scan, wanted: NDArray[np.bool_], key: str) -> bytes:
    return pack_blocks(scan.hu, wanted, AIR_HU, sparse=False, block_irc=BLOCK_IRC, key=key)


def _pack_mask(scan: Scan, voxels: list[Voxels], key: str) -> bytes:
    mask = np.zeros(scan.shape_irc, dtype=np.uint8)
    wanted = np.zeros(grid_of(scan.shape_irc), dtype=np.bool_)
    for place, held in voxels:
        mask[place] |= held
        start = np.array([s.start for s in place])
        _mark(wanted, start, np.array(held.shape))
    return pack_blocks(mask, wanted, 0, sparse=True, block_irc=BLOCK_IRC, key=key)


def _told(
    job: Job,
    key: str,
    head: dict[str, Any],
    arrays: Arrays,
    stored_bytes: int,
    *,
    kept: bool,
    damage: str,
) -> Outcome:
    return Outcome(
        uid=job.uid,
        key=key,
        fingerprint=str(head["fingerprint"]),
        marks=_key("marks", [a for name, a in arrays.items() if not name.endswith(OUTSIDE)]),
        candidates=len(arrays["candidate_irc"]),
        kept=kept,
        stored_bytes=stored_bytes,
        damage=damage,
        candidates_outside=arrays[f"candidate{OUTSIDE}"],
        nodules_outside=arrays[f"nodule{OUTSIDE}"],
    )


def needed_blocks_bytes(geometry: Geometry, shape_irc: Irc, job: Job, config: PrepConfig) -> int:
    """Bytes of the blocks of a scan before compression, from its header alone."""
    nodule_irc = geometry.irc_from_xyz(job.nodule_xyz)
    reach = np.ceil(job.diameter_mm / geometry.spacing_irc[0] * 0.65).astype(int)
    spans = [
        (number, int(index))
        for number, (center, n) in enumerate(zip(np.rint(nodule_irc), reach, strict=True))
        for index in range(int(center[0]) - int(n), int(center[0]) + int(n) + 1)
    ]
    places: Arrays = {
        "candidate_irc": geometry.irc_from_xyz(job.candidate_xyz),
        "nodule_irc": nodule_irc,
        "nodule_slice": np.array(spans, dtype=np.int64).reshape(-1, 2),
    }
    wanted = wanted_blocks(shape_irc, geometry, places, config)
    return int(wanted.sum()) * int(np.prod(BLOCK_IRC)) * 2
