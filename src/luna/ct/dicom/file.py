"""One DICOM file: whether it is one, its header, its pixels; never an error of pydicom's own.

Messages do not quote what pydicom says of a damaged file, because it quotes the file, and
with it perhaps a name. Source: DICOM PS3.10.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.filereader import read_file_meta_info

from luna.run.errors import InputError, LunaError

SAFE_TAGS = (
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "BodyPartExamined",
    "ConvolutionKernel",
    "KVP",
    "XRayTubeCurrent",
    "SliceThickness",
    "ContrastBolusAgent",
    "PatientPosition",
)
"""Acquisition facts that identify nobody."""

PHI_TAGS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "AccessionNumber",
    "StudyDate",
    "StudyDescription",
    "SeriesDescription",
    "StudyInstanceUID",
    "InstitutionName",
    "ReferringPhysicianName",
)
"""What identifies a person, and free text, which may."""

HEADER_TAGS = (
    *SAFE_TAGS,
    *PHI_TAGS,
    *("SpecificCharacterSet", "SOPClassUID", "ImageType", "SeriesInstanceUID", "InstanceNumber"),
    *("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "SpacingBetweenSlices"),
    *("NumberOfFrames", "SamplesPerPixel"),
)

PIXEL_TAGS = (
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelData"),
)

MAGIC_OFFSET, MAGIC = 128, b"DICM"
START_BYTES = 4096
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
NO_SUFFIX = re.compile(r"(\.\d+)?")
"""Files of a series often have none; of a UID for a name, the last number looks like one."""

DEFLATED = "1.2.840.10008.1.2.1.99"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

AGAIN = "copy or download the file again"


def is_dicom(path: Path) -> bool:
    """Whether a file starts as PS3.10 says.

    Raises InputError when only its name says DICOM, when its meta information is damaged, and
    for a deflated file, which pydicom would inflate without bound.
    """
    with path.open("rb") as stream:
        start = stream.read(START_BYTES)
    if start[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] != MAGIC:
        suffix = path.suffix.lower()
        cut_off = not start.strip(b"\0") or (bytes(MAGIC_OFFSET) + MAGIC).startswith(start)
        if suffix in DICOM_SUFFIXES or (cut_off and NO_SUFFIX.fullmatch(suffix)):
            raise InputError(
                "the file should be DICOM but is not",
                file=path,
                why="empty or cut off" if cut_off else "it has no DICM mark",
                hint=AGAIN,
            )
        return False
    with pydicom_faults(path):
        deflated = read_file_meta_info(path).get("TransferSyntaxUID") == DEFLATED
    if deflated:
        raise InputError("deflated DICOM is not read", file=path, hint="store it uncompressed")
    return True


def read_header(path: Path) -> FileDataset:
    """HEADER_TAGS of one file, decoded. Raises InputError when it is damaged or cut off."""
    with pydicom_faults(path), path.open("rb") as stream:
        header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=[*HEADER_TAGS])
        ended = not stream.read(1)
        for element in header:  # decode now, so that a bad value is this file's fault
            str(element.value)
        if _is_cut_off(header, ended):
            raise InputError("the DICOM file is cut off", file=path, hint=AGAIN)
    return header


def read_whole(path: Path) -> FileDataset:
    """One file with its pixels, PIXEL_TAGS decoded. Raises InputError."""
    with pydicom_faults(path):
        dataset = pydicom.dcmread(path)
        for tag in PIXEL_TAGS:
            dataset.get(tag)
    return dataset


def text_of(header: FileDataset, tag: str) -> str:
    """A tag as one printable line, without control characters; empty when it is not there."""
    value = header.get(tag)
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]


@contextmanager
def pydicom_faults(path: Path) -> Iterator[None]:
    """The boundary to pydicom: its warnings are dropped, its errors become InputError.

    It warns of odd values in tags that are not used here; those that are used are checked.
    What it raises on damaged bytes has no common base and comes from every layer (struct,
    codecs, its own classes), a MemoryError for an absurd length among them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (LunaError, PermissionError):
        raise
    except Exception as error:
        raise InputError(
            "the DICOM file is damaged", file=path, why=type(error).__name__, hint=AGAIN
        ) from error


def _is_cut_off(header: FileDataset, ended: bool) -> bool:
    """Whether a file ends before what every DICOM object, or every CT image, must have.

    pydicom takes the end of a file for the end of the object, wherever it comes, so half a
    series UID would be a series of its own.
    """
    if str(header.file_meta.get("MediaStorageSOPClassUID")) == MEDIA_DIRECTORY:
        return False
    if not text_of(header, "Modality") or not text_of(header, "SeriesInstanceUID"):
        return True
    is_ct = text_of(header, "Modality") == "CT"
    return ended and is_ct and str(header.get("SOPClassUID") or CT_IMAGE) == CT_IMAGE
