"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; a user's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: real scans and goldens are not there")
    return SHARED
