"""Components and their centres equal scipy's per-label loops; fragments are joined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from luna.detect.group import AXES, REACH_VOX, dilate, erode, group
from luna.detect.segment import Segmentation
from luna.nets.card import Erosion


def blobs(seed: int, shape: tuple[int, int, int] = (12, 20, 24)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.2) > 0.15


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(list(AXES)))
@settings(max_examples=60)
def test_morphology_equals_scipy(seed: int, shape, erosion: Erosion) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.8
    cross = ndimage.generate_binary_structure(3, 1)
    if erosion == "slice":
        cross = cross & (np.indices((3, 3, 3))[0] == 1)
    found = dilate(mask, AXES[erosion])
    np.testing.assert_array_equal(found, ndimage.binary_dilation(mask, cross))
    for axis in range(3):
        if shape[axis] < 3:  # too thin to be eroded along
            cross = cross & (np.indices((3, 3, 3))[axis] == 1)
    found = erode(mask, AXES[erosion])
    np.testing.assert_array_equal(found, ndimage.binary_erosion(mask, cross))


@pytest.mark.parametrize(("erosion", "candidates"), [("cross", 0), ("slice", 1)])
def test_a_nodule_of_two_slices_is_kept_where_slices_are_eroded_alone(
    scan_of, erosion: Erosion, candidates: int
) -> None:
    mask = np.zeros((9, 20, 20), dtype=bool)
    mask[4:6, 8:12, 8:12] = True
    mask[2:7, 3, 3:18] = True  # a sheet one voxel thick is no candidate either way
    segmentation = Segmentation(mask, (0, 0, 0))
    components = group(scan_of(np.full(mask.shape, 40)), segmentation, erosion)
    assert len(components.nodule) == candidates
    np.testing.assert_allclose(
        components.center_irc, np.reshape([[4.5, 9.5, 9.5]] * candidates, (-1, 3))
    )


def test_components_equal_the_book_s_loop(scan_of) -> None:
    mask = blobs(3)
    hu = np.random.default_rng(4).integers(-1100, 1500, mask.shape).astype(np.int16)
    components = group(scan_of(hu), Segmentation(mask, (0, 0, 0)))
    labels, count = ndimage.label(ndimage.binary_erosion(mask))
    assert count > 5
    expected = ndimage.center_of_mass(
        np.clip(hu.astype(float), -1000, 1000) + 1001, labels, np.arange(1, count + 1)
    )
    np.testing.assert_allclose(components.center_irc, expected, atol=1e-9)


def test_a_box_changes_nothing_but_its_start(scan_of) -> None:
    mask = blobs(5)
    scan = scan_of(np.full((20, 30, 40), 40))
    inside = group(scan, Segmentation(mask, (4, 5, 6)))
    padded = np.zeros((20, 30, 40), dtype=bool)
    padded[4:16, 5:25, 6:30] = mask
    whole = group(scan, Segmentation(padded, (0, 0, 0)))
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
    components = group(scan_of(hu), Segmentation(mask, (0, 0, 0)))
    assert len(components.nodule) == 3
    assert components.nodule[0] == components.nodule[1] != components.nodule[2]


@pytest.mark.parametrize("slices", [1, 2])
def test_a_scan_of_one_or_two_slices_has_candidates(scan_of, slices: int) -> None:
    mask = np.zeros((slices, 20, 20), dtype=bool)
    mask[:, 5:10, 6:11] = True
    hu = np.full(mask.shape, 40)
    components = group(scan_of(hu), Segmentation(mask, (0, 0, 0)))
    np.testing.assert_allclose(components.center_irc, [[(slices - 1) / 2, 7, 8]])


def test_nothing_segmented_is_no_candidate(scan_of) -> None:
    scan = scan_of(np.zeros((4, 4, 4)))
    components = group(scan, Segmentation(np.zeros((4, 4, 4), bool), (0, 0, 0)))
    assert components.center_irc.shape == (0, 3)
    assert components.nodule.shape == (0,)


def test_a_mask_ends_near_its_nodule_however_far_its_component_goes(scan_of) -> None:
    mask = np.zeros((9, 20, 700), dtype=bool)
    mask[3:6, 8:12, :] = True  # a vessel through the whole scan
    mask[2:7, 4:16, 300:312] = True
    segmentation = Segmentation(mask, (5, 6, 7))
    components = group(scan_of(np.full((20, 40, 720), 40)), segmentation)
    (own,) = components.masks(components.nodule, np.array([[9.0, 16.0, 313.0]]))
    assert own.voxels.shape[2] == 2 * REACH_VOX + 1
    assert own.start_irc[2] == 313 - REACH_VOX
    (far,) = components.masks(components.nodule, np.array([[9.0, 400.0, 313.0]]))
    assert far.voxels.any()
