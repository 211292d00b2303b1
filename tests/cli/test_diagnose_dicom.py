"""`luna diagnose` writes objects for the archive of a DICOM scan, and says where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

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


@pytest.mark.shared_data
@pytest.mark.parametrize("choice", ["none", "results"])
def test_a_real_scan_gets_what_was_asked_for(
    luna: Luna, shared: Path, tmp_path: Path, choice: str
) -> None:
    scan, out = shared / "real" / "lidc-idri-0001", tmp_path / "out"
    given = ("--out", out, "--set", "threshold=0.99")
    outcome = luna("diagnose", scan, *given, "--dicom", choice)
    assert outcome.code == 0, outcome.err
    objects = sorted(path.name for path in out.glob("*.dcm"))
    if choice == "none":
        assert objects == []
        return
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
