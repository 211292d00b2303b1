"""Erosion and dilation equal scipy's; what spreads is told from what is like a ball."""

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from luna.ct.mask import BoxMask
from luna.detect.pieces import AXES, SLAB, dilate, erode, find_pieces
from luna.nets.card import Erosion


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


def test_a_ball_has_its_radius_and_a_line_spreads(scan_of) -> None:
    mask = np.zeros((30, 30, 80), dtype=bool)
    place = np.moveaxis(np.indices(mask.shape), 0, -1)
    mask |= np.linalg.norm(place - (15, 15, 15), axis=-1) <= 9
    mask[13:17, 13:17, 30:78] = True
    scan = scan_of(np.full(mask.shape, 40))
    pieces, labels = find_pieces(scan, BoxMask(start_irc=(0, 0, 0), voxels=mask), AXES["cross"])
    assert pieces.spreads.tolist() == [False, True]
    assert abs(pieces.radius_mm[0] - 8 * np.cbrt(1.5 * 1.5 * 2.5)) < 0.8
    np.testing.assert_allclose(pieces.center_irc[0], [15, 15, 15], atol=1e-9)
    assert pieces.component.tolist() == [0, 1]
    assert labels.max() == 2
    assert not labels[~mask].any()


def test_pieces_through_many_slabs_are_scipy_s(scan_of) -> None:
    rng = np.random.default_rng(0)
    shape = (2 * SLAB + 7, 40, 36)
    mask = ndimage.uniform_filter(rng.random(shape), 3) > 0.5
    scan = scan_of(rng.integers(-1100, 1300, shape).astype(np.int16))
    pieces, _ = find_pieces(scan, BoxMask(start_irc=(0, 0, 0), voxels=mask), AXES["cross"])
    volume, number = ndimage.label(erode(mask))
    assert number > 50
    every = np.arange(1, number + 1)
    weight = np.clip(scan.hu, -1000, 1000) + 1001.0
    book = np.array(ndimage.center_of_mass(weight, volume, every))
    np.testing.assert_allclose(pieces.center_irc, book, atol=1e-9)
    spacing = np.array(scan.geometry.spacing_irc)
    for k in range(number):
        own = np.argwhere(volume == k + 1)
        far_mm = (own - own.mean(axis=0)) * spacing
        spread = (far_mm**2).sum(axis=1).mean() > 1.7**2 * 0.6 * pieces.radius_mm[k] ** 2
        assert pieces.spreads[k] == spread
    kept = np.isin(volume, every[~pieces.spreads])
    np.testing.assert_array_equal(pieces.irc, np.argwhere(kept))
    np.testing.assert_array_equal(pieces.label, volume[kept])
    regrown, _ = ndimage.label(dilate(erode(mask)) & mask)
    first = [np.flatnonzero(volume == k)[0] for k in every]
    np.testing.assert_array_equal(pieces.component, regrown.ravel()[first] - 1)


def test_marks_everywhere_take_few_bytes_a_voxel(scan_of) -> None:
    mask = np.ones((8 * SLAB, 64, 64), dtype=bool)
    mask[:, 30:32] = False
    mask[:, :, 30:32] = False
    scan = scan_of(np.full(mask.shape, 40, dtype=np.int16))
    tracemalloc.start()
    find_pieces(scan, BoxMask(start_irc=(0, 0, 0), voxels=mask), AXES["cross"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Labels of four bytes, masks of one, and the places of one slab of eight.
    assert peak < 20 * mask.size
