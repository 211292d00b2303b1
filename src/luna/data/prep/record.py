"""The record of one scan in the cache: its places in voxels, and where its blocks are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luna.ct.blocks import Irc
from luna.ct.frames import frame_arrays, unframe_arrays
from luna.ct.geometry import FloatArray, Geometry
from luna.data.prep.config import entry_key
from luna.run.checked import DamagedError

IntArray = NDArray[np.int64]

ARRAYS = (
    *("candidate_irc", "candidate_nodule", "candidate_outside"),
    *("nodule_irc", "nodule_diameter_mm", "nodule_malignant", "nodule_outside"),
    "nodule_slice",
)
"""The columns in the order of the bytes; on those that end in `_outside` no sample depends."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ScanRecord:
    """One prepared scan.

    `candidate_irc` (M, 3) voxels, not rounded; `candidate_nodule` (M,) counts in the scan's
    nodules, -1 where there is none. `nodule_irc` (N, 3), `nodule_diameter_mm` (N,),
    `nodule_malignant` (N,) int8, -1 for unknown. `nodule_slice` (P, 2): nodule and index of each
    slice in which it has voxels. The columns `_outside` count rows of the job that lie outside the
    volume. `hu_key` and `mask_key` name the entries of blocks.
    """

    uid: str
    fingerprint: str
    shape_irc: Irc
    geometry: Geometry
    config: dict[str, Any]
    hu_key: str
    mask_key: str
    candidate_irc: FloatArray
    candidate_nodule: IntArray
    candidate_outside: IntArray
    nodule_irc: FloatArray
    nodule_diameter_mm: FloatArray
    nodule_malignant: NDArray[np.int8]
    nodule_outside: IntArray
    nodule_slice: IntArray

    @property
    def marks(self) -> str:
        """A digest of the places that samples depend on."""
        sampled = [name for name in ARRAYS if not name.endswith("_outside")]
        return entry_key("marks", [getattr(self, name) for name in sampled])

    def to_bytes(self, key: str) -> bytes:
        """Return the record as framed bytes, which know the key that they are stored under."""
        head = {
            "uid": self.uid,
            "fingerprint": self.fingerprint,
            "shape": self.shape_irc,
            "geometry": asdict(self.geometry),
            "config": self.config,
            "hu": self.hu_key,
            "mask": self.mask_key,
            "key": key,
        }
        return frame_arrays(head, {name: getattr(self, name) for name in ARRAYS})

    @classmethod
    def from_bytes(cls, data: bytes, uid: str, key: str) -> ScanRecord:
        """Return what `to_bytes` framed. Raises DamagedError, also for another scan's record."""
        head, arrays = unframe_arrays(data)
        if arrays.keys() != {*ARRAYS}:
            raise DamagedError("it is not the record of a scan")
        # Records of older versions of luna have no key.
        if head.get("uid") != uid or head.get("key", key) != key:
            raise DamagedError("it is another entry's")
        try:
            i, r, c = (int(n) for n in head["shape"])
            return cls(
                uid=uid,
                fingerprint=str(head["fingerprint"]),
                shape_irc=(i, r, c),
                geometry=_geometry(head["geometry"]),
                config=head.get("config", {}),
                hu_key=str(head["hu"]),
                mask_key=str(head["mask"]),
                **arrays,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"it is not the record of a scan: {error}") from error


def _geometry(values: dict[str, list[float]]) -> Geometry:
    return Geometry(**{name: tuple(numbers) for name, numbers in values.items()})  # type: ignore[arg-type]
