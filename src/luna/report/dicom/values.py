"""What the SR states of a lesion: its numbers, its kind, and what became of it since a prior scan.

All are rounded as in `report.json`.
"""

from __future__ import annotations

from collections.abc import Iterator

from highdicom.sr import FindingSite, Measurement, QualitativeEvaluation
from pydicom.sr.coding import Code

from luna.detect.findings import Finding
from luna.report.dicom import codes
from luna.report.dicom.lesions import Lesion
from luna.report.growth import ReportedChange, ReportedPrior


def measurements_of(lesion: Lesion) -> list[Measurement]:
    """Size, attenuation and probabilities of a lesion."""
    size = lesion.found.measurement
    plane = codes.METHOD_PLANES[size.plane]
    volume = codes.METHOD_HALF_WAY if isinstance(lesion.found, Finding) else codes.METHOD_VOXELS
    found = [
        number(codes.VOLUME, round(size.volume_mm3, 1), codes.MM3, method=volume),
        number(codes.DIAMETER, round(size.diameter_mm, 3), codes.MM, codes.MEAN, plane),
        number(codes.LONG_AXIS, round(size.long_axis_mm, 2), codes.MM, method=plane),
        number(codes.SHORT_AXIS, round(size.short_axis_mm, 2), codes.MM, method=plane),
        number(codes.HU_MEAN, round(size.hu_mean, 1), codes.HU, codes.MEAN),
        number(codes.HU_MIN, size.hu_min, codes.HU, codes.MINIMUM),
        number(codes.HU_MAX, size.hu_max, codes.HU, codes.MAXIMUM),
    ]
    if not isinstance(lesion.found, Finding):
        return found
    solid_mm = lesion.found.description.solid_mm
    if solid_mm is not None:
        found.append(
            number(codes.SOLID_MM, round(solid_mm, 2), codes.MM, method=codes.METHOD_SOLID)
        )
    for name, p in (
        (codes.CERTAINTY, lesion.found.p_nodule),
        (codes.P_CANCER, lesion.found.p_malignant),
    ):
        if p is not None:
            found.append(
                number(name, round(100 * p, 4), codes.PERCENT, method=codes.METHOD_NETWORK)
            )
    return found


def number(
    name: Code,
    value: float,
    unit: Code,
    derivation: Code | None = None,
    method: Code | None = None,
    site: FindingSite | None = None,
) -> Measurement:
    """A number with how it was got."""
    return Measurement(
        name=name,
        value=value,
        unit=unit,
        derivation=derivation,
        method=method,
        finding_sites=None if site is None else [site],
    )


def evaluations_of(lesion: Lesion) -> list[QualitativeEvaluation]:
    """The kind of a finding."""
    if not isinstance(lesion.found, Finding):
        return []
    return [QualitativeEvaluation(codes.KIND, codes.KINDS[lesion.found.description.kind])]


def measurements_of_change(
    change: ReportedChange | None, *, with_volume: bool = False
) -> list[Measurement]:
    """How a nodule grew; with its volume in this scan where no lesion states that."""
    if change is None:
        return []
    stated = [
        (codes.PRIOR_VOLUME, change.prior_volume_mm3, codes.MM3, codes.METHOD_HALF_WAY),
        (codes.VOLUME_CHANGE, change.volume_change, codes.PERCENT, codes.METHOD_COMPARED),
        (codes.GROWTH_MM, change.growth_mm, codes.MM, codes.METHOD_COMPARED),
        (codes.DOUBLING_DAYS, change.doubling_days, codes.DAYS, codes.METHOD_COMPARED),
    ]
    if with_volume:
        stated.insert(0, (codes.VOLUME, change.volume_mm3, codes.MM3, codes.METHOD_HALF_WAY))
    return [
        number(name, value, unit, method=method)
        for name, value, unit, method in stated
        if value is not None
    ]


def evaluations_of_change(change: ReportedChange | None) -> list[QualitativeEvaluation]:
    """The word for what became of a nodule."""
    if change is None:
        return []
    return [QualitativeEvaluation(codes.CHANGE, codes.CHANGES[change.verdict])]


def others_of(prior: ReportedPrior | None) -> Iterator[ReportedChange]:
    """Yield the nodules of a prior scan that are no findings of this one."""
    yield from (change for change in prior.changes if not change.finding) if prior else ()


def compared(prior: ReportedPrior | None) -> Iterator[str]:
    """Yield what is to say of a comparison."""
    if prior is None:
        return
    days = "an unknown time" if prior.days is None else f"{prior.days} days"
    yield f"Compared with series {prior.series_uid}, {days} before."
    yield from prior.warnings
