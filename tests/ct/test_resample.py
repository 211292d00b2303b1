"""Crops with voxels of one size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.ct.resample import Grid, cube_crop, cubes_of, reach_irc, whole_hu
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


FINE = (0.7, 0.7, 0.7)


def noise_of(antialias: bool, spacing_mm: float) -> float:
    """Standard deviation, in a cube, of white noise of 40 HU in voxels of .7 mm."""
    noise = np.random.default_rng(1).normal(0, 40, (90, 90, 90))
    hu = np.rint(noise).astype(np.int16)
    scan = Scan(
        hu=hu,
        geometry=Geometry((0.0, 0.0, 0.0), FINE),
        series_uid="1",
        provenance=Provenance(source="", format=""),
    )
    cube = cube_crop(
        scan.crop, (45.2, 44.7, 45.4), FINE, (32,) * 3, spacing_mm, antialias=antialias
    )
    return float(cube.std())


def test_the_mean_over_a_voxel_takes_the_noise_that_points_keep():
    points, means = noise_of(False, 1.25), noise_of(True, 1.25)
    # Trilinear points keep (2/3)^1.5 of the standard deviation on average; a triangle of
    # half-width r voxels keeps (2 / 3r)^1.5, here of r = 1.25 / 0.7.
    assert points == pytest.approx(40 * (2 / 3) ** 1.5, rel=0.1)
    assert means == pytest.approx(40 * (2 / 3 * 0.7 / 1.25) ** 1.5, rel=0.1)


@given(value=st.integers(-1000, 1000), spacing_mm=st.floats(0.3, 4.0))
def test_what_is_even_stays_as_it_is(value, spacing_mm):
    def crop(center_irc, size_irc):
        return np.full(size_irc, value, dtype=np.int16)

    cube = cube_crop(crop, (3.3, 4.4, 5.5), (0.6, 0.7, 2.5), (4, 5, 6), spacing_mm, antialias=True)
    assert (cube == value).all()


def test_a_ramp_keeps_its_place():
    """The mean of a ramp is its value in the middle: nothing moves by a tenth of a voxel."""
    hu = np.broadcast_to(10 * np.arange(60, dtype=np.int16), (60, 60, 60))
    scan = Scan(
        hu=np.ascontiguousarray(hu),
        geometry=Geometry((0.0, 0.0, 0.0), FINE),
        series_uid="1",
        provenance=Provenance(source="", format=""),
    )
    center = (30.0, 30.0, 30.25)
    cube = cube_crop(scan.crop, center, FINE, (8, 8, 8), 1.9, antialias=True)
    wanted = 10 * (30.25 + (np.arange(8) - 3.5) * 1.9 / 0.7)
    np.testing.assert_allclose(cube[4, 4], wanted, atol=1.0)


@given(
    center=st.tuples(*[st.floats(-50, 50)] * 3),
    spacing_irc=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    scales_mm=st.lists(st.floats(10, 100), min_size=1, max_size=3),
    antialias=st.booleans(),
)
def test_what_prep_keeps_for_cubes_is_all_they_touch(center, spacing_irc, scales_mm, antialias):
    touched = []

    def crop(center_irc, size_irc):
        start = np.rint(center_irc).astype(int) - np.array(size_irc) // 2
        touched.append((start, start + size_irc))
        return np.zeros(size_irc, dtype=np.int16)

    cubes = cubes_of((32, 32, 32), None, scales_mm, antialias)
    assert cubes.cut(crop, center, spacing_irc).shape == (len(scales_mm), 32, 32, 32)
    # As `needed_blocks` marks them: two voxels more, around the rounded centre.
    size = np.array(reach_irc(spacing_irc, (32, 32, 32), cubes.prepared_mm)) + 2
    low = np.rint(center).astype(int) - size // 2
    for start, stop in touched:
        assert (start >= low).all()
        assert (stop <= low + size).all()


@given(
    spacing_irc=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    spacing_mm=st.floats(0.6, 2.0),
    antialias=st.booleans(),
    data=st.data(),
)
def test_a_box_of_the_grid_is_that_part_of_the_whole(
    scan, spacing_irc, spacing_mm, antialias, data
):
    grid = Grid(
        shape_irc=SHAPE, spacing_irc=spacing_irc, spacing_mm=spacing_mm, antialias=antialias
    )
    whole = grid.volume(scan.crop, tuple(slice(0, n) for n in grid.shape))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in grid.shape)
    size = tuple(data.draw(st.integers(1, n - a)) for n, a in zip(grid.shape, start, strict=True))
    inside = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    np.testing.assert_array_equal(whole_hu(grid.cut(scan.crop, start, size)), whole[inside])


@given(spacing_irc=st.tuples(*[st.floats(0.5, 3.0)] * 3), spacing_mm=st.floats(0.6, 2.0))
def test_the_grid_holds_the_scan_and_no_more(spacing_irc, spacing_mm):
    grid = Grid(shape_irc=SHAPE, spacing_irc=spacing_irc, spacing_mm=spacing_mm)
    last = grid.from_scan(np.array(SHAPE) - 1)
    assert (np.array(grid.shape) - 1 <= last + 1e-6).all()
    assert (np.array(grid.shape) > last - 1e-6).all()
    box = grid.box((slice(2, 7), slice(0, 20), slice(5, 6)))
    low, high = grid.from_scan((2, 0, 5)), grid.from_scan((6, 19, 5))
    assert all(s.start <= a + 1e-9 for s, a in zip(box, low, strict=True))
    assert all(
        s.stop >= min(np.floor(b) + 1, n) for s, b, n in zip(box, high, grid.shape, strict=True)
    )
