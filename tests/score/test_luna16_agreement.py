"""The challenge's own script and the published tables say the same as luna."""

import json
from pathlib import Path

import numpy as np
import pytest

from luna.score.curves import auc_of
from luna.score.froc import FP_RATES, RATES_IN_GRID, Froc, froc, froc_items
from luna.score.marks import read_cohort, read_excluded, read_marks, read_nodules
from luna.score.matching import Matching, match

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def luna16(shared: Path) -> Path:
    return shared / "luna16"


@pytest.fixture(scope="module")
def expected(luna16: Path) -> dict[str, list[float]]:
    return json.loads((luna16 / "expected_froc.json").read_text())


@pytest.fixture(scope="module")
def matching(luna16: Path) -> Matching:
    cohort = read_cohort(luna16 / "seriesuids.csv")
    return match(
        cohort,
        read_marks(luna16 / "submission.csv", cohort),
        read_nodules(luna16 / "annotations.csv", cohort),
        read_excluded(luna16 / "annotations_excluded.csv", cohort),
    )


@pytest.fixture(scope="module")
def curve(matching: Matching) -> Froc:
    return froc(froc_items(matching), samples=1000, seed=0)


@pytest.mark.parametrize(
    "count",
    [
        "candidates",
        "nodules",
        "true_positives",
        "false_positives",
        "false_negatives",
        "ignored_on_excluded",
        "ignored_double_detections",
    ],
)
def test_every_count_equals_the_challenges(matching, expected, count):
    assert getattr(matching.counts, count) == expected[count]


def test_sensitivities_and_cpm_equal_the_challenges(curve, expected):
    assert expected["fp_per_scan"] == list(FP_RATES)
    # The challenge's file holds nine decimals.
    np.testing.assert_allclose(curve.at_rates, expected["sensitivity"], rtol=0, atol=1e-6)
    assert curve.cpm == pytest.approx(expected["cpm"], abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("mean", "mean"), ("low", "ci95_low"), ("high", "ci95_high")]
)
def test_bootstrap_agrees_within_its_own_noise(curve, expected, ours, theirs):
    # Both draw 1,000 times with other random numbers; 0.01 is half the interval's arm.
    at_rates = getattr(curve.bootstrap, ours)[RATES_IN_GRID]
    np.testing.assert_allclose(at_rates, expected[f"bootstrap_1000_{theirs}"], rtol=0, atol=0.01)


def test_cohort_is_counted_with_its_scans_without_nodules(curve):
    assert (curve.scans, curve.scans_with_nodules, curve.nodules) == (888, 601, 1186)


def test_diameter_alone_tells_malignant_nodules_with_auc_0_919(luna16):
    """The published table lacks 4 of the 1,186 nodules; luna drops none of its rows."""
    cohort = read_cohort(luna16 / "seriesuids.csv")
    nodules = read_nodules(luna16 / "annotations_with_malignancy.csv", cohort)
    auc = auc_of(nodules.diameter_mm, nodules.is_malignant, nodules.series, samples=0, seed=0)
    assert (auc.positives, auc.negatives) == (378, 804)
    assert auc.auc == pytest.approx(0.919, abs=5e-4)


def test_the_malignancy_table_lacks_four_annotated_nodules(luna16):
    cohort = read_cohort(luna16 / "seriesuids.csv")

    def places(name: str) -> set[tuple[int, ...]]:
        nodules = read_nodules(luna16 / name, cohort)
        microns = np.rint(nodules.center_xyz * 1000).astype(int)
        return {
            (int(scan), *xyz) for scan, xyz in zip(nodules.series, microns.tolist(), strict=True)
        }

    every, rated = places("annotations.csv"), places("annotations_with_malignancy.csv")
    assert rated < every
    lacking = sorted(cohort.series_uids[place[0]].rsplit(".", 1)[1] for place in every - rated)
    assert lacking == [
        "214252223927572015414741039150",
        "323753921818102744511069914832",
        "323753921818102744511069914832",
        "897684031374557757145405000951",
    ]
