"""Nodules of two scans are matched; what only one marked is measured before it is new or gone."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.scan import Scan
from luna.detect.findings import Findings, Measurement
from luna.detect.pipeline import diagnose
from luna.detect.prior.changes import Change, Comparison, Sighting, tracking_id
from luna.detect.prior.compare import compare
from luna.detect.prior.fit import Prior, fit_prior
from luna.nets.models import Models

from .conftest import BALLS_BEFORE, BEFORE, GONE, GROWN, NEW, NOW, SMALLER, STABLE

PLACES = {"grown": GROWN, "stable": STABLE, "smaller": SMALLER, "new": NEW, "gone": GONE}


@pytest.fixture(scope="module")
def prior(now: Scan, before: Scan) -> Prior:
    return fit_prior(now, before)


@pytest.fixture(scope="module")
def found(now: Scan, models: Models) -> Findings:
    return diagnose(now, models, device="cpu")


@pytest.fixture(scope="module")
def comparison(now: Scan, found: Findings, prior: Prior, models: Models) -> Comparison:
    return compare(now, found, prior, models, device="cpu")


def at(comparison: Comparison, place: tuple[float, float, float]) -> Change:
    """The one change at a place of the patient."""
    near = [
        c
        for c in comparison.changes
        if np.linalg.norm(np.array(c.prior_xyz) - BEFORE.placed(place)) < 4
    ]
    assert len(near) == 1
    return near[0]


def test_a_prior_that_fits_says_how_well(prior: Prior) -> None:
    assert prior.days == 365
    assert prior.share > 0.9
    assert prior.warnings == ()


@pytest.mark.parametrize("verdict", PLACES)
def test_each_nodule_has_its_verdict_and_places(comparison: Comparison, verdict: str) -> None:
    change = at(comparison, PLACES[verdict])
    assert change.verdict == verdict
    assert np.linalg.norm(np.array(change.now_xyz) - NOW.placed(PLACES[verdict])) < 3
    assert (change.now is None) == (verdict == "gone")
    assert (change.prior is None) == (verdict == "new")


def test_every_finding_of_either_scan_is_told_once(comparison: Comparison, found: Findings) -> None:
    now = [c.now.name for c in comparison.changes if c.now and c.now.name]
    before = [c.prior.name for c in comparison.changes if c.prior and c.prior.name]
    assert now == [str(f.number) for f in found.findings]
    assert sorted(before) == sorted(str(f.number) for f in comparison.findings.findings)
    assert all(comparison.of(f.number) is not None for f in found.findings)
    assert comparison.of(99) is None


def test_the_doubling_time_is_that_of_the_growth(comparison: Comparison) -> None:
    change = at(comparison, GROWN)
    assert change.days == 365
    # Voxels of 2.5 mm: the volume of a ball of 12 mm is known to about a tenth.
    assert change.doubling_days == pytest.approx(365, rel=0.2)
    assert change.volume_change == pytest.approx(1.0, rel=0.2)
    assert change.limits is not None
    assert change.limits[0] < change.volume_change < change.limits[1]
    assert change.tenths == pytest.approx(10 * 12 * (2 ** (1 / 3) - 1), abs=5)
    assert change.lung_rads == "growing"
    shrunk = at(comparison, SMALLER).doubling_days
    assert shrunk is not None
    assert shrunk < 0
    assert at(comparison, STABLE).doubling_days is None
    assert at(comparison, STABLE).lung_rads == "stable"
    assert at(comparison, NEW).lung_rads == "new"


def test_what_no_network_marked_is_measured_at_its_place(
    now: Scan, found: Findings, prior: Prior, models: Models
) -> None:
    """The nodules that both scans show are found, whichever diagnosis misses them."""
    blind = replace(found, findings=(), opacities=())
    back = compare(now, blind, prior, models, device="cpu")
    for place, verdict in ((GROWN, "grown"), (STABLE, "stable"), (GONE, "gone")):
        change = at(back, place)
        assert change.verdict == verdict
        if change.now is not None:
            assert change.now.name is None
            assert change.prior is not None
            assert change.prior.name is not None


def test_a_place_beyond_the_scan_is_not_called_gone(
    before: Scan, now: Scan, models: Models, visit: Callable[..., Scan]
) -> None:
    low = (-60.0, 5.0, -45.0)
    whole = visit(1, BEFORE, (*BALLS_BEFORE, (low, 10.0)), noise=4)
    cut = now.geometry.shifted((8, 0, 0))
    part = replace(now, hu=now.hu[8:].copy(), geometry=cut, series_uid="1.2.1.5")
    found = diagnose(part, models, device="cpu")
    change = at(compare(part, found, fit_prior(part, whole, 30), models, device="cpu"), low)
    assert change.verdict == "not shown"
    assert change.lung_rads == "baseline"


def seen(volume_mm3: float, mm: float, solid_mm: float | None = None) -> Sighting:
    size = Measurement(
        long_axis_mm=mm, short_axis_mm=mm, diameter_mm=mm, volume_mm3=volume_mm3,
        hu_mean=0.0, hu_min=0, hu_max=0, plane="axial", plane_index=0,
    )  # fmt: skip
    place = (0.0, 0.0, 0.0)
    return Sighting(
        name="1", center_irc=place, center_xyz=place, measurement=size,
        kind="part-solid" if solid_mm else "solid", solid_mm=solid_mm, mask=None,  # type: ignore[arg-type]
    )  # fmt: skip


def change_of(before: Sighting | None, now: Sighting | None, days: int | None = 365) -> Change:
    place = (0.0, 0.0, 0.0)
    return Change(
        now=now, prior=before, now_xyz=place, prior_xyz=place,
        shown=True, fit=1.0, days=days, tracking_id="0" * 32,
    )  # fmt: skip


@given(st.floats(10, 20_000), st.floats(10, 20_000), st.none() | st.integers(1, 4000))
def test_verdict_and_doubling_time_agree(before: float, now: float, days: int | None) -> None:
    change = change_of(seen(before, 6), seen(now, 6), days)
    grown = now / before >= 1.25
    assert (change.verdict == "grown") == grown
    doubling = change.doubling_days
    if days is None or change.verdict == "stable":
        assert doubling is None
    else:
        assert doubling is not None
        assert before * 2 ** (days / doubling) == pytest.approx(now, rel=1e-6)
        assert (doubling > 0) == grown


def test_the_solid_part_counts_where_it_grows_more() -> None:
    change = change_of(seen(500, 10.0, 3.0), seen(520, 10.1, 5.0))
    assert change.tenths == 20
    assert change.lung_rads == "growing"
    assert change_of(seen(500, 10.0), seen(520, 10.1)).lung_rads == "stable"


def test_growth_over_more_than_a_year_is_slow_and_over_an_unknown_time_is_not() -> None:
    pair = seen(500, 8.0), seen(900, 10.0)
    assert change_of(*pair, days=400).lung_rads == "growing slowly"
    assert change_of(*pair, days=None).lung_rads == "growing"


def test_a_tracking_id_names_scan_and_place() -> None:
    one = tracking_id("ab", (1.0, 2.0, 3.0))
    assert one == tracking_id("ab", (1.04, 2.0, 3.0))
    assert len({one, tracking_id("ab", (1.2, 2.0, 3.0)), tracking_id("cd", (1.0, 2.0, 3.0))}) == 3
    assert len(one) == 32
