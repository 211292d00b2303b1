"""The numbers of an evaluation as plain JSON values, for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import luna
from luna.evaluate.basis import interval_words
from luna.score.breakdown import Fate, Group
from luna.score.curves import Auc, Curves
from luna.score.evaluation import Evaluation, Malignancy, without_result
from luna.score.froc import FP_RATES, RATES_IN_GRID, Comparison, Froc, OperatingPoint
from luna.score.matching import HIT_RULE
from luna.score.ranking import Interval

SCHEMA = 1
"""Raised when a key of metrics.json changes its meaning."""

Json = dict[str, Any]


def metrics(evaluation: Evaluation) -> Json:
    """Everything but the arrays; a number that cannot be computed is null."""
    return {
        "schema": SCHEMA,
        "luna": luna.__version__,
        "rule": HIT_RULE,
        "intervals": interval_words(evaluation.config),
        "config": asdict(evaluation.config),
        "cohort": _cohort(evaluation),
        "counts": asdict(evaluation.matching.counts),
        "froc": _froc(evaluation.froc),
        "at_threshold": _point(evaluation.at_threshold),
        "operating": _point(evaluation.operating),
        "classifier": curves_json(evaluation.classifier),
        "calibration": asdict(evaluation.calibration) if evaluation.calibration else None,
        "confusion": {
            **asdict(evaluation.confusion),
            "counts": evaluation.confusion.counts.tolist(),
            "rows": ["not a nodule", "benign", "malignant"],
            "columns": ["missed", "filtered out", "predicted benign", "predicted malignant"],
        },
        "size_bands": _groups(evaluation.size_bands),
        "kinds": _groups(evaluation.kinds),
        "subsets": _groups(evaluation.subsets),
        "lost": _lost(evaluation.fate),
        "malignancy": _malignancy(evaluation.malignancy),
        "versus": _froc(evaluation.versus) if evaluation.versus else None,
        "comparison": _comparison(evaluation.comparison),
        "warnings": list(evaluation.warnings),
    }


def _lost(fate: Fate) -> Json:
    counts: Json = {**fate.counts, "merged": int(fate.shares_mark.sum())}
    if not fate.knows_fragments:
        counts["fragment"] = None
    return counts


def _cohort(evaluation: Evaluation) -> Json:
    return {
        "scans": evaluation.froc.scans,
        "scans_with_nodules": evaluation.froc.scans_with_nodules,
        "scans_without_result": len(without_result(evaluation.matching)),
        "nodules": evaluation.froc.nodules,
        "folds": evaluation.folds,
    }


def _froc(curve: Froc) -> Json:
    boot = curve.bootstrap
    found: Json = {
        "scans": curve.scans,
        "scans_with_nodules": curve.scans_with_nodules,
        "nodules": curve.nodules,
        "fp_per_scan": list(FP_RATES),
        "sensitivity": curve.at_rates.tolist(),
        "cpm": curve.cpm,
        "bootstrap": None,
    }
    if boot is not None:
        found["bootstrap"] = {
            "samples": boot.samples,
            "seed": boot.seed,
            "mean": boot.mean[RATES_IN_GRID].tolist(),
            "low": boot.low[RATES_IN_GRID].tolist(),
            "high": boot.high[RATES_IN_GRID].tolist(),
            "cpm": interval_json(boot.cpm),
        }
    return found


def _groups(groups: tuple[Group, ...]) -> list[Json]:
    return [{"name": group.name, **_froc(group.froc)} for group in groups]


def _point(point: OperatingPoint | None) -> Json | None:
    return None if point is None else asdict(point)


def curves_json(found: Curves | None) -> Json | None:
    """ROC, precision and F1 without their arrays."""
    if found is None:
        return None
    return {
        "roc": auc_json(found.auc),
        "average_precision": found.average_precision,
        "average_precision_interval": interval_json(found.average_precision_interval),
        "best_f1": asdict(found.best_f1),
        "f1": asdict(found.f1),
    }


def auc_json(auc: Auc | None) -> Json | None:
    """An area under the ROC curve with both of its intervals."""
    if auc is None:
        return None
    return {
        "auc": auc.auc,
        "delong": interval_json(auc.delong),
        "bootstrap": interval_json(auc.bootstrap),
        "positives": auc.positives,
        "negatives": auc.negatives,
    }


def _malignancy(scored: Malignancy | None) -> Json | None:
    if scored is None:
        return None
    return {
        "diameter": auc_json(scored.diameter),
        "head": auc_json(scored.head),
        "diameter_found": auc_json(scored.diameter_found),
    }


def _comparison(verdict: Comparison | None) -> Json | None:
    if verdict is None:
        return None
    return {**asdict(verdict), "interval": interval_json(verdict.interval)}


def interval_json(interval: Interval | None) -> Json | None:
    """An interval as its bounds."""
    return None if interval is None else {"low": interval.low, "high": interval.high}
