"""A piece of the U-Net's mask is split into the nodules that lie in it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.detect.group import group
from luna.detect.segment import Segmentation
from luna.detect.split import RADIUS_MM, split

SPACING_IRC = np.array([1.25, 0.7, 0.7])
SHAPE = (40, 100, 100)
GEOMETRY = Geometry((0.0, 0.0, 0.0), (0.7, 0.7, 1.25))


def ball(center_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    place_mm = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING_IRC
    return np.linalg.norm(place_mm - center_mm, axis=-1) < radius_mm


def tube(row_mm: float, radius_mm: float) -> np.ndarray:
    """A vessel along the columns, through index 25 mm."""
    index, row, _ = np.moveaxis(np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING_IRC, -1, 0)
    return np.hypot(index - 25, row - row_mm) < radius_mm


def split_labels(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labelled volume before and after."""
    labels, _ = ndimage.label(mask)
    return labels, split(labels.copy(), SPACING_IRC)


def test_a_ball_stays_whole_and_an_early_piece_keeps_its_number() -> None:
    before, after = split_labels(ball((15, 20, 20), 6) | ball((35, 50, 50), 3))
    np.testing.assert_array_equal(after, before)


def test_a_vessel_thinner_than_a_nodule_stays_one_piece() -> None:
    before, after = split_labels(tube(35, RADIUS_MM - 0.5))
    np.testing.assert_array_equal(after, before)


def test_a_nodule_on_a_vessel_is_found_where_it_is(scan_of) -> None:
    center_mm = np.array([25.0, 39.0, 15.0])
    mask = ball(tuple(center_mm), 5) | tube(35, 1.5)
    scan = scan_of(np.full(SHAPE, 40), GEOMETRY)
    components = group(scan, Segmentation(mask, (0, 0, 0)), "slice")
    far_mm = np.linalg.norm(components.center_irc * SPACING_IRC - center_mm, axis=1)
    assert far_mm.min() < 1.5


def test_two_nodules_on_one_vessel_are_two_with_masks_of_their_own(scan_of) -> None:
    centers_mm = np.array([[25.0, 39.0, 15.0], [25.0, 32.0, 55.0]])
    mask = ball(tuple(centers_mm[0]), 6) | ball(tuple(centers_mm[1]), 4) | tube(35, 1.5)
    scan = scan_of(np.full(SHAPE, 40), GEOMETRY)
    components = group(scan, Segmentation(mask, (0, 0, 0)), "slice")
    assert len(components.nodule) == len(np.unique(components.nodule)) == 2
    for center_mm, radius_mm in zip(centers_mm, (6, 4), strict=True):
        far_mm = np.linalg.norm(components.center_irc * SPACING_IRC - center_mm, axis=1)
        assert far_mm.min() < 1.5
        own = components.labels == components.nodule[far_mm.argmin()] + 1
        assert own[ball(tuple(center_mm), radius_mm - 1.5)].all()


@given(seed=st.integers(0, 2**32 - 1), smooth=st.floats(1.0, 3.0))
@settings(max_examples=25, deadline=None)
def test_a_split_piece_keeps_to_itself(seed: int, smooth: float) -> None:
    noise = np.random.default_rng(seed).normal(size=(20, 40, 40))
    mask = ndimage.gaussian_filter(noise, smooth) > 0.02
    before, after = split_labels(mask)
    used = after > 0
    assert set(after[used]) == set(range(1, after.max() + 1))
    for label in range(1, after.max() + 1):
        assert len(set(before[after == label])) == 1
    untouched = np.flatnonzero(
        np.bincount(before.ravel())[1:] == np.bincount(after.ravel())[1:][: before.max()]
    )
    for label in untouched + 1:
        np.testing.assert_array_equal(after == label, before == label)


def test_every_candidate_has_voxels_of_its_nodule(scan_of) -> None:
    noise = np.random.default_rng(5).normal(size=(30, 60, 60))
    mask = ndimage.gaussian_filter(noise, 2.5) > 0.01
    scan = scan_of(np.full(mask.shape, 40), GEOMETRY)
    components = group(scan, Segmentation(mask, (0, 0, 0)), "slice")
    assert len(np.unique(components.nodule)) > 3
    assert set(components.nodule + 1) == set(np.unique(components.labels)) - {0}
    assert not components.labels[~mask].any()
