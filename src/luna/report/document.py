"""The content of `report.json` as plain data (see docs/report.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from luna.clinical.nodule import Calcification, Kind
from luna.ct.geometry import Triple, ras_from_lps
from luna.ct.lungs.lobes import Lobe
from luna.ct.scan import Scan
from luna.detect.findings import (
    LETTERS,
    Description,
    Finding,
    Findings,
    Opacity,
    Plane,
    Side,
    Status,
    Third,
)
from luna.detect.prior.changes import Comparison
from luna.nets.trained import TrainedRange
from luna.report.growth import ReportedChange, ReportedPrior, reported_prior
from luna.report.guidelines import Guidance, guideline_section
from luna.report.header import ReportedScan, bounded, patient_texts, reported_scan
from luna.run.record import git_commit, versions

SCHEMA = "luna-report/1"
NOTICE = (
    "Research use only. Not a medical device: no finding, and no absence of findings, "
    "replaces a radiologist's reading."
)


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What the networks say of a finding, and its number, from 1."""

    number: int
    p_nodule: float
    p_malignant: float | None


@dataclass(frozen=True, kw_only=True)
class _Lettered:
    """The letter of an opacity, which no network judged."""

    letter: str


@dataclass(frozen=True, kw_only=True)
class ReportedLesion:
    """The place and size of a finding or an opacity: lengths in mm, indices from 0."""

    side: Side
    slice_index: int
    slice_number: int
    image_number: int | None
    center_irc: Triple
    center_lps_mm: Triple
    center_ras_mm: Triple
    long_axis_mm: float
    short_axis_mm: float
    diameter_mm: float
    axes_plane: Plane
    axes_index: int
    volume_mm3: float
    equal_volume_mm: float
    cut_by_scan: bool
    hu_mean: float
    hu_min: int
    hu_max: int


# report.json and nodules.csv have the fields in this order: those of the last base come first.
@dataclass(frozen=True, kw_only=True)
class ReportedFinding(ReportedLesion, _Judged):
    """A finding as the report states it."""

    kind: Kind | None
    solid_mm: float | None
    calcification: Calcification
    calcified_share: float
    fat: bool | None
    fat_share: float
    pleural_contact: float
    strands: int
    third: Third | None
    lobe: Lobe | None


@dataclass(frozen=True, kw_only=True)
class ReportedOpacity(ReportedLesion, _Lettered):
    """An opacity as the report states it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """What was searched, and from which probability on a candidate is a finding.

    `right_below_950_hu` and `left_below_950_hu` are shares of the aerated lung.
    """

    slices: int
    right_lung_ml: float
    left_lung_ml: float
    right_below_950_hu: float | None
    left_below_950_hu: float | None
    candidates: int
    threshold: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The report of one scan.

    `guidelines`, `prior` and `patient` are None unless they were asked for; `json_values` then
    leaves them out.
    """

    schema: str = SCHEMA
    status: Status
    notice: str = NOTICE
    model_notices: Sequence[str]
    created: str
    run: Mapping[str, Any]
    scan: ReportedScan
    looked_at: Searched
    models: Mapping[str, Mapping[str, Any]]
    trained_for: TrainedRange
    limits: Sequence[str]
    warnings: Sequence[str]
    findings: Sequence[ReportedFinding]
    opacities: Sequence[ReportedOpacity]
    seconds: Mapping[str, float]
    guidelines: Mapping[str, Any] | None = None
    prior: ReportedPrior | None = None
    patient: Mapping[str, str] | None = None

    @property
    def categories(self) -> dict[int, str]:
        """The category that Lung-RADS gives each finding; empty where none is stated."""
        listed = (self.guidelines or {}).get("categories", ())
        return {one["nodule"]: one["category"] for one in listed}

    @property
    def changes(self) -> dict[str, ReportedChange]:
        """What became of each finding and opacity since a prior scan, by number or letter."""
        listed = self.prior.changes if self.prior else ()
        return {change.finding: change for change in listed if change.finding}

    def json_values(self) -> dict[str, Any]:
        """The document as values for `json.dumps`."""
        optional = ("guidelines", "prior", "patient")
        unasked = {name for name in optional if getattr(self, name) is None}
        return {name: value for name, value in asdict(self).items() if name not in unasked}


