"""The report on paper turns its pages, names every number, and shows where the lesion is."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_pdf import PdfPages

from luna.clinical.patient import Patient
from luna.ct.scan import Scan
from luna.report.dicom.lesions import LESIONS_MAX, Lesion, lesions_of, painted
from luna.report.dicom.measurements import measurement_report
from luna.report.dicom.pages import Pages
from luna.report.dicom.paper import LABELS, report_pdf
from luna.report.dicom.pictures import key_picture
from luna.report.document import ReportedFinding, ReportedOpacity, document
from luna.report.guidelines import Guidance

from .conftest import Case

Written = Callable[[str], tuple[Case, Path]]
Read = Callable[[bytes], str]


@pytest.fixture
def read(run_tool: Callable[..., str], tmp_path: Path) -> Read:
    """The text of a PDF, a form feed after each page."""

    def text_of(pdf: bytes) -> str:
        (tmp_path / "read.pdf").write_bytes(pdf)
        return run_tool("pdftotext", "-layout", tmp_path / "read.pdf", "-")

    return text_of


def pages_of(write: Callable[[Pages], None]) -> bytes:
    stream = io.BytesIO()
    with PdfPages(stream) as pdf:
        pages = Pages(pdf, "the foot")
        write(pages)
        pages.finish()
    return stream.getvalue()


def test_a_full_page_is_turned_and_no_line_is_lost(read: Read) -> None:
    text = read(pages_of(lambda pages: pages.lines(f"line {k}." for k in range(150))))
    *sheets, rest = text.split("\f")
    assert rest == ""
    assert len(sheets) == 3
    assert [f"line {k}." in text for k in range(150)] == [True] * 150
    for number, sheet in enumerate(sheets, start=1):
        assert "the foot" in sheet
        assert f"page {number}" in sheet


def test_long_texts_are_wrapped_and_formulas_are_not_obeyed(read: Read) -> None:
    words = " ".join(f"word{k}" for k in range(60))
    text = read(pages_of(lambda pages: pages.columns([("name", words), ("other", "$x^2$")])))
    assert " ".join(w for w in text.split() if w.startswith("word")) == words
    assert "$x^2$" in text
    lines = [line for line in text.splitlines() if "word" in line]
    assert len(lines) > 5


def test_a_heading_stays_with_what_it_heads(read: Read) -> None:
    def write(pages: Pages) -> None:
        pages.lines(["x"] * 57)
        pages.line("Heading", bold=True)
        pages.line("what it heads")

    *sheets, _ = read(pages_of(write)).split("\f")
    (sheet,) = [sheet for sheet in sheets if "Heading" in sheet]
    assert "what it heads" in sheet


def test_every_field_has_a_name() -> None:
    names = {item.name for cls in (ReportedFinding, ReportedOpacity) for item in fields(cls)}
    assert sorted(names - set(LABELS)) == []


def test_guidelines_and_the_patient_are_on_paper_when_they_were_asked_for(
    written: Written, read: Read
) -> None:
    case, _ = written("axial")
    found = replace(case.findings, opacities=(), limits=())
    guidance = Guidance("both", Patient(age=65, sex="M"))
    content = document(case.scan, found, include_phi=True, guidance=guidance)
    text = " ".join(read(report_pdf(case.scan, found, content)).split())
    assert "Müller^Jörg" in text
    assert content.guidelines is not None
    for statement in content.guidelines["statements"]:
        assert statement["guideline"] in text
        assert " ".join(statement["management"].split()[:3]) in text
    assert "ab" * 25 in text  # the beginning of a hash, which is wrapped


def test_a_clear_scan_says_on_paper_that_luna_looked(written: Written, read: Read) -> None:
    case, _ = written("axial")
    clear = replace(case.findings, findings=(), opacities=(), limits=(), warnings=())
    text = read(report_pdf(case.scan, clear, document(case.scan, clear)))
    assert "Looked at both lungs, and found nothing" in text
    limited = replace(clear, limits=("Thick slices.",))
    text = read(report_pdf(case.scan, limited, document(case.scan, limited)))
    assert "could not judge all of this scan" in text
    assert "Looked at both lungs" not in text


def test_a_picture_shows_the_lesion_in_the_middle_of_each_plane(written: Written) -> None:
    case, _ = written("axial")
    one = case.findings.findings[0]
    picture = key_picture(case.scan, one, "Finding 1")
    height, width, channels = picture.shape
    assert channels == 3
    for plane in range(3):
        row, column = int(height * 0.57), int(width * (plane + 0.5) / 3)
        near = picture[row - 6 : row + 6, column - 6 : column + 6].reshape(-1, 3)
        assert np.median(near, axis=0).min() > 150  # soft tissue is white in the lung window
    coloured = np.ptp(picture.astype(int), axis=2) > 100
    columns = np.flatnonzero(coloured.any(axis=0))
    assert {int(3 * column / width) for column in columns} == {0, 1, 2}


def hidden(case: Case) -> list[Lesion]:
    """The same voxels twice: of the less probable finding nothing is left to see."""
    first = case.findings.findings[0]
    twice = replace(case.findings, opacities=(), findings=(first, replace(first, number=2)))
    return lesions_of(twice)


def test_the_more_probable_of_two_lies_on_top(written: Written) -> None:
    case, _ = written("oblique")
    labels = painted(case.scan, hidden(case))
    assert labels.seen == [1]
    assert labels.voxels.sum() == case.findings.findings[0].mask.voxels.sum()


def test_a_hidden_lesion_has_its_numbers_and_no_segment(written: Written) -> None:
    case, _ = written("axial")
    lesions = hidden(case)
    labels = painted(case.scan, lesions)
    report = measurement_report(
        case.scan, case.findings, lesions, labels, None, case.results.source
    )
    names = [text for text in texts(report) if text.startswith("Finding")]
    assert {"Finding 1", "Finding 2"} <= set(names)


def texts(root) -> Iterator[str]:
    for item in root.get("ContentSequence", ()):
        if item.ValueType == "TEXT":
            yield str(item.TextValue)
        yield from texts(item)


def test_a_list_that_was_cut_says_so(written: Written) -> None:
    case, _ = written("axial")
    one = case.findings.findings[0]
    many = tuple(replace(one, number=k) for k in range(1, LESIONS_MAX + 30))
    found = replace(case.findings, findings=many)
    few = lesions_of(found)[:2]
    labels = painted(case.scan, few)
    report = measurement_report(case.scan, found, few, labels, None, case.results.source)
    said = [text for text in texts(report) if "lists the first" in text]
    assert len(said) == 1
    assert f"There are {LESIONS_MAX + 30} findings" in said[0]
    assert isinstance(case.scan, Scan)
