"""The findings of one scan: plain data for reports, scores and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from math import cbrt, pi
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from luna.clinical.nodule import Calcification, Kind
from luna.ct.geometry import Triple
from luna.ct.lungs.lobes import Lobe
from luna.ct.mask import BoxMask
from luna.nets.card import Card
from luna.nets.trained import TrainedRange

Side = Literal["left", "right"]
Third = Literal["upper", "middle", "lower"]
Status = Literal["clear", "findings", "opacity", "limited"]

Plane = Literal["axial", "coronal", "sagittal"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The names of opacities, largest first; findings have numbers. A scan with more has none left."""

PLANES: tuple[Plane, Plane, Plane] = ("axial", "coronal", "sagittal")
"""The plane across each axis of a scan's array."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnAxes:
    """The axes in the axial, coronal or sagittal plane where the long one is longest, as lines.

    Each pair are the ends in voxels, not rounded; their distance is the length. `plane_index` is
    the 0-based slice, row or column that they lie on.
    """

    long_axis_mm: float
    short_axis_mm: float
    long_ends_irc: tuple[Triple, Triple]
    short_ends_irc: tuple[Triple, Triple]
    plane_index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Size and attenuation of one segmented nodule.

    The axes lie in the plane of greatest size, as the Fleischner Society recommends (2017):
    `long_axis_mm` is the longest chord of the contour half way between lung and nodule;
    `short_axis_mm` is the extent perpendicular to it in the same plane; `diameter_mm` is their
    mean. `plane_index` is the 0-based slice, row or column of an axial, coronal or sagittal
    plane. `hu_mean`, `hu_min` and `hu_max` are of the voxels of the nodule's mask. `drawn` are
    axes that images of each of PLANES can show; empty where nothing was kept to draw.
    `cut_by_scan`: the nodule goes on beyond the first or last slice, row or column, or may do so,
    and every size is a lower bound.
    """

    long_axis_mm: float
    short_axis_mm: float
    diameter_mm: float
    volume_mm3: float
    hu_mean: float
    hu_min: int
    hu_max: int
    plane: Plane
    plane_index: int
    drawn: tuple[DrawnAxes, ...] = ()
    cut_by_scan: bool = False

    @property
    def equal_volume_mm(self) -> float:
        """The diameter of a ball of the same volume."""
        return float(cbrt(6 / pi * self.volume_mm3))


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """The measured description of a nodule.

    `kind` is None where a faint nodule is too small for the slices: blur alone could make it
    so. `solid_mm` is the mean diameter of a part-solid nodule's part above -300 HU.
    `calcified_share` and `fat_share` are of the core's voxels; `fat` is None where the nodule is
    too small. `pleural_contact` is the share of the surface that touches pleura, mediastinum or
    diaphragm; fissures are too thin to tell. `strands` counts what leaves the nodule through a
    shell 2 mm around it: spicules and vessels. `third` is by height in the lung, not by lobe, and
    None where the scan does not show all of the lungs. `lobe` is None unless the user gave the
    lobes, and far from all of them.
    """

    kind: Kind | None
    solid_mm: float | None
    calcification: Calcification
    calcified_share: float
    fat: bool | None
    fat_share: float
    pleural_contact: float
    juxtapleural: bool
    strands: int
    third: Third | None
    lobe: Lobe | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One nodule that luna reports.

    `number` counts from 1 in order of falling probability. `center_irc` is the
    attenuation-weighted centre of mass in voxels, not rounded; `center_xyz` the same point
    in LPS mm. `p_malignant` is None when no malignancy model was given.
    """

    number: int
    center_irc: Triple
    center_xyz: Triple
    p_nodule: float
    p_malignant: float | None
    measurement: Measurement
    description: Description
    side: Side
    mask: BoxMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Opacity:
    """A region of soft tissue in a lung that is larger than the networks' range of sizes.

    No network judged it. `center_irc` is the centre of its voxels, not rounded; `center_xyz` the
    same point in LPS mm.
    """

    center_irc: Triple
    center_xyz: Triple
    measurement: Measurement
    side: Side
    mask: BoxMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """The places that the nodule classifier judged, M of them.

    `center_irc`, `center_xyz`: (M, 3) float64; `p_nodule`: (M,) float64; `nodule`: (M,) int,
    equal for pieces of one nodule.
    """

    center_irc: NDArray[np.float64]
    center_xyz: NDArray[np.float64]
    p_nodule: NDArray[np.float64]
    nodule: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Candidates:
        """The candidates of some rows, by index or by a bool for each."""
        return Candidates(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def ranked(self) -> Candidates:
        """The candidates in order of falling probability."""
        return self.take(np.argsort(-self.p_nodule, kind="stable"))

    def marks(self) -> NDArray[np.intp]:
        """Rows of the first piece of each nodule; in ranked candidates, of the most probable."""
        return np.sort(np.unique(self.nodule, return_index=True)[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """The outcome of `diagnose` on one scan.

    An instance means that lungs were found and every stage ran; otherwise `diagnose` raises.
    `findings` and `candidates` are in order of falling probability; the findings are the nodules
    at or above `threshold`. `models` holds the name of each bundle by its role, `weights_sha256`
    the SHA-256 of its weights; `config` is the DiagnoseConfig as nested dictionaries; `device` is
    as torch names it. `lung_volume_ml` is (right, left), `low_attenuation` the share of each lung
    below -950 HU, None where there is none. `notices` are the sentences that the
    bundles' cards want in every report; `seconds` is the wall time by stage.

    `opacities` are regions too large for the networks, largest first. `limits` are sentences on
    what luna could not see or judge (partial scan, thick slices, a header in doubt, …); `warnings`
    are these and what the reader of the file noticed. `trained` is the range of sizes and voxels
    that the networks were trained for, as far as their cards state it; `cards` are these by role.
    `lungs_box` is the smallest box of voxels that holds both lungs.
    """

    series_uid: str
    scan_fingerprint: str
    findings: tuple[Finding, ...]
    candidates: Candidates
    threshold: float
    models: dict[str, str]
    weights_sha256: dict[str, str]
    config: dict[str, Any]
    device: str
    lung_volume_ml: tuple[float, float]
    notices: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    opacities: tuple[Opacity, ...] = ()
    limits: tuple[str, ...] = ()
    trained: TrainedRange = field(default_factory=TrainedRange)
    cards: dict[str, Card] = field(default_factory=dict)
    lungs_box: tuple[slice, slice, slice] | None = None
    low_attenuation: tuple[float | None, float | None] = (None, None)

    @property
    def status(self) -> Status:
        """The one word for the outcome; `clear` only if luna saw and could judge everything."""
        if self.opacities:
            return "opacity"
        if self.findings:
            return "findings"
        return "limited" if self.limits else "clear"

    def named(self) -> Iterator[tuple[str, Finding | Opacity]]:
        """Yield the opacities by their letters, then the findings by their numbers."""
        yield from zip(LETTERS, self.opacities, strict=False)
        yield from ((str(finding.number), finding) for finding in self.findings)