def document(
    scan: Scan,
    findings: Findings,
    *,
    include_phi: bool = False,
    guidance: Guidance | None = None,
    comparison: Comparison | None = None,
) -> Document:
    """Put together the report of one scan.

    It names the patient, the file and the dates only with `include_phi`; otherwise the scan is
    known by its series UID and a short hash of its content. With `guidance` it also holds what
    guidelines state, and the patient's age and sex where a statement rests on them;
    with `comparison` what became of each nodule since a prior scan.
    """
    return Document(
        status=findings.status,
        model_notices=findings.notices,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        run={
            "versions": versions(),
            "git_commit": git_commit(),
            "device": findings.device,
            "config": findings.config,
        },
        scan=reported_scan(scan, findings),
        looked_at=Searched(
            slices=scan.shape_irc[0],
            right_lung_ml=round(findings.lung_volume_ml[0], 1),
            left_lung_ml=round(findings.lung_volume_ml[1], 1),
            right_below_950_hu=_share(findings.low_attenuation[0]),
            left_below_950_hu=_share(findings.low_attenuation[1]),
            candidates=len(findings.candidates.p_nodule),
            threshold=findings.threshold,
        ),
        models={role: _model(findings, role) for role in findings.models},
        trained_for=findings.trained,
        limits=findings.limits,
        warnings=[bounded(sentence) for sentence in findings.warnings],
        findings=[_finding(scan, finding) for finding in findings.findings],
        opacities=[
            _opacity(scan, letter, opacity)
            for letter, opacity in zip(LETTERS, findings.opacities, strict=False)
        ],
        seconds={stage: round(seconds, 2) for stage, seconds in findings.seconds.items()},
        guidelines=(
            None if guidance is None else guideline_section(scan, findings, guidance, comparison)
        ),
        prior=None if comparison is None else reported_prior(comparison),
        patient=patient_texts(scan) if include_phi else None,
    )


def _model(findings: Findings, role: str) -> dict[str, Any]:
    """What the page states of a network; without a card nothing is known of it."""
    card = findings.cards.get(role)
    return {
        "name": findings.models[role],
        "weights_sha256": findings.weights_sha256[role],
        "training_data": bounded(card.training_data) if card else "",
        "calibrated": card is not None and card.calibrated,
    }


def _finding(scan: Scan, finding: Finding) -> ReportedFinding:
    return ReportedFinding(
        number=finding.number,
        p_nodule=round(finding.p_nodule, 6),
        p_malignant=None if finding.p_malignant is None else round(finding.p_malignant, 6),
        **_place_and_size(scan, finding),
        **_described(finding.description),
    )


def _opacity(scan: Scan, letter: str, opacity: Opacity) -> ReportedOpacity:
    return ReportedOpacity(letter=letter, **_place_and_size(scan, opacity))


def _place_and_size(scan: Scan, found: Finding | Opacity) -> dict[str, Any]:
    """The fields that findings and opacities share."""
    size = found.measurement
    slice_index = round(found.center_irc[0])
    numbers = scan.provenance.image_numbers
    return {
        "side": found.side,
        "slice_index": slice_index,
        "slice_number": slice_index + 1,
        "image_number": numbers[slice_index] if numbers else None,
        "center_irc": _rounded(found.center_irc),
        "center_lps_mm": _rounded(found.center_xyz),
        "center_ras_mm": _rounded(ras_from_lps(found.center_xyz).tolist()),
        "long_axis_mm": size.long_axis_mm,
        "short_axis_mm": size.short_axis_mm,
        "diameter_mm": round(size.diameter_mm, 3),
        "axes_plane": size.plane,
        "axes_index": size.plane_index,
        "volume_mm3": round(size.volume_mm3, 1),
        "equal_volume_mm": round(size.equal_volume_mm, 2),
        "cut_by_scan": size.cut_by_scan,
        "hu_mean": round(size.hu_mean, 1),
        "hu_min": size.hu_min,
        "hu_max": size.hu_max,
    }


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _rounded(values: Sequence[float]) -> Triple:
    a, b, c = (round(value, 3) for value in values)
    return a, b, c


def _described(found: Description) -> dict[str, Any]:
    """The fields that describe a finding."""
    return {
        "kind": found.kind,
        "solid_mm": None if found.solid_mm is None else round(found.solid_mm, 2),
        "calcification": found.calcification,
        "calcified_share": round(found.calcified_share, 3),
        "fat": found.fat,
        "fat_share": round(found.fat_share, 3),
        "pleural_contact": round(found.pleural_contact, 3),
        "strands": found.strands,
        "third": found.third,
        "lobe": found.lobe,
    }
