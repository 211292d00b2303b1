"""A patient with vessels and nodules whose every place is a formula, scanned in any position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.ct.scan import Provenance, Scan

Ball = tuple[tuple[float, float, float], float]
"""Centre (mm from the middle of the chest, x to the left, y to the back, z up) and diameter."""

SIZE_IRC = (44, 84, 124)
VOXEL_MM = 2.5
EXACT = 5
"""Along each axis a voxel is the mean of so many points, so that volumes are true."""


@dataclass(frozen=True)
class Position:
    """How a patient lies in a scan: turned about z (degrees), moved (mm), and breathed out (mm)."""

    turn_degrees: float = 0.0
    shift_xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rise_mm: float = 0.0

    def at_rest(self, xyz: np.ndarray) -> np.ndarray:
        """Where points of the scan are in the patient."""
        moved = xyz - self.shift_xyz
        a = np.deg2rad(self.turn_degrees)
        x, y, z = np.moveaxis(moved, -1, 0)
        x, y = np.cos(a) * x + np.sin(a) * y, np.cos(a) * y - np.sin(a) * x
        return np.stack([x, y, z - self.rise_mm * np.clip((50 - z) / 100, 0, 1)], axis=-1)

    def placed(self, xyz: Sequence[float]) -> np.ndarray:
        """Where a point of the patient is in the scan."""
        guess = np.array(xyz, dtype=float) + self.shift_xyz
        for _ in range(50):
            guess = guess + (np.array(xyz) - self.at_rest(guess))
        return guess


def _tissue(xyz: np.ndarray, vessels: np.ndarray) -> np.ndarray:
    """HU at points of the patient: an oval body, two lungs that taper, vessels in them."""
    x, y, z = np.moveaxis(xyz, -1, 0)
    hu = np.full(x.shape, -1000.0, np.float32)
    hu[(x / 140) ** 2 + (y / 95) ** 2 < 1] = 40
    taper = np.clip(1 - (z / 52) ** 2, 0, 1)
    for side in (-1, 1):
        lung = ((x - side * 65) / 48) ** 2 + (y / 70) ** 2 < taper
        hu[lung] = -860
    at = np.stack([z, y, x]) / VOXEL_MM + np.reshape(vessels.shape, (3, 1, 1, 1)) / 2
    strength = ndimage.map_coordinates(vessels, at, order=1, mode="wrap")
    inside = hu == -860
    hu[inside] += 380 * np.clip(strength[inside] * 3, 0, 1)
    return hu


def _paint(hu: np.ndarray, xyz: np.ndarray, center: np.ndarray, diameter_mm: float) -> None:
    """Blend a ball of soft tissue into the scan, each voxel by its share."""
    gap = np.linalg.norm(xyz - center, axis=-1)
    near = np.argwhere(gap < diameter_mm / 2 + 2 * VOXEL_MM)
    steps = (np.arange(EXACT) + 0.5) / EXACT - 0.5
    fine = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    for voxel in near:
        points = xyz[tuple(voxel)] + fine * VOXEL_MM
        share = (np.linalg.norm(points - center, axis=-1) < diameter_mm / 2).mean()
        hu[tuple(voxel)] += share * (40 - hu[tuple(voxel)])


@pytest.fixture(scope="session")
def visit() -> Callable[..., Scan]:
    """A scan of patient `who` in a position, with balls for nodules: (who, position, balls, …)."""

    def scan(
        who: int, position: Position, balls: Sequence[Ball] = (), date: str = "", noise: int = 0
    ) -> Scan:
        rng = np.random.default_rng(who)
        field = ndimage.gaussian_filter(rng.normal(size=SIZE_IRC), 1.1)
        vessels = np.clip(field / field.std() - 1.6, 0, None).astype(np.float32)
        low = tuple(-(n - 1) * VOXEL_MM / 2 for n in reversed(SIZE_IRC))
        geometry = Geometry(low, (VOXEL_MM,) * 3)
        grid = np.stack(np.meshgrid(*map(np.arange, SIZE_IRC), indexing="ij"), axis=-1)
        xyz = geometry.xyz_from_irc(grid)
        hu = _tissue(position.at_rest(xyz), vessels)
        for center, diameter_mm in balls:
            _paint(hu, xyz, position.placed(center), diameter_mm)
        hu += np.random.default_rng(noise).normal(0, 8, hu.shape)
        phi = {"StudyDate": date, "PatientID": f"P{who}"} if date else {}
        return Scan(
            hu=np.rint(hu).astype(np.int16),
            geometry=geometry,
            series_uid=f"1.2.{who}.{noise}",
            provenance=Provenance(source=f"visit {noise}", format="test", phi=phi),
        )

    return scan


BEFORE = Position()
NOW = Position(turn_degrees=4.0, shift_xyz=(7.0, -5.0, 3.0), rise_mm=4.0)

GROWN, STABLE, SMALLER, NEW, GONE = (
    (-65.0, 20.0, 5.0),
    (60.0, -25.0, 10.0),
    (70.0, 25.0, -8.0),
    (-60.0, -30.0, -5.0),
    (62.0, 5.0, -20.0),
)
BALLS_BEFORE = ((GROWN, 12.0), (STABLE, 13.0), (SMALLER, 16.0), (GONE, 13.0))
BALLS_NOW = ((GROWN, 12.0 * 2 ** (1 / 3)), (STABLE, 13.0), (SMALLER, 12.7), (NEW, 12.0))


@pytest.fixture(scope="session")
def before(visit: Callable[..., Scan]) -> Scan:
    return visit(1, BEFORE, BALLS_BEFORE, date="20240102", noise=1)


@pytest.fixture(scope="session")
def now(visit: Callable[..., Scan]) -> Scan:
    return visit(1, NOW, BALLS_NOW, date="20250101", noise=2)


def dated(scan: Scan, date: str) -> Scan:
    """The same scan of another date."""
    phi = {**scan.provenance.phi, "StudyDate": date}
    return replace(scan, provenance=replace(scan.provenance, phi=phi))
