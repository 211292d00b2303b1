"""Findings that a challenge ignores, left out of the candidates that are no nodule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from luna.data.luna16.folder import Luna16
from luna.data.luna16.rows import nearest_nodule, series_numbers
from luna.run.nodules import UNSIZED_DIAMETER_MM, XYZ, Nodules, unknown_malignancy
from luna.run.notice import notice
from luna.run.table import read_table

EXCLUDED = "annotations_excluded.csv"
LEFT_OUT = "candidates on excluded findings, which are neither nodules nor clearly none"


def without_excluded(cohort: Luna16) -> Luna16:
    """Return the cohort without the negative candidates that lie in an excluded finding.

    Scores ignore marks there: some readers called them nodules. The rule is that of the scores, a
    finding without a size reaches UNSIZED_DIAMETER_MM / 2. Raises InputError for a missing or
    damaged table.
    """
    path = cohort.root / EXCLUDED
    table = read_table(path, ("seriesuid", *XYZ, "diameter_mm"))
    series = series_numbers(table, {uid: k for k, uid in enumerate(cohort.series)})
    order = np.argsort(series, kind="stable")
    order = order[series[order] >= 0]
    diameter_mm = table.numbers("diameter_mm")[order]
    diameter_mm = np.where(diameter_mm < 0, UNSIZED_DIAMETER_MM, diameter_mm)
    findings = Nodules(
        series=series[order],
        center_xyz=table.points(*XYZ)[order],
        diameter_mm=diameter_mm,
        malignant=unknown_malignancy(len(order)),
        line=table.lines[order],
    )
    old = cohort.candidates
    _, beyond_mm = nearest_nodule(old.series, old.center_xyz, findings, diameter_mm / 2)
    dropped = (beyond_mm < 0) & ~old.is_nodule
    return replace(
        cohort,
        candidates=old.take(~dropped),
        notices=cohort.notices + notice(LEFT_OUT, path, old.line[dropped]),
    )
