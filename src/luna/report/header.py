"""The head of a report: the scan, and on request the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from luna.ct.geometry import Triple
from luna.ct.scan import Scan
from luna.detect.findings import Findings

HASH_DIGITS = 12
"""Enough of a SHA-256 to tell scans apart by eye."""

TEXT_MAX = 500
"""Longer texts from a file are cut in the report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedScan:
    """What the report states about the scan; axes and indices are luna's."""

    series_uid: str
    content_hash: str
    format: str
    slices: int
    rows: int
    columns: int
    spacing_xyz_mm: Triple
    origin_xyz_mm: Triple
    direction: tuple[float, ...]
    slice_order: str
    stored_orientation: str
    padding_voxels: int
    metadata: Mapping[str, str]


def patient_texts(scan: Scan) -> dict[str, str]:
    """Return the file's facts about the patient, and its name; only on request."""
    texts = {**scan.provenance.phi, "source": scan.provenance.source}
    return {name: bounded(text) for name, text in texts.items()}


def bounded(text: str) -> str:
    """A text from a file, cut where it is longer than any that a report needs."""
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + " …"


def reported_scan(scan: Scan, findings: Findings) -> ReportedScan:
    """What the report states about the scan."""
    slices, rows, columns = scan.shape_irc
    low, high = scan.geometry.axis_letters()[0]
    return ReportedScan(
        series_uid=findings.series_uid,
        content_hash=findings.scan_fingerprint[:HASH_DIGITS],
        format=scan.provenance.format,
        slices=slices,
        rows=rows,
        columns=columns,
        spacing_xyz_mm=scan.geometry.spacing_xyz,
        origin_xyz_mm=scan.geometry.origin_xyz,
        direction=scan.geometry.direction,
        slice_order=f"{low} to {high}",
        stored_orientation=scan.provenance.stored_orientation,
        padding_voxels=scan.provenance.padding_voxels,
        metadata={name: bounded(text) for name, text in scan.provenance.metadata.items()},
    )
