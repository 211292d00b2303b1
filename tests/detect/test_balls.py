"""A nodule is found where it is, whatever it touches, and vessels and walls are no nodules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from luna.detect.balls import (
    LARGEST_MM,
    OUTLINE,
    SLAB,
    SMALLEST_MM,
    Balls,
    apart,
    blood_hu,
    directions,
    find_balls,
    is_enhanced,
    within,
)

SPACING_IRC = (1.25, 0.7, 0.7)
SHAPE = (48, 100, 100)
PLACE_MM = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING_IRC


def ball(center_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    return np.linalg.norm(PLACE_MM - center_mm, axis=-1) < radius_mm


def wall(row_mm: float) -> np.ndarray:
    """All that is beyond a row: far thicker than any nodule."""
    return PLACE_MM[..., 1] > row_mm


def tube(row_mm: float, radius_mm: float) -> np.ndarray:
    """A vessel along the columns, through index 30 mm."""
    return np.hypot(PLACE_MM[..., 0] - 30, PLACE_MM[..., 1] - row_mm) < radius_mm


def off_mm(balls: Balls, center_mm: tuple[float, float, float]) -> float:
    """How far from a place the nearest ball is."""
    place_mm = balls.center_irc * SPACING_IRC
    return float(np.linalg.norm(place_mm - center_mm, axis=1).min(initial=np.inf))


@pytest.mark.parametrize("radius_mm", [3.0, 5.0, 8.0, 14.0])
def test_a_nodule_alone_is_one_ball_of_its_size(radius_mm: float) -> None:
    center_mm = (30.1, 35.3, 34.8)
    balls = find_balls(ball(center_mm, radius_mm), SPACING_IRC)
    assert len(balls.radius_mm) == 1
    assert off_mm(balls, center_mm) < 0.2
    assert balls.radius_mm[0] == pytest.approx(radius_mm, abs=1.3)


@pytest.mark.parametrize("radius_mm", [4.0, 6.0, 10.0])
@pytest.mark.parametrize("sunk", [0.0, 0.2])
def test_a_nodule_on_a_wall_is_found_where_it_is(radius_mm: float, sunk: float) -> None:
    center_mm = (30.0, 50 - (1 - sunk) * radius_mm, 35.0)
    balls = find_balls(ball(center_mm, radius_mm) | wall(50), SPACING_IRC)
    assert off_mm(balls, center_mm) < radius_mm / 3


@pytest.mark.parametrize("row_mm", [28.0, 50.0, 62.0])
def test_a_wall_holds_no_ball_however_much_of_it_the_array_shows(row_mm: float) -> None:
    assert len(find_balls(wall(row_mm), SPACING_IRC).radius_mm) == 0


def test_a_nodule_that_the_first_slice_cuts_is_found() -> None:
    center_mm = (2.0, 35.0, 35.0)
    assert off_mm(find_balls(ball(center_mm, 8), SPACING_IRC), center_mm) < 8 / 3


def test_a_fork_holds_no_ball_and_a_nodule_on_a_vessel_is_found() -> None:
    fork = tube(35, 3) | tube(39, 3) & (PLACE_MM[..., 2] > 30)
    far_mm = np.abs(find_balls(fork, SPACING_IRC).center_irc[:, 2] * 0.7 - 33)
    assert (far_mm > 3).all()
    center_mm = (30.0, 39.0, 25.0)
    assert off_mm(find_balls(tube(35, 1.5) | ball(center_mm, 6), SPACING_IRC), center_mm) < 2


def test_nothing_marked_and_all_marked_hold_no_ball() -> None:
    for mask in (np.zeros(SHAPE, bool), np.ones(SHAPE, bool), np.ones((1, 1, 1), bool)):
        assert len(find_balls(mask, SPACING_IRC).radius_mm) == 0


def test_a_nodule_is_found_wherever_slabs_meet() -> None:
    shape = (3 * SLAB, 40, 40)
    place_mm = np.moveaxis(np.indices(shape), 0, -1)
    for index in (SLAB - 1, SLAB, 2 * SLAB - 4):
        mask = np.linalg.norm(place_mm - (index, 20, 20), axis=-1) < 7
        balls = find_balls(mask, (1.0, 1.0, 1.0))
        np.testing.assert_allclose(balls.center_irc, [[index, 20, 20]], atol=1e-9)


def test_fine_voxels_give_the_balls_of_coarse_ones() -> None:
    coarse = ball((30.0, 35.0, 35.0), 6) | wall(42)
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    few = find_balls(coarse, SPACING_IRC)
    many = find_balls(fine, tuple(s / 2 for s in SPACING_IRC))
    assert off_mm(few, (30.0, 35.0, 35.0)) < 1
    halved = Balls((many.center_irc - 0.5) / 2, many.radius_mm)
    assert off_mm(halved, (30.0, 35.0, 35.0)) < 1


@given(seed=st.integers(0, 2**32 - 1), smooth=st.floats(1.0, 3.0))
@settings(max_examples=25, deadline=None)
def test_balls_lie_apart_in_what_is_marked_and_are_of_nodules_size(
    seed: int, smooth: float
) -> None:
    noise = np.random.default_rng(seed).normal(size=(20, 40, 40))
    mask = ndimage.gaussian_filter(noise, smooth) > 0.02
    balls = find_balls(mask, SPACING_IRC)
    assert ((balls.radius_mm >= SMALLEST_MM) & (balls.radius_mm <= LARGEST_MM)).all()
    assert (np.diff(balls.radius_mm) <= 0).all()
    place_mm = balls.center_irc * SPACING_IRC
    for k, radius_mm in enumerate(balls.radius_mm):
        box, near = within(mask.shape, np.array(SPACING_IRC), balls.center_irc[k], radius_mm)
        assert mask[box][near].any()
        far_mm = np.linalg.norm(place_mm[k + 1 :] - place_mm[k], axis=1)
        assert (far_mm >= OUTLINE * radius_mm - 1e-9).all()
    again = find_balls(mask, SPACING_IRC)
    np.testing.assert_array_equal(again.center_irc, balls.center_irc)


def test_apart_keeps_the_largest_of_what_overlaps() -> None:
    center_irc = np.array([[0.0, 0, 0], [0, 0, 11], [0, 0, 13], [0, 0, 14]])
    balls = Balls(center_irc, np.array([10.0, 4.0, 3.0, 1.0]))
    assert apart(balls, np.ones(3), OUTLINE).tolist() == [0, 2]
    assert apart(balls, np.ones(3)).tolist() == [0, 1, 3]
    assert apart(balls.take(np.zeros(0, np.intp)), np.ones(3)).tolist() == []


def test_directions_are_spread_over_the_sphere() -> None:
    points = directions()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(points.T @ points / len(points), np.eye(3) / 3, atol=0.01)


@given(st.tuples(*[st.floats(-5, 15)] * 3), st.floats(0.1, 8), st.tuples(*[st.integers(1, 9)] * 3))
def test_within_is_the_ball_s_part_of_the_array(center, radius_mm: float, shape) -> None:
    spacing = np.array(SPACING_IRC)
    box, near = within(shape, spacing, np.array(center), radius_mm)
    whole = np.zeros(shape, dtype=bool)
    whole[box] = near
    place = np.moveaxis(np.indices(shape), 0, -1)
    expected = (((place - center) * spacing) ** 2).sum(axis=-1) <= radius_mm**2
    np.testing.assert_array_equal(whole, expected)


def with_heart(chest, scan_of, blood_hu: float, ball_hu: float):
    """A chest whose heart has blood of this attenuation, and a ball in the left lung."""
    hu = chest().hu.copy()
    hu[6:18, 44:60, 56:70] = blood_hu
    grid = np.mgrid[tuple(slice(n) for n in hu.shape)]
    hu[((grid - np.reshape((12, 40, 90), (3, 1, 1, 1))) ** 2).sum(axis=0) <= 9] = ball_hu
    return scan_of(hu, chest().geometry)


@pytest.mark.parametrize(
    ("blood", "ball", "enhanced"),
    [(350, 330, True), (350, 250, True), (350, 40, False), (350, 700, False), (60, 300, False)],
)
def test_a_ball_as_bright_as_the_heart_s_blood_is_a_vessel(chest, scan_of, blood, ball, enhanced):
    scan = with_heart(chest, scan_of, blood, ball)
    balls = Balls(np.array([[12.0, 40.0, 90.0]]), np.array([7.5]))
    found = blood_hu(scan)
    assert (found is None) == (blood < 200)
    if found is not None:
        assert found == pytest.approx(blood, abs=1)
        spacing = np.array(scan.geometry.spacing_irc)
        assert is_enhanced(scan.hu, balls, spacing, found).tolist() == [enhanced]
    else:
        assert not enhanced
