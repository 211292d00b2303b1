"""The published networks on real patients, through the real command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.shared_data

Luna = Callable[..., Any]

NODULE_XYZ, NODULE_MM = (56.208, 86.343, -115.868), 23.35
TUMOUR_IRC = (31, 168, 106)
A0001 = "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805"


@pytest.fixture
def diagnose(luna: Luna, shared: Path, book_models: Path, tmp_path: Path) -> Luna:
    """Run `luna diagnose` on a scan of ../shared/real: the outcome and report.json."""

    def call(scan: str, *more: str) -> tuple[Any, dict[str, Any]]:
        out = tmp_path / "report"
        outcome = luna(
            "diagnose", shared / "real" / scan, "--weights", book_models, "--out", out, *more
        )
        report = out / "report.json"
        return outcome, json.loads(report.read_text()) if report.exists() else {}

    return call


def test_the_annotated_nodule_and_nothing_else(diagnose: Luna) -> None:
    outcome, said = diagnose("lidc-idri-0001")
    assert outcome.code == 0
    (nodule,) = said["findings"]
    assert np.linalg.norm(np.subtract(nodule["center_lps_mm"], NODULE_XYZ)) < 2
    assert nodule["p_nodule"] > 0.99
    assert nodule["diameter_mm"] == pytest.approx(NODULE_MM, rel=0.2)
    assert nodule["side"] == "left"
    assert any("Partial scan" in warning for warning in said["warnings"])


def test_two_series_are_listed_and_one_can_be_chosen(diagnose: Luna) -> None:
    outcome, said = diagnose("lung-pet-ct-dx-a0001/study", "--dry-run")
    assert outcome.code == 2
    assert said == {}
    assert f"{A0001}" in outcome.err
    assert "64 slices" in outcome.err
    assert "16 slices" in outcome.err
    assert "--series" in outcome.err
    outcome, _ = diagnose("lung-pet-ct-dx-a0001/study", "--dry-run", "--series", A0001)
    assert outcome.code == 0


@pytest.mark.slow
def test_the_tumour_is_first_or_second_and_all_is_in_the_lungs(diagnose: Luna) -> None:
    outcome, said = diagnose("cptac-c3n-00247")
    assert outcome.code == 0
    places = [np.array(f["center_irc"]) for f in said["findings"]]
    assert any(np.linalg.norm(place - TUMOUR_IRC) < 2 for place in places[:2])
    # Each finding looked at by eye: all are within the lungs; the book reports 32 marks here.
    assert len(places) <= 6
