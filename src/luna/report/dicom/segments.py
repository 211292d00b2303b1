"""The SEG object: one binary segment for each finding and opacity.

Source: DICOM PS3.3 A.51 (segmentation), C.8.20.2 (segment description).
"""

from __future__ import annotations

import highdicom as hd
import numpy as np
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from pydicom.dataset import Dataset

from luna.ct.geometry import Geometry
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings
from luna.report.dicom import codes
from luna.report.dicom.equipment import equipment, weights_used
from luna.report.dicom.lesions import Labels, Lesion
from luna.report.dicom.source import Source, stored_geometry

SERIES_NUMBER = 1601

PATIENT = hd.CoordinateSystemNames.PATIENT


def segmentation(
    scan: Scan, findings: Findings, lesions: list[Lesion], labels: Labels, source: Source
) -> Segmentation:
    """Make the SEG of the lesions that are seen in the labels; there must be one.

    Segments are numbered from 1 in the order of the lesions. Only planes with a lesion become
    frames, each at the place of the image that it lies on.
    """
    geometry = stored_geometry(scan)
    segment = np.zeros(256, dtype=np.uint8)
    segment[labels.seen] = range(1, len(labels.seen) + 1)
    return Segmentation(
        source_images=_images(source, labels),
        pixel_array=segment[labels.voxels[labels.planes]],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _description(number, lesions[seen - 1], findings)
            for number, seen in enumerate(labels.seen, start=1)
        ],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description="luna: nodules (segmentation)",
        content_label="NODULES",
        content_description="Lung nodules and opacities found by luna",
        pixel_measures=_measures(geometry),
        plane_orientation=_orientation(geometry),
        plane_positions=_positions(source, labels),
        **equipment(findings),
    )


def _images(source: Source, labels: Labels) -> list[Dataset]:
    if source.is_multiframe:
        return list(source.images)
    return [source.image(plane)[0] for plane in labels.planes]


def _positions(source: Source, labels: Labels) -> list[hd.PlanePositionSequence] | None:
    """Return where the frames lie; highdicom takes it from single-frame images itself."""
    if not source.is_multiframe:
        return None
    groups = source.images[0].PerFrameFunctionalGroupsSequence
    frames = [source.planes[plane][1] for plane in labels.planes]
    places = [groups[k - 1].PlanePositionSequence[0].ImagePositionPatient for k in frames]
    return [hd.PlanePositionSequence(PATIENT, [float(v) for v in xyz]) for xyz in places]


def _measures(geometry: Geometry) -> hd.PixelMeasuresSequence:
    column_mm, row_mm, index_mm = geometry.spacing_xyz
    return hd.PixelMeasuresSequence(
        pixel_spacing=(row_mm, column_mm), slice_thickness=index_mm, spacing_between_slices=index_mm
    )


def _orientation(geometry: Geometry) -> hd.PlaneOrientationSequence:
    """Return the directions of growing columns and growing rows."""
    cosines = geometry.matrix[:, :2].T.ravel().tolist()
    return hd.PlaneOrientationSequence(PATIENT, cosines)


def _description(number: int, lesion: Lesion, findings: Findings) -> SegmentDescription:
    kind = codes.NODULE if isinstance(lesion.found, Finding) else codes.OPACITY
    return SegmentDescription(
        segment_number=number,
        segment_label=lesion.name,
        segmented_property_category=codes.ABNORMAL,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="luna",
            family=codes.AI,
            version=equipment(findings)["software_versions"],
            source="luna",
            parameters=dict(weights_used(findings)),
        ),
        tracking_uid=lesion.tracking_uid,
        tracking_id=lesion.name,
        anatomic_regions=[codes.LUNG],
    )
