"""The result of one scan of a cohort, and the key over its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.detect.findings import Findings
from luna.run.checked import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanResult:
    """The result of one scan, as scoring needs it.

    `center_xyz` (M, 3) LPS mm, `p_nodule` (M,) and `component` (M,), equal for fragments of
    one nodule, are of every candidate by falling probability. `marks` (K,) are the best
    fragments of each nodule; the first F of them are findings, whose `p_malignant` (F,) is NaN
    without such a model, and whose `diameter_mm` (F,) was measured.
    """

    center_xyz: NDArray[np.float64]
    p_nodule: NDArray[np.float64]
    component: NDArray[np.int64]
    p_malignant: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def marks(self) -> NDArray[np.intp]:
        """Return the (K,) candidates that become rows of `detections.csv`."""
        return np.sort(np.unique(self.component, return_index=True)[1])


def result_of(findings: Findings) -> ScanResult:
    """Return the part of the findings that is kept."""
    candidates, found = findings.candidates, findings.findings
    p_malignant = [np.nan if f.p_malignant is None else f.p_malignant for f in found]
    return ScanResult(
        center_xyz=candidates.center_xyz,
        p_nodule=candidates.p_nodule,
        component=candidates.nodule,
        p_malignant=np.array(p_malignant, np.float64),
        diameter_mm=np.array([f.measurement.diameter_mm for f in found], np.float64),
        warnings=findings.warnings,
        seconds=sum(findings.seconds.values()),
    )


def as_json(result: ScanResult) -> Json:
    """Return the result as JSON values."""
    columns = (result.center_xyz.tolist(), result.p_nodule.tolist(), result.component.tolist())
    return {
        "candidates": [[*xyz, p, part] for xyz, p, part in zip(*columns, strict=True)],
        "p_malignant": [None if np.isnan(p) else p for p in result.p_malignant.tolist()],
        "diameter_mm": result.diameter_mm.tolist(),
        "warnings": list(result.warnings),
        "seconds": round(result.seconds, 2),
    }


def from_json(values: Json) -> ScanResult:
    """Return the result that `as_json` wrote, to the last bit."""
    rows = np.array(values["candidates"], np.float64).reshape(-1, 5)
    malignant = [np.nan if p is None else p for p in values["p_malignant"]]
    return ScanResult(
        center_xyz=rows[:, :3],
        p_nodule=rows[:, 3],
        component=rows[:, 4].astype(np.int64),
        p_malignant=np.array(malignant, np.float64),
        diameter_mm=np.array(values["diameter_mm"], np.float64),
        warnings=tuple(values["warnings"]),
        seconds=values["seconds"],
    )
