"""Signed distances on the coarse grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.phantom.field import (
    STEP_MM,
    CoarseGrid,
    carve_tube,
    ellipsoid,
    inside,
    normalised,
    put,
    smooth_max,
    smooth_min,
    smooth_noise,
)

GRID = CoarseGrid(low_xyz=(-20.0, -24.0, -16.0), shape=(17, 25, 21))
VALUES = st.floats(-50, 50, width=32)


def test_a_linear_field_is_read_exactly_between_its_elements():
    x, y, z = GRID.axes()
    field = (2 * x - y + 0.5 * z).astype(np.float32)
    points = np.random.default_rng(0).uniform((-19, -23, -15), (19, 23, 15), (50, 3))
    expected = points @ [2, -1, 0.5]
    assert np.allclose(GRID.at(field, points), expected, atol=1e-4)
    assert np.allclose(GRID.index(GRID.low_xyz), 0)
    far = GRID.at(field, [[1000.0, 0.0, 0.0]])
    assert far == pytest.approx(2 * x.max())  # the border's value holds


def test_positions_are_those_of_the_elements():
    chosen = np.zeros(GRID.shape, dtype=bool)
    chosen[1, 2, 3] = True
    assert GRID.positions(chosen).tolist() == [[-14.0, -20.0, -14.0]]


@given(VALUES, VALUES, st.floats(0.5, 10, width=32))
def test_a_fillet_only_adds_and_no_more_than_a_quarter_of_its_width(a, b, blend):
    a, b = np.array([a], np.float32), np.array([b], np.float32)
    low = smooth_min(a, b, blend)[0]
    assert low == pytest.approx(smooth_min(b, a, blend)[0], abs=1e-4)
    least = min(a[0], b[0])
    assert least - 0.25 * blend - 1e-3 <= low <= least + 1e-4
    if abs(a[0] - b[0]) >= blend:
        assert low == pytest.approx(least, abs=1e-4)
    assert smooth_max(a, b, blend)[0] == pytest.approx(-smooth_min(-a, -b, blend)[0])


def test_coverage_and_paint_follow_the_distance():
    distance = np.array([-5, -0.5, 0, 0.5, 5], np.float32)
    assert inside(distance, 2.0).tolist() == [1, 0.75, 0.5, 0.25, 0]
    tissue = np.full((3,), -1000, np.float32)
    put(tissue, np.array([-10, 0, 10], np.float32), 40.0)
    assert tissue.tolist() == [40, -480, -1000]


def test_an_ellipsoid_is_negative_inside_and_zero_at_its_axes():
    distance = ellipsoid(GRID, (0, 0, 0), (8, 12, 6))
    places = np.array([[8, 0, 0], [0, -12, 0], [0, 0, 6]], dtype=float)
    assert np.abs(GRID.at(distance, places)).max() < 0.3
    assert GRID.at(distance, [[0.0, 0, 0]])[0] == pytest.approx(-6)
    share = (distance < 0).mean() * np.prod(GRID.shape) * STEP_MM**3
    assert share == pytest.approx(4 / 3 * np.pi * 8 * 12 * 6, rel=0.1)


def test_a_rescaled_field_grows_by_a_millimetre_a_millimetre():
    steep = normalised(3 * ellipsoid(GRID, (0, 0, 0), (9, 9, 9)))
    line = GRID.at(steep, [[float(x), 0, 0] for x in (7, 9, 11)])
    assert np.diff(line) == pytest.approx([2, 2], abs=0.3)


def test_a_tube_is_as_wide_as_told_along_its_path():
    field = np.full(GRID.shape, 50, np.float32)
    carve_tube(field, GRID, [[0, 0, -12], [0, 0, 12]], [3.0, 5.0])
    places = [[3.0, 0, -12], [4.0, 0, 0], [0, 5.0, 12]]
    assert np.abs(GRID.at(field, places)).max() < 0.6
    assert GRID.at(field, [[0.0, 0, 0]])[0] < -3
    assert field[0, 0, 0] == 50  # far from the path nothing changes


def test_a_tube_outside_the_grid_changes_nothing():
    field = np.full(GRID.shape, 50, np.float32)
    carve_tube(field, GRID, [[500, 0, 0], [520, 0, 0]], 3.0)
    assert (field == 50).all()


def test_random_fields_have_a_spread_of_one_and_change_over_their_scale():
    rng = np.random.default_rng(0)
    grid = CoarseGrid(low_xyz=(0, 0, 0), shape=(60, 60, 60))
    field = smooth_noise(rng, grid, 12.0)
    assert abs(field.mean()) < 0.3
    assert field.std() == pytest.approx(1, abs=0.25)

    def together(steps: int) -> float:
        return float(np.corrcoef(field[:, :, :-steps].ravel(), field[:, :, steps:].ravel())[0, 1])

    assert together(1) > 0.9
    assert abs(together(20)) < 0.3
