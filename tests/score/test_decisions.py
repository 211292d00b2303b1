"""A classifier alone: beside diameter, by size, and what cannot be scored."""

import numpy as np
import pytest

from luna.run.errors import InputError
from luna.score.curves import auc_gain, auc_of
from luna.score.decisions import Answers, decisions
from luna.score.evaluation import EvaluationConfig

POSITIVE = np.array([True, True, False, True, False, False])
SERIES = np.array([0, 0, 1, 1, 2, 2])
DIAMETER = np.array([9.0, 4.0, 5.0, 20.0, 4.5, 3.0])


def answers(p: list[float], diameter_mm: np.ndarray = DIAMETER) -> Answers:
    return Answers(
        p=np.array(p), positive=POSITIVE, series=SERIES, diameter_mm=diameter_mm, scans=3
    )


def test_the_diameter_alone_stands_beside_the_classifier():
    found = decisions(
        answers([0.9, 0.8, 0.3, 0.6, 0.2, 0.1]), EvaluationConfig(threshold=0.7, samples=100)
    )
    assert found.classifier.roc.auc == 1
    assert found.diameter.roc.auc == pytest.approx(7 / 9)  # 4 mm loses to 5 and to 4.5
    assert found.gain.difference == pytest.approx(2 / 9)
    assert found.gain.interval.low >= 0
    assert found.diameter.f1 is None  # no diameter is the threshold
    assert found.classifier.f1.recall == pytest.approx(2 / 3)
    assert found.classifier.best_f1.f1 == 1
    assert [
        (band.name, band.shares["recall"].part, band.shares["recall"].whole)
        for band in found.size_bands
    ] == [
        ("3–6 mm", 1, 1),
        ("8–15 mm", 1, 1),
        ("≥15 mm", 0, 1),  # 0.6 is below 0.7
    ]


def test_places_without_a_diameter_have_no_such_baseline():
    some = np.where(POSITIVE, DIAMETER, np.nan)
    found = decisions(answers([0.9, 0.8, 0.3, 0.6, 0.2, 0.1], some), EvaluationConfig(samples=0))
    assert found.diameter is None
    assert found.gain is None
    assert found.classifier.roc.bootstrap is None


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_alone_is_refused(kind):
    one = Answers(
        p=np.array([0.5, 0.6]),
        positive=np.array([kind, kind]),
        series=np.array([0, 0]),
        diameter_mm=np.array([5.0, 6.0]),
        scans=1,
    )
    with pytest.raises(InputError, match=f"{2 * kind} of 2 places are positive"):
        decisions(one, EvaluationConfig(threshold=0.5, samples=0))


def test_the_gain_is_paired():
    """Two scores that differ by little are told apart, though each interval is wide."""
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.4
    score = positive + rng.normal(0, 1, 200)
    slightly_worse = score + np.where(positive, -0.1, 0.0)
    series = np.arange(200) // 2
    gain = auc_gain(score, slightly_worse, positive, series, samples=400, seed=1)
    single = auc_of(score, positive, series, samples=400, seed=1)
    assert gain.interval.high - gain.interval.low < 0.5 * np.diff(single.bootstrap)[0]
    assert gain.interval.low > 0
    assert gain.p_value < 0.01
    assert auc_gain(score, score, positive, series, samples=100, seed=1).p_value == 1
