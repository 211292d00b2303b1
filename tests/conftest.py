"""What every test may ask for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from luna.ct.geometry import Geometry
from luna.ct.scan import Provenance, Scan

# On a busy machine any example may take long; no test here is about time. The parent is the
# profile in force, which under CI draws the same examples every time.
settings.register_profile("luna", settings(), deadline=None)
settings.load_profile("luna")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; a user's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: real scans and goldens are not there")
    return SHARED


@pytest.fixture(scope="session")
def book_models(shared: Path) -> Path:
    """The checkpoints published with the book's code."""
    return shared / "book" / "models"


def scan_of(hu: np.ndarray, geometry: Geometry | None = None, uid: str = "1.2.3") -> Scan:
    geometry = geometry or Geometry((-100.0, -100.0, 0.0), (1.5, 1.5, 2.5))
    return Scan(
        hu=np.asarray(hu, dtype=np.int16),
        geometry=geometry,
        series_uid=uid,
        provenance=Provenance(source="test.mhd", format="MetaImage"),
    )


@pytest.fixture(name="scan_of")
def scan_of_fixture() -> Callable[..., Scan]:
    """Wrap an array as a Scan: (hu, geometry=…, uid=…)."""
    return scan_of


def chest_hu(slices: int = 24, rows: int = 96, columns: int = 128, seed: int = 0) -> np.ndarray:
    """A crude chest at 2.5 mm: oval body, two lungs that taper at both ends, a trachea, noise."""
    rng = np.random.default_rng(seed)
    i, r, c = np.mgrid[:slices, :rows, :columns].astype(np.float32)
    y, x = r - rows / 2, c - columns / 2
    middle = (slices - 1) / 2
    taper = np.sqrt(np.clip(1 - ((i - middle) / middle) ** 2, 0, 1))
    hu = np.full(i.shape, -1000.0, dtype=np.float32)
    hu[(x / 56) ** 2 + (y / 40) ** 2 < 1] = 40
    for side in (-1, 1):
        lung = ((x - side * 26) / 18) ** 2 + (y / 28) ** 2 < taper**2
        hu[lung] = -850
    hu[(x**2 + (y + 4) ** 2 < 9) & (i > slices * 2 / 3)] = -1000
    return np.rint(hu + rng.normal(0, 15, hu.shape)).astype(np.int16)


@pytest.fixture(name="chest")
def chest_fixture() -> Callable[..., Scan]:
    """A crude chest as a Scan with 2.5 mm voxels; keyword arguments as `chest_hu`."""

    def build(uid: str = "1.2.3", **shape: int) -> Scan:
        geometry = Geometry((-160.0, -120.0, -30.0), (2.5, 2.5, 2.5))
        return scan_of(chest_hu(**shape), geometry, uid)

    return build
