"""What a report says, as plain data: the content of `report.json` (see docs/report.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from luna.ct.geometry import ras_from_lps
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings
from luna.report.guidelines import Guidance, guideline_section
from luna.run.record import git_commit, versions

SCHEMA = "luna-report/1"
NOTICE = (
    "Research use only. Not a medical device: no finding, and no absence of findings, "
    "replaces a radiologist's reading."
)

HASH_DIGITS = 12
"""Enough of a SHA-256 to tell scans apart by eye."""


def document(
    scan: Scan,
    findings: Findings,
    *,
    include_phi: bool = False,
    guidance: Guidance | None = None,
) -> dict[str, Any]:
    """The report as JSON-ready values.

    Names the patient, the file and the dates only with `include_phi`; otherwise the scan is
    known by its series UID and a short hash of its content. With `guidance` it also holds what
    guidelines state, and the patient's age and sex where a statement rests on them.
    """
    out: dict[str, Any] = {
        "schema": SCHEMA,
        "status": "completed",
        "notice": NOTICE,
        "model_notices": list(findings.notices),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": {
            "versions": versions(),
            "git_commit": git_commit(),
            "device": findings.device,
            "config": findings.config,
        },
        "scan": _scan(scan, findings),
        "looked_at": {
            "slices": scan.shape_irc[0],
            "right_lung_ml": round(findings.lung_volume_ml[0], 1),
            "left_lung_ml": round(findings.lung_volume_ml[1], 1),
            "candidates": len(findings.candidates.p_nodule),
            "threshold": findings.threshold,
        },
        "models": {
            role: {"name": name, "weights_sha256": findings.weights_sha256[role]}
            for role, name in findings.models.items()
        },
        "warnings": list(findings.warnings),
        "findings": [_finding(scan, finding) for finding in findings.findings],
        "seconds": {stage: round(seconds, 2) for stage, seconds in findings.seconds.items()},
    }
    if guidance is not None:
        out["guidelines"] = guideline_section(scan, findings, guidance)
    if include_phi:
        out["patient"] = dict(scan.provenance.phi) | {"source": scan.provenance.source}
    return out


def _scan(scan: Scan, findings: Findings) -> dict[str, Any]:
    slices, rows, columns = scan.shape_irc
    low, high = scan.geometry.axis_letters()[0]
    return {
        "series_uid": findings.series_uid,
        "content_hash": findings.scan_fingerprint[:HASH_DIGITS],
        "format": scan.provenance.format,
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "spacing_xyz_mm": list(scan.geometry.spacing_xyz),
        "origin_xyz_mm": list(scan.geometry.origin_xyz),
        "direction": list(scan.geometry.direction),
        "slice_order": f"{low} to {high}",
        "stored_orientation": scan.provenance.stored_orientation,
        "padding_voxels": scan.provenance.padding_voxels,
        "metadata": dict(scan.provenance.metadata),
    }


def _finding(scan: Scan, finding: Finding) -> dict[str, Any]:
    size, look = finding.measurement, finding.description
    slice_index = round(finding.center_irc[0])
    numbers = scan.provenance.image_numbers
    return {
        "number": finding.number,
        "p_nodule": round(finding.p_nodule, 6),
        "p_malignant": None if finding.p_malignant is None else round(finding.p_malignant, 6),
        "side": finding.side,
        "slice_index": slice_index,
        "slice_number": slice_index + 1,
        "image_number": numbers[slice_index] if numbers else None,
        "center_irc": [round(v, 3) for v in finding.center_irc],
        "center_lps_mm": [round(v, 3) for v in finding.center_xyz],
        "center_ras_mm": [round(v, 3) for v in ras_from_lps(finding.center_xyz).tolist()],
        "long_axis_mm": round(size.long_axis_mm, 2),
        "short_axis_mm": round(size.short_axis_mm, 2),
        "diameter_mm": round(size.diameter_mm, 2),
        "axes_plane": size.plane,
        "axes_index": size.plane_index,
        "volume_mm3": round(size.volume_mm3, 1),
        "hu_mean": round(size.hu_mean, 1),
        "hu_min": size.hu_min,
        "hu_max": size.hu_max,
        "kind": look.kind,
        "solid_mm": None if look.solid_mm is None else round(look.solid_mm, 2),
        "calcification": look.calcification,
        "calcified_share": round(look.calcified_share, 3),
        "fat": look.fat,
        "fat_share": round(look.fat_share, 3),
        "pleural_contact": round(look.pleural_contact, 3),
        "strands": look.strands,
        "third": look.third,
    }
