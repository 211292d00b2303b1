"""The SR object: sizes, attenuation and probabilities of findings, by template TID 1500.

Each lesion has a group of TID 1411 that refers to its segment, and a group of TID 1501 with the
two axes as lines on an axial image, so that viewers draw them. Every number also says how it was
got: OHIF stops reading at a number that has nothing below it.

Source: DICOM PS3.16 TID 300, 1410, 1411, 1500, 1501; PS3.3 C.18.6 (coordinates).
"""

from __future__ import annotations

from typing import Any

import highdicom as hd
from highdicom.seg import Segmentation
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings
from luna.report.dicom import codes
from luna.report.dicom.axes import axes_group
from luna.report.dicom.equipment import equipment, weights_used
from luna.report.dicom.lesions import LESIONS_MAX, Labels, Lesion, derived_uid
from luna.report.dicom.source import Source
from luna.report.document import NOTICE

SERIES_NUMBER = 1602


def measurement_report(
    scan: Scan,
    findings: Findings,
    lesions: list[Lesion],
    labels: Labels,
    segments: Segmentation | None,
    source: Source,
) -> ComprehensiveSR:
    """Make the SR of a scan: the lesions, then what was searched and how the search ended."""
    segment_of = {seen: k for k, seen in enumerate(labels.seen, start=1)}
    images: list[Dataset] = []
    # OHIF opens the image of the first group: the lines come before what has none.
    groups: list[Any] = [
        group for lesion in lesions for group in axes_group(scan, lesion, source, images)
    ]
    groups += [
        _group(lesion, findings, segments, segment_of.get(number))
        for number, lesion in enumerate(lesions, start=1)
    ]
    groups.append(_search_group(findings))
    # A report of no lesion still names an image of the series that was looked at.
    images = _each_once(images or [source.image(len(source.planes) // 2)[0]])
    marked = [source.image(plane)[0] for plane in labels.planes]
    return ComprehensiveSR(
        evidence=_each_once([*images, *marked, *([] if segments is None else [segments])]),
        content=MeasurementReport(
            observation_context=_observer(findings),
            procedure_reported=codes.CT,
            imaging_measurements=groups,
            referenced_images=images,
        ),
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description="luna: nodules (measurements)",
        is_complete=True,
        **equipment(findings),
    )


def _each_once(objects: list[Dataset]) -> list[Dataset]:
    return list({item.SOPInstanceUID: item for item in objects}.values())


def _observer(findings: Findings) -> ObservationContext:
    made = equipment(findings)
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("luna", made["software_versions"], made["device_serial_number"]),
        name="luna",
        manufacturer_name=made["manufacturer"],
        model_name=made["manufacturer_model_name"],
        serial_number=made["device_serial_number"],
    )
    return ObservationContext(
        observer_device_context=ObserverContext(CodedConcept.from_code(codes.DEVICE), device)
    )


def _algorithm(findings: Findings) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name="luna",
        version=equipment(findings)["software_versions"],
        parameters=[f"{role}: {weights}" for role, weights in weights_used(findings)],
    )


def _group(
    lesion: Lesion, findings: Findings, segments: Segmentation | None, segment: int | None
) -> MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The measurements of a lesion, of its segment where it has one."""
    is_nodule = isinstance(lesion.found, Finding)
    given: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(lesion.tracking_uid, lesion.name),
        "finding_category": codes.ABNORMAL,
        "finding_type": codes.NODULE if is_nodule else codes.OPACITY,
        "finding_sites": [FindingSite(codes.LUNG, laterality=codes.SIDES[lesion.found.side])],
        "algorithm_id": _algorithm(findings),
        "measurements": _measurements(lesion),
        "qualitative_evaluations": _evaluations(lesion),
    }
    if segments is None or segment is None:
        return MeasurementsAndQualitativeEvaluations(**given)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_reference(segments, segment), **given
    )


def _reference(segments: Segmentation, segment: int) -> ReferencedSegment:
    """A segment, and the images that its frames lie on.

    highdicom's own way fails for a SEG of one segment, which all frames share.
    """
    shared = segments.SharedFunctionalGroupsSequence[0]
    images: list[SourceImageForSegmentation] = []
    for frame in segments.PerFrameFunctionalGroupsSequence:
        named = frame if "SegmentIdentificationSequence" in frame else shared
        if named.SegmentIdentificationSequence[0].ReferencedSegmentNumber != segment:
            continue
        image = frame.DerivationImageSequence[0].SourceImageSequence[0]
        of_file = image.get("ReferencedFrameNumber")
        images.append(
            SourceImageForSegmentation(
                image.ReferencedSOPClassUID,
                image.ReferencedSOPInstanceUID,
                None if of_file is None else [int(of_file)],
            )
        )
    return ReferencedSegment(
        segments.SOPClassUID, segments.SOPInstanceUID, segment, source_images=images
    )


def _measurements(lesion: Lesion) -> list[Measurement]:
    size = lesion.found.measurement
    plane = codes.METHOD_PLANES[size.plane]
    volume = codes.METHOD_HALF_WAY if isinstance(lesion.found, Finding) else codes.METHOD_VOXELS
    found = [
        _number(codes.VOLUME, round(size.volume_mm3, 1), codes.MM3, method=volume),
        _number(codes.DIAMETER, round(size.diameter_mm, 3), codes.MM, codes.MEAN, plane),
        _number(codes.LONG_AXIS, round(size.long_axis_mm, 2), codes.MM, method=plane),
        _number(codes.SHORT_AXIS, round(size.short_axis_mm, 2), codes.MM, method=plane),
        _number(codes.HU_MEAN, round(size.hu_mean, 1), codes.HU, codes.MEAN),
        _number(codes.HU_MIN, size.hu_min, codes.HU, codes.MINIMUM),
        _number(codes.HU_MAX, size.hu_max, codes.HU, codes.MAXIMUM),
    ]
    if not isinstance(lesion.found, Finding):
        return found
    solid_mm = lesion.found.description.solid_mm
    if solid_mm is not None:
        found.append(
            _number(codes.SOLID_MM, round(solid_mm, 2), codes.MM, method=codes.METHOD_SOLID)
        )
    for name, p in (
        (codes.CERTAINTY, lesion.found.p_nodule),
        (codes.P_CANCER, lesion.found.p_malignant),
    ):
        if p is not None:
            found.append(
                _number(name, round(100 * p, 4), codes.PERCENT, method=codes.METHOD_NETWORK)
            )
    return found


def _number(
    name: Code,
    value: float,
    unit: Code,
    derivation: Code | None = None,
    method: Code | None = None,
    site: FindingSite | None = None,
) -> Measurement:
    return Measurement(
        name=name,
        value=value,
        unit=unit,
        derivation=derivation,
        method=method,
        finding_sites=None if site is None else [site],
    )


def _evaluations(lesion: Lesion) -> list[QualitativeEvaluation]:
    if not isinstance(lesion.found, Finding):
        return []
    return [QualitativeEvaluation(codes.KIND, codes.KINDS[lesion.found.description.kind])]


def _search_group(findings: Findings) -> MeasurementsAndQualitativeEvaluations:
    """What was searched, how it ended, and what a reader must know of it."""
    right_ml, left_ml = findings.lung_volume_ml
    volumes = [
        _number(codes.VOLUME, round(ml, 1), codes.ML, site=FindingSite(codes.LUNG, side))
        for side, ml in ((codes.SIDES["right"], right_ml), (codes.SIDES["left"], left_ml))
    ]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            derived_uid(findings.series_uid, "lungs"), "Lungs searched"
        ),
        finding_type=codes.LUNG,
        algorithm_id=_algorithm(findings),
        measurements=volumes,
        qualitative_evaluations=[
            QualitativeEvaluation(codes.STATUS, codes.STATUSES[findings.status])
        ],
    )
    sentences = [NOTICE, *findings.notices, _searched(findings), *findings.limits]
    for sentence in sentences:
        group[0].ContentSequence.append(
            TextContentItem(codes.COMMENT, sentence, RelationshipTypeValues.CONTAINS)
        )
    return group


def _searched(findings: Findings) -> str:
    count = len(findings.candidates.p_nodule)
    told = (
        f"{count} candidates were judged; a candidate with a certainty of "
        f"{100 * findings.threshold:g} % or more is a finding."
    )
    lesions = len(findings.findings) + len(findings.opacities)
    if lesions <= LESIONS_MAX:
        return told
    return f"{told} There are {lesions} findings and opacities; this lists the first {LESIONS_MAX}."
