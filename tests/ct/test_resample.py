"""Crops with voxels of one size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.ct.resample import cube_crop, reach_irc
from luna.ct.scan import AIR_HU, Provenance, Scan

SHAPE = (12, 20, 24)


@pytest.fixture(scope="module")
def scan():
    hu = np.random.default_rng(3).integers(-1000, 400, SHAPE).astype(np.int16)
    geometry = Geometry((0.0, 0.0, 0.0), (0.7, 0.7, 2.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    return Scan(
        hu=hu, geometry=geometry, series_uid="1.2", provenance=Provenance(source="", format="")
    )


@given(
    center=st.tuples(*(st.floats(-3, n + 3) for n in SHAPE)),
    spacing_irc=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    spacing_mm=st.floats(0.5, 2.0),
)
def test_equals_scipy_with_air_around(scan, center, spacing_irc, spacing_mm):
    size = (5, 6, 8)
    found = cube_crop(scan.crop, center, spacing_irc, size, spacing_mm)
    # scipy blends with what it thinks lies outside only when air is really there.
    wide = np.pad(scan.hu.astype(np.float64), 40, constant_values=AIR_HU)
    places = np.meshgrid(
        *(
            c + (np.arange(n) - (n - 1) / 2) * spacing_mm / s + 40
            for c, n, s in zip(center, size, spacing_irc, strict=True)
        ),
        indexing="ij",
    )
    wanted = ndimage.map_coordinates(wide, places, order=1)
    # Half a HU by rounding, and float32 against float64.
    assert np.abs(found - wanted).max() <= 0.501


def test_own_spacing_at_a_voxel_copies_voxels(scan):
    found = cube_crop(scan.crop, (6, 10, 12), (1.0, 1.0, 1.0), (3, 5, 7), 1.0)
    np.testing.assert_array_equal(found, scan.hu[5:8, 8:13, 9:16])


@given(
    center=st.tuples(*[st.floats(-50, 50)] * 3),
    spacing_irc=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    spacing_mm=st.floats(0.5, 2.0),
)
def test_touches_no_more_than_it_says(center, spacing_irc, spacing_mm):
    touched = []

    def crop(center_irc, size_irc):
        touched.append(size_irc)
        return np.zeros(size_irc, dtype=np.int16)

    cube_crop(crop, center, spacing_irc, (5, 6, 8), spacing_mm)
    reach = reach_irc(spacing_irc, (5, 6, 8), spacing_mm)
    assert all(n <= m for n, m in zip(touched[0], reach, strict=True))
