"""Who the patient is stays out of everything luna writes, unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from luna.ct.scan import Scan

from .conftest import Outcome
from .test_read_dicom import UID, slice_of

Run = Callable[..., Outcome]
PERSONAL = ("DOE", "JANE", "4711-X", "19610203", "ACC-0815", "Dr. Smith", "100ml", "Ward 7")
"""Names, numbers, and what people type into tags that should hold a word of the field."""


@pytest.fixture
def dicom_chest(chest: Callable[..., Scan], tmp_path: Path) -> Path:
    """The crude chest as a DICOM folder of a person with a name."""
    scan = chest()
    folder = tmp_path / "study"
    folder.mkdir()
    for k, hu in enumerate(scan.hu):
        ds = slice_of(0)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{k + 1}"
        ds.InstanceNumber = k + 1
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "DOE^JANE", "4711-X", "19610203"
        ds.ContrastBolusAgent, ds.ConvolutionKernel = "DOE JANE 100ml", "B30f Ward 7"
        ds.AccessionNumber, ds.ReferringPhysicianName = "ACC-0815", "Dr. Smith"
        ds.Rows, ds.Columns = hu.shape
        ds.PixelSpacing, ds.SliceThickness = [2.5, 2.5], 2.5
        ds.ImagePositionPatient = [-160.0, -120.0, -30 + 2.5 * k]
        ds.PixelData = (hu + 1024).clip(0).astype("<u2").tobytes()
        ds.save_as(folder / f"{k}.dcm")
    return folder


def everything_said(outcome: Outcome, out: Path) -> str:
    files = [p.read_bytes().decode("utf-8", "replace") for p in out.rglob("*") if p.is_file()]
    return "\n".join([outcome.out, outcome.err, *files])


def test_no_report_log_or_table_tells_who_it_is(
    run_luna: Run, dicom_chest: Path, good_weights: Path, tmp_path: Path
) -> None:
    arguments = ("diagnose", dicom_chest, "--weights", good_weights, "--out", tmp_path / "out")
    outcome = run_luna(*arguments, "--json", "--dicom", "none")
    assert outcome.code == 0, outcome
    said = everything_said(outcome, tmp_path / "out")
    assert [word for word in PERSONAL if word in said] == []
    asked = everything_said(run_luna(*arguments, "--force", "--include-phi"), tmp_path / "out")
    assert "DOE" in asked
    assert "100ml" in asked


def test_only_objects_for_the_archive_tell_who_it_is(
    run_luna: Run, dicom_chest: Path, good_weights: Path, tmp_path: Path
) -> None:
    """They are filed under the patient of their study, as the standard has it."""
    for path in dicom_chest.iterdir():
        ds = pydicom.dcmread(path)
        ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{UID}.8", f"{UID}.9"
        ds.save_as(path)
    out = tmp_path / "out"
    given = ("--weights", good_weights, "--out", out, "--dicom", "all")
    outcome = run_luna("diagnose", dicom_chest, *given)
    assert outcome.code == 0, outcome
    objects = [path for path in out.iterdir() if path.suffix == ".dcm"]
    assert {"measurements.sr.dcm", "report.pdf.dcm"} <= {path.name for path in objects}
    for path in objects:
        ds = pydicom.dcmread(path)
        assert (ds.PatientName, ds.PatientID) == ("DOE^JANE", "4711-X")
        path.unlink()
    said = everything_said(outcome, out)
    assert [word for word in PERSONAL if word in said] == []


def test_markup_in_a_name_is_shown_and_not_obeyed(
    run_luna: Run, dicom_chest: Path, good_weights: Path, tmp_path: Path
) -> None:
    for path in dicom_chest.iterdir():
        ds = pydicom.dcmread(path)
        ds.PatientName = "<script>alert(1)</script>\x1b[2J"
        ds.save_as(path)
    out = tmp_path / "out"
    given = ("--weights", good_weights, "--out", out, "--include-phi")
    outcome = run_luna("diagnose", dicom_chest, *given)
    assert outcome.code == 0, outcome
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "\x1b" not in outcome.out + outcome.err + page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_no_error_tells_who_it_is(
    run_luna: Run, dicom_chest: Path, good_weights: Path, tmp_path: Path
) -> None:
    (dicom_chest / "7.dcm").unlink()
    outcome = run_luna(
        "diagnose", dicom_chest, "--weights", good_weights, "--out", tmp_path / "out", "--debug"
    )
    assert outcome.code == 3
    assert [word for word in PERSONAL if word in outcome.err] == []
