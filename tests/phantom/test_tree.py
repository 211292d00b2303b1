"""Vessels: trees that reach every end, and specks that fill them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.phantom.tree import MAX_RADIUS_MM, RIPPLE, Branches, airways_along, fill, grow, specks

ROOT = np.array([0.0, 0.0, 0.0])


def tree(seed: int, ends: int, terminal_mm: float = 0.4) -> tuple[Branches, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.uniform(20, 80, (ends, 3))
    return grow(rng, ROOT, points, terminal_mm), points


@given(st.integers(0, 1000), st.integers(1, 60))
def test_a_tree_reaches_every_end_and_is_of_one_piece(seed, ends):
    branches, points = tree(seed, ends)
    assert len(branches.start) == 2 * ends - 1  # every fork has two daughters
    reached = np.linalg.norm(branches.end[:, None] - points[None], axis=2).min(axis=0)
    assert reached.max() < 1e-9
    begins = np.linalg.norm(branches.start[:, None] - branches.end[None], axis=2).min(axis=1)
    from_root = np.linalg.norm(branches.start - ROOT, axis=1)
    assert np.minimum(begins, from_root).max() < 1e-9


@given(st.integers(0, 1000), st.integers(2, 60))
def test_calibres_follow_what_a_branch_feeds(seed, ends):
    branches, _ = tree(seed, ends)
    first = np.linalg.norm(branches.start - ROOT, axis=1).argmin()
    assert branches.start_mm[first] == branches.start_mm.max() <= MAX_RADIUS_MM
    assert branches.start_mm.min() == pytest.approx(0.4)
    assert (branches.end_mm < branches.start_mm).all()
    for k in range(len(branches.start)):
        mothers = np.linalg.norm(branches.end - branches.start[k], axis=1) < 1e-9
        assert (branches.start_mm[mothers] > branches.start_mm[k] - 1e-9).all()


def test_no_ends_no_branches():
    assert len(grow(np.random.default_rng(0), ROOT, np.zeros((0, 3)), 0.4).start) == 0


def straight(radius_mm: float, *, length_mm: float = 12.0) -> Branches:
    start = np.array([[10.0, 10.0, 4.0]])
    radii = np.array([radius_mm])
    return Branches(start, np.add(start, (0.0, 0.0, length_mm)), radii, radii)


@pytest.mark.parametrize("radius_mm", [0.2, 0.4, 0.45])
def test_a_thin_tube_leaves_its_own_volume(radius_mm):
    """Summed over all voxels, what specks fill is the tube's volume."""
    spacing = np.array([1.0, 1.0, 1.0])
    found = specks(np.random.default_rng(0), straight(radius_mm), np.zeros(3), spacing, 24, 0.0)
    filled = sum(fill(found, k, (24, 24)).sum() for k in range(24))
    assert filled == pytest.approx(np.pi * radius_mm**2 * 12, rel=1e-3)


def test_a_wide_tube_is_solid_inside_and_nothing_outside():
    spacing = np.array([0.5, 0.5, 1.0])
    found = specks(np.random.default_rng(0), straight(2.0), np.zeros(3), spacing, 24, 0.0)
    slice_ = fill(found, 10, (48, 48))
    r, c = np.mgrid[:48, :48]
    distance_mm = 0.5 * np.hypot(r - 20, c - 20)
    assert slice_[distance_mm < 1.2].min() > 0.9
    assert slice_[distance_mm > 2.8].max() == 0
    assert slice_.sum() == pytest.approx(np.pi * 2**2 / 0.25, rel=RIPPLE - 1)


def test_slices_beyond_a_tube_are_empty():
    found = specks(np.random.default_rng(0), straight(1.0), np.zeros(3), np.ones(3), 24, 0.0)
    assert fill(found, 0, (24, 24)).max() == fill(found, 20, (24, 24)).max() == 0
    assert fill(found, 8, (24, 24)).max() > 0


def test_a_bronchus_runs_beside_its_artery_and_has_a_wall():
    branches, _ = tree(3, 12)
    walls, lumens = airways_along(branches, np.array([0.0, -1.0, 0.0]))
    assert (walls.start_mm - lumens.start_mm > 0.3).all()
    apart = np.linalg.norm(walls.start - branches.start, axis=1)
    across = branches.start_mm + walls.start_mm - 0.2
    assert (apart < across + 1e-9).all()
    assert np.median(apart / across) == pytest.approx(1)
    assert np.array_equal(walls.start, lumens.start)
