"""Label volumes of other programs, put on the grid of a scan or refused."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.geometry import Geometry
from luna.ct.labels import read_labels
from luna.ct.orient import to_stored_axes
from luna.ct.write import write_labels
from luna.run.errors import InputError


@pytest.fixture
def scan(chest):
    return chest(slices=10, rows=40, columns=50)


@pytest.fixture
def labels(scan):
    values = np.zeros(scan.shape_irc, dtype=np.int32)
    values[2:5, 10:13, 20:22] = 1
    values[6, 30, 40] = 2
    return values


def write(path: Path, values: np.ndarray, geometry: Geometry) -> Path:
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    image.SetOrigin(geometry.origin_xyz)
    image.SetSpacing(geometry.spacing_xyz)
    image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_what_luna_writes_is_read_back(tmp_path, scan, labels, suffix):
    write_labels(tmp_path / f"m{suffix}", labels, scan)
    assert np.array_equal(read_labels(tmp_path / f"m{suffix}", scan), labels)


@pytest.mark.parametrize("code", ["LPS", "RAS", "LPI", "PIR", "SAR"])
def test_any_order_of_axes_is_turned_to_the_scans(tmp_path, scan, labels, code):
    turned, geometry = to_stored_axes(labels.astype(np.uint8), scan.geometry, code)
    assert np.array_equal(read_labels(write(tmp_path / "m.nrrd", turned, geometry), scan), labels)


def test_a_box_cut_out_of_the_scan_is_put_back(tmp_path, scan, labels):
    box = labels[1:8, 9:35, 15:45].astype(np.float32)
    path = write(tmp_path / "m.nrrd", box, scan.geometry.shifted((1, 9, 15)))
    assert np.array_equal(read_labels(path, scan), labels)


def test_a_grid_larger_than_the_scan_may_be_empty_outside(tmp_path, scan, labels):
    wide = np.pad(labels, 3).astype(np.uint8)
    path = write(tmp_path / "m.nrrd", wide, scan.geometry.shifted((-3, -3, -3)))
    assert np.array_equal(read_labels(path, scan), labels)
    wide[0, 0, 0] = 1
    write(path, wide, scan.geometry.shifted((-3, -3, -3)))
    with pytest.raises(InputError, match="reach beyond the scan"):
        read_labels(path, scan)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v, g: (v + 0.5, g), "not labels"),
        (lambda v, g: (v - 1, g), "not labels"),
        (lambda v, g: (v * 20_000, g), "not labels"),
        (lambda v, g: (v, g.shifted((0, 0.3, 0))), "do not lie on the scan's voxels"),
        (lambda v, g: (v, Geometry(g.origin_xyz, (2.5, 2.5, 2.6))), "do not lie on the scan's"),
        (lambda v, g: (v, Geometry(g.origin_xyz, (0.001, 2.5, 2.5))), "spacing is not plausible"),
    ],
)
def test_what_is_no_label_volume_of_the_scan_is_refused(tmp_path, scan, labels, spoil, words):
    values, geometry = spoil(labels.astype(np.float32), scan.geometry)
    with pytest.raises(InputError, match=words):
        read_labels(write(tmp_path / "m.nrrd", values, geometry), scan)


def test_a_damaged_file_is_named(tmp_path, scan):
    (tmp_path / "m.nrrd").write_text("NRRD0004\n")
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_labels(tmp_path / "m.nrrd", scan)
    assert Path(caught.value.file).name == "m.nrrd"
