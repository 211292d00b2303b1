"""What is valid, however rare, is read exactly: the HU equal the source's at every voxel."""

from __future__ import annotations

import bz2
import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from luna.ct.read import read_scan
from luna.ct.scan import Scan

from .test_read_metaimage import header_text
from .test_read_nifti_nrrd import refused

SIZE_IRC = (4, 6, 8)
SPACING = (0.7, 0.8, 1.25)
ORIGIN = (-100.0, -90.5, 20.0)
AFFINE_RAS = np.array(
    [[-0.7, 0, 0, 100], [0, -0.8, 0, 90.5], [0, 0, 1.25, 20], [0, 0, 0, 1]], dtype=np.float64
)


def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, SIZE_IRC).astype("<i2")


def assert_exact(scan: Scan, tolerance: float = 1e-9) -> None:
    np.testing.assert_array_equal(scan.hu, hu())
    assert scan.geometry.spacing_xyz == pytest.approx(SPACING, abs=tolerance)
    assert scan.geometry.origin_xyz == pytest.approx(ORIGIN, abs=tolerance)
    assert scan.provenance.stored_orientation == "LPS"


def metaimage(folder: Path, data: bytes, **changes: str | None) -> Path:
    path = folder / "a.mhd"
    given = {"ElementSpacing": "0.7 0.8 1.25", **changes}
    path.write_text(header_text(**given))
    name = given.get("ElementDataFile") or "a.raw"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return path


RAW = hu().tobytes()


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (hu().astype("<i8").tobytes(), {"ElementType": "MET_LONG_LONG"}),
        (hu().astype("<i4").tobytes(), {"ElementType": "MET_LONG"}),
        (b"a header of its own" + RAW, {"HeaderSize": "-1"}),
        (b"a header of its own" + RAW, {"HeaderSize": "19"}),
        (RAW, {"HeaderSize": "0"}),
        (RAW, {"ElementDataFile": "data/a.raw"}),
        (RAW, {"ElementDataFile": "./a.raw"}),
        (" ".join(map(str, hu().ravel())).encode(), {"BinaryData": "False"}),
        ("\n".join(map(str, hu().ravel())).encode() + b"\n", {"BinaryData": "False"}),
    ],
    ids=str,
)
def test_metaimage(tmp_path: Path, data: bytes, changes: dict[str, str]) -> None:
    scan = read_scan(metaimage(tmp_path, data, **changes))
    assert_exact(scan)
    assert scan.provenance.warnings == ()


def test_unsigned_64_bit_values_with_an_offset_are_no_hu(tmp_path: Path) -> None:
    data = (hu().astype(np.int64) + 1024).astype("<u8").tobytes()
    assert "Hounsfield" in refused(metaimage(tmp_path, data, ElementType="MET_ULONG_LONG"))


def test_metaimage_data_at_the_end_of_an_mha(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    text = header_text(ElementSpacing="0.7 0.8 1.25", HeaderSize="-1", ElementDataFile="Local")
    path.write_bytes(text.encode() + b"notes between" + RAW)
    assert_exact(read_scan(path))


def test_unknown_keys_of_a_metaimage_are_said(tmp_path: Path) -> None:
    scan = read_scan(metaimage(tmp_path, RAW, Scanner="x", Foo_Bar="1"))
    assert_exact(scan)
    (warning,) = scan.provenance.warnings
    assert "Scanner, Foo_Bar" in warning


def test_a_stated_orientation_that_contradicts_the_matrix_is_said(tmp_path: Path) -> None:
    scan = read_scan(metaimage(tmp_path, RAW, AnatomicalOrientation="LAI"))
    assert "AnatomicalOrientation says LAI, the matrix says RAI" in scan.provenance.warnings[0]
    for unstated in ("???", None):
        scan = read_scan(metaimage(tmp_path, RAW, AnatomicalOrientation=unstated))
        assert scan.provenance.warnings == ()


def voxels() -> np.ndarray:
    """The volume as nibabel has it: column, row, index."""
    return hu().transpose(2, 1, 0)


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int8, np.float64, np.float32])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr", "a.img", "a.hdr.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_nifti(tmp_path: Path, version: int, name: str, kind: type) -> None:
    pair = ".nii" not in name
    makers = {
        (1, False): nibabel.Nifti1Image,
        (2, False): nibabel.Nifti2Image,
        (1, True): nibabel.Nifti1Pair,
        (2, True): nibabel.Nifti2Pair,
    }
    data = voxels().astype(kind)
    if kind in (np.uint16, np.int8):
        data = (voxels() // 8 if kind is np.int8 else voxels() + 1024).astype(kind)
    image = makers[version, pair](data, AFFINE_RAS, dtype=kind)
    image.header.set_slope_inter(8 if kind is np.int8 else 1, -1024 if kind is np.uint16 else 0)
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE_RAS, 1)
    image.set_qform(AFFINE_RAS, 1)
    nibabel.save(image, tmp_path / name)
    scan = read_scan(tmp_path / name)
    wanted = np.round(nibabel.load(tmp_path / name).get_fdata()).transpose(2, 1, 0)
    np.testing.assert_array_equal(scan.hu, wanted)
    assert scan.geometry.origin_xyz == pytest.approx(ORIGIN, abs=1e-4)
    assert scan.geometry.spacing_xyz == pytest.approx(SPACING, abs=1e-4)
    assert (scan.series_uid, scan.provenance.warnings) == ("a", ())


