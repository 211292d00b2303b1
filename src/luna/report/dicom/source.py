"""The DICOM images that a scan was read from, as the objects made of it must name them.

Headers are read again, because a Scan keeps none. What is copied from them is checked, since
files may hold values that no object may be written with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

from luna.ct.dicom.file import ENHANCED_CT, sop_class
from luna.ct.dicom.tags import GROUP_TAGS, text_of
from luna.ct.geometry import Geometry
from luna.ct.orient import to_stored_axes
from luna.ct.read import read_headers
from luna.ct.scan import Instance, Scan
from luna.run.errors import InputError, UsageError

PERSON_GROUPS = (0x0010, 0x0012)
"""Who the patient is, and which trial the patient is a subject of."""

STUDY_TAGS = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("StudyDescription", "ReferringPhysicianName"),
)
IMAGE_TAGS = (
    *("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("Modality", "Rows", "Columns", "NumberOfFrames", "InstanceNumber"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
GEOMETRY_TAGS = (
    *("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness"),
)

NEEDED_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")

MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Every object has these, with a value or without (type 2 of PS3.5 7.4)."""

SEXES = ("M", "F", "O")


@dataclass(frozen=True, slots=True)
class Source:
    """The images of a series, one header a file, and which of them each plane is.

    `planes` are in the order of the file's own grid: the place of the image among `images`, and
    the number of the frame, from 1.
    """

    images: tuple[Dataset, ...]
    planes: tuple[tuple[int, int], ...]

    @property
    def is_multiframe(self) -> bool:
        """Return whether one file holds the whole series."""
        return "NumberOfFrames" in self.images[0]

    def image(self, plane: int) -> tuple[Dataset, int | None]:
        """Return the header of a plane's file, and the frame where the file holds several."""
        place, frame = self.planes[plane]
        return self.images[place], frame if self.is_multiframe else None


Headers = Callable[[Sequence[Instance]], tuple[FileDataset, ...]]
"""Reads the headers of the files that hold some images."""


def read_source(path: Path, scan: Scan, headers: Headers | None = None) -> Source:
    """Read the headers of the DICOM files that a scan was read from; `path` is where.

    `headers` reads them where that is not all that is at `path`. Raises UsageError where the
    scan is not DICOM, and InputError where its files lack what an object of the same study must
    name.
    """
    instances = scan.provenance.instances
    if scan.provenance.format != "DICOM":
        raise UsageError(
            "DICOM results need a scan in DICOM",
            file=path,
            why=f"this is {scan.provenance.format}, which has no study that they could belong to",
            hint="leave --dicom out",
        )
    if not instances:
        raise InputError("the DICOM files have no SOP Instance UIDs of their own", file=path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd values in tags; those that are copied are checked
        read = headers or partial(read_headers, path)
        images = tuple(_clean(header) for header in read(instances))
    _check(path, images)
    _complete(images, scan)
    return Source(images, _planes(images, instances))


def stored_geometry(scan: Scan) -> Geometry:
    """Return the geometry of the grid that the file of a scan has."""
    empty = np.broadcast_to(np.uint8(0), scan.shape_irc)
    return to_stored_axes(empty, scan.geometry, scan.provenance.stored_orientation)[1]


def _complete(images: tuple[Dataset, ...], scan: Scan) -> None:
    """Give what highdicom asks of every image, and files may lack or keep elsewhere."""
    geometry = stored_geometry(scan)
    column_mm, row_mm, index_mm = geometry.spacing_xyz
    pixel = [format_number_as_ds(v) for v in (row_mm, column_mm)]
    cosines = [format_number_as_ds(v) for v in geometry.matrix[:, :2].T.ravel().tolist()]
    # Images that differ by less than a reader minds lie on one grid, and highdicom asks for that.
    grids = {(str(i.get("PixelSpacing")), str(i.get("ImageOrientationPatient"))) for i in images}
    for image in images:
        if "SliceThickness" not in image:
            image.SliceThickness = format_number_as_ds(index_mm)
        if "PixelSpacing" not in image:  # a multi-frame file: where its lowest frame lies
            image.ImagePositionPatient = [format_number_as_ds(v) for v in geometry.origin_xyz]
        if len(grids) > 1 or "PixelSpacing" not in image:
            image.PixelSpacing, image.ImageOrientationPatient = pixel, cosines


def _planes(
    images: Sequence[Dataset], instances: Sequence[Instance]
) -> tuple[tuple[int, int], ...]:
    place = {text_of(image, "SOPInstanceUID"): k for k, image in enumerate(images)}
    return tuple((place[item.uid], item.frame) for item in instances)


def _check(path: Path, images: Sequence[Dataset]) -> None:
    first = images[0]
    for tag in NEEDED_UIDS:
        if not UID(text_of(first, tag)).is_valid:
            raise InputError(f"the DICOM files have no valid {tag}", file=path)
    alike = NEEDED_UIDS[:-1]
    if any(text_of(image, tag) != text_of(first, tag) for image in images for tag in alike):
        raise InputError(
            "the DICOM files are not of one series",
            file=path,
            why="their UIDs of study, series or frame of reference differ",
        )
    if len(images) > 1 and "NumberOfFrames" in first:
        raise InputError("the series is spread over several multi-frame files", file=path)


def _clean(header: FileDataset) -> Dataset:
    """Return what is copied or named of a header, valid and in UTF-8."""
    clean = Dataset()
    copied: list[Any] = [tag for tag in header.keys() if tag.group in PERSON_GROUPS]  # noqa: SIM118
    copied += [keyword for keyword in (*STUDY_TAGS, *IMAGE_TAGS) if keyword in header]
    for tag in copied:
        _keep(clean, header, tag)
    _keep_geometry(clean, header)
    for keyword in MAY_BE_EMPTY:
        if keyword not in clean:
            setattr(clean, keyword, "")
    if clean.PatientSex not in SEXES:
        clean.PatientSex = ""
    clean.SOPClassUID = sop_class(header)
    if clean.SOPClassUID not in ENHANCED_CT and "NumberOfFrames" in clean:
        del clean.NumberOfFrames
    clean.SpecificCharacterSet = "ISO_IR 192"
    return clean


def _keep_geometry(clean: Dataset, header: Dataset) -> None:
    """Copy where an image lies, in as many digits as DICOM allows."""
    for keyword in GEOMETRY_TAGS:
        if header.get(keyword):
            numbers = np.atleast_1d(np.array(header[keyword].value, dtype=np.float64))
            clean.add_new(keyword, "DS", [format_number_as_ds(v) for v in numbers.tolist()])
    for keyword in GROUP_TAGS:
        if keyword in header:
            clean[keyword] = header[keyword]


def _keep(clean: Dataset, header: Dataset, tag: Any) -> None:
    """Copy an element if an object may be written with it."""
    try:
        element = header[tag]
        value: Any = element.value
        if element.VR == "SQ":
            for item in value:
                item.decode()
        elif element.VR == "PN":
            value = str(value)  # a name keeps the bytes of its own character set otherwise
        clean.add(DataElement(element.tag, element.VR, value, validation_mode=config.RAISE))
    except Exception:  # what pydicom raises of odd values has no common base
        return
