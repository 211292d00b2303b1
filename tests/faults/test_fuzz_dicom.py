"""DICOM tags bent at random: the volume is what pydicom and ITK make of it, or it is refused."""

from __future__ import annotations

import io
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.filereader import data_element_generator
from pydicom.uid import CTImageStorage, UID_dictionary

from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.ct.volume import MIN_HU

from .fuzzing import (
    BYTE_EDITS,
    NUMBERS,
    WORDS,
    edit_bytes,
    fuzzed,
    fuzzed_at_length,
    places,
    result_or_refusal,
)
from .test_read_dicom import SIZE_IRC, slice_of

SLICES = 3
PERSON = ("DOE^JANE", "4711")

Element = tuple[int, bytes, bytes]
"""Tag, VR and value of an element as they stand in a file."""

LONG_VRS = (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC")
VRS = (*LONG_VRS, b"DS", b"IS", b"CS", b"LO", b"PN", b"UI", b"US", b"SS", b"FD", b"AT", b"\0\0")
BINARY = (b"US", b"SS", b"FD", b"OB", b"OW")
ADDED: dict[str, bytes] = {
    "PixelPaddingValue": b"US",
    "RescaleType": b"LO",
    "NumberOfFrames": b"IS",
    "SpacingBetweenSlices": b"DS",
    "SpecificCharacterSet": b"CS",
    "ModalityLUTSequence": b"SQ",
    "SmallestImagePixelValue": b"US",
    "PatientBirthDate": b"DA",
    "ConvolutionKernel": b"SH",
    "WindowCenter": b"DS",
    "NumberOfTemporalPositions": b"IS",
    "PixelAspectRatio": b"IS",
}
TEXTS = (
    *("CT", "MR", "PT", "SR", "HU", "US", "OD", "ISO_IR 192", "ISO 2022 IR 87", "LOCALIZER"),
    *("ORIGINAL\\PRIMARY\\LOCALIZER", "AXIAL", "MONOCHROME1", "RGB", "1.2.840.10008.5.1.4.1.1.2"),
    *("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.1.2"),
)
EDITS = ("delete", "text", "number", "number", "component", "binary", "add", "vr", "repeat", "cut")


def elements_of(ds: FileDataset) -> list[Element]:
    """All elements of a file in explicit VR, little endian, those of its meta header first."""
    whole = io.BytesIO()
    ds.save_as(whole)
    whole.seek(132)
    found = data_element_generator(whole, is_implicit_VR=False, is_little_endian=True)
    return [(int(e.tag), str(e.VR).encode(), bytes(e.value or b"")) for e in found]


GOOD = [elements_of(slice_of(index)) for index in range(SLICES)]
TAGS = [tag for tag, _, _ in GOOD[0]]


def encoded(elements: list[Element]) -> bytes:
    """A file of the elements."""
    data = bytes(128) + b"DICM"
    for tag, vr, value in elements:
        data += (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr
        size = len(value)
        data += (
            b"\0\0" + size.to_bytes(4, "little") if vr in LONG_VRS else size.to_bytes(2, "little")
        )
        data += value
    return data


def padded(text: str) -> bytes:
    """A text value, of even length and no longer than its length field can say."""
    value = text.encode("utf-8", "replace")[:60000]
    return value + b" " * (len(value) % 2)


def bent_element(element: Element, how: str, word: str, number: str, place: int) -> list[Element]:
    """What stands in the place of one element."""
    tag, vr, value = element
    numeric = int.from_bytes(number.encode("utf-8", "replace")[:2].ljust(2, b"\0"), "little")
    parts = value.decode("latin-1").split("\\")
    parts[place % len(parts)] = number
    replaced: dict[str, list[Element]] = {
        "delete": [],
        "text": [(tag, vr, padded(word))],
        "number": [(tag, vr, numeric.to_bytes(2, "little") if vr in BINARY else padded(number))],
        "component": [(tag, vr, padded("\\".join(parts)))],
        "binary": [(tag, b"US", (place % 20).to_bytes(2, "little"))],
        "add": [element, (tag, vr, padded(f"{word}\\{number}"))],
        "vr": [(tag, VRS[place % len(VRS)], value)],
        "repeat": [element, element],
        "cut": [(tag, vr, value[: place % (len(value) + 1)])],
    }
    return replaced[how]


words = st.one_of(st.sampled_from((*TEXTS, *WORDS)), st.text(max_size=6))
numbers = st.one_of(
    st.sampled_from(NUMBERS), st.integers(-3000, 70000).map(str), st.floats(width=32).map(str)
)
wheres = st.one_of(st.just(-1), st.just(-1), st.integers(0, SLICES - 1))
tag_edits = st.lists(
    st.tuples(wheres, st.sampled_from(EDITS), st.sampled_from(TAGS), words, numbers, places),
    min_size=1,
    max_size=3,
)
additions = st.lists(st.tuples(wheres, st.sampled_from(list(ADDED)), words, numbers), max_size=1)
byte_edits = st.lists(
    st.tuples(
        st.integers(0, SLICES - 1),
        st.sampled_from(BYTE_EDITS[:5]),
        st.floats(0, 1),
        st.integers(0, 255),
    ),
    max_size=2,
)


def bent_series(edits: tuple[list[Any], list[Any], list[Any]]) -> list[bytes]:
    """The files of the series after the edits; those of slice -1 are made in every file."""
    changed, added, bytewise = edits
    files = [list(elements) for elements in GOOD]
    for where, how, tag, word, number, place in changed:
        for elements in files if where < 0 else files[where : where + 1]:
            at = next((k for k, element in enumerate(elements) if element[0] == tag), None)
            if at is not None:
                elements[at : at + 1] = bent_element(elements[at], how, word, number, place)
    for where, name, word, number in added:
        tag, vr = pydicom.datadict.tag_for_keyword(name), ADDED[name]
        binary = int.from_bytes(number.encode("utf-8", "replace")[:2], "little").to_bytes(
            2, "little"
        )
        value = binary if vr in BINARY else b"" if vr == b"SQ" else padded(word or number)
        for elements in files if where < 0 else files[where : where + 1]:
            elements.append((tag, vr, value))
            elements.sort(key=lambda element: element[0])
    data = [encoded(elements) for elements in files]
    for where, how, at, byte in bytewise:
        data[where] = edit_bytes(data[where], how, at, byte)
    return data


no_bytes = st.just([])
# Most bent bytes are refused at once: three of four series have none.
bent = st.tuples(tag_edits, additions, st.one_of(no_bytes, no_bytes, no_bytes, byte_edits)).map(
    bent_series
)


def judge(folder: Path, files: list[bytes]) -> None:
    """Read or refused; what is read is what pydicom and ITK make of the same files."""
    place = folder / "series"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for index, data in enumerate(files):
        (place / f"{index}.dcm").write_bytes(data)
    scan = result_or_refusal(lambda: read_scan(place), place, codes=(2, 3), unsaid=PERSON)
    if scan is not None:
        assert_as_pydicom(place, scan)


def assert_as_pydicom(place: Path, scan: Scan) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        every = [pydicom.dcmread(path) for path in sorted(place.iterdir())]
        slices = [ds for ds in every if is_slice(ds)]
        image = volume_of(slices)
    lost = len(every) - len(slices)
    assert not lost or any("left out" in warning for warning in scan.provenance.warnings)
    turned = sitk.DICOMOrient(image, "LPS")
    wanted = sitk.GetArrayViewFromImage(turned)
    same = np.maximum(wanted, MIN_HU) == scan.hu
    # What the file calls padding is air.
    assert np.count_nonzero(~same) <= scan.provenance.padding_voxels
    assert (scan.hu[~same] == MIN_HU).all()
    found = scan.geometry
    np.testing.assert_allclose(found.spacing_xyz, turned.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(found.origin_xyz, turned.GetOrigin(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.direction, turned.GetDirection(), atol=1e-6)


def is_slice(ds: FileDataset) -> bool:
    """Whether a file is a slice of a CT, going by its modality, class and image type."""
    kinds = np.atleast_1d(np.array(ds.get("ImageType") or [], dtype=object))
    named = [
        str(u) for u in (ds.get("SOPClassUID"), ds.file_meta.get("MediaStorageSOPClassUID")) if u
    ]
    known = [uid for uid in named if uid in UID_dictionary]  # others are an anonymiser's own
    is_ct = ds.Modality == "CT" and (known or [CTImageStorage])[0] == CTImageStorage
    return is_ct and not {"LOCALIZER", "SCOUT"} & {str(word).upper() for word in kinds}


def volume_of(slices: list[FileDataset]) -> sitk.Image:
    """The slices by position, rescaled one by one."""
    axes = np.array(slices[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(*axes)
    at = {float(np.dot(np.array(ds.ImagePositionPatient, float), normal)): ds for ds in slices}
    ordered = [at[key] for key in sorted(at)]
    for ds in ordered:  # a CT image has no others, and luna asks for none
        ds.add_new("SamplesPerPixel", "US", 1)
        ds.add_new("PhotometricInterpretation", "CS", "MONOCHROME2")
        ds.pop("NumberOfFrames", None)
        for tag in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
            ds.add_new(tag, "US", int(ds[tag].value))  # a number written as text is one, too
    hu = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in ordered]
    image = sitk.GetImageFromArray(np.rint(hu))
    step = (max(at) - min(at)) / (len(at) - 1) if len(at) > 1 else thickness_of(ordered[0])
    row_mm, column_mm = map(float, ordered[0].PixelSpacing)
    image.SetSpacing((column_mm, row_mm, step))
    image.SetOrigin([float(v) for v in ordered[0].ImagePositionPatient])
    image.SetDirection(np.column_stack([*axes, normal]).ravel().tolist())
    return image


def thickness_of(ds: FileDataset) -> float:
    return float(ds.get("SpacingBetweenSlices") or ds.SliceThickness)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bent")


def test_the_series_that_is_bent_is_good(folder: Path) -> None:
    judge(folder, [encoded(elements) for elements in GOOD])
    assert read_scan(folder / "series").shape_irc == (SLICES, *SIZE_IRC[1:])


A_NUMBER_FOR_IMAGE_TYPE = bent_series(([(-1, "binary", 0x00080008, "", "", 1)], [], []))
AN_IMAGE_NUMBER_WITH_TWO_SIGNS = bent_series(([(-1, "number", 0x00200013, "", "--1", 0)], [], []))
ROWS_OF_NOTHING = bent_series(
    ([(-1, "delete", 0x00020002, "", "", 0), (-1, "vr", 0x00280010, "", "", 32)], [], [])
)
COLUMNS_IN_BYTES = bent_series(
    ([(0, "number", 0x00280011, "", "+8", 0), (0, "vr", 0x00280011, "", "", 0)], [], [])
)


@fuzzed(150)
@example(files=A_NUMBER_FOR_IMAGE_TYPE)
@example(files=AN_IMAGE_NUMBER_WITH_TWO_SIGNS)
@example(files=ROWS_OF_NOTHING)
@example(files=COLUMNS_IN_BYTES)
@given(files=bent)
def test_any_series_is_read_as_pydicom_does_or_refused(folder: Path, files: list[bytes]) -> None:
    judge(folder, files)


@pytest.mark.slow
@fuzzed_at_length(2_000)
@given(files=bent)
def test_many_series(folder: Path, files: list[bytes]) -> None:
    judge(folder, files)
