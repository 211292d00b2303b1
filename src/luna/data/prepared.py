"""A prepared cohort: every place that training may draw from, and the volumes around them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from luna.ct.blocks import BlockFile, Irc
from luna.ct.cache import Cache
from luna.ct.geometry import FloatArray, Triple
from luna.data.prep.config import PrepConfig
from luna.data.prep.manifest import AGAIN, Manifest, read_manifest
from luna.data.prep.record import IntArray, ScanRecord
from luna.run.checked import DamagedError
from luna.run.errors import TrustError
from luna.run.machine.limits import open_files

T = TypeVar("T")

OPEN_VOLUMES_MAX = 2048
"""LUNA16's 888, with their masks. The index of one takes up to 0.4 MB."""

SPARE_FILES = 128
"""Left for all else that a process opens; of the usual 1024, LUNA16's 888 remain."""

Kind = Literal["hu", "mask"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidates:
    """M candidates, sorted by series.

    `series` (M,) counts in `Prepared.series`; `center_irc` (M, 3) voxels, not rounded;
    `nodule` (M,) counts in `Prepared.nodules`, -1 where there is none; `malignancy` (M,) 1
    malignant, 0 benign, -1 unknown or no nodule; `diameter_mm` (M,) 0 where no nodule.
    """

    series: IntArray
    center_irc: FloatArray
    nodule: IntArray
    is_nodule: NDArray[np.bool_]
    malignancy: NDArray[np.int8]
    diameter_mm: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class PreparedNodules:
    """N nodules, sorted by series; columns as in Candidates, `malignancy` -1 for unknown."""

    series: IntArray
    center_irc: FloatArray
    diameter_mm: FloatArray
    malignancy: NDArray[np.int8]


@dataclass(frozen=True, eq=False, kw_only=True)
class NoduleSlices:
    """P slices in which a nodule has voxels, one row per nodule and slice, sorted by series."""

    series: IntArray
    index: IntArray
    nodule: IntArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A prepared cohort, opened from a cache folder; no CT file and no table is needed.

    `series` are the prepared series, sorted; `all_series` the full list, of which a split is
    a function. `fingerprint` identifies scans, marks and config.
    """

    folder: Path
    series: tuple[str, ...]
    all_series: tuple[str, ...]
    fold_of: Mapping[str, int]
    patient_of: Mapping[str, str]
    failed: Mapping[str, str]
    config: PrepConfig
    fingerprint: str
    candidates: Candidates
    nodules: PreparedNodules
    nodule_slices: NoduleSlices
    shapes_irc: tuple[Irc, ...]
    spacing_irc: tuple[Triple, ...]
    volumes: Volumes

    def rows_in(self, column: IntArray, uids: Sequence[str]) -> IntArray:
        """Return the rows of a `series` column that belong to the given series.

        For instance `prepared.rows_in(prepared.candidates.series, split.train)`.
        """
        wanted = set(uids)
        chosen = np.array([uid in wanted for uid in self.series], dtype=np.bool_)
        return np.flatnonzero(chosen[column])


def open_volumes() -> int:
    """Return how many volumes to keep open, by the files that this process may have open."""
    files = open_files()
    if files is None:
        return OPEN_VOLUMES_MAX
    return min(max(files - SPARE_FILES, 1), OPEN_VOLUMES_MAX)


@dataclass(frozen=True, eq=False)
class Volumes:
    """The blocks of every series, opened when first needed; several threads may read at once."""

    cache: Cache
    keys: Mapping[Kind, tuple[str, ...]]
    _most: int = field(default_factory=open_volumes)
    _files: OrderedDict[str, BlockFile] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def crop(self, kind: Kind, series: int, center_irc: Any, size_irc: Irc) -> NDArray[Any]:
        """Return what `Scan.crop` gives, or a crop of the mask: uint8, 0 outside the volume."""
        return self._reading(kind, series, lambda file: file.crop(center_irc, size_irc))

    def box(self, kind: Kind, series: int, start_irc: Irc, size_irc: Irc) -> NDArray[Any]:
        """Return a box of voxels by its first one."""
        return self._reading(kind, series, lambda file: file.box(start_irc, size_irc))

    def _reading(self, kind: Kind, series: int, read: Callable[[BlockFile], T]) -> T:
        key = self.keys[kind][series]
        try:
            return read(self._file(key))
        except DamagedError as error:
            raise self._fault(str(error)) from error
        except OSError as error:
            raise self._fault(str(error)) from error

    def _file(self, key: str) -> BlockFile:
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                self._files.move_to_end(key)
                return file
            path = self.cache.path(key)
            if path is None:
                raise self._fault("an entry is missing")
            self._files[key] = file = BlockFile(path, key)
            if len(self._files) > self._most:
                self._files.popitem(last=False)
            return file

    def _fault(self, why: str) -> TrustError:
        return TrustError(
            "the prepared data is damaged or incomplete",
            file=self.cache.folder,
            why=why,
            hint=AGAIN,
        )


def open_prepared(folder: Path) -> Prepared:
    """Open a prepared cohort. Raises TrustError when it is missing, damaged or older."""
    manifest = read_manifest(folder)
    cache = Cache(folder)
    try:
        records = [_record(cache, uid, key) for uid, key in sorted(manifest.records.items())]
        return _gathered(folder, cache, manifest, records)
    except (TypeError, ValueError) as error:
        raise TrustError(
            "the prepared data is damaged", file=folder, why=str(error), hint=AGAIN
        ) from error


def _record(cache: Cache, uid: str, key: str) -> ScanRecord:
    data = cache.get(key)
    if data is None:
        raise DamagedError(f"the record of {uid} is missing")
    return ScanRecord.from_bytes(data, uid, key)


def _gathered(
    folder: Path, cache: Cache, manifest: Manifest, records: Sequence[ScanRecord]
) -> Prepared:
    nodules = PreparedNodules(
        series=_series(records, "nodule_irc"),
        center_irc=_joined(records, "nodule_irc", np.float64, 3),
        diameter_mm=_joined(records, "nodule_diameter_mm", np.float64),
        malignancy=_joined(records, "nodule_malignant", np.int8),
    )
    first = np.searchsorted(nodules.series, np.arange(len(records)))
    slices = _joined(records, "nodule_slice", np.int64, 2)
    slice_series = _series(records, "nodule_slice")
    return Prepared(
        folder=folder,
        series=tuple(record.uid for record in records),
        all_series=manifest.series,
        fold_of=manifest.fold_of,
        patient_of=manifest.patient_of,
        failed=manifest.failed,
        config=manifest.config,
        fingerprint=manifest.fingerprint,
        candidates=_candidates(records, nodules, first),
        nodules=nodules,
        nodule_slices=NoduleSlices(
            series=slice_series, index=slices[:, 1], nodule=slices[:, 0] + first[slice_series]
        ),
        shapes_irc=tuple(record.shape_irc for record in records),
        spacing_irc=tuple(record.geometry.spacing_irc for record in records),
        volumes=Volumes(
            cache,
            {
                "hu": tuple(record.hu_key for record in records),
                "mask": tuple(record.mask_key for record in records),
            },
        ),
    )


def _candidates(
    records: Sequence[ScanRecord], nodules: PreparedNodules, first: IntArray
) -> Candidates:
    series = _series(records, "candidate_irc")
    local = _joined(records, "candidate_nodule", np.int64)
    is_nodule = local >= 0
    nodule = np.where(is_nodule, local + first[series] if len(series) else local, -1)
    malignancy = np.full(len(series), -1, dtype=np.int8)
    malignancy[is_nodule] = nodules.malignancy[nodule[is_nodule]]
    diameter_mm = np.zeros(len(series))
    diameter_mm[is_nodule] = nodules.diameter_mm[nodule[is_nodule]]
    return Candidates(
        series=series,
        center_irc=_joined(records, "candidate_irc", np.float64, 3),
        nodule=nodule,
        is_nodule=is_nodule,
        malignancy=malignancy,
        diameter_mm=diameter_mm,
    )


def _joined(records: Sequence[ScanRecord], name: str, dtype: Any, *width: int) -> Any:
    """Return one column over all series, in their order."""
    empty = np.zeros((0, *width), dtype=dtype)
    columns = [getattr(record, name) for record in records]
    return np.concatenate([empty, *columns]).astype(dtype, copy=False)


def _series(records: Sequence[ScanRecord], name: str) -> IntArray:
    """Return the number of the series of every row."""
    sizes = [len(getattr(record, name)) for record in records]
    return np.repeat(np.arange(len(records)), sizes).astype(np.int64)
