"""Volumes that read well but are not the chest that luna can judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.scan import Scan

from .conftest import Outcome, assert_refused

Diagnose = Callable[..., Outcome]
SHAPE = (24, 96, 128)


def write(hu: np.ndarray, path: Path) -> Path:
    image = sitk.GetImageFromArray(hu.astype(np.int16))
    image.SetSpacing((2.5, 2.5, 2.5))
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


def test_part_of_the_lungs_is_looked_at_and_said(
    diagnose: Diagnose, chest: Callable[..., Scan], tmp_path: Path
) -> None:
    part = write(chest().hu[8:16], tmp_path / "part.mha")
    outcome = diagnose(scan=part)
    assert outcome.code == 0
    assert "Partial scan" in outcome.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "Partial scan" in " ".join(report["warnings"])
    assert "Partial scan" in (tmp_path / "out" / "report.html").read_text()
