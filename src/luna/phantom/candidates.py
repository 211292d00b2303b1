"""Candidates of a phantom as a detector would mark them: nodules, and decoys like nodules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from luna.ct.geometry import Triple
from luna.phantom.anatomy import Anatomy
from luna.phantom.config import PhantomConfig
from luna.phantom.disease.lesion import Lesion
from luna.phantom.field import Points
from luna.phantom.vessels import Vessels, forks

DECOY_WEIGHTS = {
    "fork": 0.34,
    "crossing": 0.24,
    "bronchus": 0.12,
    "fissure": 0.10,
    "pleura": 0.15,
    "scar": 0.05,
}
"""Share of each kind of decoy, in the order in which detectors are known to confuse them."""

SPARE = 1.6
"""Factor by which more decoys of each kind are drawn than wanted, because some coincide."""

MERGE_MM = 3.0
"""A detector merges marks within this distance."""

SECOND_MARK_SHARE = 0.3
"""LUNA16's candidates_V2.csv has about 1.3 positive candidates per nodule."""


class Candidate(NamedTuple):
    """The centre of a candidate in LPS mm, and whether it is a nodule."""

    center_xyz: Triple
    is_nodule: bool


def find_decoys(
    rng: np.random.Generator,
    anatomy: Anatomy,
    vessels: Vessels,
    lesions: list[Lesion],
    slab: tuple[float, float],
) -> dict[str, Points]:
    """Find places (M, 3) in body mm that resemble nodules, by the structure that they are."""
    grid, lung = anatomy.grid, anatomy.lung
    deep = lung < -6
    sheets = np.abs(anatomy.major) < 1
    sheets |= (np.abs(anatomy.minor) < 1) & (anatomy.major > 0) & (grid.axes()[0] < 0)
    thick = vessels.veins.thicker_than(0.7)
    near, _ = cKDTree(vessels.arteries.end).query(thick.end, distance_upper_bound=4.0)
    found = {
        "fork": forks(vessels.blood, 0.7, 3.5),
        "crossing": thick.end[np.isfinite(near)],
        "bronchus": vessels.walls.start,
        "fissure": grid.positions(sheets & deep),
        "pleura": grid.positions((lung < -1) & (lung > -3)),
        "scar": np.array([x.center for x in lesions if x.kind is None]).reshape(-1, 3),
    }
    inner = (slab[0] + 3, slab[1] - 3)
    kept = {}
    for name, points in found.items():
        level = points[:, 2]
        inside = (level > inner[0]) & (level < inner[1]) & (grid.at(lung, points) < -0.5)
        kept[name] = rng.permutation(points[inside])
    return kept


def draw_candidates(
    rng: np.random.Generator,
    config: PhantomConfig,
    nodules_xyz: Points,
    diameters_mm: Points,
    decoys: dict[str, Points],
) -> tuple[Candidate, ...]:
    """Draw the candidates: all nodules, some marked twice, then decoys clear of every nodule."""
    marks = []
    for center, diameter in zip(nodules_xyz, diameters_mm, strict=True):
        for _ in range(1 + int(rng.random() < SECOND_MARK_SHARE)):
            marks.append(center + rng.normal(0, min(0.08 * diameter, 1.2), 3))
    wanted = int(rng.integers(config.negatives[0], config.negatives[1] + 1))
    chosen = []
    for name, weight in DECOY_WEIGHTS.items():
        points = decoys[name][: int(np.ceil(SPARE * weight * wanted))]
        chosen.append(points[_clear(points, nodules_xyz, diameters_mm)])
    away = _apart(rng.permutation(np.concatenate(chosen)))[:wanted]
    return tuple(_mark(p, True) for p in marks) + tuple(_mark(p, False) for p in away)


def _clear(
    points: Points, nodules_xyz: Points, diameters_mm: Points
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Tell which points keep a radius and 3 mm from every nodule."""
    gap = np.sqrt(((points[:, None] - nodules_xyz[None]) ** 2).sum(axis=-1))
    return np.asarray((gap > diameters_mm / 2 + 3).all(axis=1), dtype=np.bool_)


def _apart(points: Points) -> Points:
    """Drop the points that come near an earlier one."""
    pairs = cKDTree(points).query_pairs(MERGE_MM, output_type="ndarray")
    keep = np.ones(len(points), dtype=bool)
    keep[pairs.max(axis=1)] = False
    return np.asarray(points[keep], dtype=np.float64)


def _mark(point: Points, is_nodule: bool) -> Candidate:
    x, y, z = point.tolist()
    return Candidate((x, y, z), is_nodule)
