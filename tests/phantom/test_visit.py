"""Visits of one patient: the same vessels and nodules, moved by breath, grown by known factors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.phantom.breath import Breath
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan
from luna.phantom.visit import Visit

PATIENT = PhantomConfig(
    size=128, slab_mm=90, slice_mm=(2.0, 2.0), without_nodules=0, extra_nodules=7, oblique_share=1
)
FIRST = Visit(number=1, volume_factors=(1.0, 1.0, 0.0))
SECOND = Visit(number=2, rise_mm=6.0, volume_factors=(2.0, 0.0, 1.0))


@pytest.fixture(scope="module")
def visits():
    return make_scan(6, PATIENT, 0, FIRST), make_scan(6, PATIENT, 0, SECOND)


@given(st.floats(150, 280), st.floats(-25, 25), st.lists(st.floats(-150, 150), min_size=3))
def test_a_breath_is_undone(height: float, rise_mm: float, places: list[float]) -> None:
    breath = Breath(height, rise_mm)
    points = np.stack([np.array(places)] * 3, axis=-1)
    moved = breath.moved(points)
    for axis in range(3):
        rest = breath.at_rest(axis, moved[:, axis])
        np.testing.assert_allclose(rest, points[:, axis], atol=0.01)  # of a table of 0.5 mm


def test_the_base_rises_by_as_much_as_was_said_and_the_apex_not() -> None:
    moved = Breath(200.0, 12.0).moved(np.array([[0.0, 0.0, -132.0], [0.0, 0.0, 90.0]]))
    np.testing.assert_allclose(moved[:, 2], [-120, 90])


def test_visits_are_the_same_bytes_again_and_differ_from_each_other(visits) -> None:
    again = make_scan(6, PATIENT, 0, SECOND)
    assert again.scan.fingerprint() == visits[1].scan.fingerprint()
    assert visits[0].scan.fingerprint() != visits[1].scan.fingerprint()
    assert visits[0].scan.series_uid != visits[1].scan.series_uid


def test_nodules_grow_come_and_go_as_told(visits) -> None:
    first, second = ({n.number: n for n in p.nodules} for p in visits)
    assert 0 in first
    assert 1 in first
    assert 2 not in first
    assert 1 not in second
    assert 2 in second
    # What the lung's surface or another voxel grid cuts off differs a little between two scans.
    assert (second[0].diameter_mm / first[0].diameter_mm) ** 3 == pytest.approx(2.0, rel=0.1)
    kept = sorted(set(first) & set(second) - {0})
    assert kept
    for k in kept:
        assert second[k].kind == first[k].kind
        assert second[k].diameter_mm == pytest.approx(first[k].diameter_mm, rel=0.05)


def test_nodules_keep_their_distances_but_for_the_breath(visits) -> None:
    first, second = ({n.number: np.array(n.center_xyz) for n in p.nodules} for p in visits)
    both = sorted(set(first) & set(second))
    a, b = both[0], both[-1]
    before = np.linalg.norm(first[a] - first[b])
    after = np.linalg.norm(second[a] - second[b])
    assert after == pytest.approx(before, abs=SECOND.rise_mm)


def test_a_scan_without_a_visit_is_unchanged_by_them() -> None:
    config = PhantomConfig(size=64, slab_mm=30, slice_mm=(3.0, 3.0))
    still = make_scan(6, config)
    assert still.scan.series_uid.endswith(".6.0")
    assert make_scan(6, config, 0, Visit(number=1)).scan.shape_irc[1:] == still.scan.shape_irc[1:]
