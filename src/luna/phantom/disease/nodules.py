"""Nodules and scars of a phantom: place, size, kind, and whether a nodule is malignant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from luna.phantom.anatomy import Anatomy
from luna.phantom.config import NODULE_KINDS, NoduleKind, PhantomConfig
from luna.phantom.disease.lesion import Lesion
from luna.phantom.field import Points
from luna.phantom.tree import Branches

MIN_DIAMETER_MM, MAX_DIAMETER_MM = 3.2, 30.0

SPIKES = 36
TRIES = 400

# Share of malignant nodules by size among the 1,182 of annotations_with_malignancy.csv
# (LIDC-IDRI readers): 2 % at 3-5 mm, 7 % at 5-7, 43 % at 7-10, 81 % at 10-15, 95 % above.
# A line in log diameter through those; offsets by kind and lobe follow the order of the
# Brock model (McWilliams et al., NEJM 2013, 369:910), which has no calcified nodules.
ODDS_INTERCEPT, ODDS_PER_LOG_MM = -10.0, 4.4
ODDS_OF_KIND: dict[NoduleKind, float] = {
    "solid": -0.4,
    "part-solid": 0.9,
    "ground-glass": 0.1,
    "calcified": -5.0,
    "spiculated": 2.0,
}
ODDS_UPPER_LOBE = 0.65


def draw_lesions(
    rng: np.random.Generator,
    config: PhantomConfig,
    anatomy: Anatomy,
    vessels: Branches,
    slab: tuple[float, float],
) -> list[Lesion]:
    """Draw the nodules of a scan, then its scars, none overlapping another.

    `slab` is the (low, high) z of the scan in body mm; nodules lie wholly inside.
    """
    count = 0
    if rng.random() >= config.without_nodules:
        count = 1 + int(rng.poisson(config.extra_nodules))
    lesions: list[Lesion] = []
    for _ in range(count):
        radius = draw_radius(rng, config)
        center = _place(rng, config, anatomy, vessels, slab, radius, lesions)
        if center is not None:
            upper = bool(np.isin(anatomy.lobe(center[None])[0], (0, 3)))
            blood_hu = anatomy.patient.blood_hu
            lesions.append(draw_nodule(rng, config, center, radius, upper, blood_hu))
    for _ in range(int(rng.poisson(1.2))):
        radius = float(rng.uniform(4, 11))
        center = _deep_point(rng, anatomy, slab, 4.0)
        if center is not None and _free(center, radius, lesions):
            lesions.append(_scar(rng, center, radius))
    return [replace(lesion, number=k) for k, lesion in enumerate(lesions)]


def malignancy_probability(diameter_mm: float, kind: NoduleKind, upper_lobe: bool) -> float:
    """Probability that a nodule of this size, kind and place is malignant."""
    odds = ODDS_INTERCEPT + ODDS_PER_LOG_MM * np.log(diameter_mm) + ODDS_OF_KIND[kind]
    return float(1 / (1 + np.exp(-odds - ODDS_UPPER_LOBE * upper_lobe)))


def draw_radius(rng: np.random.Generator, config: PhantomConfig) -> float:
    """Draw the radius of a nodule in mm."""
    while True:
        diameter = rng.lognormal(np.log(config.diameter_median_mm), config.diameter_sigma)
        if MIN_DIAMETER_MM <= diameter <= MAX_DIAMETER_MM:
            return float(diameter / 2)


def _free(center: Points, radius: float, lesions: list[Lesion]) -> bool:
    """Tell whether a lesion here keeps 6 mm from all others."""
    return all(
        np.linalg.norm(center - other.center) > radius + other.radius + 6 for other in lesions
    )


def _place(
    rng: np.random.Generator,
    config: PhantomConfig,
    anatomy: Anatomy,
    vessels: Branches,
    slab: tuple[float, float],
    radius: float,
    lesions: list[Lesion],
) -> Points | None:
    """Find a centre free in the lung, on the pleura, or on a vessel; None where none fits."""
    site = rng.random()
    inner = (slab[0] + radius + 3, slab[1] - radius - 3)
    for _ in range(TRIES):
        if site < config.juxtapleural_share:
            center = _pleural_point(rng, anatomy, inner, radius)
        elif site < config.juxtapleural_share + config.juxtavascular_share:
            center = _vessel_point(rng, anatomy, vessels, inner, radius)
        else:
            center = _deep_point(rng, anatomy, inner, radius + 2)
        if center is not None and _free(center, radius, lesions):
            return center
    return None


def _lung_points(
    rng: np.random.Generator, anatomy: Anatomy, slab: tuple[float, float], count: int
) -> Points:
    """Random body positions (M, 3), M ≤ count, within the lung's box and the slab."""
    grid = anatomy.grid
    low = np.array([-anatomy.patient.half_width, -anatomy.patient.half_depth, slab[0]])
    high = np.array([anatomy.patient.half_width, 1.05 * anatomy.patient.half_depth, slab[1]])
    if high[2] <= low[2]:
        return np.zeros((0, 3))
    points = rng.uniform(low, high, (count, 3))
    return np.asarray(points[grid.at(anatomy.lung, points) < 0], dtype=np.float64)


def _deep_point(
    rng: np.random.Generator, anatomy: Anatomy, slab: tuple[float, float], depth: float
) -> Points | None:
    points = _lung_points(rng, anatomy, slab, 40)
    deep = points[anatomy.grid.at(anatomy.lung, points) < -depth] if len(points) else points
    return deep[0] if len(deep) else None


