"""The large anatomy of a phantom's chest: outline, lungs, mediastinum, fissures, tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from luna.data.phantom_config import Patient
from luna.data.phantom_field import (
    CoarseGrid,
    Field,
    Points,
    carve_tube,
    ellipsoid,
    normalised,
    put,
    smooth_max,
    smooth_min,
    smooth_noise,
)
from luna.data.phantom_skeleton import skeleton

FAR_MM = 60.0
"""A distance that means: nowhere near."""

FAT_HU, MUSCLE_HU, LIVER_HU, SKIN_HU = -105.0, 48.0, 58.0, 15.0


@dataclass(frozen=True)
class Anatomy:
    """Coarse fields of one patient.

    Distances in mm, negative inside: `body`, `lung`, `bone`. `major` and `minor` are the
    signed distances to the fissures (positive above). HU: `tissue` (everything but lung,
    bone and outside) and `parenchyma` (lung between its vessels).
    """

    grid: CoarseGrid
    patient: Patient
    body: Field
    lung: Field
    bone: Field
    major: Field
    minor: Field
    tissue: Field
    parenchyma: Field
    hila: dict[str, Points]

    def lobe(self, points_xyz: Points) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """0 to 4 for right upper, middle, lower, left upper, lower, at (M, 3) positions."""
        upper = self.grid.at(self.major, points_xyz) > 0
        high = self.grid.at(self.minor, points_xyz) > 0
        left = points_xyz[:, 0] > 0
        right_lobe = np.where(upper, np.where(high, 0, 1), 2)
        return np.where(left, np.where(upper, 3, 4), right_lobe).astype(np.intp)


def build_anatomy(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> Anatomy:
    """All coarse fields of a patient on a grid."""
    cavity = _cavity(patient, grid)
    body = _body(rng, patient, grid)
    organs = _mediastinum(rng, patient, grid)
    dome = _diaphragm(rng, patient, grid)
    lung = _lungs(rng, patient, grid, cavity, organs, dome)
    bone, cartilage = skeleton(patient, grid)
    major, minor = _fissures(rng, patient, grid)
    tissue = _tissue(rng, patient, grid, cavity, body, dome)
    _fill_mediastinum(rng, patient, tissue, organs)
    put(tissue, cartilage, 95)
    return Anatomy(
        grid=grid,
        patient=patient,
        body=body,
        lung=lung,
        bone=bone,
        major=major,
        minor=minor,
        tissue=tissue,
        parenchyma=_parenchyma(rng, patient, grid),
        hila=hila(patient),
    )


def hila(patient: Patient) -> dict[str, Points]:
    """Where arteries, veins and bronchi enter the lungs, body frame mm, by side."""
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


def _cavity(patient: Patient, grid: CoarseGrid) -> Field:
    """Distance to the inner surface of the rib cage; a dome above, straight below."""
    x, y, z = grid.axes()
    rise = np.maximum(z + np.float32(0.2 * patient.height), 0) / np.float32(0.72 * patient.height)
    narrow = np.maximum(-z - np.float32(0.35 * patient.height), 0) / np.float32(patient.height)
    w, d = np.float32(patient.half_width), np.float32(patient.half_depth)
    w, d = w * (1 - np.float32(0.25) * narrow), d * (1 - np.float32(0.15) * narrow)
    norm = (np.abs(x) / w) ** 2.3 + (np.abs(y) / d) ** 2.3 + rise**2.6
    return np.asarray((norm ** np.float32(1 / 2.3) - 1) * d, dtype=np.float32)


def _body(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> Field:
    x, y, z = grid.axes()
    wall = 12 + patient.muscle + patient.fat
    waist = 1 - np.float32(0.08) * np.clip(-z / np.float32(patient.height), 0, 1)
    w = np.float32(patient.half_width + wall + 8) * waist
    d = np.float32(patient.half_depth + wall) * waist
    front = np.maximum(-y, 0) / d
    norm = ((np.abs(x) / w) ** 2.5 + (np.abs(y) / d) ** 2.5) ** np.float32(1 / 2.5)
    chest = (norm - 1) * d + np.float32(5) * front * np.exp(-((x / 30) ** 2))
    return np.asarray(chest + 2.5 * smooth_noise(rng, grid, 60), dtype=np.float32)


def _diaphragm(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> Field:
    """Distance above the diaphragm: negative in the lung's side, positive in the belly."""
    x, y, z = grid.axes()
    h, w, d = patient.height, patient.half_width, patient.half_depth
    surface: Field = np.full((1, 1, 1), -0.66 * h, np.float32)
    for side, lift in ((-1, rng.uniform(0.30, 0.36)), (1, rng.uniform(0.25, 0.31))):
        bowl = ((x - np.float32(side * 0.48 * w)) / (0.62 * w)) ** 2
        bowl = bowl + ((y + np.float32(0.12 * d)) / (1.15 * d)) ** 2
        dome = np.float32(lift * h) * (1 - bowl) - np.float32(0.66 * h)
        surface = -smooth_min(-surface, -np.asarray(dome, np.float32), 14)
    return np.asarray(z - surface - 3 * smooth_noise(rng, grid, 50), np.float32) * np.float32(-1)


