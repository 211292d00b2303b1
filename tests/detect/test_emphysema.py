"""The share of each lung below -950 HU is that of the voxels that were made so."""

from collections.abc import Callable

import numpy as np
import pytest

from luna.ct.lungs.find import find_lungs
from luna.ct.scan import Scan
from luna.detect.emphysema import low_attenuation


def test_the_share_of_each_side_is_counted_apart(
    chest: Callable[..., Scan], scan_of: Callable[..., Scan]
) -> None:
    scan = chest()
    lungs = find_lungs(scan)
    right, left = low_attenuation(scan, lungs)
    assert right == pytest.approx(0, abs=1e-3)
    assert left == pytest.approx(0, abs=1e-3)
    hu = scan.hu.copy()
    grid = np.stack(np.meshgrid(*map(np.arange, hu.shape), indexing="ij"), axis=-1)
    in_right = (lungs.label_at(grid) == 1) & (hu < -700)
    every_fourth = in_right & (grid.sum(axis=-1) % 4 == 0)
    hu[every_fourth] = -980
    right, left = low_attenuation(scan_of(hu, scan.geometry), lungs)
    assert right == pytest.approx(every_fourth.sum() / in_right.sum(), abs=0.01)
    assert left == pytest.approx(0, abs=1e-3)


def test_a_side_without_a_lung_has_no_share(chest: Callable[..., Scan]) -> None:
    scan = chest()
    lungs = find_lungs(scan)
    lungs.labels[lungs.labels == 2] = 0
    assert low_attenuation(scan, lungs)[1] is None
