"""A prior scan is aligned to a millimetre, or refused with the reason."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from luna.ct.lungs.find import find_lungs
from luna.ct.scan import Scan
from luna.detect.prior.align import align
from luna.detect.prior.fit import doubts, fit_prior, interval_days, study_date
from luna.detect.prior.place import find_place
from luna.run.errors import InputError, UsageError

from .conftest import BEFORE, GONE, GROWN, NEW, NOW, SMALLER, STABLE, Position, dated

PLACES = (GROWN, STABLE, SMALLER, NEW, GONE)


def test_lungs_are_aligned_and_places_found(now: Scan, before: Scan) -> None:
    lungs = find_lungs(now)
    alignment = align(now, lungs, before, find_lungs(before))
    assert alignment.overlap > 0.95
    for place in PLACES:
        here = NOW.placed(place)
        assert np.linalg.norm(alignment.to_prior(here) - place) < 2.5
        found = find_place(now, lungs, here, 10, before, alignment)
        # The nodule itself is left out, so its own growth does not pull the place aside.
        assert np.linalg.norm(found.xyz - place) < 1.5
        assert found.fit > 0.7
        back = alignment.reversed().to_prior(alignment.to_prior(here))
        np.testing.assert_allclose(back, here, atol=1e-6)


def test_days_are_those_between_the_study_dates(now: Scan, before: Scan) -> None:
    assert interval_days(now, before) == 365
    assert interval_days(now, dated(before, "")) is None
    assert interval_days(now, dated(before, "20250101")) == 0
    assert doubts(now, before, 365) == ()
    assert any("the same date" in text for text in doubts(now, before, 0))


def test_another_patient_is_refused_though_the_lungs_have_the_same_shape(
    now: Scan, visit: Callable[..., Scan]
) -> None:
    other = visit(2, BEFORE, noise=3)
    with pytest.raises(InputError, match=r"does not fit the scan.*places in them") as told:
        fit_prior(now, other)
    assert "same patient" in told.value.hint


def test_a_volume_without_lungs_is_refused(now: Scan) -> None:
    water = replace(now, hu=np.full_like(now.hu, 40), series_uid="1.9")
    with pytest.raises(InputError, match="no lungs"):
        fit_prior(now, water)


def test_the_scan_itself_and_a_later_one_are_no_priors(now: Scan, before: Scan) -> None:
    with pytest.raises(UsageError, match="the scan itself"):
        fit_prior(now, now)
    with pytest.raises(UsageError, match="later of the two") as told:
        fit_prior(before, now)  # before anything is computed
    assert "365 days later" in told.value.why


def test_unknown_dates_and_another_name_in_the_header_are_told(now: Scan, before: Scan) -> None:
    nameless = replace(before, provenance=replace(before.provenance, phi={"PatientID": "P7"}))
    told = doubts(now, nameless, None)
    assert any("another patient (patient ID differ)" in text for text in told)
    assert any("the dates are not known" in text for text in told)
    assert "P7" not in " ".join(told)


@pytest.mark.parametrize("text", ["", "2024", "20241340", "today…"])
def test_odd_study_dates_are_no_dates(before: Scan, text: str) -> None:
    assert study_date(dated(before, text)) is None


def test_positions_of_the_fixture_are_inverse() -> None:
    position = Position(5, (3, 4, 5), 6)
    np.testing.assert_allclose(position.at_rest(position.placed(GROWN)), GROWN, atol=1e-6)
