"""The weights that luna ships: what they say of themselves, and that they find what they should."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luna.data.luna16.folder import read_luna16
from luna.nets.models import SHIPPED_FOLDER, load_models
from luna.phantom.cohort import write_cohort
from luna.phantom.config import PhantomConfig

Luna = Callable[..., Any]

MOST_BYTES = 8 << 20
SLAB = PhantomConfig(slab_mm=50, slice_mm=(2.0, 2.0), without_nodules=0, extra_nodules=3)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slab through a synthetic chest, of a seed that no network has learned from."""
    root = tmp_path_factory.mktemp("slab") / "cohort"
    write_cohort(root, 1, 77, SLAB)
    return root


def test_every_card_says_that_they_are_for_trying_only() -> None:
    bundles = load_models([Path("shipped")]).bundles()
    assert [bundle.card.role for bundle in bundles] == ["segmentation", "nodule", "malignancy"]
    for bundle in bundles:
        assert "synthetic" in bundle.card.notice
        assert "never for patients" in bundle.card.notice
        assert "no patient" in bundle.card.training_data
        assert bundle.card.metrics
    assert sum(p.stat().st_size for p in SHIPPED_FOLDER.rglob("*") if p.is_file()) <= MOST_BYTES


def test_they_are_listed_first_with_their_main_figures(luna: Luna, tmp_path: Path) -> None:
    rows = luna("weights", "list", "--runs", tmp_path).out.splitlines()
    cells = [row.split("\t") for row in rows[1:4]]
    assert [row[:2] for row in cells] == [
        ["shipped", "malignancy"], ["shipped", "nodule"], ["shipped", "segmentation"],
    ]  # fmt: skip
    assert [row[3].split()[::2] for row in cells] == [
        ["auc", "recall", "precision"], ["auc", "recall", "precision"],
        ["dice", "recall", "precision"],
    ]  # fmt: skip


def test_diagnose_takes_them_when_none_are_named(luna: Luna, cohort: Path, tmp_path: Path) -> None:
    (scan,) = cohort.glob("subset*/*.mhd")
    outcome = luna("diagnose", scan, "--out", tmp_path / "report", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert any("synthetic scans only" in notice for notice in report["model_notices"])
    assert "synthetic scans only" in (tmp_path / "report" / "report.html").read_text()
    data = read_luna16(cohort)
    found = [finding["center_lps_mm"] for finding in report["findings"]]
    sizeable = data.nodules.diameter_mm >= 6
    assert sizeable.any()
    for center, diameter in zip(
        data.nodules.center_xyz[sizeable], data.nodules.diameter_mm[sizeable], strict=True
    ):
        assert any(((center - xyz) ** 2).sum() < (diameter / 2) ** 2 for xyz in found)


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scan", "center_lps_mm"),
    [
        ("lidc-idri-0001", (56.208, 86.343, -115.868)),
        ("cptac-c3n-00247", (-83.4, -192.4, -195.0)),
    ],
)
def test_they_find_what_readers_found_in_patients(
    luna: Luna, shared: Path, tmp_path: Path, scan: str, center_lps_mm: tuple[float, ...]
) -> None:
    outcome = luna("diagnose", shared / "real" / scan, "--out", tmp_path / "report", "--json")
    assert outcome.code == 0, outcome.err
    found = [finding["center_lps_mm"] for finding in json.loads(outcome.out)["findings"]]
    assert min(math.dist(place, center_lps_mm) for place in found) < 5
