"""Add the marks of a system as candidates: its false marks are hard negatives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luna.ct.geometry import FloatArray
from luna.data.luna16.folder import Luna16
from luna.data.luna16.rows import (
    MARKED,
    CandidateTable,
    nearest_nodule,
    repeated_rows,
    series_numbers,
)
from luna.run.nodules import XYZ
from luna.run.notice import notice
from luna.run.table import read_table

MARGIN_MM = 5.0
"""Marks up to this far outside a nodule's radius are left out: its border is not known better
than by two slices, which are 2.5 mm apart at most in LUNA16."""

NEGATIVE, UNSURE = -1, -2


def add_detections(cohort: Luna16, path: Path) -> Luna16:
    """Return the cohort with the marks of a table as further candidates.

    The table is in LUNA16's format for submissions, as `luna evaluate` writes it. A mark
    within the radius of a nodule is a positive candidate of it, one farther than MARGIN_MM
    outside every nodule a negative one; those between are left out, as are repeats of a
    candidate and marks of scans that are not there, with notices. Raises InputError, naming
    the lines, for a damaged table.
    """
    table = read_table(path, ("seriesuid", *XYZ, "probability"))
    # Of no use here, but a table without probabilities is no table of marks.
    p = table.numbers("probability")
    table.refuse((p < 0) | (p > 1), "probability is outside 0..1", "probability")
    series = series_numbers(table, {uid: k for k, uid in enumerate(cohort.series)})
    center = table.points(*XYZ)
    here = (series >= 0) & np.array([uid in cohort.files for uid in cohort.series])[series]
    nodule = _nodule_at(cohort, series, center)
    old = cohort.candidates
    marked = np.full(len(series), MARKED, dtype=np.int8)
    both = old.joined(CandidateTable(series, center, nodule, table.lines, marked))
    again = repeated_rows(both.series, both.center_xyz)[len(old.series) :]
    unsure = here & ~again & (nodule == UNSURE)
    keep = np.concatenate([np.ones(len(old.series), dtype=np.bool_), here & ~again & ~unsure])
    notices = notice("marks of scans that are not in the cohort", path, table.lines[~here])
    notices += notice("marks that repeat a candidate", path, table.lines[here & again])
    notices += notice("marks at the border of a nodule", path, table.lines[unsure])
    return replace(
        cohort,
        candidates=both.take(keep).sorted_by_series(),
        marks_file=path,
        notices=cohort.notices + notices,
    )


def _nodule_at(
    cohort: Luna16, series: NDArray[np.int64], center_xyz: FloatArray
) -> NDArray[np.int64]:
    """Return the nodule that each mark lies in; NEGATIVE far from all, UNSURE between."""
    nodules = cohort.nodules
    nodule, beyond_mm = nearest_nodule(series, center_xyz, nodules, nodules.diameter_mm / 2)
    nodule[beyond_mm > 0] = UNSURE
    nodule[beyond_mm > MARGIN_MM] = NEGATIVE
    return nodule
