"""Geometry maps voxels to the patient and back, as SimpleITK does."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from luna.ct.geometry import Geometry, ras_from_lps
from luna.run.errors import InputError

finite = st.floats(-2000, 2000)
triples = st.tuples(finite, finite, finite)
spacings = st.tuples(*[st.floats(0.1, 10)] * 3)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    quaternion = draw(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
    # Rounded: with cosines near 1e-308 ITK's own inverse, but not luna's, is NaN.
    matrix = Rotation.from_quat(quaternion).as_matrix().round(12)
    flips = draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    return Geometry(draw(triples), draw(spacings), tuple((matrix * flips).ravel()))


@given(geometries(), triples)
def test_round_trip_is_exact_to_a_millionth_of_a_voxel(geometry: Geometry, irc) -> None:
    back = geometry.irc_from_xyz(geometry.xyz_from_irc(irc))
    assert np.abs(back - irc).max() < 1e-6


@given(geometries(), triples)
def test_equals_simpleitk(geometry: Geometry, irc) -> None:
    image = sitk.Image(2, 2, 2, sitk.sitkInt16)
    image.SetOrigin(geometry.origin_xyz)
    image.SetSpacing(geometry.spacing_xyz)
    image.SetDirection(geometry.direction)
    expected = image.TransformContinuousIndexToPhysicalPoint(irc[::-1])
    xyz = geometry.xyz_from_irc(irc)
    np.testing.assert_allclose(xyz, expected, atol=1e-8, rtol=1e-9)
    index = image.TransformPhysicalPointToContinuousIndex(xyz.tolist())
    np.testing.assert_allclose(geometry.irc_from_xyz(xyz), index[::-1], atol=1e-6)


def test_many_points_equal_one_by_one() -> None:
    geometry = Geometry((1, 2, 3), (0.7, 0.8, 2.5), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    irc = np.arange(24, dtype=float).reshape(2, 4, 3)
    together = geometry.xyz_from_irc(irc)
    alone = [[geometry.xyz_from_irc(point) for point in row] for row in irc]
    np.testing.assert_array_equal(together, alone)


def test_oblique_directions_are_inverted_not_transposed_wrongly() -> None:
    """The book's xyz2irc divides by spacing after the wrong product; here it must not matter."""
    tilt = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    geometry = Geometry((5, 6, 7), (0.6, 0.9, 3.0), tuple(tilt.ravel()))
    # One step along the index axis is the third column of the direction, 3 mm long.
    step = geometry.xyz_from_irc((1, 0, 0)) - geometry.xyz_from_irc((0, 0, 0))
    np.testing.assert_allclose(step, 3.0 * tilt[:, 2])


def test_shifted_geometry_names_the_same_places() -> None:
    geometry = Geometry((5, 6, 7), (0.6, 0.9, 3.0))
    part = geometry.shifted((2, 3, 4))
    np.testing.assert_allclose(part.xyz_from_irc((1, 1, 1)), geometry.xyz_from_irc((3, 4, 5)))


def test_axis_letters_follow_flips() -> None:
    flipped = Geometry((0, 0, 0), (1, 1, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert flipped.axis_letters() == (("F", "H"), ("P", "A"), ("L", "R"))


def test_ras_changes_the_first_two_signs() -> None:
    np.testing.assert_array_equal(ras_from_lps([1, 2, 3]), [-1, -2, 3])


@pytest.mark.parametrize(
    "arguments",
    [
        ((0, 0, float("nan")), (1, 1, 1)),
        ((0, 0, 0), (1, 1, 0)),
        ((0, 0, 0), (1, -1, 1)),
        ((0, 0, 0), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, 0)),
        ((0, 0, 0), (1, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0.1, 1)),
        ((0, 0), (1, 1, 1)),
    ],
)
def test_refuses_what_is_no_grid(arguments) -> None:
    with pytest.raises(InputError):
        Geometry(*arguments)
