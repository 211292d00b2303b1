"""`luna validate`: one network alone, on three small chests."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from luna.ct.read import read_scan
from luna.data.luna16.folder import read_luna16
from luna.data.nodule_mask import nodule_mask
from luna.nets.bundle import save_bundle

UIDS = ("1.0", "1.1", "1.2")


@pytest.fixture
def cohort(original, tmp_path) -> Path:
    return Path(shutil.copytree(original / "data", tmp_path / "data"))


@pytest.fixture
def validate(luna, cohort, original, tmp_path):
    def call(role, *more, weights=original / "weights"):
        given = ["validate", weights, cohort, "--role", role]
        given += ["--out", tmp_path / "out", "--set", "samples=100"]
        return luna(*given, "--set", "segment.precision=float32", *more)

    return call


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def answers_of(folder: Path) -> dict[str, list[float]]:
    """The probabilities that each scan's file keeps."""
    return {path.stem: json.loads(path.read_text())["p"] for path in folder.glob("*.json")}


def test_the_nodule_classifier_on_candidates(validate, cohort, tmp_path):
    outcome = validate("nodule")
    assert outcome.code == 0, outcome.err
    out = tmp_path / "out"
    found = metrics_of(out)
    assert found["places"] == 10
    assert found["cohort"] == {"scans": 3, "scans_with_nodules": 2, "scans_without_result": 0}
    assert found["config"]["threshold"] == 0.01  # the card's
    p = answers_of(out / "scans-nodule")
    table = read_luna16(cohort).candidates
    is_nodule = {uid: table.is_nodule[read_luna16(cohort).candidates_of(uid)] for uid in UIDS}
    yes = np.concatenate([np.array(p[uid])[is_nodule[uid]] for uid in UIDS])
    no = np.concatenate([np.array(p[uid])[~is_nodule[uid]] for uid in UIDS])
    pairs = np.sign(yes[:, None] - no[None])
    assert found["classifier"]["roc"]["auc"] == pytest.approx((pairs + 1).mean() / 2)
    assert found["diameter"] is None
    assert sum(band["nodules"] for band in found["size_bands"].values()) == 4
    assert sum(band["found"] for band in found["size_bands"].values()) == (yes >= 0.01).sum()
    assert "4 positive and 6 negative places" in outcome.out
    for name in ("evaluation.html", "roc.png", "precision_recall.png", "calibration.png", "events"):
        assert (out / name).exists()
    before = (out / "metrics.json").read_bytes()
    again = validate("nodule")
    assert again.err.count(": kept,") == 3
    assert (out / "metrics.json").read_bytes() == before


def test_the_segmenter_on_voxels(validate, cohort, tmp_path):
    """The U-Net of the tests marks what is above -400 HU, so every count is known."""
    outcome = validate("segmentation", "--set", "segment.region=whole")
    assert outcome.code == 0, outcome.err
    found, data = metrics_of(tmp_path / "out"), read_luna16(cohort)
    hits = false = wanted = 0
    for uid in UIDS:
        scan, rows = read_scan(data.files[uid]), data.nodules_of(uid)
        mask = nodule_mask(scan, data.nodules.center_xyz[rows], data.nodules.diameter_mm[rows])
        called = scan.hu > -400
        hits += (called & mask).sum()
        false += (called & ~mask).sum()
        wanted += mask.sum()
    assert wanted > 100
    shares = found["shares"]
    assert shares["voxels: recall"] == pytest.approx(hits / wanted)
    assert shares["voxels: precision"] == pytest.approx(hits / (hits + false))
    assert shares["voxels: Dice"] == pytest.approx(2 * hits / (hits + false + wanted))
    assert {
        name: (band["nodules"], band["found"]) for name, band in found["size_bands"].items()
    } == {"≥15 mm": (4, 4)}
    assert found["cohort"]["scans_with_nodules"] == 2
    assert "nodules: touched by a voxel\t1.000" in outcome.out


def test_the_malignancy_classifier_beside_diameter(validate, models, tmp_path):
    card = replace(models.nodule.card, name="test-malignancy", role="malignancy", threshold=0.3)
    save_bundle(replace(models.nodule, card=card), tmp_path / "head")
    outcome = validate("malignancy", weights=tmp_path / "head")
    assert outcome.code == 0, outcome.err
    found = metrics_of(tmp_path / "out")
    assert found["places"] == 2  # of the other scan nothing is known
    assert found["network"]["name"] == "test-malignancy"
    assert found["config"]["threshold"] == 0.3
    (p,) = [p for p in answers_of(tmp_path / "out" / "scans-malignancy").values() if p]
    assert found["classifier"]["roc"]["auc"] == float(p[1] > p[0])
    assert found["diameter"]["roc"]["auc"] == 1
    gain = found["classifier"]["roc"]["auc"] - 1
    assert found["gain"]["difference"] == pytest.approx(gain)
    assert f"what the network adds\t{gain:+.3f}" in outcome.out
    assert "diameter alone: ROC AUC\t1.000" in outcome.out
    assert "diameter alone 1.000" in (tmp_path / "out" / "evaluation.html").read_text()


def test_a_bad_scan_is_left_out_and_named(validate, cohort, tmp_path):
    (cohort / "subset0" / "1.0.zraw").write_bytes(b"no")
    outcome = validate("nodule")
    assert outcome.code == 5
    assert "warning: no result for 1.0: " in outcome.err
    assert "1 of 3 scans have no result (they are left out of all scores" in outcome.err
    found = metrics_of(tmp_path / "out")
    assert found["cohort"]["scans_without_result"] == 1
    assert found["places"] == 6
    assert "Scans without a result" in (tmp_path / "out" / "evaluation.html").read_text()


def test_what_cannot_be_scored_is_refused_before_computing(validate, cohort, tmp_path):
    outcome = validate("malignancy")
    assert (outcome.code, "no malignancy model among the weights" in outcome.err) == (2, True)
    (cohort / "candidates_V2.csv").write_text("seriesuid,coordX,coordY,coordZ,class\n")
    outcome = validate("nodule")
    assert (outcome.code, "0 of 0 places are positive" in outcome.err) == (3, True)
    (cohort / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    outcome = validate("segmentation", "--force")
    assert (outcome.code, "none of the scans has an annotated" in outcome.err) == (3, True)
    assert not list((tmp_path / "out").glob("scans-*"))


def test_a_dry_run_computes_and_writes_nothing(validate, tmp_path):
    outcome = validate("segmentation", "--dry-run")
    assert "would run test-segmentation (segmentation) on 3 scans" in outcome.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("key", ["lungs_only=false", "fp_per_scan=2"])
def test_keys_that_would_change_nothing_are_refused(validate, key):
    outcome = validate("nodule", "--set", key)
    assert (outcome.code, f"unknown key {key.partition('=')[0]}" in outcome.err) == (2, True)


def test_the_threshold_given_decides_the_recall(validate, tmp_path):
    assert validate("nodule", "--set", "threshold=1.0", "--set", "samples=0").code == 0
    found = metrics_of(tmp_path / "out")
    assert found["config"]["threshold"] == 1.0
    assert found["classifier"]["roc"]["bootstrap"] is None
    p = np.concatenate(
        [np.array(p) for p in answers_of(tmp_path / "out" / "scans-nodule").values()]
    )
    assert sum(band["found"] for band in found["size_bands"].values()) == (p >= 1).sum() < 4
