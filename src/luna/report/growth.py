"""The comparison with a prior scan, for `report.json`, `growth.csv` and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from luna.clinical.size import lung_rads_mm
from luna.ct.geometry import Triple
from luna.detect.prior.changes import Change, Comparison, Sighting, Verdict
from luna.report.header import HASH_DIGITS

POINTS = ("center_lps_mm", "prior_center_lps_mm")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedChange:
    """The change of one nodule: lengths in mm, changes in % of the earlier volume.

    `finding` and `prior_finding` are its number, or its letter as an opacity, in the two scans;
    None where it is not seen, or where `measured` (in the scan) or `prior_measured` tells that no
    network marked it and luna measured it at its place. The centres are also those of its place
    where it is not seen. `surroundings_fit` is their correlation.
    """

    verdict: Verdict
    finding: str | None
    prior_finding: str | None
    measured: bool
    prior_measured: bool
    volume_mm3: float | None
    prior_volume_mm3: float | None
    volume_change: float | None
    volume_change_low: float | None
    volume_change_high: float | None
    diameter_mm: float | None
    prior_diameter_mm: float | None
    growth_mm: float | None
    doubling_days: float | None
    center_lps_mm: Triple
    prior_center_lps_mm: Triple
    surroundings_fit: float
    tracking_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedPrior:
    """The prior scan and the comparison with it.

    `days` lie between the scans, None where nobody knows. `lung_overlap` (Dice) and
    `places_found`, a share, tell how well the prior fits.
    """

    series_uid: str
    content_hash: str
    days: int | None
    lung_overlap: float
    places_found: float
    findings: int
    warnings: Sequence[str]
    changes: Sequence[ReportedChange]


def reported_prior(comparison: Comparison) -> ReportedPrior:
    """The comparison as the report states it."""
    prior, before = comparison.prior, comparison.findings
    return ReportedPrior(
        series_uid=before.series_uid,
        content_hash=before.scan_fingerprint[:HASH_DIGITS],
        days=prior.days,
        lung_overlap=round(prior.alignment.overlap, 3),
        places_found=round(prior.share, 3),
        findings=len(before.findings),
        warnings=(*prior.warnings, *before.limits),
        changes=[_reported(change) for change in comparison.changes],
    )


def _reported(change: Change) -> ReportedChange:
    low, high = change.limits or (None, None)
    finding, measured, volume_mm3, diameter_mm = _seen(change.now)
    prior_finding, prior_measured, prior_volume_mm3, prior_diameter_mm = _seen(change.prior)
    return ReportedChange(
        verdict=change.verdict,
        finding=finding,
        prior_finding=prior_finding,
        measured=measured,
        prior_measured=prior_measured,
        volume_mm3=volume_mm3,
        prior_volume_mm3=prior_volume_mm3,
        volume_change=_percent(change.volume_change),
        volume_change_low=_percent(low),
        volume_change_high=_percent(high),
        diameter_mm=diameter_mm,
        prior_diameter_mm=prior_diameter_mm,
        growth_mm=None if change.tenths is None else change.tenths / 10,
        doubling_days=None if change.doubling_days is None else round(change.doubling_days, 1),
        center_lps_mm=_rounded(change.now_xyz),
        prior_center_lps_mm=_rounded(change.prior_xyz),
        surroundings_fit=round(change.fit, 3),
        tracking_id=change.tracking_id,
    )


def _seen(one: Sighting | None) -> tuple[str | None, bool, float | None, float | None]:
    """Name, whether it was only measured, volume and mean diameter of a nodule in one scan."""
    if one is None:
        return None, False, None, None
    size = one.measurement
    mean_mm = lung_rads_mm(size.long_axis_mm, size.short_axis_mm)
    return one.name, one.name is None, round(size.volume_mm3, 1), mean_mm


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _rounded(xyz: Triple) -> Triple:
    x, y, z = np.round(xyz, 3).tolist()
    return x, y, z


def growth_rows(prior: ReportedPrior) -> list[list[Any]]:
    """The rows of `growth.csv`, the header first: one for each nodule of either scan."""
    names = [item.name for item in fields(ReportedChange)]
    header = ["prior_series_uid", "days"]
    for name in names:
        header += [f"{name}_{axis}" for axis in "xyz"] if name in POINTS else [name]
    rows: list[list[Any]] = [header]
    for change in prior.changes:
        row: list[Any] = [prior.series_uid, prior.days]
        for name in names:
            value = getattr(change, name)
            row += value if name in POINTS else [value]
        rows.append(row)
    return rows
