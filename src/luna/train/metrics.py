"""Numbers that say how training goes, from a table with one row per sample.

Rows are what ranks gather, checkpoints keep and the board draws: a metric is a function of
the whole table, so it does not depend on batches or on how many processes there were.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from luna.score.froc import FrocItems, froc
from luna.score.ranking import rank

FloatArray = NDArray[np.float64]
Metrics = dict[str, float]

FIRST_NODULE = 2
"""Labels from here on number nodules; 1 is any nodule."""

CLASS_COLUMNS = ("loss", "p", "label")
MASK_COLUMNS = ("loss", "tp", "fn", "fp")


def class_rows(
    logits: torch.Tensor, target: torch.Tensor, losses: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Return (N, 3) float64: loss, probability of yes, label."""
    p = logits.float().softmax(1)[:, 1]
    return torch.stack([losses.double(), p.double(), target.double()], dim=1)


def mask_rows(
    logits: torch.Tensor, target: torch.Tensor, losses: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Return (N, 4) float64: loss, and pixels of true positive, false negative, false positive.

    Of the levels of a network with deep supervision, the first is its answer.
    """
    marked, truth = logits[:, :1].float().sigmoid() > threshold, target > 0
    counts = [(marked & truth), (~marked & truth), (marked & ~truth)]
    columns = [losses, *(c.flatten(1).sum(1) for c in counts)]
    return torch.stack([c.double() for c in columns], dim=1)


def class_metrics(rows: FloatArray, threshold: float = 0.5) -> Metrics:
    """Return loss and correctness, overall and by class, with the rates and areas of a classifier.

    An undefined value, such as the AUC of one class, is NaN.
    """
    loss, p, truth = rows[:, 0], rows[:, 1], rows[:, 2] > 0
    called = p >= threshold
    right = called == truth
    tp = int((called & truth).sum())
    return {
        "loss/all": _mean(loss),
        "loss/positive": _mean(loss[truth]),
        "loss/negative": _mean(loss[~truth]),
        "correct/all": _mean(right),
        "correct/positive": _mean(right[truth]),
        "correct/negative": _mean(right[~truth]),
        **_rates(tp, int(truth.sum()) - tp, int(called.sum()) - tp),
        "auc": auc(p, truth),
        "average_precision": average_precision(p, truth),
    }


def candidate_metrics(rows: FloatArray, threshold: float = 0.5, *, scans: int) -> Metrics:
    """Return the metrics of a classifier, and `cpm`: the candidates' own, over so many scans.

    It is the mean sensitivity at 1/8 to 8 false candidates a scan, of the nodules that have a
    candidate; each counts once, by its most probable one. Labels from 2 on tell nodules apart;
    it is NaN where they do not, as in training, whose samples are no whole scans.
    """
    return {**class_metrics(rows, threshold), "cpm": _cpm(rows[:, 1], rows[:, 2], scans)}


def _cpm(p: FloatArray, label: FloatArray, scans: int) -> float:
    nodule = label >= FIRST_NODULE
    numbers, which = np.unique(label[nodule], return_inverse=True)
    if not len(numbers):
        return math.nan
    best = np.zeros(len(numbers))
    np.maximum.at(best, which, p[nodule])
    score = np.concatenate([best, p[label == 0]])
    anywhere = np.zeros(len(score), dtype=np.intp)
    items = FrocItems(
        ranking=rank(score, np.arange(len(score)) < len(best), anywhere),
        nodules_per_scan=np.array([len(best)] + [0] * (scans - 1)),
        scans=np.arange(scans),
    )
    return froc(items, samples=0, seed=0).cpm


def mask_metrics(rows: FloatArray, threshold: float = 0.5) -> Metrics:
    """Return loss, pixel rates over all samples, and counts as shares of all nodule pixels.

    `fp/truth` can exceed 1: false marks are counted in nodule pixels. Source: book, chapter 13.
    `dice` is the mean over the samples that have a mask.
    """
    loss = rows[:, 0]
    tp, fn, fp = (rows[:, k] for k in (1, 2, 3))
    has_mask = tp + fn > 0
    truth = float((tp + fn).sum())
    dice = 2 * tp[has_mask] / (2 * tp + fn + fp)[has_mask]
    return {
        "loss/all": _mean(loss),
        **_rates(float(tp.sum()), float(fn.sum()), float(fp.sum())),
        "dice": _mean(dice),
        "tp/truth": _ratio(float(tp.sum()), truth),
        "fn/truth": _ratio(float(fn.sum()), truth),
        "fp/truth": _ratio(float(fp.sum()), truth),
    }


def auc(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative, ties counted half; NaN with one class.

    >>> auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
    0.875
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return math.nan
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)
    mean_rank = last_rank - (counts - 1) / 2
    ranks = float(mean_rank[inverse][truth].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Precision at each threshold weighted by the recall it adds; NaN without positives.

    Equal scores enter together, so the order of samples does not matter.
    """
    positives = int(truth.sum())
    if not positives:
        return math.nan
    order = np.argsort(-p, kind="stable")
    hits = np.cumsum(truth[order])
    # The last of each run of equal scores is where a threshold can stand.
    ends = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)
    precision = hits[ends] / (ends + 1)
    recall = hits[ends] / positives
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def _rates(tp: float, fn: float, fp: float) -> Metrics:
    return {
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fn + fp),
    }


def _ratio(count: float, whole: float) -> float:
    return count / whole if whole else math.nan


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean()) if values.size else math.nan
