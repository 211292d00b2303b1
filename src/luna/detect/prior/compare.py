"""`compare`: match the nodules of two scans, and measure in each what only the other marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from luna.ct.geometry import FloatArray, Triple
from luna.ct.scan import Scan
from luna.detect.classify import classify
from luna.detect.config import DiagnoseConfig
from luna.detect.findings import Finding, Findings, Opacity
from luna.detect.pipeline import diagnose
from luna.detect.prior.changes import Change, Comparison, Sighting, tracking_id
from luna.detect.prior.fit import Prior
from luna.detect.prior.place import Place, find_place
from luna.detect.prior.remeasure import remeasure, turned
from luna.nets.bundle import Bundle
from luna.nets.models import Models
from luna.run.device import choose_device
from luna.run.progress import Progress, silent

IGNORED_MM = 2.0
"""A nodule's surroundings begin so far from its surface."""

GATE_MM = 3.0
"""A nodule is matched to one with its centre this near to its place, …"""

GATE_SHARE = 0.25
"""… or further by this share of the longer of the two long axes: it may grow to one side."""

LEAST_SHARE = 0.4
"""What has this share of a nodule's volume, at its place and as dense, is the nodule, …"""

P_LEAST = 0.1
"""… and what is smaller is, where the nodule model gives it this probability: vessels have less."""

BORDER_MM = 3.0
"""A nodule nearer than this to the end of a scan would be cut by it."""

FAR = 1e6

Judge = Callable[[Scan, Sighting], float]
"""Returns the probability that what was measured in a scan is a nodule."""


def compare(
    scan: Scan,
    found: Findings,
    prior: Prior,
    models: Models,
    config: DiagnoseConfig | None = None,
    device: str | torch.device = "auto",
    progress: Progress = silent,
) -> Comparison:
    """Diagnose a prior scan with the same networks, and return the change of each nodule."""
    before = diagnose(prior.scan, models, config, device, _named(progress), lungs=prior.lungs)
    progress("compare", 0, 1)
    judge = partial(
        _p_nodule, models.nodule, config or DiagnoseConfig(), choose_device(str(device))
    )
    changes = _changes(_Pair(scan, prior, judge), found, before)
    progress("compare", 1, 1)
    return Comparison(prior=prior, findings=before, changes=changes)


def _named(progress: Progress) -> Progress:
    def of_prior(stage: str, done: int, total: int, detail: str = "", /) -> None:
        progress(f"prior {stage}", done, total, detail)

    return of_prior


def _p_nodule(
    bundle: Bundle, config: DiagnoseConfig, device: torch.device, scan: Scan, one: Sighting
) -> float:
    """The nodule model's probability at the centre of what was measured."""
    center = np.array([one.center_irc])
    return float(classify(scan, center, bundle, config.classify, device, lambda *_: None)[0])


def _changes(pair: _Pair, found: Findings, before: Findings) -> tuple[Change, ...]:
    now, then = _sightings(found), _sightings(before)
    places = [pair.in_prior(one) for one in now]
    matched = _matches(now, places, then)
    changes = []
    for k, one in enumerate(now):
        marked = then[matched[k]] if k in matched else None
        other = marked or pair.measured_in_prior(one, places[k])
        changes.append(pair.change(one, other, places[k], found, before))
    for k, other in enumerate(then):
        if k in matched.values():
            continue
        place = pair.in_scan(other)
        own = pair.measured_in_scan(other, place)
        changes.append(pair.change(own, other, place, found, before))
    return tuple(changes)


