"""Damaged NIfTI and NRRD files: SimpleITK reads several of these without a word."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.read import read_scan
from luna.run.errors import InputError

from . import refusals

FIELDS = {
    "qoffset": (268, "<3f"),
    "sform": (280, "<4f"),
    "quatern": (256, "<3f"),
    "dim": (40, "<8h"),
    "pixdim": (76, "<8f"),
    "offset": (108, "<f"),
    "slope": (112, "<2f"),
}
CODES_AT, QUATERNION_AT, SFORM_AT = 252, 256, 280


def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, (4, 6, 8)).astype("<i2")


def write(path: Path, voxels: np.ndarray | None = None) -> Path:
    image = sitk.GetImageFromArray(hu() if voxels is None else voxels)
    image.SetSpacing((0.7, 0.7, 1.25)[: image.GetDimension()])
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def nifti(folder: Path) -> tuple[Path, bytearray]:
    path = write(folder / "a.nii.gz")
    return path, bytearray(gzip.decompress(path.read_bytes()))


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_scan(path)
    refusals.seen.append(path)
    assert caught.value.exit_code == 3
    assert caught.value.file is not None
    assert Path(caught.value.file).is_relative_to(path.parent)  # this one, or the data beside it
    return f"{caught.value.what} {caught.value.why}"


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
def test_every_truncation_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert refused(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
def test_every_flipped_bit_is_refused_or_harmless(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    whole = path.read_bytes()
    start = whole.find(b"\x1f\x8b")
    for at in range(start, len(whole)):
        bent = bytearray(whole)
        bent[at] ^= 1 << (at % 8)
        path.write_bytes(bent)
        try:
            scan = read_scan(path)
        except InputError:
            continue
        np.testing.assert_array_equal(scan.hu, hu())  # name, time and system of the gzip header


@pytest.mark.parametrize("tail", [b"\x01", b"\0\0", bytes(100_000)], ids=len)
def test_data_longer_than_the_header_says(tmp_path: Path, tail: bytes) -> None:
    path, content = nifti(tmp_path)
    path.write_bytes(gzip.compress(bytes(content) + tail))
    assert "longer" in refused(path)
    plain = tmp_path / "b.nii"
    plain.write_bytes(bytes(content) + tail)
    assert "wrong length" in refused(plain)


def test_sform_and_qform_disagree(tmp_path: Path) -> None:
    path, content = nifti(tmp_path)
    row = list(struct.unpack_from("<4f", content, SFORM_AT))
    row[3] += 5
    struct.pack_into("<4f", content, SFORM_AT, *row)
    path.write_bytes(gzip.compress(content))
    assert "disagree" in refused(path)


def test_no_orientation(tmp_path: Path) -> None:
    path, content = nifti(tmp_path)
    struct.pack_into("<2h", content, CODES_AT, 0, 0)
    path.write_bytes(gzip.compress(content))
    assert "no orientation" in refused(path)


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
def test_either_orientation_is_enough(tmp_path: Path, codes: tuple[int, int]) -> None:
    path, content = nifti(tmp_path)
    struct.pack_into("<2h", content, CODES_AT, *codes)
    path.write_bytes(gzip.compress(content))
    image = sitk.ReadImage(str(path))
    scan = read_scan(path)
    turned = sitk.DICOMOrient(image, "LPS")
    assert scan.geometry.origin_xyz == pytest.approx(turned.GetOrigin(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("dim", (4, 8, 6, 4, 2, 1, 1, 1), "dimensions"),
        ("dim", (2, 8, 6, 1, 1, 1, 1, 1), "dimensions"),
        ("dim", (3, 8, 6, 0, 1, 1, 1, 1), "no voxels"),
        ("dim", (3, -8, 6, 4, 1, 1, 1, 1), "no voxels"),
        ("dim", (3, 32767, 32767, 32767, 1, 1, 1, 1), "larger than any"),
        ("dim", (3, 8, 6, 5, 1, 1, 1, 1), "early"),
        ("pixdim", (1, 0.0007, 0.0007, 0.00125, 0, 0, 0, 0), "disagree"),
        ("pixdim", (1, float("nan"), 0.7, 1.25, 0, 0, 0, 0), "not finite"),
        ("offset", (float("nan"),), "offset"),
        ("offset", (100.0,), "offset"),
        ("offset", (1e30,), "offset"),
        ("slope", (float("inf"), 0.0), "rescale"),
        ("slope", (1.0, float("nan")), "rescale"),
        ("slope", (1e38, 0.0), "Hounsfield"),
        ("sform", (float("inf"), 0.0, 0.0, 0.0), "not finite"),
        ("sform", (float("nan"), 0.0, 0.0, 0.0), "not finite"),
        ("qoffset", (float("inf"), 0.0, 0.0), "not finite"),
        ("quatern", (3e38, 3e38, 3e38), "impossible"),
    ],
)
def test_bad_nifti_header(
    tmp_path: Path, name: str, values: tuple[float, ...], message: str
) -> None:
    path, content = nifti(tmp_path)
    at, layout = FIELDS[name]
    struct.pack_into(layout, content, at, *values)
    path.write_bytes(gzip.compress(content))
    assert message in refused(path)


def test_nifti_rescale_is_applied(tmp_path: Path) -> None:
    path, content = nifti(tmp_path)
    struct.pack_into("<2f", content, FIELDS["slope"][0], 0.5, -10.0)
    path.write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(read_scan(path).hu, np.rint(hu() * 0.5 - 10))


def test_metres_are_refused(tmp_path: Path) -> None:
    path, content = nifti(tmp_path)
    content[123] = 1
    path.write_bytes(gzip.compress(content))
    assert "millimetres" in refused(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"space: left-posterior-superior\n", b"", "no orientation"),
        (b"space: left-posterior-superior\n", b"space: scanner-xyz\n", "no orientation"),
        (b"sizes: 8 6 4", b"sizes: 8 6 5", "early"),
        (b"sizes: 8 6 4", b"sizes: 8 6 3", "longer"),
        (b"sizes: 8 6 4", b"sizes: 100000 100000 100000", "larger than any"),
        (b"sizes: 8 6 4", b"sizes: 8 6", "dimensions"),
        (b"sizes: 8 6 4", b"sizes: 8 -6 4", "impossible"),
        (b"dimension: 3", b"dimension: 4", "dimensions"),
        (b"type: short", b"type: block", "type"),
        (b"endian: little\n", b"", "byte order"),
        (b"encoding: gzip", b"encoding: raw", "wrong length"),
        (b"encoding: gzip", b"encoding: bzip2", "damaged"),
        (b"encoding: gzip", b"encoding: zrl", "encoding"),
        (b"encoding: gzip", b"encoding: gzip\ndata file: /dev/zero", "plain file name"),
        (b"encoding: gzip", b"encoding: gzip\ndata file: ../a.raw", "plain file name"),
        (b"encoding: gzip", b"encoding: gzip\ndata file: a%03d.raw 1 9 1", "plain file name"),
        (b"encoding: gzip", b"encoding: gzip\nbyte skip: -1", "only raw data"),
        (b"encoding: gzip", b"encoding: gzip\nbyte skip: -2", "byte skip"),
        (b"encoding: gzip", b"encoding: gzip\nline skip: 1", "line skip"),
        (b"encoding: gzip", b"encoding: gzip\nspace units: cm cm cm", "millimetres"),
        (b"encoding: gzip", b'encoding: gzip\nspace units: "mm" "mm" "cm"', "millimetres"),
        (b"encoding: gzip", b'encoding: gzip\nunits: "mm" "mm" "s"', "millimetres"),
        (b"encoding: gzip", b"encoding: gzip\nsample units: mgHA/cm3", "not Hounsfield"),
        (b"encoding: gzip", b"encoding: gzip\nspacings: 1 1 1", "contradict"),
        (b"kinds: domain domain domain", b"kinds: domain domain time", "no direction"),
        (b"kinds: domain domain domain", b"kinds: RGB-color domain domain", "no direction"),
        (b"encoding: gzip", b"encoding: gzip\nspase: ras", "malformed"),
        (b"space origin: (0,0,0)", b"space origin: (0,0,nan)", "space origin"),
        (b"space origin: (0,0,0)\n", b"", "space origin"),
        (b"(0,0,1.25)", b"(0,0,0)", "singular"),
        (b"(0,0,1.25)", b"(0,0.5,1.25)", "orthonormal"),
        (b"(0,0,1.25)", b"none", "space directions"),
        (b"(0,0,1.25)", b"(0,0,0.00125)", "not plausible"),
        (b"NRRD000", b"NRRD999", "not a NRRD"),
    ],
    ids=str,
)
def test_bad_nrrd_header(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = write(tmp_path / "a.nrrd")
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1))
    assert message in refused(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd"])
def test_what_is_no_ct_volume(tmp_path: Path, name: str) -> None:
    for voxels in (np.zeros((6, 8), "<i2"), np.zeros((2, 4, 6, 8), "<i2")):
        assert "dimensions" in refused(write(tmp_path / name, voxels))
    bad = hu().astype("f4")
    bad[1, 2, 3] = np.nan
    assert "not finite" in refused(write(tmp_path / name, bad))
    assert "Hounsfield" in refused(write(tmp_path / name, np.abs(hu())))
