"""Decide which DICOM objects of a report are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from luna.ct.scan import Scan
from luna.detect.findings import Findings
from luna.report.dicom.source import Headers, Source, read_source
from luna.run.errors import InputError

Choice = Literal["none", "results", "all"]

SEG_NAME, SR_NAME, PDF_NAME = "nodules.seg.dcm", "measurements.sr.dcm", "report.pdf.dcm"
KEY_PATTERN = "key-*.sc.dcm"


@dataclass(frozen=True, kw_only=True, slots=True)
class DicomResults:
    """The objects to write: SEG and SR, and with `everything` key images and the PDF."""

    source: Source
    everything: bool = False


def results_of(
    path: Path, scan: Scan, choice: Choice | None, headers: Headers | None = None
) -> tuple[DicomResults | None, str]:
    """Decide which objects to write for a scan that was read from a path.

    Without a choice a scan in DICOM gets SEG and SR where its files allow it; else the second value
    is a sentence with the reason. `headers` is as in `read_source`. Raises UsageError or InputError
    where the user asked for results that cannot be made.
    """
    if choice == "none" or (choice is None and scan.provenance.format != "DICOM"):
        return None, ""
    try:
        return DicomResults(source=read_source(path, scan, headers), everything=choice == "all"), ""
    except InputError as error:
        if choice is not None:
            raise
        return None, f"No DICOM results are written: {error.what}."


def with_reason(findings: Findings, why_none: str) -> Findings:
    """Return findings whose warnings say why there are no objects, where that is so."""
    if not why_none:
        return findings
    return replace(findings, warnings=(*findings.warnings, why_none))


def earlier_files(folder: Path) -> Iterable[str]:
    """Return the names of the objects that an earlier report left in a folder."""
    return [SEG_NAME, SR_NAME, PDF_NAME, *(path.name for path in folder.glob(KEY_PATTERN))]
