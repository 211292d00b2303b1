"""Metrics against hand-worked tables and slow loops."""

import math

import numpy as np
import pytest
import sklearn.metrics as sklearn
import torch
from hypothesis import given
from hypothesis import strategies as st

from luna.train.metrics import (
    auc,
    average_precision,
    candidate_metrics,
    class_metrics,
    class_rows,
    mask_metrics,
    mask_rows,
)

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30)


def test_class_metrics_by_hand() -> None:
    # loss, p, label: one true positive, one miss, one false alarm, two true negatives.
    rows = np.array([[1, 0.9, 1], [2, 0.2, 1], [3, 0.6, 0], [4, 0.1, 0], [5, 0.3, 0.0]])
    metrics = class_metrics(rows)
    assert metrics == pytest.approx(
        {
            "loss/all": 3,
            "loss/positive": 1.5,
            "loss/negative": 4,
            "correct/all": 3 / 5,
            "correct/positive": 1 / 2,
            "correct/negative": 2 / 3,
            "precision": 1 / 2,
            "recall": 1 / 2,
            "f1": 1 / 2,
            # Pairs won: 0.9 beats 3, 0.2 beats 1, of 6.
            "auc": 4 / 6,
            # First positive at rank 1, second at rank 4.
            "average_precision": (1 + 2 / 4) / 2,
        }
    )


def test_mask_metrics_by_hand() -> None:
    # loss, tp, fn, fp; the last sample has no nodule.
    metrics = mask_metrics(np.array([[1, 3, 1, 2], [3, 1, 3, 0], [2, 0, 0, 2.0]]))
    assert metrics == pytest.approx(
        {
            "loss/all": 2,
            "precision": 4 / 8,
            "recall": 4 / 8,
            "f1": 8 / 16,
            "dice": (6 / 9 + 2 / 5) / 2,
            "tp/truth": 0.5,
            "fn/truth": 0.5,
            "fp/truth": 0.5,
        }
    )


def test_what_is_undefined_is_nan() -> None:
    metrics = class_metrics(np.array([[1, 0.2, 0.0]]))
    undefined = {name for name, value in metrics.items() if math.isnan(value)}
    assert undefined == {
        "loss/positive", "correct/positive", "precision", "recall", "f1", "auc",
        "average_precision",
    }  # fmt: skip


def test_rows_count_pixels_and_probabilities() -> None:
    logits = torch.tensor([5.0, 5.0, -5.0, -5.0]).reshape(1, 1, 2, 2)
    truth = torch.tensor([1, 0, 1, 1], dtype=torch.uint8).reshape(1, 1, 2, 2)
    assert mask_rows(logits, truth, torch.tensor([0.5]), 0.5).tolist() == [[0.5, 1, 2, 1]]
    rows = class_rows(
        torch.tensor([[0.0, math.log(3)]]), torch.tensor([1]), torch.tensor([0.25]), 0.5
    )
    assert rows.tolist()[0] == pytest.approx([0.25, 0.75, 1])


@given(SCORED)
def test_auc_equals_counting_every_pair(scored: list[tuple[int, bool]]) -> None:
    p, truth = np.array([s for s, _ in scored], float), np.array([t for _, t in scored])
    pairs = [(a > b) + (a == b) / 2 for a in p[truth] for b in p[~truth]]
    wanted = sum(pairs) / len(pairs) if pairs else math.nan
    assert auc(p, truth) == pytest.approx(wanted, nan_ok=True)


@given(SCORED)
def test_average_precision_equals_a_loop_over_thresholds(scored: list[tuple[int, bool]]) -> None:
    p, truth = np.array([s for s, _ in scored], float), np.array([t for _, t in scored])
    wanted, recall_before = 0.0, 0.0
    for threshold in sorted(set(p), reverse=True):
        called = p >= threshold
        tp = (called & truth).sum()
        recall = tp / truth.sum() if truth.any() else math.nan
        wanted += (recall - recall_before) * tp / called.sum()
        recall_before = recall
    assert average_precision(p, truth) == pytest.approx(wanted, nan_ok=True)


@given(scored=SCORED)
def test_class_metrics_are_those_of_scikit_learn(scored: list[tuple[int, bool]]) -> None:
    p = np.array([score for score, _ in scored]) / 6
    truth = np.array([label for _, label in scored])
    metrics = class_metrics(np.stack([np.zeros(len(p)), p, truth], axis=1))
    called = p >= 0.5
    assert metrics["correct/all"] == pytest.approx(sklearn.accuracy_score(truth, called))
    if truth.any():
        ours = metrics["average_precision"]
        assert ours == pytest.approx(sklearn.average_precision_score(truth, p))
        assert metrics["recall"] == pytest.approx(sklearn.recall_score(truth, called))
        assert metrics["f1"] == pytest.approx(sklearn.f1_score(truth, called))
    if called.any():
        assert metrics["precision"] == pytest.approx(sklearn.precision_score(truth, called))
    if truth.any() and not truth.all():
        assert metrics["auc"] == pytest.approx(sklearn.roc_auc_score(truth, p))


@given(seed=st.integers(0, 2**32 - 1))
def test_mask_metrics_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(3, 1, 4, 5)))
    truth = torch.from_numpy(rng.random((3, 1, 4, 5)) < 0.5)
    truth[:, 0, 0, 0] = True
    metrics = mask_metrics(mask_rows(logits, truth, torch.zeros(3), 0.5).numpy())
    called, flat = (logits > 0).flatten().numpy(), truth.flatten().numpy()
    for name in ("precision", "recall", "f1"):
        expected = getattr(sklearn, f"{name}_score")(flat, called, zero_division=math.nan)
        assert metrics[name] == pytest.approx(expected, nan_ok=True)
    dice = [sklearn.f1_score(t.ravel(), m.ravel()) for t, m in zip(truth, logits > 0, strict=True)]
    assert metrics["dice"] == pytest.approx(np.mean(dice))


def test_candidate_cpm_by_hand() -> None:
    """Two nodules in four scans; the second has two candidates and only its best counts."""
    rows = np.array([
        # loss, p, label: 0 no nodule, from 2 on which nodule
        [0, 0.9, 2], [0, 0.8, 0], [0, 0.7, 3], [0, 0.2, 3], [0, 0.1, 0],
    ])  # fmt: skip
    # One false candidate in four scans is a quarter per scan: at 1/8 half of the way from
    # (0, .5) to (.25, .5) and at 1/4, where the second nodule comes, both.
    metrics = candidate_metrics(rows, scans=4)
    assert metrics["cpm"] == pytest.approx((0.5 + 6 * 1.0) / 7)
    assert metrics["auc"] == class_metrics(rows)["auc"]


def test_candidate_cpm_needs_to_know_which_nodule() -> None:
    rows = np.array([[0, 0.9, 1.0], [0, 0.1, 0.0]])
    assert np.isnan(candidate_metrics(rows, scans=3)["cpm"])


def test_what_a_network_with_deep_supervision_answers_is_its_first_level() -> None:
    logits = torch.full((1, 2, 2, 2), -9.0)
    logits[:, 0] = 9.0
    mask = torch.ones(1, 1, 2, 2)
    assert mask_rows(logits, mask, torch.zeros(1), 0.5).tolist() == [[0.0, 4.0, 0.0, 0.0]]
