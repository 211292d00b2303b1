"""The entry of one scan in the index of many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from luna.ct.scan import Scan
from luna.detect.findings import LETTERS, Finding, Findings, Opacity, Status
from luna.report.figures import LUNG_WINDOW, data_uri, windowed

THUMBNAIL_PIXELS, THUMBNAIL_MM = 96, 60.0

SEVERITY: dict[Status, int] = {"opacity": 0, "findings": 1, "limited": 2, "clear": 3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Worst:
    """The finding or opacity that the index shows; `slice_number` counts from 1, from the feet."""

    name: str
    p_nodule: float | None
    p_malignant: float | None
    long_axis_mm: float
    short_axis_mm: float
    side: str
    slice_number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One diagnosed scan.

    `folder` is that of its report, below the index. `worst` is the largest opacity, or else the
    largest finding, as the report's page has them. `prior` is the folder of the earlier scan that
    it was compared with, with the `changes` in words, or was not, with the reason `prior_refused`.
    """

    folder: str
    series_uid: str
    status: Status
    findings: int
    opacities: int
    slices: int
    slice_mm: float
    worst: Worst | None
    limits: tuple[str, ...]
    warnings: int
    seconds: float
    prior: str = ""
    changes: str = ""
    prior_refused: str = ""

    def order(self) -> tuple[Any, ...]:
        """Return what sorts the worst scans first."""
        mean_mm = (self.worst.long_axis_mm + self.worst.short_axis_mm) / 2 if self.worst else 0.0
        return SEVERITY[self.status], -mean_mm, self.folder


def entry_of(scan: Scan, findings: Findings, folder: str) -> Entry:
    """Return the entry of a scan."""
    worst = worst_of(findings)
    return Entry(
        folder=folder,
        series_uid=findings.series_uid,
        status=findings.status,
        findings=len(findings.findings),
        opacities=len(findings.opacities),
        slices=scan.shape_irc[0],
        slice_mm=round(scan.geometry.spacing_xyz[2], 3),
        worst=None if worst is None else _described(worst),
        limits=findings.limits,
        warnings=len(findings.warnings) - len(findings.limits),
        seconds=round(sum(findings.seconds.values()), 2),
    )


def entry_from(values: dict[str, Any]) -> Entry:
    """Return the entry from its JSON fields."""
    worst = values["worst"]
    return Entry(
        **{
            **values,
            "worst": None if worst is None else Worst(**worst),
            "limits": tuple(values["limits"]),
        }
    )


def worst_of(findings: Findings) -> Finding | Opacity | None:
    """Return the finding or opacity of a scan that a reader should see first, if any."""
    if findings.opacities:
        return findings.opacities[0]
    sizes = [(f.measurement.diameter_mm, f.p_nodule, f) for f in findings.findings]
    return max(sizes, key=lambda size: size[:2])[2] if sizes else None


def _described(worst: Finding | Opacity) -> Worst:
    size = worst.measurement
    if isinstance(worst, Finding):
        name, p_nodule, p_malignant = f"finding {worst.number}", worst.p_nodule, worst.p_malignant
    else:
        name, p_nodule, p_malignant = f"opacity {LETTERS[0]}", None, None
    return Worst(
        name=name,
        p_nodule=_rounded(p_nodule),
        p_malignant=_rounded(p_malignant),
        long_axis_mm=round(size.long_axis_mm, 2),
        short_axis_mm=round(size.short_axis_mm, 2),
        side=worst.side,
        slice_number=round(worst.center_irc[0]) + 1,
    )


def _rounded(p: float | None) -> float | None:
    return None if p is None else round(p, 6)


def thumbnail_of(scan: Scan, findings: Findings) -> str:
    """Draw the axial plane through the worst finding, small, as a data URI; empty without one."""
    worst = worst_of(findings)
    if worst is None:
        return ""
    field_mm = max(THUMBNAIL_MM, 1.5 * worst.measurement.long_axis_mm)
    _, row_mm, column_mm = scan.geometry.spacing_irc
    size = (1, round(field_mm / row_mm), round(field_mm / column_mm))
    plane = scan.crop(worst.center_irc, size)[0]
    picture = Image.fromarray(windowed(plane, LUNG_WINDOW))
    picture = picture.resize((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.BILINEAR)
    return data_uri(picture, "JPEG")
