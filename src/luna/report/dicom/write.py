"""The DICOM objects of a report, by the names of their files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import highdicom as hd
from pydicom.dataset import Dataset

from luna.ct.scan import Scan
from luna.detect.findings import Findings
from luna.report.dicom.documents import encapsulated_pdf, key_image
from luna.report.dicom.lesions import Lesion, lesions_of, painted
from luna.report.dicom.measurements import measurement_report
from luna.report.dicom.paper import report_pdf
from luna.report.dicom.results import KEY_PATTERN, PDF_NAME, SEG_NAME, SR_NAME, DicomResults
from luna.report.dicom.segments import segmentation
from luna.report.document import Document
from luna.report.html import PICTURED_MAX


def dicom_writers(
    scan: Scan, findings: Findings, content: Document, asked: DicomResults
) -> dict[str, Callable[[Path], object]]:
    """Make the objects of a report; each name comes with what writes the file.

    There is no SEG of a scan without findings: the standard knows none without a segment.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and texts that were copied from the source
        objects = _objects(scan, findings, content, asked)
    return {name: partial(_save, item) for name, item in objects.items()}


def _objects(
    scan: Scan, findings: Findings, content: Document, asked: DicomResults
) -> dict[str, Dataset]:
    source, lesions = asked.source, lesions_of(findings, _tracked(content))
    labels = painted(scan, lesions)
    objects: dict[str, Dataset] = {}
    segments = segmentation(scan, findings, lesions, labels, source) if labels.seen else None
    if segments is not None:
        objects[SEG_NAME] = segments
    objects[SR_NAME] = measurement_report(
        scan, findings, lesions, labels, segments, source, content.prior
    )
    if asked.everything:
        objects |= _pictures(scan, findings, lesions, asked)
        pdf = report_pdf(scan, findings, content)
        names = content.patient is not None
        objects[PDF_NAME] = encapsulated_pdf(pdf, findings, source, names=names)
    return objects


def _tracked(content: Document) -> dict[str, str]:
    """Return the tracking IDs of what was compared with a prior scan, by number or letter."""
    changes = content.prior.changes if content.prior else ()
    return {change.finding: change.tracking_id for change in changes if change.finding}


def _pictures(
    scan: Scan, findings: Findings, lesions: list[Lesion], asked: DicomResults
) -> dict[str, Dataset]:
    series_uid = hd.UID()
    return {
        KEY_PATTERN.replace("*", lesion.key): key_image(
            scan, findings, lesion, asked.source, series_uid, number
        )
        for number, lesion in enumerate(lesions[:PICTURED_MAX], start=1)
    }


def _save(item: Dataset, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        item.save_as(path, enforce_file_format=True)
