"""Warnings about the marks and the truth of an evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from luna.score.breakdown import OFF_CENTRE_RADII, has_mark
from luna.score.matching import MAX_MARKS_PER_SCAN, Matching

FEWEST_SCANS = 20
"""With fewer scans that hold a nodule, intervals from resampling are too narrow."""


AXES = {
    "with the signs of x and y changed (RAS for LPS)": (np.array([0, 1, 2]), (-1.0, -1.0, 1.0)),
    "with x and z exchanged": (np.array([2, 1, 0]), (1.0, 1.0, 1.0)),
}
"""How coordinates are often mistaken: the order of the axes, and their signs."""


def warnings_of(matching: Matching, versus: Matching | None, threshold: float) -> tuple[str, ...]:
    """Return every warning about the marks of one system, and of a second one, if any."""
    found = [*_unmarked(matching, "the detections"), *_misplaced(matching, "the detections")]
    found += _over_limit(matching) + _no_verdict(matching) + _no_prediction(matching, threshold)
    if versus is not None:
        second = "the second system's detections"
        found += _unmarked(versus, second) + _misplaced(versus, second)
    if matching.nodules.elsewhere:
        found.append(
            f"{matching.nodules.elsewhere} annotated nodules belong to scans outside the list of "
            "series and are not counted"
        )
    found += few_scans(len(np.unique(matching.nodules.series)))
    right = matching.on_nodule[matching.counted]
    if right.all() or not right.any():
        found.append(
            "the marks that count are all on nodules or all false: "
            "no ROC, precision or calibration can be computed"
        )
    return tuple(found)


def few_scans(with_nodules: int) -> list[str]:
    """Return a warning when few scans hold a nodule."""
    if with_nodules >= FEWEST_SCANS:
        return []
    scans = "1 scan has" if with_nodules == 1 else f"{with_nodules} scans have"
    return [f"only {scans} nodules: the intervals are narrower than the truth"]


def _unmarked(matching: Matching, name: str) -> list[str]:
    cohort = matching.cohort
    silent = matching.without_result
    if not silent.size:
        return []
    first = cohort.series_uids[silent[0]]
    reason = f": {cohort.failed[silent[0]]}" if cohort.failed else ""
    return [
        f"{silent.size} of {len(cohort)} scans have no result in {name} and count "
        f"as scans without a mark; the first is {first}{reason}"
    ]


def _misplaced(matching: Matching, name: str) -> list[str]:
    """Return a warning when marks never come near nodules, as in another frame."""
    marks, nodules = matching.marks, matching.nodules
    if not np.isin(marks.series, nodules.series).any():
        return []
    found = int(has_mark(marks, nodules, OFF_CENTRE_RADII).sum())
    would = {
        words: int(
            has_mark(
                replace(marks, center_xyz=marks.center_xyz[:, order] * signs),
                nodules,
                OFF_CENTRE_RADII,
            ).sum()
        )
        for words, (order, signs) in AXES.items()
    }
    words = max(would, key=lambda each: would[each])
    if would[words] > 2 * found:
        return [
            f"{name} come near {found} of {len(nodules)} nodules, and near {would[words]} {words}: "
            "check that marks and annotations are both in LPS millimetres"
        ]
    if not found:
        return [
            f"no mark of {name} comes near any nodule: check that marks and annotations belong to "
            "the same scans and are both in LPS millimetres"
        ]
    return []


def _no_verdict(matching: Matching) -> list[str]:
    known = matching.nodules.has_verdict
    if known.all() or not known.any():
        return []
    return [
        f"{(~known).sum()} of {len(known)} nodules have no verdict on malignancy: they count as "
        f"benign in the table and are left out of the ranking by malignancy"
    ]


def _no_prediction(matching: Matching, threshold: float) -> list[str]:
    marks = matching.marks
    if marks.p_malignant is None:
        return []
    blank = (marks.p_nodule >= threshold) & np.isnan(marks.p_malignant)
    if not blank.any():
        return []
    return [
        f"{blank.sum()} marks at or above the threshold have no p_malignant and count as "
        "predicted benign"
    ]


def _over_limit(matching: Matching) -> list[str]:
    dropped = ~matching.kept
    if not dropped.any():
        return []
    scans = len(np.unique(matching.marks.series[dropped]))
    return [
        f"{dropped.sum()} marks of {scans} scans are not counted: a scan has at most "
        f"{MAX_MARKS_PER_SCAN}, and marks that tie with the first one dropped are dropped too"
    ]
