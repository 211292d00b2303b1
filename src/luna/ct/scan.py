"""One CT volume in Hounsfield units, with the place it has in the patient."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from luna.ct.geometry import Geometry

HuArray = NDArray[np.int16]

AIR_HU = -1000
"""The HU outside the volume, and the lower end of the networks' window."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One image of a DICOM file: its SOP Instance UID, and the frame of the file, from 1."""

    uid: str
    frame: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a scan came from and what was noticed on the way in.

    `path` is where it was read from, absolute and never shown; empty where nothing was read.
    `metadata` holds acquisition facts that are safe to print (modality, manufacturer, kernel,
    kVp, slice thickness, …), and only in words that the field knows. `phi` holds what
    identifies a person (name, birth date, accession number, …) and all free text, and is shown
    only on request. `warnings` are sentences for the report. `stored_orientation` is the ITK
    orientation code of the file's own grid (`LPS` when nothing was flipped); `image_numbers`
    are the instance numbers of the slices in index order, empty where the format has none.
    `instances` are the DICOM images, one for each plane of the file's own grid in that grid's
    order, which `stored_orientation` names; empty where they cannot be told apart by UID.
    """

    source: str
    format: str
    path: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    phi: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    stored_orientation: str = "LPS"
    image_numbers: tuple[int, ...] = ()
    instances: tuple[Instance, ...] = ()
    padding_voxels: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """An immutable CT volume.

    `hu` is (index, row, column) int16, read-only, axes nearest to feet→head,
    front→back and right→left of the patient; padding outside the scanner's field is
    already raised to -1024 or above.
    """

    hu: HuArray
    geometry: Geometry
    series_uid: str
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.int16:
            raise TypeError(f"hu must be 3-D int16, not {self.hu.ndim}-D {self.hu.dtype}")
        self.hu.setflags(write=False)

    @property
    def shape_irc(self) -> tuple[int, int, int]:
        """Return the number of slices, rows and columns."""
        i, r, c = self.hu.shape
        return (i, r, c)

    def fingerprint(self) -> str:
        """Return the SHA-256 over voxels and geometry: it names the content, whatever its file."""
        digest = hashlib.sha256(np.ascontiguousarray(self.hu).data)
        numbers = self.geometry.origin_xyz + self.geometry.spacing_xyz + self.geometry.direction
        digest.update(np.array(numbers + self.shape_irc, dtype="<f8").tobytes())
        return digest.hexdigest()

    def crop(self, center_irc: ArrayLike, size_irc: tuple[int, int, int]) -> HuArray:
        """Copy `size_irc` voxels around a centre; what lies outside is -1000 HU.

        The centre is rounded half to even, as numpy does, and stands at `size // 2` of the
        crop, so a crop at the border keeps its centre instead of sliding inwards (the
        book's `getRawCandidate` slides).
        """
        center = np.rint(np.asarray(center_irc, dtype=np.float64)).astype(int)
        start = center - np.array(size_irc) // 2
        stop = start + np.array(size_irc)
        lo = np.maximum(start, 0)
        hi = np.minimum(stop, self.hu.shape)
        out = np.full(size_irc, AIR_HU, dtype=np.int16)
        if (hi > lo).all():
            inner = tuple(slice(a, b) for a, b in zip(lo - start, hi - start, strict=True))
            out[inner] = self.hu[tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))]
        return out
