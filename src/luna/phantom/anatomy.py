"""The large anatomy of a phantom's chest: outline, lungs, mediastinum, fissures, tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from luna.phantom.config import Patient
from luna.phantom.field import (
    CoarseGrid,
    Field,
    Points,
    ellipsoid,
    normalised,
    put,
    smooth_max,
    smooth_min,
    smooth_noise,
)
from luna.phantom.mediastinum import fill_mediastinum, hila, mediastinum, septum
from luna.phantom.skeleton import skeleton

FAT_HU, MUSCLE_HU, LIVER_HU, SKIN_HU = -105.0, 48.0, 58.0, 15.0


@dataclass(frozen=True)
class Anatomy:
    """The coarse fields of one patient.

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
        """Number the lobes of (M, 3) positions: right upper, middle, lower, left upper, lower."""
        upper = self.grid.at(self.major, points_xyz) > 0
        high = self.grid.at(self.minor, points_xyz) > 0
        left = points_xyz[:, 0] > 0
        right_lobe = np.where(upper, np.where(high, 0, 1), 2)
        return np.where(left, np.where(upper, 3, 4), right_lobe).astype(np.intp)


def build_anatomy(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> Anatomy:
    """Draw all coarse fields of a patient on a grid."""
    cavity = _cavity(patient, grid)
    body = _body(rng, patient, grid)
    organs = mediastinum(rng, patient, grid)
    dome = _diaphragm(rng, patient, grid)
    lung = _lungs(rng, patient, grid, cavity, organs, dome)
    bone, cartilage = skeleton(patient, grid)
    major, minor = _fissures(rng, patient, grid)
    tissue = _tissue(rng, patient, grid, cavity, body, dome)
    fill_mediastinum(rng, patient, tissue, organs)
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
    """Distance to the skin."""
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
    """Distance to the diaphragm: negative on the side of the lung, positive in the belly."""
    x, y, z = grid.axes()
    h, w, d = patient.height, patient.half_width, patient.half_depth
    surface: Field = np.full((1, 1, 1), -0.66 * h, np.float32)
    for side, lift in ((-1, rng.uniform(0.30, 0.36)), (1, rng.uniform(0.25, 0.31))):
        bowl = ((x - np.float32(side * 0.48 * w)) / (0.62 * w)) ** 2
        bowl = bowl + ((y + np.float32(0.12 * d)) / (1.15 * d)) ** 2
        dome = np.float32(lift * h) * (1 - bowl) - np.float32(0.66 * h)
        surface = -smooth_min(-surface, -np.asarray(dome, np.float32), 14)
    return np.asarray(z - surface - 3 * smooth_noise(rng, grid, 50), np.float32) * np.float32(-1)


def _lungs(
    rng: np.random.Generator,
    patient: Patient,
    grid: CoarseGrid,
    cavity: Field,
    organs: dict[str, Field],
    dome: Field,
) -> Field:
    """Distance to the surface of both lungs."""
    h, w, d = patient.height, patient.half_width, patient.half_depth
    sides = [
        ellipsoid(grid, (side * 0.47 * w, 0.06 * d, -0.2 * h), (0.66 * w, 1.3 * d, 0.70 * h), 2.3)
        for side in (-1, 1)
    ]
    lung = smooth_max(cavity + 1.5, np.minimum(sides[0], sides[1]), 10)
    lung = smooth_max(lung, dome, 5)
    lung = smooth_max(lung, -septum(patient, grid, organs), 5)
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
    """Attenuation of the chest wall by depth, of the belly, and of fat between the lungs."""
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


def _parenchyma(rng: np.random.Generator, patient: Patient, grid: CoarseGrid) -> Field:
    """Attenuation of the lung between its vessels.

    It is denser towards the back, on which the patient lies, and mottled. Emphysema has holes.
    """
    _, y, _ = grid.axes()
    depth = y / np.float32(patient.half_depth)
    field = np.float32(patient.lung_hu) + np.float32(patient.gradient_hu) * depth
    field = field + 9 * smooth_noise(rng, grid, 35) + 7 * smooth_noise(rng, grid, 8)
    if patient.emphysema:
        holes = np.clip(smooth_noise(rng, grid, 9) + smooth_noise(rng, grid, 40) - 1, 0, 1)
        field = field + holes * (np.float32(-965) - field)
    return np.asarray(field, np.float32)
