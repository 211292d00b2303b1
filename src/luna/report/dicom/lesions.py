"""Opacities and findings as DICOM objects name them: one list, in one order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from luna.ct.orient import to_stored_axes
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings, Opacity
from luna.detect.prior.changes import tracking_ids

LESIONS_MAX = 100
"""Viewers list every segment; a scan with more findings has a fault that its report names."""

NAMESPACE = UUID("6f1d0c1e-5d0b-4c8e-9a35-5a3c2d1f7b90")
"""Of the UIDs that luna derives from a name: the same name, the same UID."""


@dataclass(frozen=True)
class Lesion:
    """One opacity or finding; `name` is `Opacity A` or `Finding 1`, as in the report."""

    name: str
    found: Finding | Opacity
    tracking_uid: str

    @property
    def key(self) -> str:
        """The number or letter."""
        return self.name.split()[-1]


def derived_uid(*words: object) -> str:
    """Return the UID of a name, the same for the same words (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE, ' '.join(map(str, words))).int}"


def tracking_uid(tracking: str) -> str:
    """Return the UID of a nodule's tracking ID, 32 hexadecimal digits (`luna.detect.prior`).

    >>> tracking_uid("00000000000000000000000000000010")
    '2.25.16'
    """
    return f"2.25.{int(tracking, 16)}"


def lesions_of(findings: Findings, tracked: Mapping[str, str] | None = None) -> list[Lesion]:
    """Return opacities, then findings, as the report lists them, LESIONS_MAX at most.

    `tracked` gives the tracking IDs of those that were compared with a prior scan, by number or
    letter; another one is named by this scan and its place.
    """
    ids = {**tracking_ids(findings), **(tracked or {})}
    return [
        Lesion(f"{_word(found)} {name}", found, tracking_uid(ids[name]))
        for name, found in islice(findings.named(), LESIONS_MAX)
    ]


def _word(found: Finding | Opacity) -> str:
    return "Finding" if isinstance(found, Finding) else "Opacity"


@dataclass(frozen=True)
class Labels:
    """The lesions painted on the grid of the file: a voxel holds the number of its lesion, from 1.

    Where two overlap, a finding lies over an opacity, and the more probable finding on top, as in
    `nodules.nii.gz`.
    """

    voxels: NDArray[np.uint8]

    @cached_property
    def planes(self) -> NDArray[np.intp]:
        """Return the planes that hold any."""
        return np.flatnonzero(self.voxels.any(axis=(1, 2)))

    @cached_property
    def seen(self) -> list[int]:
        """Return the numbers of the lesions of which something is left to see."""
        counts = np.bincount(self.voxels[self.planes].ravel())
        return [number for number, count in enumerate(counts.tolist()) if number and count]


def painted(scan: Scan, lesions: list[Lesion]) -> Labels:
    """Paint lesions, and turn them to the axes that the file of the scan has."""
    voxels = np.zeros(scan.shape_irc, dtype=np.uint8)
    numbered = list(enumerate(lesions, start=1))
    opacities = [pair for pair in numbered if isinstance(pair[1].found, Opacity)]
    others = [pair for pair in numbered if isinstance(pair[1].found, Finding)]
    for number, lesion in (*opacities, *reversed(others)):
        mask = lesion.found.mask
        voxels[mask.slices][mask.voxels] = number
    turned, _ = to_stored_axes(voxels, scan.geometry, scan.provenance.stored_orientation)
    return Labels(turned)