def nifti(path: Path) -> bytearray:
    image = nibabel.Nifti1Image(voxels(), AFFINE_RAS)
    image.header.set_xyzt_units("mm")
    image.set_sform(AFFINE_RAS, 1)
    image.set_qform(AFFINE_RAS, 1)
    nibabel.save(image, path)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("slope", [(float("nan"), float("nan")), (float("nan"), 3.0), (0.0, 7.0)])
def test_no_slope_means_no_rescale(tmp_path: Path, slope: tuple[float, float]) -> None:
    whole = nifti(tmp_path / "a.nii")
    struct.pack_into("<2f", whole, 112, *slope)
    (tmp_path / "a.nii").write_bytes(whole)
    assert_exact(read_scan(tmp_path / "a.nii"), 1e-4)


@pytest.mark.parametrize(("axis", "share"), [(0, 0.1), (1, 0.1), (2, 0.1), (2, 0.2)])
def test_forms_that_are_part_of_a_voxel_apart(tmp_path: Path, axis: int, share: float) -> None:
    whole = nifti(tmp_path / "a.nii")
    at = 268 + 4 * axis
    (place,) = struct.unpack_from("<f", whole, at)
    struct.pack_into("<f", whole, at, place + share * SPACING[axis])
    (tmp_path / "a.nii").write_bytes(whole)
    scan = read_scan(tmp_path / "a.nii")
    assert_exact(scan, 1e-4)
    assert "sform and qform" in scan.provenance.warnings[0]
    struct.pack_into("<f", whole, at, place + 0.6 * SPACING[axis])
    (tmp_path / "a.nii").write_bytes(whole)
    assert "disagree" in refused(tmp_path / "a.nii")


def test_numbers_beyond_any_scanner(tmp_path: Path) -> None:
    """The numbers of NIfTI-2 are as wide as Python's own: their squares overflow."""
    image = nibabel.Nifti2Image(voxels(), AFFINE_RAS)
    image.set_sform(AFFINE_RAS, 1)
    nibabel.save(image, tmp_path / "a.nii")
    whole = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<d", whole, 400, 1e300)  # the first number of the sform
    (tmp_path / "a.nii").write_bytes(whole)
    assert "beyond any scanner" in refused(tmp_path / "a.nii")


def test_a_pair_without_its_half(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(voxels(), AFFINE_RAS), tmp_path / "a.img")
    (tmp_path / "a.img").rename(tmp_path / "b.img")
    assert "missing" in refused(tmp_path / "a.hdr")
    assert "missing" in refused(tmp_path / "b.img")


def test_a_compressed_file_under_a_plain_name(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(tmp_path / "b.nii")
    assert "compressed with gzip" in refused(tmp_path / "b.nii")


NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "8 6 4",
    "space directions": "(0.7,0,0) (0,0.8,0) (0,0,1.25)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-100,-90.5,20)",
}
TEXT = " ".join(map(str, hu().ravel())).encode()


