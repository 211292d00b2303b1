"""Calibration by hand, and temperatures known by construction."""

import numpy as np
import pytest

from luna.score.calibration import (
    TEMPERATURE_RANGE,
    apply_temperature,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    temper,
)


def test_ece_by_hand():
    p = np.array([0.01, 0.03, 0.99, 0.97])
    positive = np.array([False, True, True, True])
    bins = reliability(p, positive)
    assert [(each.items, each.mean_p, each.share_positive) for each in bins] == [
        (2, pytest.approx(0.02), 0.5),
        (2, pytest.approx(0.98), 1.0),
    ]
    assert expected_calibration_error(bins) == pytest.approx((0.48 + 0.02) / 2)


def test_the_ends_of_the_scale_have_a_bin():
    bins = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert [(each.low, each.high) for each in bins] == [(0, 1 / 15), (14 / 15, 1)]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 3.0])
def test_the_temperature_that_spoilt_the_probabilities_is_found(temperature):
    rng = np.random.default_rng(0)
    honest = 1 / (1 + np.exp(-rng.normal(0, 1.5, 40_000)))
    positive = rng.random(len(honest)) < honest
    spoilt = apply_temperature(honest, 1 / temperature)
    assert fit_temperature(spoilt, positive) == pytest.approx(temperature, rel=0.04)
    result = calibrate(spoilt, positive)
    assert result.ece_tempered < 0.02
    assert result.nll_tempered <= result.nll


def test_the_fitted_temperature_is_the_minimum():
    rng = np.random.default_rng(3)
    p = rng.random(300)
    positive = rng.random(300) < p**2
    best = fit_temperature(p, positive)
    nll = [negative_log_likelihood(apply_temperature(p, best * f), positive) for f in (0.9, 1, 1.1)]
    assert nll[1] == min(nll)


def test_faultless_probabilities_end_at_the_cold_bound_and_inverted_ones_at_the_hot():
    p = np.array([0.1, 0.2, 0.8, 0.9])
    coldest, hottest = TEMPERATURE_RANGE
    right = calibrate(p, np.array([False, False, True, True]))
    wrong = calibrate(p, np.array([True, True, False, False]))
    assert (right.temperature, right.temperature_at_bound) == (coldest, True)
    assert (wrong.temperature, wrong.temperature_at_bound) == (hottest, True)


def test_certainty_that_is_wrong_stays_finite():
    result = calibrate(np.array([0.0, 1.0, 1.0]), np.array([True, False, True]))
    assert np.isfinite(result.nll)
    assert 0 <= result.ece <= 1


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_one_probability_is_tempered_as_many_are(temperature):
    p = np.array([0.001, 0.2, 0.5, 0.9])
    alone = [temper(value, temperature) for value in p.tolist()]
    np.testing.assert_allclose(alone, apply_temperature(p, temperature), rtol=1e-6)
    assert (temper(0.0, temperature), temper(1.0, temperature)) == (0.0, 1.0)
