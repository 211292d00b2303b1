"""A prior scan of the same patient: aligned, or refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from scipy import ndimage

from luna.ct.geometry import Triple
from luna.ct.lungs.find import Lungs, find_lungs
from luna.ct.scan import Scan
from luna.detect.prior.align import Alignment, align, coarse_geometry
from luna.detect.prior.place import find_place
from luna.run.errors import InputError, UsageError

PLACES = 50
"""Number of places in the lungs with surroundings that are searched for in the prior."""

WALL_MM = 6.0
"""The rim of the lungs is left out: the chest walls of two patients are alike, vessels are not."""

DEPTH_MM = 12.0
"""The places lie this deep in the lungs."""

NEAR_MM = 6.0
"""An affine alignment leaves less than this of a patient's breath."""

ALIKE = 0.5
"""Vessels of one patient correlate by more (0.9 in the middle of the places), of two by less."""

FIT_LEAST = 0.6
"""Share of the places that must be found, alike and near (docs/priors.md has what is usual)."""

OVERLAP_LEAST = 0.8
"""Lungs that overlap by less are not shown alike: the rest of the patient would be guessed."""

WHOSE = {
    "PatientID": "patient ID",
    "PatientName": "name",
    "PatientBirthDate": "birth date",
    "PatientSex": "sex",
}
"""The DICOM tags that distinguish patients, if both scans have them."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """A nodule of an earlier report: its tracking ID, and its place in that scan (LPS mm)."""

    tracking_id: str
    center_xyz: Triple


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """An earlier scan of a patient, and how it lies on the scan, whose lungs are `own_lungs`.

    `days` lie between them, None where nobody knows. `share` of the places searched for were
    found where the alignment puts them. `warnings` are sentences for the report. `known` are
    nodules that an earlier report of the prior names.
    """

    scan: Scan
    lungs: Lungs
    own_lungs: Lungs
    alignment: Alignment
    share: float
    days: int | None
    warnings: tuple[str, ...] = ()
    known: tuple[Tracked, ...] = ()


def fit_prior(
    scan: Scan, prior: Scan, days: int | None = None, known: tuple[Tracked, ...] = ()
) -> Prior:
    """Align a prior scan with a scan, before either is diagnosed.

    `known` are the nodules of an earlier report of the prior. `days` between them come from the
    study dates where they are not given. Raises UsageError when the prior is the scan itself or
    the later one, and InputError when it shows no lungs, or lungs that do not fit.
    """
    if scan.fingerprint() == prior.fingerprint():
        raise UsageError("the prior is the scan itself", hint="name an earlier scan of the patient")
    days = interval_days(scan, prior) if days is None else days
    lungs, prior_lungs = find_lungs(scan), find_lungs(prior)
    alignment = align(scan, lungs, prior, prior_lungs)
    share = share_found(scan, lungs, prior, alignment)
    if alignment.overlap < OVERLAP_LEAST or share < FIT_LEAST:
        raise InputError(
            "the prior does not fit the scan",
            file=prior.provenance.source,
            why=f"aligned, the lungs overlap by {alignment.overlap:.0%} (at least "
            f"{OVERLAP_LEAST:.0%} are needed), and {share:.0%} of the places in them are found "
            f"again (at least {FIT_LEAST:.0%})",
            hint="is it the same patient, and does it show the same part of the lungs?",
        )
    return Prior(
        scan=prior,
        lungs=prior_lungs,
        own_lungs=lungs,
        alignment=alignment,
        share=share,
        days=days,
        warnings=doubts(scan, prior, days),
        known=known,
    )


def share_found(scan: Scan, lungs: Lungs, prior: Scan, alignment: Alignment) -> float:
    """Return the share of places in the lungs with vessels that are found again in the prior."""
    depth = ndimage.distance_transform_edt(lungs.labels > 0, sampling=lungs.spacing_irc)
    inside = np.argwhere(depth >= min(DEPTH_MM, depth.max() / 2))
    vessels = replace(lungs, labels=np.where(depth >= WALL_MM, lungs.labels, 0).astype(np.uint8))
    chosen = np.random.default_rng(1).choice(inside, min(PLACES, len(inside)), replace=False)
    places = coarse_geometry(scan, lungs).xyz_from_irc(chosen)
    found = [find_place(scan, vessels, place, 0, prior, alignment) for place in places]
    off_mm = np.linalg.norm([f.xyz for f in found] - alignment.to_prior(places), axis=1)
    alike = np.array([f.fit for f in found]) >= ALIKE
    return float((alike & (off_mm <= NEAR_MM)).mean())


def study_date(scan: Scan) -> date | None:
    """The date of a scan's study, where its file has a valid one."""
    text = scan.provenance.phi.get("StudyDate", "")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def interval_days(scan: Scan, prior: Scan) -> int | None:
    """The days from a prior to the scan by their study dates; UsageError when it is the later."""
    now, before = study_date(scan), study_date(prior)
    if now is None or before is None:
        return None
    if before > now:
        raise UsageError(
            "the prior is the later of the two scans",
            file=prior.provenance.source,
            why=f"by the study dates, {(before - now).days} days later",
            hint="swap them; or state the days between them with --interval DAYS",
        )
    return (now - before).days


def doubts(scan: Scan, prior: Scan, days: int | None) -> tuple[str, ...]:
    """Return a sentence for each doubt about a prior."""
    own, other = scan.provenance.phi, prior.provenance.phi
    differing = [
        words
        for tag, words in WHOSE.items()
        if own.get(tag) and other.get(tag) and own[tag] != other[tag]
    ]
    sentences = []
    if differing:
        sentences.append(
            f"The prior's header names another patient ({', '.join(differing)} differ), though "
            "the lungs and vessels fit."
        )
    if not days:
        why = "the scans have the same date" if days == 0 else "the dates are not known"
        sentences.append(f"No doubling times: {why}.")
    return tuple(sentences)
