"""The door: every format gives the volume that SimpleITK gives, turned to the patient's axes."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.geometry import Geometry
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.ct.write import write_labels
from luna.run.errors import EnvironmentFault, InputError, UsageError

SIZE_IRC = (5, 7, 9)
SPACING = (0.7, 0.8, 1.25)
ORIGIN = (-120.5, 30.25, -401.125)
TILT = np.radians(25)
OBLIQUE = (
    *(np.cos(TILT), 0.0, np.sin(TILT)),
    *(0.0, 1.0, 0.0),
    *(-np.sin(TILT), 0.0, np.cos(TILT)),
)
DIRECTIONS = {
    "straight": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    "RAS": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0),
    "head first": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0),
    "sagittal": (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "oblique": OBLIQUE,
}
NAMES = (
    "a.mhd",
    "raw.mhd",
    "a.mha",
    "raw.mha",
    "a.nii",
    "a.nii.gz",
    "a.nrrd",
    "raw.nrrd",
    "a.nhdr",
)


def hu_of(shape: tuple[int, int, int] = SIZE_IRC) -> np.ndarray:
    return np.random.default_rng(3).integers(-1000, 1500, shape).astype(np.int16)


def image_of(hu: np.ndarray, direction: tuple[float, ...] = DIRECTIONS["straight"]) -> sitk.Image:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(direction)
    return image


def write_image(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path), useCompression=not path.name.startswith("raw"))
    return path


def assert_same(scan: Scan, image: sitk.Image, tolerance: float = 1e-9) -> None:
    """NIfTI keeps geometry in float32, hence a tolerance for it; voxels are always exact."""
    turned = sitk.DICOMOrient(image, "LPS")
    np.testing.assert_array_equal(scan.hu, sitk.GetArrayViewFromImage(turned))
    assert scan.geometry.origin_xyz == pytest.approx(turned.GetOrigin(), abs=tolerance)
    assert scan.geometry.spacing_xyz == pytest.approx(turned.GetSpacing(), abs=tolerance)
    assert scan.geometry.direction == pytest.approx(turned.GetDirection(), abs=tolerance)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_equals_simpleitk(tmp_path: Path, name: str, direction: str) -> None:
    path = write_image(image_of(hu_of(), DIRECTIONS[direction]), tmp_path / name)
    assert_same(read_scan(path), sitk.ReadImage(str(path)), 1e-4 if ".nii" in name else 1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_labels_overlay_the_file_voxel_for_voxel(tmp_path: Path, direction: str) -> None:
    path = write_image(image_of(hu_of(), DIRECTIONS[direction]), tmp_path / "a.mha")
    scan = read_scan(path)
    write_labels(tmp_path / "labels.nii.gz", scan.hu > 500, scan)
    mine, theirs = sitk.ReadImage(str(tmp_path / "labels.nii.gz")), sitk.ReadImage(str(path))
    assert mine.GetSize() == theirs.GetSize()
    assert mine.GetOrigin() == pytest.approx(theirs.GetOrigin(), abs=1e-4)
    assert mine.GetDirection() == pytest.approx(theirs.GetDirection(), abs=1e-6)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(mine), sitk.GetArrayFromImage(theirs) > 500
    )


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.float64])
@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz", "a.nrrd"])
def test_wider_types_are_rounded(tmp_path: Path, name: str, kind: type) -> None:
    hu = hu_of()
    path = write_image(image_of(hu.astype(kind)), tmp_path / name)
    np.testing.assert_array_equal(read_scan(path).hu, hu)


def test_padding_is_raised_and_counted(tmp_path: Path) -> None:
    hu = hu_of()
    hu[0, 0, :4] = (-1025, -2000, -2048, -3024)
    scan = read_scan(write_image(image_of(hu), tmp_path / "a.mhd"))
    assert scan.hu[0, 0, :4].tolist() == [-1024] * 4
    assert scan.provenance.padding_voxels == 4


def test_names_become_series_uids(tmp_path: Path) -> None:
    for name, uid in (
        ("1.2.840.77.mhd", "1.2.840.77"),
        ("Ünsere Lunge (2).nii.gz", "Ünsere_Lunge_2"),
    ):
        assert read_scan(write_image(image_of(hu_of()), tmp_path / name)).series_uid == uid


@pytest.mark.parametrize("slices", [1, 2])
def test_thin_volumes(tmp_path: Path, slices: int) -> None:
    hu = hu_of((slices, 16, 8))
    path = write_image(image_of(hu), tmp_path / "a.nrrd")
    assert_same(read_scan(path), sitk.ReadImage(str(path)))


def test_missing_path_and_data_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_scan(tmp_path / "none.mhd")
    path = write_image(image_of(hu_of()), tmp_path / "a.mhd")
    with pytest.raises(UsageError, match="not its header"):
        read_scan(path.with_suffix(".zraw"))
    path.with_suffix(".zraw").unlink()
    with pytest.raises(InputError, match="missing"):
        read_scan(path)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("cptac-c3n-00247", 0),
        ("lidc-idri-0001", 0),
        *(("lung-pet-ct-dx-a0001/study", n) for n in (0, 1)),
    ],
)
def test_real_series_equals_simpleitk(shared: Path, name: str, number: int) -> None:
    folder = shared / "real" / name
    reader = sitk.ImageSeriesReader()
    uid = sorted(reader.GetGDCMSeriesIDs(str(folder)))[number]
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
    image = reader.Execute()
    scan = read_scan(folder, series_uid=uid)
    expected = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(scan.hu, np.maximum(expected, -1024))
    assert scan.provenance.padding_voxels == np.count_nonzero(expected < -1024)
    assert scan.geometry.origin_xyz == pytest.approx(image.GetOrigin(), abs=1e-6)
    assert scan.geometry.spacing_xyz == pytest.approx(image.GetSpacing(), abs=1e-6)
    assert scan.geometry.direction == pytest.approx(image.GetDirection(), abs=1e-12)
    assert scan.series_uid == uid


@pytest.mark.shared_data
def test_two_series_in_one_folder_are_listed(shared: Path) -> None:
    folder = shared / "real" / "lung-pet-ct-dx-a0001" / "study"
    with pytest.raises(UsageError) as caught:
        read_scan(folder)
    lines = caught.value.why.split("\n  ")[1:]
    assert [line.split()[1:3] for line in lines] == [["64", "slices"], ["16", "slices"]]
    assert [line.split()[-1] for line in lines] == ["2)", "3)"]
    assert "--series" in caught.value.hint
    for line, number in zip(lines, ("2", "3"), strict=True):
        uid, slices, *_ = line.split()
        for words in (uid, uid[:-3], number):
            scan = read_scan(folder, series_uid=words)
            assert (scan.series_uid, len(scan.hu)) == (uid, int(slices))


@pytest.mark.shared_data
def test_one_file_finds_its_siblings(shared: Path) -> None:
    folder = shared / "real" / "lidc-idri-0001"
    one = read_scan(sorted(folder.iterdir())[3])
    assert one.fingerprint() == read_scan(folder).fingerprint()


@pytest.mark.shared_data
def test_golden_phantom(shared: Path) -> None:
    (path,) = (shared / "goldens" / "phantom" / "subset0").glob("*.mhd")
    assert_same(read_scan(path), sitk.ReadImage(str(path)))


def test_reading_leaves_geometry_immutable_and_voxels_read_only(tmp_path: Path) -> None:
    scan = read_scan(write_image(image_of(hu_of()), tmp_path / "a.mhd"))
    assert isinstance(scan.geometry, Geometry)
    with pytest.raises(ValueError, match="read-only"):
        scan.hu[0, 0, 0] = 1


@pytest.mark.parametrize("name", ["a.mhd", "a.nii", "a.img", "a.nrrd", "a.dcm", "a.zip", "a"])
def test_pipes_devices_and_empty_files_are_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="not a plain file"):
        read_scan(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a plain file"):
        read_scan(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"empty|damaged"):
        read_scan(tmp_path / name)


def test_what_does_not_fit_the_memory_is_the_machines_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_image(image_of(hu_of()), tmp_path / "a.mhd")
    monkeypatch.setattr(np, "empty", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(EnvironmentFault, match="memory") as caught:
        read_scan(path)
    assert caught.value.exit_code == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = write_image(image_of(hu_of()), tmp_path / "a.mhd")
    path.chmod(0)
    with pytest.raises(EnvironmentFault, match="permission"):
        read_scan(path)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    scan = read_scan(write_image(image_of(hu_of()), tmp_path / "a.mhd"))
    for labels in (np.zeros((1, 2, 3), int), np.full(SIZE_IRC, 70_000), np.full(SIZE_IRC, -1)):
        with pytest.raises(ValueError, match="labels"):
            write_labels(tmp_path / "labels.nii.gz", labels, scan)
    assert not (tmp_path / "labels.nii.gz").exists()


def test_labels_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    scan = read_scan(write_image(image_of(hu_of()), tmp_path / "a.mhd"))
    with pytest.raises(EnvironmentFault):
        write_labels(tmp_path / "none" / "labels.nii.gz", scan.hu > 0, scan)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """As on a full disk, a write that would pass this many bytes is cut short there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["labels.nii.gz", "labels.nii"])
@pytest.mark.parametrize("size", [0, 100, 500])
def test_labels_that_are_cut_off_replace_nothing(tmp_path: Path, name: str, size: int) -> None:
    scan = read_scan(write_image(image_of(hu_of()), tmp_path / "a.mhd"))
    labels = np.arange(scan.hu.size).reshape(scan.hu.shape) * 173
    with (
        files_no_longer_than(size),
        pytest.raises(EnvironmentFault, match="disk is full") as caught,
    ):
        write_labels(tmp_path / name, labels % 65536, scan)
    assert "free some space" in caught.value.hint
    assert not (tmp_path / name).exists()
    assert not list(tmp_path.glob(".tmp-*"))
