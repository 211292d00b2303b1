"""Components and their centres equal scipy's per-label loops; fragments are joined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.detect.group import REACH_VOX, Components, group
from luna.nets.card import Erosion


def blobs(seed: int, shape: tuple[int, int, int] = (12, 20, 24)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.2) > 0.15


@pytest.mark.parametrize(("erosion", "candidates"), [("cross", 0), ("slice", 1)])
def test_a_nodule_of_two_slices_is_kept_where_slices_are_eroded_alone(
    scan_of, erosion: Erosion, candidates: int
) -> None:
    mask = np.zeros((9, 20, 20), dtype=bool)
    mask[4:6, 8:12, 8:12] = True
    mask[2:7, 3, 3:18] = True  # a sheet one voxel thick is no candidate either way
    segmentation = BoxMask(start_irc=(0, 0, 0), voxels=mask)
    components = group(scan_of(np.full(mask.shape, 40)), segmentation, erosion, balls=False)
    assert len(components.nodule) == candidates
    np.testing.assert_allclose(
        components.center_irc, np.reshape([[4.5, 9.5, 9.5]] * candidates, (-1, 3))
    )


def test_components_equal_the_book_s_loop(scan_of) -> None:
    mask = blobs(3)
    hu = np.random.default_rng(4).integers(-1100, 1500, mask.shape).astype(np.int16)
    components = group(scan_of(hu), BoxMask(start_irc=(0, 0, 0), voxels=mask), balls=False)
    labels, count = ndimage.label(ndimage.binary_erosion(mask))
    assert count > 5
    expected = ndimage.center_of_mass(
        np.clip(hu.astype(float), -1000, 1000) + 1001, labels, np.arange(1, count + 1)
    )
    np.testing.assert_allclose(components.center_irc, expected, atol=1e-9)


def test_a_box_changes_nothing_but_its_start(scan_of) -> None:
    mask = np.pad(blobs(5)[1:-1, 1:-1, 1:-1], 1)  # what a box cuts is taken to go on beyond it
    scan = scan_of(np.full((20, 30, 40), 40))
    inside = group(scan, BoxMask(start_irc=(4, 5, 6), voxels=mask))
    padded = np.zeros((20, 30, 40), dtype=bool)
    padded[4:16, 5:25, 6:30] = mask
    whole = group(scan, BoxMask(start_irc=(0, 0, 0), voxels=padded))
    np.testing.assert_allclose(inside.center_irc, whole.center_irc)
    np.testing.assert_array_equal(inside.nodule, whole.nodule)


def test_fragments_of_one_nodule_are_joined_and_neighbours_are_not(scan_of) -> None:
    mask = np.zeros((9, 30, 60), dtype=bool)
    mask[2:7, 10:20, 10:16] = True
    mask[2:7, 10:20, 17:23] = True
    mask[2:7, 14:16, 16] = True  # a waist two rows thick, which erosion cuts
    mask[4, 15, 23:40] = True  # a vessel one voxel thick
    mask[2:7, 10:20, 40:46] = True
    hu = np.full(mask.shape, 40)
    components = group(scan_of(hu), BoxMask(start_irc=(0, 0, 0), voxels=mask), balls=False)
    assert len(components.nodule) == 3
    assert components.nodule[0] == components.nodule[1] != components.nodule[2]


@pytest.mark.parametrize("slices", [1, 2])
def test_a_scan_of_one_or_two_slices_has_candidates(scan_of, slices: int) -> None:
    mask = np.zeros((slices, 20, 20), dtype=bool)
    mask[:, 5:10, 6:11] = True
    hu = np.full(mask.shape, 40)
    components = group(scan_of(hu), BoxMask(start_irc=(0, 0, 0), voxels=mask))
    np.testing.assert_allclose(components.center_irc[0], [(slices - 1) / 2, 7, 8])
    assert set(components.nodule) == {0}


def test_nothing_segmented_is_no_candidate(scan_of) -> None:
    scan = scan_of(np.zeros((4, 4, 4)))
    components = group(scan, BoxMask(start_irc=(0, 0, 0), voxels=np.zeros((4, 4, 4), bool)))
    assert components.center_irc.shape == (0, 3)
    assert components.nodule.shape == (0,)


def test_a_mask_ends_near_its_nodule_however_far_its_component_goes(scan_of) -> None:
    mask = np.zeros((9, 20, 700), dtype=bool)
    mask[3:6, 8:12, :] = True  # a vessel through the whole scan
    mask[2:7, 4:16, 300:312] = True
    segmentation = BoxMask(start_irc=(5, 6, 7), voxels=mask)
    components = group(scan_of(np.full((20, 40, 720), 40)), segmentation, balls=False)
    (own,) = components.masks(components.nodule, np.array([[9.0, 16.0, 313.0]]))
    assert own.voxels.shape[2] == 2 * REACH_VOX + 1
    assert own.start_irc[2] == 313 - REACH_VOX
    (far,) = components.masks(components.nodule, np.array([[9.0, 400.0, 313.0]]))
    assert far.voxels.any()


SPACING_IRC = np.array([1.25, 0.7, 0.7])
SHAPE = (40, 100, 100)
GEOMETRY = Geometry((0.0, 0.0, 0.0), (0.7, 0.7, 1.25))
PLACE_MM = np.moveaxis(np.indices(SHAPE), 0, -1) * SPACING_IRC


def ball(center_mm: tuple[float, ...], radius_mm: float) -> np.ndarray:
    return np.linalg.norm(PLACE_MM - center_mm, axis=-1) < radius_mm


def tube(row_mm: float, radius_mm: float) -> np.ndarray:
    """A vessel along the columns, through index 25 mm."""
    return np.hypot(PLACE_MM[..., 0] - 25, PLACE_MM[..., 1] - row_mm) < radius_mm


def grouped(scan_of, mask: np.ndarray, erosion: Erosion) -> Components:
    scan = scan_of(np.full(mask.shape, 40), GEOMETRY)
    return group(scan, BoxMask(start_irc=(0, 0, 0), voxels=mask), erosion)


def off_mm(components: Components, center_mm: tuple[float, ...]) -> np.ndarray:
    return np.linalg.norm(components.center_irc * SPACING_IRC - center_mm, axis=1)


@pytest.mark.parametrize("erosion", ["cross", "slice"])
def test_a_nodule_on_a_wall_has_a_candidate_and_a_mask_of_its_own(
    scan_of, erosion: Erosion
) -> None:
    center_mm = (25.0, 30.0, 35.0)
    mask = ball(center_mm, 8) | (PLACE_MM[..., 1] > 36)
    components = grouped(scan_of, mask, erosion)
    far_mm = off_mm(components, center_mm)
    assert far_mm.min() < 8 / 3
    own = components.labels == components.nodule[far_mm.argmin()] + 1
    assert own[ball(center_mm, 7)].all()
    assert not own[PLACE_MM[..., 1] > 45].any()
    assert not components.labels[~mask].any()


@pytest.mark.parametrize("erosion", ["cross", "slice"])
def test_a_nodule_that_erosion_removes_is_not_lost(scan_of, erosion: Erosion) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10:12, 40:48, 40:48] = True
    thin = scan_of(np.full(SHAPE, 40), Geometry((0, 0, 0), (0.7, 0.7, 3.0)))
    components = group(thin, BoxMask(start_irc=(0, 0, 0), voxels=mask), erosion)
    assert len(components.nodule) >= 1
    (own,) = components.masks(components.nodule[:1], components.center_irc[:1])
    assert own.voxels.any()


@pytest.mark.parametrize("erosion", ["cross", "slice"])
def test_two_nodules_on_one_vessel_are_two_with_masks_of_their_own(
    scan_of, erosion: Erosion
) -> None:
    centers_mm = ((25.0, 39.0, 15.0), (25.0, 32.0, 55.0))
    mask = ball(centers_mm[0], 6) | ball(centers_mm[1], 4) | tube(35, 1.5)
    components = grouped(scan_of, mask, erosion)
    nodules = []
    for center_mm, radius_mm in zip(centers_mm, (6, 4), strict=True):
        far_mm = off_mm(components, center_mm)
        assert far_mm.min() < 1.5
        nodules.append(components.nodule[far_mm.argmin()])
        own = components.labels == nodules[-1] + 1
        assert own[ball(center_mm, radius_mm - 1.5)].all()
    assert nodules[0] != nodules[1]


@pytest.mark.parametrize("erosion", ["cross", "slice"])
def test_a_ball_alone_is_one_nodule_with_all_its_voxels(scan_of, erosion: Erosion) -> None:
    mask = ball((25, 30, 35), 8)
    components = grouped(scan_of, mask, erosion)
    assert set(components.nodule) == {0}
    # All but corners that erosion and regrowth take off.
    assert not components.labels[~mask].any()
    assert np.count_nonzero(components.labels) > 0.98 * np.count_nonzero(mask)


@given(st.integers(0, 2**32 - 1), st.floats(1.0, 3.0), st.sampled_from(["cross", "slice"]))
@settings(max_examples=20, deadline=None)
def test_every_candidate_has_voxels_of_its_nodule(seed: int, smooth: float, erosion) -> None:
    from tests.conftest import scan_of

    noise = np.random.default_rng(seed).normal(size=(20, 40, 40))
    mask = ndimage.gaussian_filter(noise, smooth) > 0.02
    components = grouped(scan_of, mask, erosion)
    assert set(components.nodule + 1) == set(np.unique(components.labels)) - {0}
    assert not components.labels[~mask].any()
    assert len(components.component) == len(components.radius_mm) == len(components.nodule)
    for box in components.masks(components.nodule, components.center_irc):
        assert box.voxels.any()


def test_parts_of_a_nodule_join_the_more_probable_and_others_do_not(scan_of) -> None:
    place = np.array([[0.0, 0, 0], [0, 0, 10], [0, 0, 40], [0, 0, 12]])
    components = Components(
        center_irc=place,
        radius_mm=np.array([4.0, 6, 6, 3]),
        nodule=np.array([0, 1, 2, 3]),
        component=np.array([0, 0, 0, 1]),
        labels=np.zeros((1, 1, 1), np.int32),
        start_irc=(0, 0, 0),
    )
    one = (1.0, 1.0, 1.0)
    # The second takes the first, 10 mm away; the third is far, the last is another component.
    assert components.joined(np.array([0.5, 0.9, 0.1, 0.2]), one).tolist() == [1, 1, 2, 3]
    assert components.joined(np.array([0.9, 0.5, 0.1, 0.2]), one).tolist() == [0, 0, 2, 3]
    # Lengths are millimetres: at 2 mm a voxel they are too far.
    assert components.joined(np.array([0.9, 0.5, 0.1, 0.2]), (2.0,) * 3).tolist() == [0, 1, 2, 3]
