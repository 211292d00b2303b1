"""ROC, PR, F1 and their intervals against the plain definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.score.curves import auc_gain, auc_of, curves, delong_interval, wilson_interval

labelled = st.lists(
    st.tuples(st.integers(0, 12).map(lambda k: k / 12), st.booleans()), min_size=4, max_size=60
).filter(lambda rows: 2 <= sum(hit for _, hit in rows) <= len(rows) - 2)


def columns(rows):
    score, positive = zip(*rows, strict=True)
    return np.array(score), np.array(positive), np.zeros(len(rows), np.intp)


def wins(above: float, below: np.ndarray) -> float:
    return float(np.sum(above > below) + 0.5 * np.sum(above == below))


@settings(max_examples=80, deadline=None)
@given(labelled)
def test_auc_is_the_share_of_pairs_in_order(rows):
    score, positive, series = columns(rows)
    pairs = sum(wins(each, score[~positive]) for each in score[positive])
    expected = pairs / (positive.sum() * (~positive).sum())
    assert auc_of(score, positive, series, samples=0, seed=0).auc == pytest.approx(expected)


@settings(max_examples=80, deadline=None)
@given(labelled)
def test_average_precision_sums_precision_at_every_step_of_recall(rows):
    score, positive, series = columns(rows)
    total, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        called = score >= threshold
        recall = positive[called].sum() / positive.sum()
        total += (recall - before) * positive[called].mean()
        before = recall
    result = curves(score, positive, series, threshold=0.5, samples=0, seed=0)
    assert result.average_precision == pytest.approx(total)


@settings(max_examples=80, deadline=None)
@given(labelled, st.sampled_from([0.0, 0.25, 0.5, 0.6, 1.0]))
def test_f1_by_counting(rows, threshold):
    score, positive, series = columns(rows)

    def counted(at: float) -> float:
        called = score >= at
        return 2 * np.sum(called & positive) / (called.sum() + positive.sum())

    result = curves(score, positive, series, threshold=threshold, samples=0, seed=0)
    assert result.f1.f1 == pytest.approx(counted(threshold))
    assert result.best_f1.f1 == pytest.approx(max(counted(at) for at in set(score)))
    assert counted(result.best_f1.threshold) == pytest.approx(result.best_f1.f1)


@settings(max_examples=60, deadline=None)
@given(labelled)
def test_delong_equals_the_double_loop(rows):
    """DeLong's structural components by their definition, O(n²)."""
    score, positive, _ = columns(rows)
    above, below = score[positive], score[~positive]
    beats = np.array([wins(each, below) / len(below) for each in above])
    loses = np.array([(np.sum(above > b) + 0.5 * np.sum(above == b)) / len(above) for b in below])
    variance = beats.var(ddof=1) / len(above) + loses.var(ddof=1) / len(below)
    half = 1.959963984540054 * np.sqrt(variance)
    interval = delong_interval(score, positive)
    assert interval.low == pytest.approx(max(0, beats.mean() - half), abs=1e-9)
    assert interval.high == pytest.approx(min(1, beats.mean() + half), abs=1e-9)


def test_delong_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    positive = np.arange(120) < 50
    truth = 0.7602499389  # P(N(1,1) > N(0,1)) = Phi(1/sqrt 2)
    held = 0
    for _ in range(400):
        interval = delong_interval(rng.normal(positive, 1.0), positive)
        held += interval.low <= truth <= interval.high
    # 400 trials at 0.95 have a standard deviation of 0.011.
    assert 0.915 <= held / 400 <= 0.985


def test_one_of_a_kind_has_no_variance_to_speak_of():
    score = np.array([0.1, 0.2, 0.9])
    assert delong_interval(score, np.array([False, False, True])) == (0, 1)


def test_the_bootstrap_of_auc_is_wider_when_scans_repeat_themselves():
    """Ten copies of each item in one scan carry no more evidence than one."""
    rng = np.random.default_rng(1)
    positive = rng.random(60) < 0.5
    score = rng.normal(positive, 1.0)
    copies = [np.repeat(each, 10) for each in (score, positive, np.arange(60))]
    auc = auc_of(*copies, samples=400, seed=0)
    delong, bootstrap = auc.delong, auc.bootstrap
    assert bootstrap.high - bootstrap.low > 2 * (delong.high - delong.low)


def test_bootstrap_intervals_follow_the_seed():
    rng = np.random.default_rng(2)
    positive, series = rng.random(80) < 0.4, rng.integers(20, size=80)
    score = rng.normal(positive, 1.0)
    first, again, other = (
        curves(score, positive, series, threshold=0.5, samples=200, seed=seed) for seed in (5, 5, 6)
    )
    assert first.roc.bootstrap == again.roc.bootstrap != other.roc.bootstrap
    assert first.average_precision_interval == again.average_precision_interval


def test_wilson_interval_of_a_known_case():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    interval = wilson_interval(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 0) == (0, 1)


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
