"""Heart, great vessels, gullet and windpipe of a phantom: what lies between the lungs."""

from __future__ import annotations

import numpy as np

from luna.phantom.config import Patient
from luna.phantom.field import (
    CoarseGrid,
    Field,
    Points,
    carve_tube,
    ellipsoid,
    put,
    smooth_max,
    smooth_min,
)

FAR_MM = 60.0
"""A distance that stands for far away."""

Path3 = list[tuple[float, float, float]]


def hila(patient: Patient) -> dict[str, Points]:
    """Points in body mm where arteries, veins and bronchi enter the lungs, by side."""
    h = patient.height
    return {
        "artery-right": np.array([-42.0, 2.0, 0.01 * h]),
        "artery-left": np.array([44.0, 6.0, 0.05 * h]),
        "vein-right": np.array([-36.0, -4.0, -0.10 * h]),
        "vein-left": np.array([36.0, 0.0, -0.09 * h]),
        "bronchus-right": np.array([-38.0, 12.0, 0.02 * h]),
        "bronchus-left": np.array([42.0, 16.0, 0.0]),
        "carina": np.array([-1.0, 10.0, 0.10 * h]),
        "trachea": np.array([-1.0, 2.0, 0.62 * h]),
    }


def mediastinum(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> dict[str, Field]:
    """Distances to the organs between the lungs, in the order in which they are painted."""
    h, d, s = patient.height, patient.half_depth, patient.heart_scale
    spine_y = patient.spine_y
    turn = rng.uniform(-4, 4)

    heart_c = np.array([20 + turn, -0.28 * d, -0.20 * h])
    heart = ellipsoid(grid, heart_c, np.array([56, 46, 50]) * s, 2.2)
    right = ellipsoid(grid, heart_c + np.array([-34, 4, 6]), np.array([34, 34, 44]) * s)
    atrium = ellipsoid(grid, (2, 2, -0.10 * h), np.array([38, 19, 24]) * s)
    ay = spine_y - 22
    aorta = _tube(
        grid,
        [
            (6, -24, -0.10 * h), (4, -34, 0.06 * h), (2, -22, 0.19 * h), (12, -2, 0.23 * h),
            (22, ay, 0.18 * h), (24, ay + 4, 0.05 * h), (20, ay, -0.2 * h), (10, ay, -0.75 * h),
        ],
        [15, 14, 13, 13, 12.5, 12, 11.5, 11],
    )  # fmt: skip
    place = hila(patient)
    trunk = _tube(
        grid,
        [(20, -44, -0.08 * h), (22, -34, 0.02 * h), (24, -16, 0.07 * h),
         tuple(place["artery-left"])], [14, 14, 12, 9.5],
    )  # fmt: skip
    branch = _tube(
        grid, [(22, -24, 0.05 * h), (-10, -14, 0.04 * h), tuple(place["artery-right"])], [11, 10, 9]
    )
    cava = _tube(grid, [(-24, -16, 0.42 * h), (-24, -16, -0.12 * h)], [8, 10])
    gullet = _tube(grid, [(4, spine_y - 24, 0.6 * h), (6, spine_y - 23, -0.7 * h)], 6.5)
    necks = np.minimum(
        _tube(grid, [(2, -22, 0.2 * h), (-18, -14, 0.38 * h), (-22, -10, 0.6 * h)], [8, 6.5, 4]),
        _tube(grid, [(14, -4, 0.22 * h), (24, 2, 0.4 * h), (26, -4, 0.6 * h)], [6, 5, 4]),
    )
    veins = np.minimum(
        _tube(grid, [(-30, 0, -0.10 * h), tuple(place["vein-right"])], [9, 7.5]),
        _tube(grid, [(30, 2, -0.09 * h), tuple(place["vein-left"])], [9, 7.5]),
    )
    return {
        "heart": smooth_min(heart, right, 12),
        "atrium": smooth_min(atrium, veins, 6),
        "aorta": aorta,
        "artery": smooth_min(trunk, branch, 6),
        "cava": np.minimum(cava, necks),
        "gullet": gullet,
    }


def _tube(grid: CoarseGrid, path: Path3, radius: float | list[float]) -> Field:
    field = np.full(grid.shape, FAR_MM, np.float32)
    carve_tube(field, grid, path, radius)
    return field


def septum(patient: Patient, grid: CoarseGrid, organs: dict[str, Field]) -> Field:
    """Distance to everything between the lungs, fat included."""
    x, y, z = grid.axes()
    h, d = patient.height, patient.half_depth
    spine = ellipsoid(grid, (0, patient.spine_y, 0), (25, 22, 1e5))
    behind = smooth_max(np.abs(x) - np.float32(20) + 0 * z, np.float32(patient.spine_y) - y, 8)
    upper = ellipsoid(grid, (0, -0.05 * d, 0.36 * h), (33, 0.52 * d, 0.36 * h), 2.4)
    front = smooth_max(np.abs(x + 2) - np.float32(3.5), y + np.float32(0.30 * d) + 0 * z, 8)
    airway = np.full(grid.shape, FAR_MM, np.float32)
    place = hila(patient)
    carve_tube(airway, grid, [place["trachea"], place["carina"]], 10)
    for side in ("right", "left"):
        carve_tube(airway, grid, [place["carina"], place[f"bronchus-{side}"]], [9, 7])
    joined = smooth_min(spine, np.asarray(behind, np.float32), 10)
    for region in (upper, np.asarray(front, np.float32), airway):
        joined = smooth_min(joined, region, 10)
    below = ellipsoid(grid, (8, 0.15 * d, -0.55 * h), (44, 0.75 * d, 0.32 * h))
    joined = smooth_min(joined, below, 14)
    for organ in organs.values():
        joined = smooth_min(joined, organ - 2, 8)
    return joined


def fill_mediastinum(
    rng: np.random.Generator, patient: Patient, tissue: Field, organs: dict[str, Field]
) -> None:
    """Paint heart, great vessels and gullet; muscle takes up less contrast than blood."""
    blood = patient.blood_hu
    wall = 42 + 0.3 * max(blood - 42, 0)
    put(tissue, organs["heart"] + 2.5, wall)
    put(tissue, organs["heart"] + 11, 0.5 * (blood + wall))
    for name in ("atrium", "aorta", "artery", "cava"):
        put(tissue, organs[name], blood * rng.uniform(0.92, 1.08))
    put(tissue, organs["gullet"], 36)
