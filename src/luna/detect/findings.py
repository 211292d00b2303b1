"""What luna says about one scan: plain data that reports, scores and the CLI read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import Triple

Side = Literal["left", "right"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NoduleMask:
    """The segmented voxels of one finding, as a box cut from the scan's grid.

    `voxels` is bool (index, row, column); its voxel (0, 0, 0) is `start_irc` of the scan.
    """

    start_irc: tuple[int, int, int]
    voxels: NDArray[np.bool_]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Where the box lies in the scan's array."""
        i, r, c = (slice(a, a + n) for a, n in zip(self.start_irc, self.voxels.shape, strict=True))
        return i, r, c


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """Size and attenuation of one segmented nodule.

    The axes are measured in the axial slice where the long axis is longest, as the
    Fleischner Society recommends (2017): `long_axis_mm`, the longest chord of the
    component between voxel edges; `short_axis_mm`, perpendicular to it in the same slice;
    `diameter_mm`, their mean. `axial_index` is that slice (0-based). HU are of all voxels.
    """

    long_axis_mm: float
    short_axis_mm: float
    diameter_mm: float
    volume_mm3: float
    hu_mean: float
    hu_min: int
    hu_max: int
    axial_index: int


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
    side: Side
    mask: NoduleMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """Everything the classifier looked at, M of them in order of falling probability.

    `center_irc`, `center_xyz`: (M, 3) float64; `p_nodule`: (M,) float64; `nodule`: (M,) int,
    equal for fragments of one nodule. Findings are nodules at or above the threshold.
    """

    center_irc: NDArray[np.float64]
    center_xyz: NDArray[np.float64]
    p_nodule: NDArray[np.float64]
    nodule: NDArray[np.int64]

    def marks(self) -> NDArray[np.intp]:
        """Indices of the most probable fragment of each nodule: the rows of `detections.csv`."""
        return np.sort(np.unique(self.nodule, return_index=True)[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """The outcome of `diagnose` on one scan.

    An instance means that luna looked: lungs were found and every step ran. A scan that
    could not be looked at raises instead. `models` names the bundles used, by role, and
    `weights_sha256` tells which they were; `config` is the whole DiagnoseConfig as nested
    dictionaries; `device` is as torch names it. `lung_volume_ml` is (right, left);
    `notices` is what the networks' cards want every report to say; `warnings` are sentences
    for the reader (partial scan, thick slices, …); `seconds` the wall time per stage.
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
