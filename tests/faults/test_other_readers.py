"""Why luna stands around the libraries, or reads by itself: what they read without an error.

docs/decisions.md names these cases. Where a library learns to refuse one, it may do more.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd as pynrrd
import numpy as np
import pytest
import SimpleITK as sitk

from .test_read_metaimage import header_text
from .test_read_metaimage import hu as short_hu
from .test_read_nifti_nrrd import refused
from .test_read_valid import RAW, nifti, nrrd

Bend = Callable[[bytearray], object]


def itk(path: Path) -> object:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def by_nibabel(path: Path) -> object:
    return nibabel.load(path).get_fdata()


def by_pynrrd(path: Path) -> object:
    return pynrrd.read(str(path))


def shifted_sform(whole: bytearray) -> None:
    struct.pack_into("<f", whole, 292, 55.0)


def in_metres(whole: bytearray) -> None:
    whole[123] = 1


def no_forms(whole: bytearray) -> None:
    struct.pack_into("<2h", whole, 252, 0, 0)


def longer(whole: bytearray) -> None:
    whole.extend(bytes(400))


def other_spacing(whole: bytearray) -> None:
    struct.pack_into("<f", whole, 80, 3.5)


@pytest.mark.parametrize("bend", [shifted_sform, in_metres, no_forms, longer, other_spacing])
def test_nifti_that_nibabel_reads(tmp_path: Path, bend: Bend) -> None:
    whole = nifti(tmp_path / "a.nii")
    bend(whole)
    (tmp_path / "a.nii").write_bytes(whole)
    assert by_nibabel(tmp_path / "a.nii") is not None
    assert refused(tmp_path / "a.nii")


def test_nifti_whose_checksum_nibabel_passes_over(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 400, (40, 40, 40)).astype("<i2")
    image = nibabel.Nifti1Image(voxels, np.diag((0.7, 0.7, 1.25, 1)))
    nibabel.save(image, tmp_path / "a.nii.gz")
    whole = bytearray((tmp_path / "a.nii.gz").read_bytes())
    whole[-8] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(whole)
    assert by_nibabel(tmp_path / "a.nii.gz") is not None
    assert "damaged" in refused(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("data", "changes", "reader"),
    [
        (RAW, {"space_units": '"cm" "cm" "cm"'}, itk),
        (RAW, {"kinds": "domain domain time"}, itk),
        (RAW, {"spacings": "1 1 1"}, by_pynrrd),
        (RAW, {"space_units": "cm cm cm"}, by_pynrrd),
        (RAW, {"kinds": "domain domain time"}, by_pynrrd),
        (RAW, {"sizes": "8 6 4 \N{ARABIC-INDIC DIGIT TWO}"}, by_pynrrd),
        (RAW, {"spase": "right-anterior-superior"}, by_pynrrd),
        (RAW + bytes(10), {}, itk),
        (gzip.compress(RAW, mtime=0) + b"garbage", {"encoding": "gzip"}, by_pynrrd),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_nrrd_that_others_read(
    tmp_path: Path, data: bytes, changes: dict[str, str], reader: Callable[[Path], object]
) -> None:
    path = nrrd(tmp_path, data, **changes)
    assert reader(path) is not None
    assert refused(path)


def test_a_note_that_pynrrd_takes_for_the_space(tmp_path: Path) -> None:
    path = nrrd(tmp_path, RAW)
    path.write_bytes(path.read_bytes().replace(b"space: left", b"space:= left"))
    assert by_pynrrd(path)[1]["space"] == "left-posterior-superior"
    assert "no orientation" in refused(path)


@pytest.mark.parametrize(
    "changes", [{"ElementSpacing": None}, {"AnatomicalOrientation": "LAI", "TransformMatrix": None}]
)
def test_metaimage_that_itk_reads(tmp_path: Path, changes: dict[str, str | None]) -> None:
    path = tmp_path / "a.mhd"
    path.write_text(header_text(**changes))
    (tmp_path / "a.raw").write_bytes(short_hu().tobytes())
    assert np.array_equal(itk(path), short_hu())
    assert refused(path)
