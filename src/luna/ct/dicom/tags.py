"""The DICOM tags that are read, and which of their texts may be shown to anyone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

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
    "ManufacturerModelName",
    "ContrastBolusAgent",
)
"""What identifies a person, and free text, which may."""

NUMBER = re.compile(r"[+-]?[0-9.]{1,12}([eE][+-]?[0-9]{1,2})?")
VENDORS = (
    "GE|GENERAL ELECTRIC|SIEMENS|PHILIPS|TOSHIBA|CANON|HITACHI|FUJIFILM|NEUSOFT|PICKER|MARCONI"
)
REGIONS = "CHEST|LUNGS?|THORAX|ABDOMEN|ABD|PELVIS|NECK|HEAD|BODY|WHOLEBODY|WB|TORSO|HEART|SPINE"
KERNEL_WORDS = "STANDARD|STND|LUNG|CHST|CHEST|BONE|BONEPLUS|DETAIL|EDGE|SOFT|SHARP|SMOOTH|ULTRA"

SAFE_TAGS: Mapping[str, re.Pattern[str]] = {
    "Modality": re.compile("CT"),
    "Manufacturer": re.compile(
        rf"(?:{VENDORS})(?:[ _-](?:MEDICAL|SYSTEMS?|HEALTHCARE|HEALTHINEERS|MEC|INC\.?))*", re.I
    ),
    "BodyPartExamined": re.compile(rf"(?:{REGIONS})(?:[ _/+-]?(?:{REGIONS}))*", re.I),
    # Letters and figures as vendors count kernels (B70f, Br40d, FC08, L), or one of their words.
    "ConvolutionKernel": re.compile(
        rf"(?:(?:[A-Z]{{1,3}}[a-z]?[0-9]{{1,3}}[a-z]?|[A-Z]{{1,2}}|{KERNEL_WORDS})"
        r"(?:\\[0-9])?)",
        re.I,
    ),
    "KVP": NUMBER,
    "XRayTubeCurrent": NUMBER,
    "SliceThickness": NUMBER,
    "PatientPosition": re.compile("(?:HF|FF)(?:S|P|DR|DL)"),
}
"""Acquisition facts that identify nobody, each with the values that are certain to be one.
Whatever else stands in such a tag was typed by someone, and may be a name."""

GROUP_TAGS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""Where a multi-frame file keeps what a single-frame file has at its top (C.7.6.16)."""

SLICE_TAGS = (
    *SAFE_TAGS,
    *PHI_TAGS,
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "ImageType"),
    *("SeriesInstanceUID", "SeriesNumber", "InstanceNumber"),
    *("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "SpacingBetweenSlices"),
    *("NumberOfFrames", "SamplesPerPixel", "ModalityLUTSequence", "LossyImageCompression"),
    *("FrameOfReferenceUID", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime"),
    *("AcquisitionDateTime", "ScanOptions", "ReconstructionDiameter"),
    *("IssuerOfPatientID", "StudyTime"),
)
"""What a slice has, in the header of its file or among the groups of its frame."""

HEADER_TAGS = (*SLICE_TAGS, *GROUP_TAGS)

PIXEL_TAGS = (
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelData"),
)

MAX_TEXT = 200


def text_of(header: Dataset, tag: str) -> str:
    """Return a tag as one printable line, without control characters; empty when absent."""
    value = header.get(tag)
    if isinstance(value, MultiValue):
        value = "\\".join(map(str, value))
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text).strip()[:MAX_TEXT]


def shown_and_private(header: Dataset) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts that identify nobody, and those that may."""
    shown: dict[str, str] = {}
    private: dict[str, str] = {}
    for tag in (*SAFE_TAGS, *PHI_TAGS):
        text = text_of(header, tag)
        if text:
            known = tag in SAFE_TAGS and SAFE_TAGS[tag].fullmatch(text)
            (shown if known else private)[tag] = text
    return shown, private
