"""Measurements of nodules whose size is known by construction."""

import numpy as np
import pytest

from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.detect.measure import measure, trim

SPACING_XYZ = (0.7, 0.7, 1.25)


def ellipsoid(half_axes_mm, angle_deg: float = 0.0, shape=(40, 80, 80)) -> np.ndarray:
    """Bool grid of an ellipsoid at its centre, its x and y axes turned in the axial plane."""
    z, y, x = ((np.arange(n) - n // 2) * s for n, s in zip(shape, SPACING_XYZ[::-1], strict=True))
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    u, v = c * x + s * y, -s * x + c * y
    a, b, h = half_axes_mm
    return (u / a) ** 2 + (v / b) ** 2 + (z / h) ** 2 <= 1


def scan_with(scan_of, mask: np.ndarray, hu: float = 40.0):
    rng = np.random.default_rng(0)
    volume = np.where(mask, hu, -850.0) + rng.normal(0, 20, mask.shape)
    return scan_of(np.rint(volume).astype(np.int16), Geometry((0, 0, 0), SPACING_XYZ))


def whole(mask: np.ndarray) -> BoxMask:
    return BoxMask(start_irc=(0, 0, 0), voxels=mask)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 137])
def test_axes_of_a_turned_ellipsoid(scan_of, angle: float) -> None:
    mask = ellipsoid((12, 7, 9), angle)
    m = measure(scan_with(scan_of, mask), whole(mask))
    # Chords run from voxel edge to voxel edge, so they may exceed the shape by one diagonal.
    assert m.long_axis_mm == pytest.approx(24, abs=1.0)
    assert m.short_axis_mm == pytest.approx(14, abs=1.0)
    assert m.diameter_mm == (m.long_axis_mm + m.short_axis_mm) / 2
    assert m.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12 * 7 * 9, rel=0.03)
    assert m.axial_index == 20


def test_a_single_voxel_measures_its_diagonal(scan_of) -> None:
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[1, 1, 1] = True
    m = measure(scan_with(scan_of, mask), whole(mask))
    assert m.long_axis_mm == pytest.approx(np.hypot(0.7, 0.7))
    assert m.volume_mm3 == pytest.approx(0.7 * 0.7 * 1.25)
    assert m.hu_min == m.hu_max == round(m.hu_mean)


def test_attenuation_is_that_of_the_mask(scan_of) -> None:
    mask = ellipsoid((5, 5, 5))
    scan = scan_with(scan_of, mask, hu=-100)
    m = measure(scan, whole(mask))
    values = scan.hu[mask]
    assert (m.hu_min, m.hu_max) == (values.min(), values.max())
    assert m.hu_mean == pytest.approx(values.mean())


def test_trim_cuts_a_vessel_and_a_rim(scan_of) -> None:
    nodule = ellipsoid((6, 6, 6))
    generous = ellipsoid((7.2, 7.2, 7.2))
    vessel = np.zeros_like(nodule)
    vessel[19:22, 38:42, 40:75] = True
    scan = scan_with(scan_of, nodule | vessel)
    body = trim(scan, whole(generous | vessel))
    assert measure(scan, body).diameter_mm == pytest.approx(12, rel=0.15)
    assert (body.voxels & nodule).sum() > 0.9 * nodule.sum()


@pytest.mark.parametrize("hu", [40, -600])
def test_trim_keeps_a_lone_nodule_solid_or_ground_glass(scan_of, hu: float) -> None:
    nodule = ellipsoid((4, 4, 4))
    scan = scan_with(scan_of, nodule, hu)
    body = trim(scan, whole(nodule))
    assert (body.voxels & nodule).sum() > 0.9 * nodule.sum()


def test_trim_never_empties(scan_of) -> None:
    for shape in ((1, 1, 1), (1, 2, 1), (1, 1, 5)):
        mask = np.ones(shape, dtype=bool)
        scan = scan_of(np.full(shape, -1000), Geometry((0, 0, 0), SPACING_XYZ))
        assert trim(scan, whole(mask)).voxels.any()
