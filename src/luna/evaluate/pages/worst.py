"""The worst cases of an evaluation, for the HTML page."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from luna.evaluate.pages.footnote import footnote
from luna.evaluate.pages.tables import Section, failed_scans
from luna.score.evaluation import Evaluation

LONGEST_LIST = 10
"""Most rows of a table."""


def worst_cases(evaluation: Evaluation) -> tuple[Section, ...]:
    """Return tables of failed scans, the largest lost nodules, the most probable false marks.

    A list without rows is left out.
    """
    tables = (*_failures(evaluation), _misses(evaluation), _false_marks(evaluation))
    return tuple(section for section in tables if section.rows)


def _failures(evaluation: Evaluation) -> tuple[Section, ...]:
    cohort = evaluation.matching.cohort
    reasons = dict(zip(cohort.series_uids, cohort.failed or (), strict=False))
    failures = {uid: reason for uid, reason in reasons.items() if reason}
    return failed_scans(failures, "They count as scans without a mark.")


def lost_nodules(evaluation: Evaluation) -> list[int]:
    """Return the nodules that were not found, the largest first."""
    outcomes, nodules = evaluation.fate.outcome, evaluation.matching.nodules
    lost = [index for index, outcome in enumerate(outcomes) if outcome != "found"]
    return sorted(lost, key=lambda index: -nodules.diameter_mm[index])


def false_marks(evaluation: Evaluation) -> list[int]:
    """Return the false marks, the most probable first."""
    matching = evaluation.matching
    false = np.flatnonzero(matching.is_false)
    order = np.argsort(-matching.marks.p_nodule[false], kind="stable")
    return [int(mark) for mark in false[order]]


def _misses(evaluation: Evaluation) -> Section:
    nodules, fate = evaluation.matching.nodules, evaluation.fate
    lost = lost_nodules(evaluation)
    rows = []
    for index in lost[:LONGEST_LIST]:
        p = fate.p_nodule[index]
        place = place_words(evaluation, int(nodules.series[index]), nodules.center_xyz[index])
        size = f"{nodules.diameter_mm[index]:.1f}"
        rows.append((*place, size, fate.outcome[index], "–" if np.isnan(p) else f"{p:.4f}"))
    return Section(
        title=f"The largest of {len(lost):,} lost nodules",
        header=("scan", "x, y, z mm", "diameter mm", "outcome", "probability"),
        rows=tuple(rows),
        footnote=footnote(evaluation),
    )


def _false_marks(evaluation: Evaluation) -> Section:
    marks, false = evaluation.matching.marks, false_marks(evaluation)
    rows = tuple(
        (
            *place_words(evaluation, int(marks.series[mark]), marks.center_xyz[mark]),
            f"{marks.p_nodule[mark]:.4f}",
        )
        for mark in false[:LONGEST_LIST]
    )
    return Section(
        title=f"The surest of {len(false):,} false marks",
        header=("scan", "x, y, z mm", "probability"),
        rows=rows,
        footnote=footnote(evaluation),
    )


def place_words(evaluation: Evaluation, scan: int, center_xyz: Iterable[float]) -> tuple[str, str]:
    """Return the series UID, and x, y, z in LPS mm."""
    where = ", ".join(f"{value:.1f}" for value in center_xyz)
    return evaluation.matching.cohort.series_uids[scan], where
