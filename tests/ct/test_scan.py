"""A Scan cannot be changed, and its crops keep their centre."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.geometry import Geometry
from luna.ct.scan import AIR_HU, Provenance, Scan

HU = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def make(hu: np.ndarray, origin_xyz: tuple[float, float, float] = (0, 0, 0)) -> Scan:
    geometry = Geometry(origin_xyz, (1, 1, 2))
    source = Provenance(source="a.mhd", format="MetaImage")
    return Scan(hu=hu, geometry=geometry, series_uid="1.2", provenance=source)


def test_voxels_are_read_only() -> None:
    scan = make(HU.copy())
    with pytest.raises(ValueError, match="read-only"):
        scan.hu[0, 0, 0] = 1


@pytest.mark.parametrize("hu", [HU[0], HU.astype(np.int32)])
def test_refuses_other_arrays(hu: np.ndarray) -> None:
    with pytest.raises(TypeError):
        make(hu)


@given(
    center=st.tuples(*[st.floats(-4, 10)] * 3),
    size=st.tuples(*[st.integers(1, 7)] * 3),
)
def test_crop_equals_a_crop_of_the_padded_volume(center, size) -> None:
    margin = 16
    padded = np.pad(HU, margin, constant_values=AIR_HU)
    start = np.rint(center).astype(int) - np.array(size) // 2 + margin
    expected = padded[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
    np.testing.assert_array_equal(make(HU.copy()).crop(center, size), expected)


def test_crop_is_a_copy() -> None:
    crop = make(HU.copy()).crop((2, 2, 2), (2, 2, 2))
    crop[:] = 0  # does not raise


def test_fingerprint_depends_on_voxels_and_geometry_only() -> None:
    same = make(np.asfortranarray(HU))
    assert make(HU.copy()).fingerprint() == same.fingerprint()
    changed = HU.copy()
    changed[0, 0, 0] += 1
    assert make(changed).fingerprint() != same.fingerprint()
    assert make(HU.copy(), origin_xyz=(0, 0, 1)).fingerprint() != same.fingerprint()
    assert make(HU.reshape(4, 6, 5).copy()).fingerprint() != same.fingerprint()