def _mediastinum(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> dict[str, Field]:
    """Distances to the organs between the lungs, in the order in which they are painted."""
    h, d, s = patient.height, patient.half_depth, patient.heart_scale
    spine_y = patient.spine_y
    turn = rng.uniform(-4, 4)

    def tube(path: list[tuple[float, float, float]], radius: float | list[float]) -> Field:
        field = np.full(grid.shape, FAR_MM, np.float32)
        carve_tube(field, grid, path, radius)
        return field

    heart_c = np.array([20 + turn, -0.28 * d, -0.20 * h])
    heart = ellipsoid(grid, heart_c, np.array([56, 46, 50]) * s, 2.2)
    right = ellipsoid(grid, heart_c + np.array([-34, 4, 6]), np.array([34, 34, 44]) * s)
    atrium = ellipsoid(grid, (2, 2, -0.10 * h), np.array([38, 19, 24]) * s)
    ay = spine_y - 22
    aorta = tube(
        [
            (6, -24, -0.10 * h), (4, -34, 0.06 * h), (2, -22, 0.19 * h), (12, -2, 0.23 * h),
            (22, ay, 0.18 * h), (24, ay + 4, 0.05 * h), (20, ay, -0.2 * h), (10, ay, -0.75 * h),
        ],
        [15, 14, 13, 13, 12.5, 12, 11.5, 11],
    )  # fmt: skip
    place = hila(patient)
    trunk = tube(
        [(20, -44, -0.08 * h), (22, -34, 0.02 * h), (24, -16, 0.07 * h),
         tuple(place["artery-left"])], [14, 14, 12, 9.5],
    )  # fmt: skip
    branch = tube(
        [(22, -24, 0.05 * h), (-10, -14, 0.04 * h), tuple(place["artery-right"])], [11, 10, 9]
    )
    cava = tube([(-24, -16, 0.42 * h), (-24, -16, -0.12 * h)], [8, 10])
    gullet = tube([(4, spine_y - 24, 0.6 * h), (6, spine_y - 23, -0.7 * h)], 6.5)
    necks = np.minimum(
        tube([(2, -22, 0.2 * h), (-18, -14, 0.38 * h), (-22, -10, 0.6 * h)], [8, 6.5, 4]),
        tube([(14, -4, 0.22 * h), (24, 2, 0.4 * h), (26, -4, 0.6 * h)], [6, 5, 4]),
    )
    veins = np.minimum(
        tube([(-30, 0, -0.10 * h), tuple(place["vein-right"])], [9, 7.5]),
        tube([(30, 2, -0.09 * h), tuple(place["vein-left"])], [9, 7.5]),
    )
    return {
        "heart": smooth_min(heart, right, 12),
        "atrium": smooth_min(atrium, veins, 6),
        "aorta": aorta,
        "artery": smooth_min(trunk, branch, 6),
        "cava": np.minimum(cava, necks),
        "gullet": gullet,
    }


def _septum(patient: Patient, grid: CoarseGrid, organs: dict[str, Field]) -> Field:
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
    for part in (upper, np.asarray(front, np.float32), airway):
        joined = smooth_min(joined, part, 10)
    below = ellipsoid(grid, (8, 0.15 * d, -0.55 * h), (44, 0.75 * d, 0.32 * h))
    joined = smooth_min(joined, below, 14)
    for organ in organs.values():
        joined = smooth_min(joined, organ - 2, 8)
    return joined


def _lungs(
    rng: np.random.Generator,
    patient: Patient,
    grid: CoarseGrid,
    cavity: Field,
    organs: dict[str, Field],
    dome: Field,
) -> Field:
    h, w, d = patient.height, patient.half_width, patient.half_depth
    sides = [
        ellipsoid(grid, (side * 0.47 * w, 0.06 * d, -0.2 * h), (0.66 * w, 1.3 * d, 0.70 * h), 2.3)
        for side in (-1, 1)
    ]
    lung = smooth_max(cavity + 1.5, np.minimum(sides[0], sides[1]), 10)
    lung = smooth_max(lung, dome, 5)
    lung = smooth_max(lung, -_septum(patient, grid, organs), 5)
    lung = lung + 1.2 * smooth_noise(rng, grid, 22)
    return normalised(np.asarray(lung, np.float32))


def _fissures(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> tuple[Field, Field]:
    """Signed distances to the oblique and to the right horizontal fissure."""
    x, y, z = grid.axes()
    h, d = patient.height, patient.half_depth
    twist = np.float32(rng.uniform(0.05, 0.2)) * (np.abs(x) - 60)
    slope = 0.32 * h / d  # from high at the back to low in front
    major = z + np.float32(0.09 * h) - np.float32(slope) * (y - np.float32(0.1 * d))
    major = major / np.float32(np.hypot(1, slope)) + twist
    minor = z - np.float32(rng.uniform(-0.05, 0.03) * h) + np.float32(0.15) * (y + 30)
    major = major + 5 * smooth_noise(rng, grid, 45)
    minor = minor + 0.06 * (x + 60) + 4 * smooth_noise(rng, grid, 40)
    return np.asarray(major, np.float32), np.asarray(minor, np.float32)


def _tissue(
    rng: np.random.Generator,
    patient: Patient,
    grid: CoarseGrid,
    cavity: Field,
    body: Field,
    dome: Field,
) -> Field:
    """Chest wall by depth, the belly under the diaphragm, fat between the lungs."""
    y = grid.axes()[1]
    streaks = smooth_noise(rng, grid, 7)
    tissue = np.full(grid.shape, MUSCLE_HU, np.float32) + 6 * streaks
    seams = smooth_noise(rng, grid, 25) + np.float32(0.3) * streaks
    sheets = np.cos(cavity * np.float32(2 * np.pi / 12) + 2 * seams) + np.float32(0.35) * seams
    put(tissue, np.maximum((np.float32(0.95) - sheets) * 5, 8 - cavity), FAT_HU)
    fat = np.float32(patient.fat) * (1 + 0.3 * smooth_noise(rng, grid, 50))
    put(tissue, -body - np.maximum(fat, 3), FAT_HU + 8 * streaks)
    put(tissue, -body - 2, SKIN_HU)
    put(tissue, cavity + 2, FAT_HU + 12 * streaks + np.maximum(30 * seams, 0))
    belly = smooth_max(dome * -1 + 2, cavity + 1, 4)
    put(tissue, belly, MUSCLE_HU)
    put(tissue, belly + 3, FAT_HU + 10 * streaks)
    h, w, d = patient.height, patient.half_width, patient.half_depth
    liver = ellipsoid(grid, (-0.35 * w, -0.1 * d, -0.75 * h), (0.75 * w, 0.95 * d, 0.5 * h), 3)
    spleen = ellipsoid(grid, (0.62 * w, 0.45 * d, -0.65 * h), (0.3 * w, 0.4 * d, 0.3 * h))
    stomach = ellipsoid(grid, (0.4 * w, -0.2 * d, -0.65 * h), (0.4 * w, 0.5 * d, 0.28 * h))
    organ_hu = LIVER_HU + 0.25 * max(patient.blood_hu - 40, 0)
    put(tissue, np.maximum(liver, belly + 4), organ_hu)
    put(tissue, np.maximum(spleen, belly + 5), organ_hu - 6)
    put(tissue, np.maximum(stomach, belly + 6), 25)
    air = np.maximum(stomach + 4, y + np.float32(rng.uniform(0.15, 0.6) * d))
    put(tissue, np.maximum(air, belly + 9), -960)
    return tissue


def _fill_mediastinum(
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


def _parenchyma(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> Field:
    """Denser towards the back (the patient lies on it), mottled, with holes in emphysema."""
    _, y, _ = grid.axes()
    depth = y / np.float32(patient.half_depth)
    field = np.float32(patient.lung_hu) + np.float32(patient.gradient_hu) * depth
    field = field + 9 * smooth_noise(rng, grid, 35) + 7 * smooth_noise(rng, grid, 8)
    if patient.emphysema:
        holes = np.clip(smooth_noise(rng, grid, 9) + smooth_noise(rng, grid, 40) - 1, 0, 1)
        field = field + holes * (np.float32(-965) - field)
    return np.asarray(field, np.float32)
