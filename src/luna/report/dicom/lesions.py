"""Opacities and findings as DICOM objects name them: one list, in one order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from luna.ct.orient import to_stored_axes
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings, Opacity
from luna.report.document import LETTERS

LESIONS_MAX = 100
"""Viewers list every segment; a scan with more findings has a fault that its report tells."""

NAMESPACE = UUID("6f1d0c1e-5d0b-4c8e-9a35-5a3c2d1f7b90")
"""Of the UIDs that luna derives from a name: the same name, the same UID."""


@dataclass(frozen=True)
class Lesion:
    """One opacity or finding; `name` is `Opacity A` or `Finding 1`, as in the report."""

    name: str
    found: Finding | Opacity
    tracking_uid: str


def derived_uid(*words: object) -> str:
    """Return the UID of a name, the same for the same words (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE, ' '.join(map(str, words))).int}"


def tracking_uid(series_uid: str, found: Finding | Opacity) -> str:
    """Return the UID that a lesion keeps: by its series and its centre, to a millimetre."""
    return derived_uid(series_uid, *(round(v) for v in found.center_xyz))


def lesions_of(findings: Findings, tracked: Mapping[int, str] | None = None) -> list[Lesion]:
    """Return opacities, then findings, as the report lists them, LESIONS_MAX at most.

    `tracked` gives findings, by number, the tracking UID that the same nodule had in a prior scan.
    """
    named: list[tuple[str, Finding | Opacity, str | None]] = [
        (f"Opacity {letter}", opacity, None)
        for letter, opacity in zip(LETTERS, findings.opacities, strict=False)
    ]
    named += [
        (f"Finding {one.number}", one, (tracked or {}).get(one.number)) for one in findings.findings
    ]
    return [
        Lesion(name, found, uid or tracking_uid(findings.series_uid, found))
        for name, found, uid in named[:LESIONS_MAX]
    ]


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
