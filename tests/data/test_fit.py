"""Annotations that are not of these scans, or in other coordinates, are refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from luna.data.luna16.fit import fits, refuse_misplaced
from luna.data.luna16.folder import read_luna16
from luna.run.errors import InputError


def moved(data, change):
    """The cohort with the nodules' centres changed."""
    nodules = replace(data.nodules, center_xyz=change(data.nodules.center_xyz))
    return replace(data, nodules=nodules)


def test_annotations_of_the_scans_pass(small_cohort):
    data = read_luna16(small_cohort)
    refuse_misplaced(data, data.files)


@pytest.mark.parametrize(
    "shift_xyz", [(0, 60, 0), (0, -60, 0), (500, 0, 0)], ids=["back", "front", "air"]
)
def test_annotations_off_the_lungs_are_refused(small_cohort, shift_xyz):
    data = moved(read_luna16(small_cohort), lambda xyz: xyz + np.array(shift_xyz))
    with pytest.raises(InputError, match=r"\d+ of 16 annotations lie on no nodule"):
        refuse_misplaced(data, data.files)


def test_scans_without_annotations_say_nothing(small_cohort):
    data = read_luna16(small_cohort)
    none = data.nodules.take(np.zeros(len(data.nodules), dtype=np.bool_))
    refuse_misplaced(replace(data, nodules=none), data.files)


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory) -> Path:
    """Three whole chests with the nodules of LUNA16."""
    packed = shared / "real" / "luna16-mini"
    if not packed.is_dir():
        pytest.skip(f"{packed} is not there")
    out = tmp_path_factory.mktemp("mini")
    command = [sys.executable, packed / "unpack.py", out]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.mark.slow
@pytest.mark.shared_data
def test_real_nodules_fit_and_mirrored_ones_are_told_apart(real):
    data = read_luna16(real)
    refuse_misplaced(data, data.files)
    mirrored = moved(data, lambda xyz: xyz * [-1, -1, 1])
    with pytest.raises(InputError, match="annotations lie on no nodule") as caught:
        refuse_misplaced(mirrored, data.files)
    assert "read as RAS" in caught.value.why
    assert "negate coordX and coordY" in caught.value.hint


def test_a_place_is_dense_with_lung_around(nodule_chest):
    geometry = nodule_chest.geometry
    middle = geometry.xyz_from_irc((np.array(nodule_chest.shape_irc) - 1) / 2)
    outside = geometry.xyz_from_irc((0, 0, 0))
    assert not fits(nodule_chest, np.stack([outside, middle]), np.array([8.0, 8.0]))[0]