def nrrd(folder: Path, data: bytes, **changes: str) -> Path:
    fields = NRRD | {name.replace("_", " "): value for name, value in changes.items()}
    text = "NRRD0005\n" + "".join(f"{name}: {value}\n" for name, value in fields.items())
    (folder / "a.nrrd").write_bytes(text.encode() + b"\n" + data)
    return folder / "a.nrrd"


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (hu().astype("<i8").tobytes(), {"type": "int64"}),
        (hu().astype(">i8").tobytes(), {"type": "long long int", "endian": "big"}),
        (RAW, {"sample_units": "HU"}),
        (RAW, {"sample_units": '"Hounsfield"'}),
        (RAW, {"axis_mins": "0 0 nan"}),
        (RAW, {"space_units": '"mm" "mm" "mm"'}),
        (RAW, {"space_units": "mm mm mm"}),
        (RAW, {"units": '"mm" "mm" "mm"'}),
        (RAW, {"spacings": "0.7 0.8 1.25"}),
        (RAW, {"spacings": "nan nan nan"}),
        (b"notes between" + RAW, {"byte_skip": "-1"}),
        (b"notes between" + RAW, {"byte_skip": "13"}),
        (bz2.compress(RAW), {"encoding": "bzip2"}),
        (bz2.compress(RAW), {"encoding": "bz2"}),
        (gzip.compress(RAW, mtime=0), {"encoding": "gz"}),
        (gzip.compress(b"notes between" + RAW, mtime=0), {"encoding": "gz", "byte_skip": "13"}),
        (TEXT, {"encoding": "ascii"}),
        (TEXT.replace(b" ", b"\n"), {"encoding": "txt"}),
        (RAW.hex().encode(), {"encoding": "hex"}),
        (RAW.hex("\n", 16).encode() + b"\n", {"encoding": "hex"}),
        (
            RAW,
            {
                "dimension": "4",
                "sizes": "1 8 6 4",
                "space_directions": "none (0.7,0,0) (0,0.8,0) (0,0,1.25)",
                "kinds": "vector domain domain domain",
            },
        ),
        (
            RAW,
            {
                "dimension": "4",
                "sizes": "8 6 4 1",
                "space_directions": "(0.7,0,0) (0,0.8,0) (0,0,1.25) none",
                "kinds": "domain domain domain time",
                "units": '"mm" "mm" "mm" "s"',
            },
        ),
    ],
    ids=str,
)
def test_nrrd(tmp_path: Path, data: bytes, changes: dict[str, str]) -> None:
    scan = read_scan(nrrd(tmp_path, data, **changes))
    assert_exact(scan)
    assert scan.provenance.warnings == ()


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (RAW[:-1] + b"", {"byte_skip": "-1"}, "wrong length"),
        (bz2.compress(RAW)[:-4], {"encoding": "bzip2"}, "damaged"),
        (bz2.compress(RAW) + b"x", {"encoding": "bzip2"}, "damaged"),
        (bz2.compress(RAW[:-2]), {"encoding": "bzip2"}, "too early"),
        (bz2.compress(RAW + b"xx"), {"encoding": "bzip2"}, "longer"),
        (TEXT + b" 1", {"encoding": "ascii"}, "longer"),
        (TEXT.rsplit(b" ", 1)[0], {"encoding": "ascii"}, "too early"),
        (TEXT.replace(b" ", b" x", 1), {"encoding": "ascii"}, "not a number"),
        (TEXT.replace(b"-", "−".encode(), 1), {"encoding": "ascii"}, "not a number"),
        (RAW.hex().encode() + b"0", {"encoding": "hex"}, "damaged"),
        (RAW.hex().encode()[:-2], {"encoding": "hex"}, "too early"),
        (b"zz" + RAW.hex().encode()[2:], {"encoding": "hex"}, "damaged"),
    ],
    ids=str,
)
def test_damaged_encodings(
    tmp_path: Path, data: bytes, changes: dict[str, str], message: str
) -> None:
    assert message in refused(nrrd(tmp_path, data, **changes))


def test_a_bzip2_bomb_is_not_inflated(tmp_path: Path) -> None:
    """45 bytes for every 900,000 zeros; a slice of 4096 × 4096 is refused by its size alone."""
    data = bz2.compress(bytes(1 << 26))
    assert "too short" in refused(nrrd(tmp_path, data, encoding="bzip2", sizes="4096 4096 2"))
