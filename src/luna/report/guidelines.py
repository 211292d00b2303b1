"""The statements of guidelines on one scan's findings: `guidelines` in `report.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from luna.clinical.brock import brock
from luna.clinical.fleischner import fleischner
from luna.clinical.lungrads import GUIDELINE as LUNG_RADS
from luna.clinical.lungrads import categorise, lung_rads
from luna.clinical.mayo import mayo
from luna.clinical.nodule import Nodule, Scope
from luna.clinical.patient import OLDEST, Patient, Sex
from luna.clinical.statement import Probability, Statement
from luna.ct.scan import Scan
from luna.detect.findings import Finding, Findings
from luna.detect.prior.changes import Change, Comparison

Guideline = Literal["lung-rads", "fleischner", "both"]


@dataclass(frozen=True, slots=True)
class Guidance:
    """The chosen guidelines, and the facts about the patient that the user gave."""

    guideline: Guideline
    patient: Patient


HALO = "how far the halo reaches: the size is that at half way between lung and core"
NO_INTERVAL = "the time between the scans: growth is taken as within 12 months"
NOT_SHOWN = "growth: the prior scan does not show the place of this nodule"
CONTRAST = "calcification: the scan has contrast agent"

DICOM_AGE = re.compile(r"([0-9]{3})([DWMY])")
"""The value representation AS: DICOM PS3.5, table 6.2-1."""


def guideline_section(
    scan: Scan, findings: Findings, guidance: Guidance, comparison: Comparison | None = None
) -> dict[str, Any]:
    """The statements of the chosen guidelines and the models' probabilities, JSON-ready.

    Age and sex come from the file where the user gave none. Lung-RADS and Fleischner judge the
    exam; Brock judges every finding, Mayo a finding that is the only one. Without a comparison
    with a prior scan every nodule counts as seen for the first time.
    """
    patient = with_tags(guidance.patient, scan.provenance.phi)
    contrast = bool(scan.provenance.phi.get("ContrastBolusAgent"))
    changes = {f.number: comparison.of(f.number) if comparison else None for f in findings.findings}
    nodules = [nodule_of(f, contrast, changes[f.number]) for f in findings.findings]
    scope = scope_of(findings)
    statements = []
    if guidance.guideline in ("lung-rads", "both"):
        statements.append(lung_rads(nodules, scope))
    if guidance.guideline in ("fleischner", "both"):
        statements.append(fleischner(nodules, patient, scope))
    lung_rads_asked = guidance.guideline in ("lung-rads", "both")
    return {
        "categories": _categories(nodules, scope) if lung_rads_asked else [],
        "statements": [asdict(_completed(s, findings, contrast, changes)) for s in statements],
        "probabilities": [asdict(p) for p in _probabilities(nodules, patient, scope)],
    }


def with_tags(patient: Patient, tags: Mapping[str, str]) -> Patient:
    """The patient with age and sex of DICOM tags where they are not given."""
    age = DICOM_AGE.fullmatch(tags.get("PatientAge", "").strip())
    per_year = {"D": 365, "W": 52, "M": 12, "Y": 1}
    years = int(age[1]) // per_year[age[2]] if age else None
    sexes: dict[str, Sex] = {"F": "F", "M": "M"}
    return replace(
        patient,
        age=years if patient.age is None and (years or 0) <= OLDEST else patient.age,
        sex=patient.sex or sexes.get(tags.get("PatientSex", "").strip()),
    )


def scope_of(findings: Findings) -> Scope:
    """How much of the lungs the findings cover."""
    return Scope(limited=bool(findings.limits), beyond_range=len(findings.opacities))


def nodule_of(finding: Finding, contrast: bool, change: Change | None = None) -> Nodule:
    """A finding as guidelines see it.

    Contrast agent is as dense as calcium, so that with it no pattern of calcification is taken.
    Strands and pleural contact are measured, but their agreement with radiologists is too
    little known to decide a category by them.
    """
    size, description = finding.measurement, finding.description
    part_solid = description.kind == "part-solid"
    return Nodule(
        number=finding.number,
        kind=description.kind,
        long_axis_mm=size.long_axis_mm,
        short_axis_mm=size.short_axis_mm,
        volume_mm3=size.volume_mm3,
        cut=size.cut_by_scan,
        change=change.lung_rads if change else "baseline",
        solid_mm=min(description.solid_mm or 0, size.diameter_mm) if part_solid else None,
        calcification=None if contrast else description.calcification,
        fat=description.fat,
        upper_lobe=None if description.lobe is None else description.lobe.endswith("upper"),
    )


def _completed(
    statement: Statement,
    findings: Findings,
    contrast: bool,
    changes: Mapping[int, Change | None],
) -> Statement:
    """The statement with what the measuring could not assess for it."""
    if statement.nodule is None:
        return statement
    kind = findings.findings[statement.nodule - 1].description.kind
    of_kind = (HALO,) if kind == "part-solid" else ()
    stated = tuple(
        CONTRAST if words == "calcification" and contrast else words
        for words in statement.not_assessed
    )
    grown = _of_change(statement.guideline, changes[statement.nodule])
    return replace(statement, not_assessed=(*of_kind, *grown, *stated))


def _of_change(guideline: str, change: Change | None) -> tuple[str, ...]:
    """What a comparison leaves open for Lung-RADS."""
    if change is None or guideline != LUNG_RADS:
        return ()
    if not change.shown:
        return (NOT_SHOWN,)
    return (NO_INTERVAL,) if change.days is None and change.lung_rads == "growing" else ()


def _categories(nodules: list[Nodule], scope: Scope) -> list[dict[str, Any]]:
    """The category of Lung-RADS that each nodule alone would give, where the exam has one."""
    if scope.obstacle():
        return []
    return [{"nodule": n.number, "category": categorise(n)[0]} for n in nodules]


def _probabilities(nodules: list[Nodule], patient: Patient, scope: Scope) -> list[Probability]:
    """Brock for every nodule, without spiculation, which luna does not judge; Mayo for one.

    There are none where the scan is an obstacle, which the statements tell.
    """
    if scope.obstacle():
        return []
    variant: Literal["1a", "2a"] = "1a" if patient.age is None else "2a"
    found = [brock(variant, n, patient, scope, len(nodules)) for n in nodules]
    return [*found, mayo(nodules[0], patient, scope)] if len(nodules) == 1 else found
