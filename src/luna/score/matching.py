"""Match marks to nodules as the LUNA16 challenge does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.run.nodules import UNSIZED_DIAMETER_MM, Nodules
from luna.score.marks import Cohort, Marks

MAX_MARKS_PER_SCAN = 100
"""LUNA16 scores at most this many marks of one scan."""

HIT_RULE = (
    "hit when distance < radius, best mark per nodule, excluded findings ignored, "
    f"at most {MAX_MARKS_PER_SCAN} marks per scan"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Marks within reach of nodules, P pairs: `mark`, `nodule` (P,) indices, `distance_mm`."""

    mark: NDArray[np.intp]
    nodule: NDArray[np.intp]
    distance_mm: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The challenge's counts over all marks within its limit per scan."""

    candidates: int
    nodules: int
    true_positives: int
    false_positives: int
    false_negatives: int
    ignored_on_excluded: int
    ignored_double_detections: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Matching:
    """M marks, N nodules, the scans of both, and what hit what.

    `kept`, `on_nodule`, `on_excluded`, `is_false`: (M,); a kept mark is on a nodule, else
    on an excluded finding, else false. `best_mark`: (N,) the hit of the highest
    probability, -1 for none.
    """

    cohort: Cohort
    marks: Marks
    nodules: Nodules
    kept: NDArray[np.bool_]
    on_nodule: NDArray[np.bool_]
    on_excluded: NDArray[np.bool_]
    best_mark: NDArray[np.intp]
    double_detections: int

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Return the marks that count: kept, and not on an excluded finding only."""
        return self.kept & ~self.on_excluded

    @property
    def is_false(self) -> NDArray[np.bool_]:
        """Return the marks that count and hit nothing."""
        return self.counted & ~self.on_nodule

    @property
    def found(self) -> NDArray[np.bool_]:
        """Return which of (N,) nodules a kept mark hits."""
        return self.best_mark >= 0

    @property
    def without_result(self) -> NDArray[np.intp]:
        """Return the scans without a result; when failures are not listed, those without a mark."""
        if self.cohort.failed is not None:
            return np.flatnonzero([reason != "" for reason in self.cohort.failed])
        return np.setdiff1d(np.arange(len(self.cohort)), self.marks.series)

    @property
    def counts(self) -> Counts:
        """Return the challenge's counts."""
        return Counts(
            candidates=int(self.kept.sum()),
            nodules=len(self.best_mark),
            true_positives=int(self.found.sum()),
            false_positives=int(self.is_false.sum()),
            false_negatives=int((~self.found).sum()),
            ignored_on_excluded=int(self.on_excluded.sum()),
            ignored_double_detections=self.double_detections,
        )


def match(cohort: Cohort, marks: Marks, nodules: Nodules, excluded: Nodules) -> Matching:
    """Match marks to nodules and excluded findings by LUNA16's rules.

    A mark inside two nodules hits both. Source: the challenge's noduleCADEvaluationLUNA16.
    """
    kept = within_limit(marks)
    hits = pairs_within(marks, nodules, nodules.diameter_mm / 2, kept)
    size_mm = np.where(excluded.diameter_mm < 0, UNSIZED_DIAMETER_MM, excluded.diameter_mm)
    ignored = pairs_within(marks, excluded, size_mm / 2, kept)
    on_nodule = np.zeros(len(marks), np.bool_)
    on_nodule[hits.mark] = True
    on_excluded = np.zeros(len(marks), np.bool_)
    on_excluded[ignored.mark] = True
    best = best_of_each_nodule(hits, marks.p_nodule, len(nodules))
    return Matching(
        cohort=cohort,
        marks=marks,
        nodules=nodules,
        kept=kept,
        on_nodule=on_nodule,
        on_excluded=on_excluded & ~on_nodule,
        best_mark=best,
        double_detections=len(hits.mark) - int((best >= 0).sum()),
    )


def within_limit(marks: Marks) -> NDArray[np.bool_]:
    """Return the marks that LUNA16 scores (M,): in a scan of more than 100, above the 101st.

    So all marks that tie with the 101st are dropped, and fewer than 100 may remain.
    """
    order = np.lexsort((-marks.p_nodule, marks.series))
    series, p = marks.series[order], marks.p_nodule[order]
    first = np.searchsorted(series, series, side="left")
    size = np.searchsorted(series, series, side="right") - first
    crowded = size > MAX_MARKS_PER_SCAN
    kept = np.ones(len(marks), np.bool_)
    kept[order[crowded]] = p[crowded] > p[first[crowded] + MAX_MARKS_PER_SCAN]
    return kept


def pairs_within(
    marks: Marks,
    nodules: Nodules,
    reach_mm: NDArray[np.float64],
    allowed: NDArray[np.bool_] | None = None,
) -> Pairs:
    """Find every mark and nodule of one scan whose distance is below the nodule's reach (N,).

    `allowed`: (M,) leaves out the other marks.
    """
    # Marks sorted by scan lie in one run per scan, so all pairs of a scan are the nodule
    # repeated beside an arange. LUNA16: 20,728 marks x 40 findings a scan = 0.9 M pairs, 60 MB.
    usable = np.arange(len(marks)) if allowed is None else np.flatnonzero(allowed)
    usable = usable[np.argsort(marks.series[usable], kind="stable")]
    runs = marks.series[usable]
    first = np.searchsorted(runs, nodules.series, side="left")
    size = np.searchsorted(runs, nodules.series, side="right") - first
    nodule = np.repeat(np.arange(len(nodules)), size)
    step = np.arange(len(nodule)) - np.repeat(np.cumsum(size) - size, size)
    mark = usable[np.repeat(first, size) + step]
    offset = marks.center_xyz[mark] - nodules.center_xyz[nodule]
    squared = np.sum(offset**2, axis=1)
    # Squares are compared, as the challenge does: a root could round a miss into a hit.
    near = squared < reach_mm[nodule] ** 2
    return Pairs(mark=mark[near], nodule=nodule[near], distance_mm=np.sqrt(squared[near]))


def best_of_each_nodule(
    pairs: Pairs, p_nodule: NDArray[np.float64], nodules: int
) -> NDArray[np.intp]:
    """Return the most probable mark of each nodule, the nearest of equal ones; -1 for none."""
    order = np.lexsort((-pairs.distance_mm, p_nodule[pairs.mark]))
    best = np.full(nodules, -1, np.intp)
    best[pairs.nodule[order]] = pairs.mark[order]  # the last write wins
    return best
