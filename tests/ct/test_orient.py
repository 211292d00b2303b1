"""Turning axes: ITK's codes, exact round trips, every voxel keeps its place in the patient."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from luna.ct.geometry import Geometry
from luna.ct.orient import orientation_code, to_patient_axes, to_stored_axes

SHAPE = (3, 4, 5)
AXES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def grid(order: tuple[int, ...], signs: tuple[int, ...], tilt: np.ndarray) -> Geometry:
    matrix = tilt @ (np.eye(3)[:, order] * signs)
    return Geometry((-10.5, 20.25, -300.125), (0.7, 0.8, 2.5), tuple(matrix.ravel().tolist()))


@pytest.mark.parametrize(("order", "signs"), AXES)
def test_codes_are_itks(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    geometry = grid(order, signs, Rotation.from_euler("xyz", (5, -8, 11), degrees=True).as_matrix())
    itk = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction)
    assert orientation_code(geometry) == itk


@given(
    st.sampled_from(AXES),
    st.tuples(*[st.floats(-180, 180)] * 3),
    st.tuples(*(st.integers(0, n - 1) for n in SHAPE)),
)
def test_every_voxel_stays_in_its_place(
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    degrees: tuple[float, float, float],
    irc: tuple[int, int, int],
) -> None:
    stored = grid(*axes, Rotation.from_euler("xyz", degrees, degrees=True).as_matrix())
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    turned, geometry = to_patient_axes(voxels, stored)
    assert orientation_code(geometry) == "LPS"
    found = np.argwhere(turned == voxels[irc])[0]
    assert geometry.xyz_from_irc(found) == pytest.approx(stored.xyz_from_irc(irc), abs=1e-9)
    back, again = to_stored_axes(turned, geometry, orientation_code(stored))
    np.testing.assert_array_equal(back, voxels)
    assert again.direction == pytest.approx(stored.direction, abs=1e-15)
    assert again.origin_xyz == pytest.approx(stored.origin_xyz, abs=1e-9)
    assert again.spacing_xyz == stored.spacing_xyz


def test_what_is_straight_is_not_touched() -> None:
    geometry = grid((0, 1, 2), (1, 1, 1), np.eye(3))
    voxels = np.zeros(SHAPE, dtype=np.int16)
    turned, same = to_patient_axes(voxels, geometry)
    assert same is geometry
    assert np.shares_memory(turned, voxels)
