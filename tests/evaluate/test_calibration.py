"""What is written on the card, and when nothing is."""

from dataclasses import replace

import numpy as np
import pytest

from luna.evaluate.calibration import write_calibrated
from luna.nets.bundle import load_bundle
from luna.run.errors import InputError
from luna.run.nodules import NO_NODULES, Nodules, unknown_malignancy
from luna.score.calibration import temper
from luna.score.evaluation import EvaluationConfig, score_detections
from luna.score.marks import Cohort, Marks


def evaluation(p, on_nodule, **config):
    """So many marks of one scan, each on a nodule of its own or on none."""
    place = np.column_stack([100.0 * np.arange(len(p)), np.zeros((len(p), 2))])
    hit = np.array(on_nodule)
    scan = np.zeros(len(p), np.intp)
    return score_detections(
        Cohort(series_uids=("1.2",)),
        Marks(series=scan, center_xyz=place, p_nodule=np.array(p)),
        Nodules(
            series=scan[hit],
            center_xyz=place[hit],
            diameter_mm=np.full(hit.sum(), 8.0),
            malignant=unknown_malignancy(hit.sum()),
            line=np.flatnonzero(hit),
        ),
        NO_NODULES,
        config=EvaluationConfig(samples=0, **config),
    )


P = [0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.1]
ON_NODULE = [True, True, False, True, False, True, False, False]


def test_the_threshold_lies_between_two_marks(models, tmp_path):
    made = write_calibrated(models, evaluation(P, ON_NODULE, fp_per_scan=1.0), tmp_path)
    above, below = (temper(p, made.temperature) for p in (0.7, 0.6))
    assert below < made.threshold < above
    assert (made.point.fp_per_scan, made.point.sensitivity) == (1.0, 0.75)
    card = load_bundle(tmp_path / "nodule").card
    assert (card.temperature, card.threshold) == (made.temperature, made.threshold)
    assert card.metrics["calibration"]["marks"] == 8


def test_models_of_one_name_do_not_overwrite_each_other(models, tmp_path):
    def named(bundle):
        return replace(bundle, card=replace(bundle.card, name="first"))

    same = replace(models, segmentation=named(models.segmentation), nodule=named(models.nodule))
    made = write_calibrated(same, evaluation(P, ON_NODULE, fp_per_scan=1.0), tmp_path)
    assert [load_bundle(folder).card.role for folder in made.folders] == ["segmentation", "nodule"]


@pytest.mark.parametrize(
    ("p", "on_nodule", "rate", "message"),
    [
        ([0.9, 0.8], [True, True], 1.0, "determine no temperature"),
        ([0.9, 0.8, 0.2, 0.1], [True, True, False, False], 1.0, "determine no temperature"),
        ([0.9, 0.8, 0.7, 0.3], [False, True, True, False], 0.5, "no threshold gives 0.5"),
    ],
)
def test_what_marks_do_not_determine_is_not_written(models, tmp_path, p, on_nodule, rate, message):
    with pytest.raises(InputError, match=message):
        write_calibrated(models, evaluation(p, on_nodule, fp_per_scan=rate), tmp_path)
    assert list(tmp_path.iterdir()) == []
