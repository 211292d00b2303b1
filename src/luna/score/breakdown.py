"""Sensitivity by size, kind and subset, and where nodules are lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from luna.run.nodules import Nodules
from luna.score.froc import Froc, froc, froc_items
from luna.score.marks import Marks
from luna.score.matching import Matching, best_of_each_nodule, pairs_within

SIZE_EDGES_MM = (3.0, 6.0, 8.0, 15.0)
"""Lower ends of the bands: LIDC's smallest nodule, the Fleischner limits (2017), and large."""

OFF_CENTRE_RADII = 2.0
"""A mark outside the radius but within so many radii is off centre, not elsewhere."""

Outcome = Literal["found", "below threshold", "beyond rank", "fragment", "off centre", "no mark"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A FROC curve of some of the nodules, or of some of the scans."""

    name: str
    froc: Froc


@dataclass(frozen=True, kw_only=True, slots=True)
class Fate:
    """The fate of each of N nodules.

    `outcome`: "found" by a mark at or above the threshold; "below threshold"; "beyond rank",
    hit only by marks past the limit per scan; "fragment", hit only by a part of something
    larger that is marked elsewhere; "off centre", the nearest mark lies outside the radius but
    within two; "no mark" nearer than that. `knows_fragments` is False where only marks are
    known: then nothing is a "fragment". `p_nodule` and `rank` (from 1, in its
    scan) are of the best mark that counts, NaN and 0 without one; `shares_mark` says that
    this mark is the best of another nodule too, so that two were merged into one.
    """

    outcome: tuple[Outcome, ...]
    p_nodule: NDArray[np.float64]
    rank: NDArray[np.intp]
    shares_mark: NDArray[np.bool_]
    knows_fragments: bool

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of nodules by outcome, with 0 for outcomes that no nodule has."""
        return {name: self.outcome.count(name) for name in OUTCOMES}


def size_bands(matching: Matching, samples: int, seed: int) -> tuple[Group, ...]:
    """Return the FROC of each band of diameter that holds a nodule."""
    names, labels = band_labels(matching.nodules.diameter_mm)
    return _by_nodule(labels.tolist(), names, matching, samples, seed)


def band_labels(
    diameter_mm: NDArray[np.float64],
) -> tuple[tuple[str, ...], NDArray[np.str_]]:
    """Return the names of the bands from small to large, and the band of each of (N,) diameters."""
    names = [f"<{SIZE_EDGES_MM[0]:g} mm"]
    names += [f"{a:g}–{b:g} mm" for a, b in pairwise(SIZE_EDGES_MM)]
    names += [f"≥{SIZE_EDGES_MM[-1]:g} mm"]
    return tuple(names), np.array(names)[np.searchsorted(SIZE_EDGES_MM, diameter_mm, side="right")]


def kinds(matching: Matching, samples: int, seed: int) -> tuple[Group, ...]:
    """Return the FROC of each kind of nodule; none when kinds are not annotated."""
    labels = matching.nodules.kind or ()
    return _by_nodule(labels, sorted(set(labels)), matching, samples, seed)


def subsets(matching: Matching, samples: int, seed: int) -> tuple[Group, ...]:
    """Return the FROC of each subset of scans that holds a nodule; none without subsets."""
    of_scan = np.array(matching.cohort.subset or (), dtype=str)
    groups = []
    for name in sorted(set(of_scan.tolist())):
        scans = np.flatnonzero(of_scan == name)
        if np.isin(matching.nodules.series, scans).any():
            items = froc_items(matching, scans=scans)
            groups.append(Group(name=name, froc=froc(items, samples=samples, seed=seed)))
    return tuple(groups)


def fates(matching: Matching, threshold: float, fragments: Marks | None = None) -> Fate:
    """Find where each nodule was found or lost; `fragments` are the parts that marks stand for."""
    marks, nodules = matching.marks, matching.nodules
    found, best = matching.found, matching.best_mark
    p_nodule = np.full(len(nodules), np.nan)
    p_nodule[found] = marks.p_nodule[best[found]]
    any_hit = has_mark(marks, nodules, 1.0)
    any_part = np.zeros_like(found) if fragments is None else has_mark(fragments, nodules, 1.0)
    any_near = has_mark(marks, nodules, OFF_CENTRE_RADII)
    steps = [p_nodule >= threshold, found, any_hit, any_part, any_near]
    outcome = np.select(steps, range(len(steps)), default=len(steps))
    _, place, count = np.unique(best, return_inverse=True, return_counts=True)
    position = np.zeros(len(nodules), np.intp)
    position[found] = _rank_in_scan(marks)[best[found]]
    return Fate(
        outcome=tuple(OUTCOMES[index] for index in outcome),
        p_nodule=p_nodule,
        rank=position,
        shares_mark=found & (count[place] > 1),
        knows_fragments=fragments is not None,
    )


def _by_nodule(
    labels: Sequence[str],
    names: Sequence[str],
    matching: Matching,
    samples: int,
    seed: int,
) -> tuple[Group, ...]:
    label = np.array(labels, dtype=str)
    groups = []
    for name in names:
        wanted = label == name
        if wanted.any():
            items = froc_items(matching, of_nodules=wanted)
            groups.append(Group(name=name, froc=froc(items, samples=samples, seed=seed)))
    return tuple(groups)


def has_mark(marks: Marks, nodules: Nodules, radii: float) -> NDArray[np.bool_]:
    """Return which nodules have a mark, counted or not, within so many radii."""
    pairs = pairs_within(marks, nodules, radii * nodules.diameter_mm / 2)
    return best_of_each_nodule(pairs, marks.p_nodule, len(nodules)) >= 0


def _rank_in_scan(marks: Marks) -> NDArray[np.intp]:
    """Return the rank of each mark in its scan by falling probability, from 1; ties share one."""
    order = np.lexsort((-marks.p_nodule, marks.series))
    series, p = marks.series[order], marks.p_nodule[order]
    starts_tie = np.ones(len(order), np.bool_)
    starts_tie[1:] = (series[1:] != series[:-1]) | (p[1:] != p[:-1])
    tie_start = np.maximum.accumulate(np.where(starts_tie, np.arange(len(order)), 0))
    place = np.empty(len(order), np.intp)
    place[order] = tie_start - np.searchsorted(series, series, side="left") + 1
    return place
