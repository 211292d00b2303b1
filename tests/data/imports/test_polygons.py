"""Filled contours."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from luna.data.imports.polygons import fill

SHAPE = (24, 30)

corner = st.tuples(st.floats(-3.01, 26.9), st.floats(-3.01, 32.9))


@given(st.lists(corner, min_size=3, max_size=3))
def test_a_triangle_holds_the_pixels_on_the_inner_side_of_its_edges(corners):
    points = np.array(corners)
    pixels = np.stack(np.mgrid[: SHAPE[0], : SHAPE[1]], axis=-1).astype(float)
    edges = np.roll(points, -1, axis=0) - points
    sides = [
        e[0] * (pixels - p)[..., 1] - e[1] * (pixels - p)[..., 0]
        for p, e in zip(points, edges, strict=True)
    ]
    clear = np.min(np.abs(sides), axis=0) > 1e-6  # on an edge, rounding decides
    inside = (np.array(sides) > 0).all(axis=0) | (np.array(sides) < 0).all(axis=0)
    assert np.array_equal(fill(points, SHAPE)[clear], inside[clear])


def test_a_square_with_corners_between_pixels_is_exact():
    found = fill(np.array([[1.5, 2.5], [1.5, 5.5], [4.5, 5.5], [4.5, 2.5]]), SHAPE)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[2:5, 3:6] = True
    assert np.array_equal(found, expected)


def test_a_circle_has_its_area():
    turn = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    found = fill(np.column_stack([12 + 9 * np.sin(turn), 14 + 9 * np.cos(turn)]), SHAPE)
    assert abs(found.sum() - np.pi * 81) < 6


def test_a_contour_outside_the_image_fills_nothing():
    assert not fill(np.array([[-9.0, -9], [-9, -2], [-2, -2]]), SHAPE).any()
