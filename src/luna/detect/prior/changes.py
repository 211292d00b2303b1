"""What became of each nodule between two scans: plain data for the report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from luna.clinical import growth
from luna.clinical.nodule import Change as LungRadsChange
from luna.clinical.nodule import Kind
from luna.clinical.size import growth_tenths
from luna.ct.geometry import Triple
from luna.ct.mask import BoxMask
from luna.detect.findings import Findings, Measurement
from luna.detect.prior.fit import Prior

Verdict = Literal["new", "grown", "stable", "smaller", "gone", "not shown"]
"""The last where the other scan does not reach so far, so that nobody can tell."""

LIMITS = 0.25
"""A volume is known to within this factor less 1, in 95 of 100 comparisons.

The literature has 25 to 29 % for one software; phantoms repeat better (docs/priors.md).
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """One nodule in one scan.

    `name` is its number, or its letter as an opacity, in that scan's diagnosis; None where the
    networks did not mark it and it was measured at the place that the other scan gives.
    """

    name: str | None
    center_irc: Triple
    center_xyz: Triple
    measurement: Measurement
    kind: Kind | None
    solid_mm: float | None
    mask: BoxMask


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A nodule at two dates, `days` apart, where somebody knows.

    `now_xyz` and `prior_xyz` are its places in the two scans (LPS mm), also where it is not seen.
    `shown` is false where one of these lies outside its scan. `fit` is the correlation of their
    surroundings. `tracking_id` names the nodule in both scans.
    """

    now: Sighting | None
    prior: Sighting | None
    now_xyz: Triple
    prior_xyz: Triple
    shown: bool
    fit: float
    days: int | None
    tracking_id: str

    @property
    def verdict(self) -> Verdict:
        """The verdict by the change of volume, in one word."""
        if not self.shown:
            return "not shown"
        if self.prior is None:
            return "new"
        if self.volume_change is None:
            return "gone"
        return growth.volume_class(self.volume_change)

    @property
    def volume_change(self) -> float | None:
        """The change of volume as a share of the earlier volume."""
        if self.now is None or self.prior is None:
            return None
        return self.now.measurement.volume_mm3 / self.prior.measurement.volume_mm3 - 1

    @property
    def limits(self) -> tuple[float, float] | None:
        """Return the limits of the change of volume, within the precision of a measurement."""
        change = self.volume_change
        if change is None:
            return None
        return (1 + change) / (1 + LIMITS) - 1, (1 + change) * (1 + LIMITS) - 1

    @property
    def tenths(self) -> int | None:
        """Growth in tenths of a mm of the mean diameter or, where that grew more, the solid part.

        Each diameter is rounded to 0.1 mm before.
        """
        if self.now is None or self.prior is None:
            return None
        before, now = self.prior, self.now
        whole = growth_tenths(before.measurement.diameter_mm, now.measurement.diameter_mm)
        if before.solid_mm is None or now.solid_mm is None:
            return whole
        return max(whole, growth_tenths(before.solid_mm, now.solid_mm))

    @property
    def doubling_days(self) -> float | None:
        """The volume doubling time, negative for a nodule that shrank; None where it is stable."""
        if self.now is None or self.prior is None or not self.days or self.verdict == "stable":
            return None
        before, now = self.prior.measurement, self.now.measurement
        return growth.doubling_days(before.volume_mm3, now.volume_mm3, self.days)

    @property
    def lung_rads(self) -> LungRadsChange:
        """The change as Lung-RADS has it, by diameter; within 12 months where no days are known."""
        if not self.shown:
            return "baseline"
        if self.tenths is None:
            return "new"
        return growth.lung_rads_change(self.tenths, self.days or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two scans of a patient compared.

    `prior` is the earlier one with its alignment, `findings` what the same networks found in it.
    `changes` begin with the nodules of the scan in their order; those that are gone come last.
    """

    prior: Prior
    findings: Findings
    changes: tuple[Change, ...]

    def of(self, number: int) -> Change | None:
        """What became of finding `number` of the scan."""
        named = (c for c in self.changes if c.now is not None and c.now.name == str(number))
        return next(named, None)


def tracking_ids(findings: Findings, comparison: Comparison | None = None) -> dict[str, str]:
    """The tracking ID of each finding and opacity of a scan, by its number or letter."""
    changes = comparison.changes if comparison else ()
    known = {c.now.name: c.tracking_id for c in changes if c.now and c.now.name}
    return {
        name: known.get(name) or tracking_id(findings.scan_fingerprint, found.center_xyz)
        for name, found in findings.named()
    }


def tracking_id(scan_fingerprint: str, center_xyz: Triple) -> str:
    """A name for a nodule: 32 hexadecimal digits of the scan that first shows it and the place."""
    place = ",".join(f"{value:.1f}" for value in center_xyz)
    return hashlib.sha256(f"{scan_fingerprint} {place}".encode()).hexdigest()[:32]
