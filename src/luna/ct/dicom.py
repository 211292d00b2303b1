"""A CT series from DICOM files: which files belong to it, and the volume they make.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.8.2.1 (CT image), PS3.10 (file format).
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from luna.ct.dicom_pixels import read_pixels
from luna.ct.dicom_slices import Slice, geometry_of, in_order, numbers
from luna.ct.volume import Volume, check_grid
from luna.run.errors import InputError, UsageError

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
    *("NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
)

MAX_FILES = 20_000
MAGIC_OFFSET, MAGIC = 128, b"DICM"
META_BYTES = 4096
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
DEFLATED = b"1.2.840.10008.1.2.1.99"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
CT_IMAGE, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line of a list of series. `description` is free text and may name a person."""

    uid: str
    modality: str
    slices: int
    description: str


def is_dicom(path: Path) -> bool:
    """Whether a file starts as PS3.10 says.

    Raises InputError when only its name says DICOM, and for a deflated file, which pydicom
    would inflate without bound.
    """
    with path.open("rb") as stream:
        start = stream.read(META_BYTES)
    if start[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] != MAGIC:
        suffix = path.suffix.lower()
        cut_off = not suffix and not start.strip(b"\0")  # the preamble is 128 zeros
        if cut_off or suffix in DICOM_SUFFIXES:
            raise InputError(
                "the file should be DICOM but is not",
                file=path,
                why="empty or cut off" if not start.strip(b"\0") else "it has no DICM mark",
                hint="copy or download the scan again",
            )
        return False
    if DEFLATED in start:
        raise InputError("deflated DICOM is not read", file=path, hint="store it uncompressed")
    return True


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files in a folder and its subfolders, in order of their paths."""
    files: list[Path] = []
    for place, _, names in os.walk(folder):  # links to folders are not followed
        files += [
            path
            for name in names
            if not name.startswith(".") and (path := Path(place, name)).is_file()
        ]
        if len(files) > MAX_FILES:
            raise UsageError(
                f"more than {MAX_FILES} files in this folder", file=folder, hint="name one series"
            )
    return [path for path in sorted(files) if path.name != "DICOMDIR" and is_dicom(path)]


def list_dicom_series(files: list[Path]) -> tuple[Series, ...]:
    """Every CT series of some DICOM files, the largest first."""
    series, _ = _ct_series([(path, _read_header(path)) for path in files])
    return _listed(series)


def series_of(path: Path) -> str:
    """The series UID of one DICOM file."""
    return str(_read_header(path).get("SeriesInstanceUID", ""))


def read_dicom(place: Path, files: list[Path], series_uid: str | None = None) -> Volume:
    """The CT series of some DICOM files; `place` is what messages name.

    Raises UsageError when they hold several series and none is chosen, and InputError when
    the series is no CT, or its slices do not make one evenly spaced, untilted volume.
    """
    series, left_out = _ct_series([(path, _read_header(path)) for path in files])
    if not series:
        raise InputError(
            "no CT slices here", file=place, why="; ".join(left_out), hint="luna reads chest CT"
        )
    chosen = in_order(series[_choose(place, series, series_uid)])
    rows, columns = (int(numbers(chosen[0], tag, 1)[0]) for tag in ("Rows", "Columns"))
    size = (len(chosen), rows, columns)
    check_grid(size, (1.0, 1.0, 1.0), chosen[0].path)
    pixels = read_pixels(chosen, size)
    geometry = geometry_of(pixels.slices)
    check_grid(pixels.hu.shape, geometry.spacing_xyz, place)
    first = pixels.slices[0].header
    images = [_instance_number(item.header) for item in pixels.slices]
    return Volume(
        hu=pixels.hu,
        geometry=geometry,
        series_uid=str(first.SeriesInstanceUID),
        format="DICOM",
        metadata=_texts(first, SAFE_TAGS),
        phi=_texts(first, PHI_TAGS),
        warnings=(*left_out, *pixels.warnings),
        image_numbers=() if None in images else tuple(n for n in images if n is not None),
        padding_voxels=pixels.padding_voxels,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom warns of odd values in tags that are not used here; those used are checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_header(path: Path) -> FileDataset:
    try:
        with quiet(), path.open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=[*HEADER_TAGS])
            ended = not stream.read(1)
            for element in header:  # decode now, so that a bad value is this file's fault
                str(element.value)
    except PermissionError:
        raise
    except (
        *(InvalidDicomError, EOFError, OSError, RecursionError, NotImplementedError),
        *(ValueError, KeyError, TypeError, AttributeError, LookupError, OverflowError),
    ) as error:
        raise InputError(
            "the DICOM file is damaged",
            file=path,
            why=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            hint="copy or download the file again",
        ) from error
    if _is_cut_off(header, ended):
        raise InputError(
            "the DICOM file is cut off", file=path, hint="copy or download the file again"
        )
    return header


def _is_cut_off(header: FileDataset, ended: bool) -> bool:
    """Whether a file ends before what every DICOM object, or every CT image, must have.

    pydicom takes the end of a file for the end of the object, wherever it comes, so half a
    series UID would be a series of its own.
    """
    if str(header.file_meta.get("MediaStorageSOPClassUID")) == MEDIA_DIRECTORY:
        return False
    if not _text(header, "Modality") or not _text(header, "SeriesInstanceUID"):
        return True
    is_ct = _text(header, "Modality") == "CT"
    return ended and is_ct and str(header.get("SOPClassUID") or CT_IMAGE) == CT_IMAGE


def _ct_series(
    headers: Iterable[tuple[Path, FileDataset]],
) -> tuple[dict[str, list[Slice]], list[str]]:
    """CT slices by series UID, and a sentence for each kind of file that is left out."""
    series: dict[str, list[Slice]] = {}
    other: Counter[str] = Counter()
    for path, header in headers:
        kind = _other_kind(header)
        if kind:
            other[kind] += 1
            continue
        series.setdefault(_text(header, "SeriesInstanceUID"), []).append(Slice(path, header, 0.0))
    left_out = [f"{count} files were left out: {kind}." for kind, count in sorted(other.items())]
    return series, left_out


def _other_kind(header: FileDataset) -> str:
    """What a file is if it is no slice of a CT; empty if it is one."""
    modality = _text(header, "Modality")
    if modality != "CT":
        return f"modality {modality or 'not given'}, not CT"
    sop_class = str(header.get("SOPClassUID") or CT_IMAGE)
    if sop_class == ENHANCED_CT:
        return "enhanced multi-frame CT, which luna does not read"
    if sop_class != CT_IMAGE:
        return "no CT image"
    image_type = header.get("ImageType") or ()
    words = (image_type,) if isinstance(image_type, str) else tuple(image_type)
    return "localizer" if {"LOCALIZER", "SCOUT"} & {str(w).upper() for w in words} else ""


def _listed(series: dict[str, list[Slice]]) -> tuple[Series, ...]:
    lines = [
        Series(
            uid=uid,
            modality=_text(slices[0].header, "Modality"),
            slices=len(slices),
            description=_text(slices[0].header, "SeriesDescription"),
        )
        for uid, slices in series.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.slices, line.uid)))


def _choose(place: Path, series: dict[str, list[Slice]], series_uid: str | None) -> str:
    if series_uid is None and len(series) == 1:
        return next(iter(series))
    if series_uid is not None and series_uid in series:
        return series_uid
    lines = [
        f"\n  {line.uid}  {line.slices} slices  {line.description or '(no description)'}"
        for line in _listed(series)
    ]
    what = f"{len(series)} CT series here"
    if series_uid is not None:
        what = f"no series {series_uid} among the {what}"
    raise UsageError(
        what, file=place, why="".join(lines) + "\n", hint="choose one with --series UID"
    )


def _text(header: FileDataset, tag: str) -> str:
    """A tag as one printable line, without control characters."""
    value = header.get(tag)
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]


def _texts(header: FileDataset, tags: tuple[str, ...]) -> dict[str, str]:
    return {tag: text for tag in tags if (text := _text(header, tag))}


def _instance_number(header: FileDataset) -> int | None:
    text = _text(header, "InstanceNumber")
    return int(text) if text.lstrip("+-").isdecimal() else None
