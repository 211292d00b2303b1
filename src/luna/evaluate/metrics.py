"""The numbers of an evaluation as JSON values, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from luna.evaluate.pages.footnote import interval_words
from luna.run.checked import Json
from luna.score.breakdown import Fate, Group
from luna.score.evaluation import Evaluation
from luna.score.froc import FP_RATES, RATES_IN_GRID, Froc
from luna.score.matching import HIT_RULE


def metrics(evaluation: Evaluation) -> Json:
    """Return all numbers except arrays; a number that cannot be computed is null."""
    table = evaluation.confusion
    return {
        "rule": HIT_RULE,
        "intervals": interval_words(evaluation.config),
        "config": plain(evaluation.config),
        "cohort": _cohort(evaluation),
        "counts": plain(evaluation.matching.counts),
        "froc": _froc(evaluation.froc),
        "at_threshold": plain(evaluation.at_threshold),
        "operating": plain(evaluation.operating),
        "classifier": plain(evaluation.classifier),
        "calibration": plain(evaluation.calibration),
        "confusion": {
            **plain(table),
            "counts": table.counts.tolist(),
            "rows": ["not a nodule", "benign", "malignant"],
            "columns": ["missed", "filtered out", "predicted benign", "predicted malignant"],
        },
        "size_bands": _groups(evaluation.size_bands),
        "kinds": _groups(evaluation.kinds),
        "subsets": _groups(evaluation.subsets),
        "lost": _lost(evaluation.fate),
        "malignancy": plain(evaluation.malignancy),
        "versus": _froc(evaluation.versus) if evaluation.versus else None,
        "comparison": plain(evaluation.comparison),
        "warnings": list(evaluation.warnings),
    }


def plain(value: Any) -> Any:
    """Return a record as JSON values: fields by name, intervals by bound, without arrays."""
    if is_dataclass(value):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items() if not isinstance(v, np.ndarray)}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def _lost(fate: Fate) -> Json:
    counts: Json = {**fate.counts, "merged": int(fate.shares_mark.sum())}
    if not fate.knows_fragments:
        counts["fragment"] = None
    return counts


def _cohort(evaluation: Evaluation) -> Json:
    return {
        "scans": evaluation.froc.scans,
        "scans_with_nodules": evaluation.froc.scans_with_nodules,
        "scans_without_result": len(evaluation.matching.without_result),
        "nodules": evaluation.froc.nodules,
        "folds": evaluation.folds,
    }


def _froc(curve: Froc) -> Json:
    """Return a curve by its values at the seven rates of the CPM."""
    found: Json = {
        **plain(curve),
        "fp_per_scan": list(FP_RATES),
        "sensitivity": curve.at_rates.tolist(),
    }
    if curve.bootstrap is not None:
        for name in ("mean", "low", "high"):
            found["bootstrap"][name] = getattr(curve.bootstrap, name)[RATES_IN_GRID].tolist()
    return found


def _groups(groups: tuple[Group, ...]) -> list[Json]:
    return [{"name": group.name, **_froc(group.froc)} for group in groups]
