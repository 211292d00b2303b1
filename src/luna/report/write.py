"""The files of a report, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from luna.ct.scan import Scan
from luna.ct.write import write_labels
from luna.detect.findings import Findings
from luna.detect.prior.changes import Comparison
from luna.report.dicom.results import DicomResults, earlier_files
from luna.report.document import Document, ReportedFinding, document
from luna.report.growth import growth_rows
from luna.report.guidelines import Guidance
from luna.report.html import render
from luna.report.origin import NAME as ORIGIN
from luna.report.origin import write_origin
from luna.run.files import remove_files, replace_file, write_fault
from luna.run.progress import Progress, silent
from luna.run.table import table_text

POINTS = {"center_irc": "irc", "center_lps_mm": "xyz", "center_ras_mm": "xyz"}
"""The fields of a finding that are points, and the names of their axes."""

GROWTH = "growth.csv"
OPTIONAL = (GROWTH, ORIGIN)
"""What only some reports have; that of an earlier report does not stay beside another one."""

DETECTIONS_HEADER = ("seriesuid", "coordX", "coordY", "coordZ", "probability")


def write_report(
    scan: Scan,
    findings: Findings,
    out: str | Path,
    *,
    include_phi: bool = False,
    guidance: Guidance | None = None,
    dicom: DicomResults | None = None,
    comparison: Comparison | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write the report of one scan into a folder, which is made when it is missing.

    `report.html` comes last and is rendered before the first file is written, so its
    presence means that the others are there. The files of an earlier report, perhaps of
    another patient, go before the first one is written. `dicom` names the objects of the
    scan's study to write with it (`luna.report.dicom.results`). `progress` counts the
    pictures of the stage `report`. Raises EnvironmentFault when the disk is full or the folder
    cannot be written.
    """
    out = Path(out)
    content = document(
        scan, findings, include_phi=include_phi, guidance=guidance, comparison=comparison
    )
    page = render(scan, findings, content, partial(progress, "report"), comparison)
    writers: dict[str, Callable[[Path], object]] = {
        "nodules.nii.gz": lambda path: _write_labels(path, scan, findings),
        "nodules.csv": lambda path: _write_nodules(path, content),
        "detections.csv": lambda path: _write_detections(path, findings),
        **_origin_writer(scan, findings, comparison),
        **_dicom_writers(scan, findings, content, dicom),
        "report.json": lambda path: path.write_text(_json_text(content), encoding="utf-8"),
        "report.html": lambda path: path.write_text(page, encoding="utf-8"),
    }
    if content.prior is not None:
        rows = growth_rows(content.prior)
        writers = {GROWTH: lambda path: _write_rows(path, rows), **writers}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_fault(out, error) from error
    others = [name for name in OPTIONAL if name not in writers]
    remove_files(out, [*reversed(writers), *others, *earlier_files(out)])
    for name, write in writers.items():
        with replace_file(out / name) as path:
            write(path)
    progress("report", 1, 1)
    return [out / name for name in writers]


def _dicom_writers(
    scan: Scan, findings: Findings, content: Document, asked: DicomResults | None
) -> dict[str, Callable[[Path], object]]:
    if asked is None:
        return {}
    from luna.report.dicom.write import dicom_writers  # highdicom takes a second to import

    return dicom_writers(scan, findings, content, asked)


def _origin_writer(
    scan: Scan, findings: Findings, comparison: Comparison | None
) -> dict[str, Callable[[Path], object]]:
    """What a later comparison needs; nothing for a scan that was not read from a file."""
    if not scan.provenance.path:
        return {}
    return {ORIGIN: lambda path: write_origin(path, scan, findings, comparison)}


def _json_text(content: Document) -> str:
    values = content.json_values()
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_labels(path: Path, scan: Scan, findings: Findings) -> None:
    """A label volume: each finding's voxels hold its number, the most probable on top."""
    few = len(findings.findings) < 256
    labels = np.zeros(scan.shape_irc, dtype=np.uint8 if few else np.uint16)
    for finding in reversed(findings.findings):
        labels[finding.mask.slices][finding.mask.voxels] = finding.number
    write_labels(path, labels, scan)


def _write_nodules(path: Path, content: Document) -> None:
    """One row for each finding: the fields of report.json, points as three columns each."""
    header: list[str] = ["series_uid"]
    for item in fields(ReportedFinding):
        axes = POINTS.get(item.name, "")
        header += [f"{item.name}_{axis}" for axis in axes] or [item.name]
    rows = []
    for finding in content.findings:
        row: list[Any] = [content.scan.series_uid]
        for item in fields(ReportedFinding):
            value = getattr(finding, item.name)
            row += value if item.name in POINTS else [value]
        rows.append(row)
    _write_rows(path, [header, *rows])


def _write_detections(path: Path, findings: Findings) -> None:
    """LUNA16's submission format: every nodule candidate, whatever its probability."""
    candidates = findings.candidates
    rows = [
        [findings.series_uid, *candidates.center_xyz[k].tolist(), float(candidates.p_nodule[k])]
        for k in candidates.marks()
    ]
    _write_rows(path, [DETECTIONS_HEADER, *rows])


def _write_rows(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    path.write_text(table_text(rows), encoding="utf-8", newline="\n")
