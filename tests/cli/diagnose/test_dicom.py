"""`luna diagnose` writes objects for the archive of a DICOM scan, and says where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from luna.ct.scan import Scan

from ...dicom_chest import write_series

Luna = Callable[..., Any]
A0001 = "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805"


def test_other_formats_are_refused_before_anything_is_computed(
    luna: Luna, small_cohort: Path, tmp_path: Path
) -> None:
    scan = next(small_cohort.rglob("*.mhd"))
    outcome = luna("diagnose", scan, "--out", tmp_path / "out", "--dicom", "results")
    assert outcome.code == 2
    assert "need a scan in DICOM" in outcome.err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_an_unknown_choice_is_a_usage_error(luna: Luna, tmp_path: Path) -> None:
    assert luna("diagnose", tmp_path, "--dicom", "some").code == 2


def test_the_terminal_says_that_objects_name_the_patient(
    luna: Luna, nodule_chest: Scan, original: Path, tmp_path: Path
) -> None:
    scan = write_series(tmp_path / "ct", nodule_chest, "1.2.1", FrameOfReferenceUID="1.2.1.7")
    given = ("--weights", original / "weights", "--out", tmp_path / "out")
    planned = luna("diagnose", scan, *given, "--dry-run").out
    assert "with nodules.seg.dcm and measurements.sr.dcm\n" in planned
    assert "sr.dcm, key images" in luna("diagnose", scan, *given, "--dry-run", "--dicom", "all").out
    outcome = luna("diagnose", scan, *given)
    assert outcome.code == 0, outcome.err
    assert ".dcm files beside it name the patient" in outcome.err
    outcome = luna("diagnose", scan, *given, "--force", "--dicom", "none")
    assert "name the patient" not in outcome.err
    assert list((tmp_path / "out").glob("*.dcm")) == []


def test_each_of_many_scans_gets_its_objects_or_the_reason(
    luna: Luna, nodule_chest: Scan, original: Path, tmp_path: Path
) -> None:
    for uid, more in (("1.2.1", {"FrameOfReferenceUID": "1.2.1.7"}), ("1.2.2", {})):
        write_series(tmp_path / "archive" / "flat", nodule_chest, uid, **more)
    given = ("--weights", original / "weights", "--set", "threshold=0.01")
    outcome = luna("diagnose", tmp_path / "archive", "--out", tmp_path / "out", *given)
    assert outcome.code == 0, outcome.err
    reports = {folder.parent: folder for folder in (tmp_path / "out").rglob("report.json")}
    assert len(reports) == 2
    for folder, report in reports.items():
        said = json.loads(report.read_text())
        whole = said["scan"]["series_uid"] == "1.2.1"
        assert bool(list(folder.glob("*.sr.dcm"))) == whole
        reasons = [w for w in said["warnings"] if "no valid FrameOfReferenceUID" in w]
        assert len(reasons) == (0 if whole else 1)
    # Another choice makes other reports.
    again = luna(
        "diagnose", tmp_path / "archive", "--out", tmp_path / "out", *given, "--dicom", "none"
    )
    assert again.code == 0, again.err
    assert list((tmp_path / "out").rglob("*.dcm")) == []


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_real_scan_has_one_place_in_the_objects_and_the_mask(
    luna: Luna, shared: Path, tmp_path: Path
) -> None:
    scan, out = shared / "real" / "lidc-idri-0001", tmp_path / "out"
    outcome = luna("diagnose", scan, "--out", out, "--set", "threshold=0.99")
    assert outcome.code == 0, outcome.err
    objects = sorted(path.name for path in out.glob("*.dcm"))
    assert objects == ["measurements.sr.dcm", "nodules.seg.dcm"]
    source = pydicom.dcmread(next(p for p in scan.rglob("*") if p.is_file()))
    assert pydicom.dcmread(out / objects[0]).PatientID == source.PatientID
    # As many voxels in each segment as in the label mask, and in the same places.
    image = sitk.ReadImage(str(out / "nodules.nii.gz"))
    labels = sitk.GetArrayFromImage(image)
    volume = hd.seg.segread(out / "nodules.seg.dcm").get_volume()
    for number in range(1, int(labels.max()) + 1):
        inside = np.argwhere(volume.array[..., number - 1])
        points = np.c_[inside, np.ones(len(inside))] @ volume.affine[:3].T
        cri = [image.TransformPhysicalPointToIndex(point.tolist()) for point in points]
        assert len(cri) == np.count_nonzero(labels == number)
        assert all(labels[c[::-1]] == number for c in cri)


@pytest.mark.slow
@pytest.mark.shared_data
def test_an_opacity_is_a_segment_told_apart(luna: Luna, shared: Path, tmp_path: Path) -> None:
    study = shared / "real" / "lung-pet-ct-dx-a0001" / "study"
    outcome = luna("diagnose", study, "--series", A0001, "--out", tmp_path / "out")
    assert outcome.code == 0
    seg = hd.seg.segread(tmp_path / "out" / "nodules.seg.dcm")
    first = seg.get_segment_description(1)
    assert (first.segment_label, first.segmented_property_type.meaning) == ("Opacity A", "Opacity")
    assert seg.get_segment_description(2).segmented_property_type.meaning == "Nodule"
