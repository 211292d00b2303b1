"""Check that annotations lie where nodules can be: on something dense with lung around it.

A table in other coordinates, or of other scans, may lie inside every volume. Its places then
fall on muscle, outside the body, or on plain lung.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.ct.scan import Scan
from luna.data.luna16.folder import ANNOTATIONS, Luna16
from luna.data.luna16.member import read_member
from luna.run.errors import EnvironmentFault, InputError, UsageError

SCANS_READ = 6
"""Scans with annotations that are read: enough to tell a wrong table from a right one."""

FEW = 4
"""With fewer annotations than this, another reading of the table must fit better, too."""

RIM_MM = 10.0
"""How far the surroundings of a nodule reach."""

DENSE_HU = -600
"""Something denser than this lies near a nodule's centre; lung itself is mostly below."""

LUNG_HU = (-980, -600)
LUNG_SHARE = 0.4
"""The share of the surroundings that is lung. Nodules of LUNA16 at the pleura have about half,
others more than 0.8; the mirrored places of seven real scans have 0.3 and less in most."""

MIRRORED = np.array([-1.0, -1.0, 1.0])
"""From LPS to RAS and back."""


@dataclass(slots=True)
class FitCount:
    """How many annotations were checked, and how many fit as they are and as RAS."""

    places: int = 0
    fit: int = 0
    fit_mirrored: int = 0

    def add(self, scan: Scan, center_xyz: FloatArray, diameter_mm: FloatArray) -> None:
        """Count the annotations of a scan: (N, 3) LPS mm and (N,)."""
        self.fit += int(fits(scan, center_xyz, diameter_mm).sum())
        self.fit_mirrored += int(fits(scan, center_xyz * MIRRORED, diameter_mm).sum())
        self.places += len(diameter_mm)

    def join(self, other: FitCount) -> None:
        """Add what another count counted."""
        self.places += other.places
        self.fit += other.fit
        self.fit_mirrored += other.fit_mirrored

    def refuse_most_off(self, table: Path) -> None:
        """Raise InputError when most of the annotations do not lie on nodules."""
        if 2 * self.fit >= self.places:
            return
        is_mirrored = self.fit_mirrored > self.fit
        if self.places < FEW and not is_mirrored:
            return
        raise InputError(
            f"{self.places - self.fit} of {self.places} annotations lie on no nodule",
            file=table,
            why="they lie outside the body, in muscle or in plain lung"
            + (", and on nodules when they are read as RAS" if is_mirrored else ""),
            hint="negate coordX and coordY: luna takes LPS mm, as in LUNA16"
            if is_mirrored
            else "coordinates are LPS mm, as in LUNA16; do the annotations belong to these scans?",
        )


def refuse_misplaced(data: Luna16, uids: Iterable[str]) -> None:
    """Raise InputError when most annotations of some of these scans do not lie on nodules.

    A scan that cannot be read is passed over: it fails when its turn comes.
    """
    annotated = [uid for uid in uids if data.nodules_of(uid).start < data.nodules_of(uid).stop]
    count = FitCount()
    for uid in annotated[:: max(1, len(annotated) // SCANS_READ)][:SCANS_READ]:
        rows = data.nodules_of(uid)
        with suppress(InputError, UsageError, EnvironmentFault, OSError):
            scan = read_member(data.files[uid], uid)
            count.add(scan, data.nodules.center_xyz[rows], data.nodules.diameter_mm[rows])
    count.refuse_most_off(data.root / ANNOTATIONS)


def fits(scan: Scan, center_xyz: FloatArray, diameter_mm: FloatArray) -> NDArray[np.bool_]:
    """Return which places (N, 3), LPS mm, are dense at the centre and have lung around."""
    centers = scan.geometry.irc_from_xyz(center_xyz).reshape(-1, 3)
    found = [_fits(scan, c, float(d)) for c, d in zip(centers, diameter_mm, strict=True)]
    return np.array(found, dtype=np.bool_)


def _fits(scan: Scan, center_irc: FloatArray, diameter_mm: float) -> bool:
    spacing = np.array(scan.geometry.spacing_irc)
    half = np.ceil((diameter_mm / 2 + RIM_MM) / spacing).astype(int)
    i, r, c = (int(n) for n in 2 * half + 1)
    hu = scan.crop(center_irc, (i, r, c))
    axes = [np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=True)]
    distance_mm = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    core = hu[distance_mm <= max(diameter_mm / 4, float(spacing.max()))]
    rim = hu[(distance_mm > diameter_mm / 2) & (distance_mm <= diameter_mm / 2 + RIM_MM)]
    is_lung = (rim > LUNG_HU[0]) & (rim < LUNG_HU[1])
    return bool(core.max() > DENSE_HU and is_lung.mean() >= LUNG_SHARE)