class _Pair:
    """Two aligned scans, with places looked up from one in the other."""

    def __init__(self, scan: Scan, prior: Prior, judge: Judge) -> None:
        self.scan, self.lungs, self.prior, self.judge = scan, prior.own_lungs, prior, judge
        self.turn = turned(prior.alignment.matrix)
        self.back = prior.alignment.reversed()
        self.known = list(prior.known)

    def in_prior(self, one: Sighting) -> Place:
        """Return the place in the prior of a nodule of the scan."""
        prior = self.prior
        return find_place(
            self.scan, self.lungs, one.center_xyz, _ignored_mm(one), prior.scan, prior.alignment
        )

    def in_scan(self, one: Sighting) -> Place:
        """Return the place in the scan of a nodule of the prior."""
        prior = self.prior
        return find_place(
            prior.scan, prior.lungs, one.center_xyz, _ignored_mm(one), self.scan, self.back
        )

    def measured_in_prior(self, one: Sighting, place: Place) -> Sighting | None:
        """The nodule in the prior, though nothing was marked there."""
        prior = self.prior
        there = remeasure(one, self.scan, prior.scan, prior.lungs, place.xyz, self.turn.T)
        return self._kept(one, there, prior.scan)

    def measured_in_scan(self, one: Sighting, place: Place) -> Sighting | None:
        """The nodule in the scan, though nothing was marked there."""
        here = remeasure(one, self.prior.scan, self.scan, self.lungs, place.xyz, self.turn)
        return self._kept(one, here, self.scan)

    def _kept(self, one: Sighting, measured: Sighting | None, scan: Scan) -> Sighting | None:
        """What was measured, unless it is much smaller and by the nodule model a vessel."""
        if measured is None:
            return None
        share = measured.measurement.volume_mm3 / one.measurement.volume_mm3
        return measured if share >= LEAST_SHARE or self.judge(scan, measured) >= P_LEAST else None

    def change(
        self,
        now: Sighting | None,
        then: Sighting | None,
        place: Place,
        found: Findings,
        before: Findings,
    ) -> Change:
        """What became of a nodule; `place` is where it is in the scan that does not show it."""
        at = _triple(place.xyz)
        now_xyz, prior_xyz = now.center_xyz if now else at, then.center_xyz if then else at
        first, first_xyz = (before, prior_xyz) if then else (found, now_xyz)
        both = now is not None and then is not None
        return Change(
            now=now,
            prior=then,
            now_xyz=now_xyz,
            prior_xyz=prior_xyz,
            shown=both or _shows(self.prior.scan if now else self.scan, place),
            fit=place.fit,
            days=self.prior.days,
            tracking_id=(then and self._known(then))
            or tracking_id(first.scan_fingerprint, first_xyz),
        )

    def _known(self, then: Sighting) -> str | None:
        """The tracking ID by which an earlier report of the prior names a nodule, given once."""
        if not self.known:
            return None
        places = np.array([one.center_xyz for one in self.known])
        gaps_mm = np.linalg.norm(places - then.center_xyz, axis=1)
        nearest = int(gaps_mm.argmin())
        near = gaps_mm[nearest] <= GATE_MM + GATE_SHARE * then.measurement.long_axis_mm
        return self.known.pop(nearest).tracking_id if near else None


def _ignored_mm(one: Sighting) -> float:
    return one.measurement.long_axis_mm / 2 + IGNORED_MM


def _sightings(found: Findings) -> list[Sighting]:
    """The findings and then the opacities of a scan."""
    named = sorted(found.named(), key=lambda one: isinstance(one[1], Opacity))
    return [
        Sighting(
            name=name,
            center_irc=one.center_irc,
            center_xyz=one.center_xyz,
            measurement=one.measurement,
            kind=one.description.kind if isinstance(one, Finding) else None,
            solid_mm=one.description.solid_mm if isinstance(one, Finding) else None,
            mask=one.mask,
        )
        for name, one in named
    ]


def _matches(
    now: Sequence[Sighting], places: Sequence[Place], then: Sequence[Sighting]
) -> dict[int, int]:
    """Pair nodules so that the sum of their distances is least; none beyond the gate."""
    if not now or not then:
        return {}
    off_mm = np.full((len(now), len(then)), FAR)
    for a, (one, place) in enumerate(zip(now, places, strict=True)):
        for b, other in enumerate(then):
            gap_mm = float(np.linalg.norm(place.xyz - other.center_xyz))
            longest = max(one.measurement.long_axis_mm, other.measurement.long_axis_mm)
            if gap_mm <= GATE_MM + GATE_SHARE * longest:
                off_mm[a, b] = gap_mm
    rows, columns = linear_sum_assignment(off_mm)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {a: b for a, b in pairs if off_mm[a, b] < FAR}


def _shows(scan: Scan, place: Place) -> bool:
    """Whether a place lies in a scan, clear of its border; a search cannot leave the scan."""
    irc = scan.geometry.irc_from_xyz([place.xyz, place.aligned_xyz])
    margin = BORDER_MM / np.array(scan.geometry.spacing_irc)
    return bool(((irc >= margin) & (irc <= np.array(scan.shape_irc) - 1 - margin)).all())


def _triple(xyz: FloatArray) -> Triple:
    x, y, z = xyz.tolist()
    return x, y, z