def _pleural_point(
    rng: np.random.Generator, anatomy: Anatomy, slab: tuple[float, float], radius: float
) -> Points | None:
    """A point whose distance to the pleura is 0.3 to 0.9 radii."""
    points = _lung_points(rng, anatomy, slab, 200)
    if not len(points):
        return None
    depth = -anatomy.grid.at(anatomy.lung, points)
    wanted = rng.uniform(0.3, 0.9) * radius
    near = points[np.abs(depth - wanted) < 1]
    return near[0] if len(near) else None


def _vessel_point(
    rng: np.random.Generator,
    anatomy: Anatomy,
    vessels: Branches,
    slab: tuple[float, float],
    radius: float,
) -> Points | None:
    """A point beside a vessel of 0.6 to 2.5 mm radius, touching it."""
    fit = np.flatnonzero((vessels.start_mm > 0.6) & (vessels.start_mm < 2.5))
    if not len(fit):
        return None
    pick = int(rng.choice(fit))
    away = rng.normal(0, 1, 3)
    along = vessels.start[pick] + rng.random() * (vessels.end[pick] - vessels.start[pick])
    center = along + away / np.linalg.norm(away) * (vessels.start_mm[pick] + 0.8 * radius)
    ok = slab[0] < center[2] < slab[1]
    deep = anatomy.grid.at(anatomy.lung, center[None])[0] < -0.8 * radius
    return np.asarray(center, dtype=np.float64) if ok and deep else None


def draw_nodule(
    rng: np.random.Generator,
    config: PhantomConfig,
    center: Points,
    radius: float,
    upper_lobe: bool,
    blood_hu: float,
) -> Lesion:
    """Draw what a nodule of this place and size is: its kind, verdict, shape and attenuation."""
    weights = np.array(config.kind_weights)
    kind = NODULE_KINDS[int(rng.choice(len(NODULE_KINDS), p=weights / weights.sum()))]
    if kind == "spiculated" and radius < 3:
        kind = "solid"
    if kind in ("part-solid", "ground-glass") and radius < 2.5:
        radius = float(rng.uniform(2.5, 4))
    malignant = bool(rng.random() < malignancy_probability(2 * radius, kind, upper_lobe))
    soft = rng.uniform(15, 60) + (0.15 * max(blood_hu - 50, 0))
    hu, rim, core, edge = float(soft), float(soft), 1.0, 0.0
    if kind == "calcified":
        hu, core = float(rng.uniform(250, 900)), float(rng.uniform(0.45, 1.0))
    elif kind == "ground-glass":
        hu = rim = float(rng.uniform(-680, -480))
        edge = 1.5
    elif kind == "part-solid":
        rim, core, edge = float(rng.uniform(-650, -430)), float(rng.uniform(0.35, 0.7)), 1.0
    lumpy = 0.2 if malignant else 0.11
    spikes = np.zeros((0, 4))
    if kind == "spiculated":
        spikes = _spikes(rng, radius)
    return Lesion(
        kind, malignant, center, radius, _axes(rng, 0.18 if malignant else 0.12),
        _waves(rng, lumpy), spikes, hu, rim, core, edge,
    )  # fmt: skip


def _scar(rng: np.random.Generator, center: Points, radius: float) -> Lesion:
    """A thin plate of fibrous tissue, long and wide but 1 to 2 mm thick."""
    turn = _rotation(rng)
    size = np.array([1.0, rng.uniform(0.3, 0.8), rng.uniform(0.6, 1.1) / radius])
    hu = float(rng.uniform(-250, 30))
    return Lesion(
        None, False, center, radius, turn / size, _waves(rng, 0.15), np.zeros((0, 4)),
        hu, hu, 1.0, 0.0,
    )  # fmt: skip


def _rotation(rng: np.random.Generator) -> Points:
    """A random rotation; its columns are orthonormal."""
    a, b = rng.normal(0, 1, 3), rng.normal(0, 1, 3)
    a /= np.linalg.norm(a)
    b -= (a * b).sum() * a
    b /= np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)], axis=1)


def _axes(rng: np.random.Generator, spread: float) -> Points:
    """Directions (columns) over relative semi-axes, whose product is 1."""
    size = np.exp(rng.normal(0, spread, 3))
    turned = _rotation(rng) / (size / size.prod() ** (1 / 3))
    return np.asarray(turned, dtype=np.float64)


def _waves(rng: np.random.Generator, amplitude: float) -> Points:
    """Directions (K, 3) scaled by a frequency of 1.5 to 7, with amplitudes (K, 1)."""
    way = rng.normal(0, 1, (10, 3))
    way *= (rng.uniform(1.5, 7, 10) / np.linalg.norm(way, axis=1))[:, None]
    return np.concatenate([way, rng.normal(0, amplitude / 2.5, (10, 1))], axis=1)


def _spikes(rng: np.random.Generator, radius: float) -> Points:
    """Unit directions (SPIKES, 3) and lengths beyond the surface in mm (SPIKES, 1)."""
    way = rng.normal(0, 1, (SPIKES, 3))
    way /= np.linalg.norm(way, axis=1)[:, None]
    length = np.minimum(rng.uniform(0.35, 1.0, (SPIKES, 1)) * radius, 8)
    return np.concatenate([way, length], axis=1)
