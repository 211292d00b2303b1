"""The SR object: sizes, attenuation and probabilities of findings, by template TID 1500.

Each lesion has a group of TID 1411 that refers to its segment, and a group of TID 1501 with the
two axes as lines on an image of the series, so that viewers draw them. Every number also says how
it was got: OHIF stops reading at a number that has nothing below it.

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

from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings
from luna.report.dicom import codes
from luna.report.dicom.axes import axes_group
from luna.report.dicom.equipment import equipment, weights_used
from luna.report.dicom.lesions import LESIONS_MAX, Labels, Lesion, derived_uid, tracking_uid
from luna.report.dicom.source import Source
from luna.report.dicom.values import (
    compared,
    evaluations_of,
    evaluations_of_change,
    measurements_of,
    measurements_of_change,
    number,
    others_of,
)
from luna.report.document import NOTICE
from luna.report.growth import ReportedChange, ReportedPrior

SERIES_NUMBER = 1602


def measurement_report(
    scan: Scan,
    findings: Findings,
    lesions: list[Lesion],
    labels: Labels,
    segments: Segmentation | None,
    source: Source,
    prior: ReportedPrior | None = None,
) -> ComprehensiveSR:
    """Make the SR of a scan: the lesions, then what was searched and how the search ended.

    With a comparison each lesion also states what became of it since the prior scan, and
    nodules that only the prior's networks marked follow.
    """
    changes = {change.finding: change for change in prior.changes} if prior else {}
    segment_of = {seen: k for k, seen in enumerate(labels.seen, start=1)}
    images: list[Dataset] = []
    # OHIF opens the image of the first group: the lines come before what has none.
    groups: list[Any] = [
        group for lesion in lesions for group in axes_group(scan, lesion, source, images)
    ]
    groups += [
        _group(lesion, findings, segments, segment_of.get(number), changes.get(lesion.key))
        for number, lesion in enumerate(lesions, start=1)
    ]
    groups += [_group_of_change(change, findings) for change in others_of(prior)]
    groups.append(_search_group(findings, prior))
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
    lesion: Lesion,
    findings: Findings,
    segments: Segmentation | None,
    segment: int | None,
    change: ReportedChange | None,
) -> MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The measurements of a lesion, of its segment where it has one."""
    is_nodule = isinstance(lesion.found, Finding)
    given: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(lesion.tracking_uid, lesion.name),
        "finding_category": codes.ABNORMAL,
        "finding_type": codes.NODULE if is_nodule else codes.OPACITY,
        "finding_sites": [FindingSite(codes.LUNG, laterality=codes.SIDES[lesion.found.side])],
        "algorithm_id": _algorithm(findings),
        "measurements": [*measurements_of(lesion), *measurements_of_change(change)],
        "qualitative_evaluations": [*evaluations_of(lesion), *evaluations_of_change(change)],
    }
    if segments is None or segment is None:
        return MeasurementsAndQualitativeEvaluations(**given)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_reference(segments, segment), **given
    )


def _group_of_change(
    change: ReportedChange, findings: Findings
) -> MeasurementsAndQualitativeEvaluations:
    """A nodule of the prior scan that is no finding of this one: gone, or measured at its place."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            tracking_uid(change.tracking_id), f"Finding {change.prior_finding} of the prior scan"
        ),
        finding_category=codes.ABNORMAL,
        finding_type=codes.NODULE,
        finding_sites=[FindingSite(codes.LUNG)],
        algorithm_id=_algorithm(findings),
        measurements=measurements_of_change(change, with_volume=True),
        qualitative_evaluations=evaluations_of_change(change),
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


def _search_group(
    findings: Findings, prior: ReportedPrior | None
) -> MeasurementsAndQualitativeEvaluations:
    """What was searched, how it ended, and what a reader must know of it."""
    right_ml, left_ml = findings.lung_volume_ml
    volumes = [
        number(codes.VOLUME, round(ml, 1), codes.ML, site=FindingSite(codes.LUNG, side))
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
    sentences += compared(prior)
    for sentence in sentences:
        group[0].ContentSequence.append(
            TextContentItem(codes.COMMENT, sentence, RelationshipTypeValues.CONTAINS)
        )
    return group


def _searched(findings: Findings) -> str:
    count = len(findings.candidates.p_nodule)
    text = (
        f"{count} candidates were judged; a candidate with a certainty of "
        f"{100 * findings.threshold:g} % or more is a finding."
    )
    lesions = len(findings.findings) + len(findings.opacities)
    if lesions <= LESIONS_MAX:
        return text
    return f"{text} There are {lesions} findings and opacities; this lists the first {LESIONS_MAX}."
