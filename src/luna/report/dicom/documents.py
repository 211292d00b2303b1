"""Objects for viewers without SEG and SR: key images, and the report as a PDF.

Source: DICOM PS3.3 A.8 (secondary capture), A.45.1 (encapsulated PDF).
"""

from __future__ import annotations

import highdicom as hd
from highdicom.base import SOPClass
from highdicom.sc import SCImage
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from luna.clinical.size import axes_words
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings
from luna.report.dicom.equipment import equipment
from luna.report.dicom.lesions import Lesion
from luna.report.dicom.pictures import key_picture
from luna.report.dicom.source import Source
from luna.report.document import NOTICE
from luna.report.words import probability_words, volume_words

KEY_SERIES, PDF_SERIES = 1603, 1604


def key_image(
    scan: Scan, findings: Findings, lesion: Lesion, source: Source, series_uid: str, number: int
) -> SCImage:
    """Make the Secondary Capture of a lesion in three planes."""
    image = SCImage.from_ref_dataset(
        ref_dataset=source.images[0],
        pixel_array=key_picture(scan, lesion.found, _title(lesion)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),
        series_instance_uid=series_uid,
        series_number=KEY_SERIES,
        sop_instance_uid=hd.UID(),
        instance_number=number,
        series_description="luna: key images",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **equipment(findings),
    )
    image.copy_patient_and_study_information(source.images[0])
    image.PatientOrientation = []  # three planes in one picture have none
    image.BodyPartExamined = "CHEST"
    image.BurnedInAnnotation = "NO"  # of what is burned in, nothing names the patient
    image.ImageComments = f"{lesion.name}. {NOTICE}"
    return image


def _title(lesion: Lesion) -> str:
    size = lesion.found.measurement
    long_mm, short_mm, mean_mm = axes_words(size.long_axis_mm, size.short_axis_mm)
    words = f"{lesion.name}: {lesion.found.side} lung, {long_mm} × {short_mm} mm (mean {mean_mm}), "
    words += volume_words(round(size.volume_mm3, 1))  # as report.json has it
    if isinstance(lesion.found, Finding):
        return (
            f"{words}, probability {probability_words(lesion.found.p_nodule)}. Research use only."
        )
    return f"{words}. No network judged it. Research use only."


def encapsulated_pdf(pdf: bytes, findings: Findings, source: Source, *, names: bool) -> SOPClass:
    """Wrap the report on paper; `names` is whether its pages name the patient."""
    first = source.images[0]
    made = equipment(findings)
    wrapped = SOPClass(
        study_instance_uid=first.StudyInstanceUID,
        series_instance_uid=hd.UID(),
        series_number=PDF_SERIES,
        sop_instance_uid=hd.UID(),
        sop_class_uid=EncapsulatedPDFStorage,
        instance_number=1,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description="luna: report",
        specific_character_set=first.SpecificCharacterSet,
        **made,
    )
    wrapped.copy_patient_and_study_information(first)
    wrapped.ConversionType = "WSD"  # from a workstation
    wrapped.BurnedInAnnotation = "YES" if names else "NO"
    wrapped.AcquisitionDateTime = ""
    wrapped.DocumentTitle = "Chest CT nodule report"
    wrapped.ConceptNameCodeSequence = []
    wrapped.MIMETypeOfEncapsulatedDocument = "application/pdf"
    wrapped.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    wrapped.EncapsulatedDocumentLength = len(pdf)
    return wrapped
