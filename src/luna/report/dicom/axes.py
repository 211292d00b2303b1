"""The axes of a lesion as lines on an image of the series, by template TID 1501."""

from __future__ import annotations

from typing import Any

import numpy as np
from highdicom.sr import (
    CoordinatesForMeasurement,
    GraphicTypeValues,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    SourceImageForRegion,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset

from luna.ct.scan import Scan
from luna.detect.findings import DrawnAxes, Finding
from luna.report.dicom import codes
from luna.report.dicom.lesions import Lesion, derived_uid
from luna.report.dicom.source import Source, stored_geometry

NORMALS = {"S": 0, "I": 0, "A": 1, "P": 1, "R": 2, "L": 2}
"""The axis of a scan across the images of its file, by the last letter of the orientation."""

PIXEL_CORNER = 0.5
"""Coordinates of an image begin at the corner of its first pixel, luna's at the pixel's centre."""


def axes_group(
    scan: Scan, lesion: Lesion, source: Source, images: list[Dataset]
) -> list[MeasurementsAndQualitativeEvaluations]:
    """The axes in the plane of the file's images, as lines on one; it is added to `images`.

    The group has a tracking UID of its own: viewers take groups of one UID for one measurement.
    """
    drawn = lesion.found.measurement.drawn
    if not drawn:
        return []
    axes = drawn[NORMALS[scan.provenance.stored_orientation[2]]]
    image, frame, lines = _lines(scan, axes, source)
    images.append(image)
    reference = SourceImageForRegion(
        referenced_sop_class_uid=image.SOPClassUID,
        referenced_sop_instance_uid=image.SOPInstanceUID,
        referenced_frame_numbers=None if frame is None else [frame],
    )
    lengths = (axes.long_axis_mm, axes.short_axis_mm)
    measurements = [
        Measurement(
            name=name,
            value=round(length_mm, 2),
            unit=codes.MM,
            referenced_coordinates=[
                CoordinatesForMeasurement(GraphicTypeValues.POLYLINE, line, reference)
            ],
        )
        for name, length_mm, line in zip(
            (codes.LONG_AXIS, codes.SHORT_AXIS), lengths, lines, strict=True
        )
    ]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            derived_uid(lesion.tracking_uid, "axes"), f"{lesion.name}, axes on this image"
        ),
        finding_type=codes.NODULE if isinstance(lesion.found, Finding) else codes.OPACITY,
        measurements=measurements,
    )
    return [group]


def _lines(
    scan: Scan, axes: DrawnAxes, source: Source
) -> tuple[Dataset, int | None, list[np.ndarray[Any, np.dtype[np.float64]]]]:
    """Return the image that the axes lie on, and their ends in its (column, row) coordinates."""
    stored = stored_geometry(scan)
    ends = np.array([*axes.long_ends_irc, *axes.short_ends_irc])
    planes = stored.irc_from_xyz(scan.geometry.xyz_from_irc(ends))
    image, frame = source.image(round(float(planes[0, 0])))
    pixels = planes[:, [2, 1]] + PIXEL_CORNER
    return image, frame, [pixels[:2], pixels[2:]]
