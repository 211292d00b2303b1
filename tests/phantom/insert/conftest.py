"""A phantom without nodules as the background that nodules are placed into."""

import pytest

from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.scan import Scan
from luna.phantom.config import PhantomConfig
from luna.phantom.insert.insertion import Inserted, insert_nodules
from luna.phantom.phantom import make_scan

BACKGROUND = PhantomConfig(
    size=224, slab_mm=70, slice_mm=(2.0, 2.0), without_nodules=1, soft_kernel_share=1,
    negatives=(1, 1), circle_share=0, terminals_per_ml=(0.7, 0.7), noise_hu=(12, 12),
)  # fmt: skip
SEED, PER_SCAN = 5, 6
NODULES = PhantomConfig(diameter_median_mm=9, diameter_sigma=0.3)


@pytest.fixture(scope="session")
def background() -> Scan:
    return make_scan(31, BACKGROUND).scan


@pytest.fixture(scope="session")
def background_lungs(background: Scan) -> Lungs:
    return find_lungs(background)


@pytest.fixture(scope="session")
def inserted(background: Scan) -> Inserted:
    return insert_nodules(background, SEED, NODULES, PER_SCAN)
