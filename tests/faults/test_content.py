"""Volumes that read well but are not the chest that luna can judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.scan import Scan
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan

from .conftest import Outcome, assert_refused

Diagnose = Callable[..., Outcome]
SHAPE = (24, 96, 128)


def write(hu: np.ndarray, path: Path, spacing_mm: float = 2.5) -> Path:
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing((spacing_mm,) * 3)
    sitk.WriteImage(image, str(path))
    return path


def abdomen() -> np.ndarray:
    """An oval body with organs and a little bowel gas."""
    r, c = np.mgrid[: SHAPE[1], : SHAPE[2]].astype(float)
    hu = np.full(SHAPE, -1000.0)
    hu[:, ((c - 64) / 56) ** 2 + ((r - 48) / 40) ** 2 < 1] = 50
    hu[8:12, 30:36, 60:70] = -900
    return hu + np.random.default_rng(0).normal(0, 15, SHAPE)


@pytest.mark.parametrize(
    "hu",
    [
        pytest.param(abdomen(), id="abdomen"),
        pytest.param(np.random.default_rng(0).normal(-1000, 10, SHAPE), id="air"),
        pytest.param(np.random.default_rng(0).normal(0, 10, SHAPE), id="water"),
    ],
)
def test_no_lungs_is_an_error_and_no_empty_report(
    diagnose: Diagnose, tmp_path: Path, hu: np.ndarray
) -> None:
    scan = write(hu, tmp_path / "scan.mha")
    assert_refused(diagnose(scan=scan), 3, "scan.mha", "lung")
    assert not (tmp_path / "out").exists()


def test_stool_in_the_colon_is_no_lung(diagnose: Diagnose, tmp_path: Path) -> None:
    hu = abdomen()
    _, r, c = np.mgrid[tuple(slice(n) for n in SHAPE)]
    hu[((c - 100) / 9) ** 2 + ((r - 48) / 9) ** 2 < 1] = -500
    assert_refused(diagnose(scan=write(hu, tmp_path / "scan.mha")), 3, "no lungs")


@pytest.mark.parametrize(("scale", "shift"), [(1 / 1.9, 0), (1, 400), (1, 1024)])
def test_values_that_are_no_hounsfield_units_are_refused(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path, scale: float, shift: float
) -> None:
    scan = write(chest().hu * scale + shift, tmp_path / "scan.mha")
    assert_refused(diagnose(scan=scan), 3, "scan.mha", "ounsfield")


@pytest.mark.parametrize("factor", [0.25, 4])
def test_a_spacing_wrong_by_a_factor_is_refused(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path, factor: float
) -> None:
    scan = write(chest().hu, tmp_path / "scan.mha", 2.5 * factor)
    assert_refused(diagnose(scan=scan), 3, "scan.mha")


def test_lungs_cut_by_the_field_of_view_are_lungs_and_it_is_said(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path
) -> None:
    scan = write(chest().hu[:, 24:72, 24:104], tmp_path / "scan.mha")
    outcome = diagnose(scan=scan)
    assert outcome.code == 0, outcome
    assert "right lung continues beyond the edge of the images" in outcome.err
    assert "left lung continues beyond the edge of the images" in outcome.err


def test_part_of_the_lungs_is_looked_at_and_said(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path
) -> None:
    part = write(chest().hu[8:16], tmp_path / "part.mha")
    outcome = diagnose(scan=part)
    assert outcome.code == 0
    assert "Partial scan" in outcome.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "Partial scan" in " ".join(report["limits"])
    assert "Partial scan" in " ".join(report["warnings"])
    assert "Partial scan" in (tmp_path / "out" / "report.html").read_text()


def marking_nothing(diagnose: Diagnose, scan: Path) -> Outcome:
    """Every probability of the weights is a half, so that with this threshold nothing is found."""
    return diagnose("--set", "threshold=0.9", scan=scan)


def test_nothing_found_in_a_part_of_the_lungs_is_never_plain(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path
) -> None:
    outcome = marking_nothing(diagnose, write(chest().hu[8:16], tmp_path / "part.mha"))
    assert outcome.code == 0
    assert "Limited" in outcome.out
    assert "found nothing" not in outcome.out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["status"] == "limited"
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'class="status limited"' in page
    assert "Looked, and found nothing" not in page


def test_a_whole_chest_without_nodules_is_clear(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path
) -> None:
    outcome = marking_nothing(diagnose, write(chest().hu, tmp_path / "whole.mha"))
    assert "found nothing at or above p = 0.9" in outcome.out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["status"] == "clear"


def test_a_mass_is_never_nothing(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path
) -> None:
    hu = chest().hu.copy()
    i, r, c = np.mgrid[tuple(slice(n) for n in SHAPE)]
    hu[(i - 12) ** 2 + (r - 48) ** 2 + (c - 38) ** 2 < 8**2] = 40  # 40 mm wide
    outcome = marking_nothing(diagnose, write(hu, tmp_path / "mass.mha"))
    assert outcome.code == 0
    assert "Opacity larger than the networks' range: right lung, slice 12" in outcome.out
    assert "found nothing" not in outcome.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["status"], len(report["opacities"])) == ("opacity", 1)
    assert 'class="status opacity"' in (tmp_path / "out" / "report.html").read_text()


def test_a_patient_upside_down_is_said_in_the_report(diagnose: Diagnose, tmp_path: Path) -> None:
    phantom = make_scan(5, PhantomConfig(size=128, slice_mm=(2.5, 2.5))).scan
    image = sitk.GetImageFromArray(phantom.hu[::-1])
    image.SetSpacing(phantom.geometry.spacing_xyz)
    sitk.WriteImage(image, str(tmp_path / "turned.mha"))
    outcome = marking_nothing(diagnose, tmp_path / "turned.mha")
    assert outcome.code == 0
    assert "upside down against the header" in outcome.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "upside down" in report["limits"][0]
    assert report["status"] in ("limited", "opacity")
