"""Nodules of a phantom: their shape, their attenuation, and where they lie."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.phantom.config import NODULE_KINDS, PhantomConfig
from luna.phantom.disease.lesion import Lesion, cover
from luna.phantom.disease.nodules import MIN_DIAMETER_MM, _axes, _rotation
from luna.phantom.phantom import make_scan

STEP_MM = 0.25
GRID = np.arange(-14, 14 + STEP_MM, STEP_MM, dtype=np.float32)
OFFSET = np.stack(np.meshgrid(GRID, GRID, GRID, indexing="ij"), axis=-1)
DISTANCE = np.linalg.norm(OFFSET, axis=-1)


def ball(radius: float, **changes) -> Lesion:
    values = {
        "kind": "solid",
        "malignant": False,
        "center": np.zeros(3),
        "radius": radius,
        "axes": np.eye(3),
        "waves": np.zeros((0, 4)),
        "spikes": np.zeros((0, 4)),
        "hu": 40.0,
        "rim_hu": 40.0,
        "core": 1.0,
        "edge_mm": 0.0,
    }
    return Lesion(**values | changes)


@pytest.mark.parametrize("radius", [2.0, 5.0, 10.0])
def test_a_ball_has_its_volume(radius):
    body, thorns, hu = cover(ball(radius), OFFSET)
    assert (body > 0.5).sum() * STEP_MM**3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
    assert thorns.max() == 0
    assert np.allclose(hu, 40)


def test_stretching_keeps_the_volume():
    axes = np.diag([1 / 1.3, 1.3, 1.0])
    body, *_ = cover(ball(6.0, axes=axes), OFFSET)
    assert (body > 0.5).sum() * STEP_MM**3 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.04)
    extent = [
        np.ptp(np.flatnonzero((body > 0.5).any(axis=others))) for others in ((1, 2), (0, 2), (0, 1))
    ]
    assert extent[0] > extent[2] > extent[1]


@given(st.integers(0, 10_000), st.floats(0, 0.3))
def test_any_draw_of_axes_keeps_the_volume(seed, spread):
    assert abs(np.linalg.det(_axes(np.random.default_rng(seed), spread))) == pytest.approx(1)
    turn = _rotation(np.random.default_rng(seed))
    assert np.allclose(turn.T @ turn, np.eye(3))


def test_a_part_solid_nodule_is_dense_in_its_core_alone():
    body, _, hu = cover(ball(8.0, kind="part-solid", hu=40.0, rim_hu=-550.0, core=0.5), OFFSET)
    assert hu[DISTANCE < 3].min() == pytest.approx(40)
    assert np.allclose(hu[(DISTANCE > 5) & (DISTANCE < 8)], -550, atol=1)
    assert body[DISTANCE < 6].min() == 1


def test_a_soft_edge_is_wide_and_a_sharp_one_is_not():
    def width_mm(edge_mm: float) -> float:
        body, *_ = cover(ball(8.0, edge_mm=edge_mm), OFFSET)
        middle = body[len(GRID) // 2, len(GRID) // 2, len(GRID) // 2 :]
        return float(((middle > 0.02) & (middle < 0.98)).sum() * STEP_MM)

    assert width_mm(0.0) < 1.0 < width_mm(1.5)


def test_spikes_reach_as_far_as_they_are_long():
    spike = np.array([[1.0, 0.0, 0.0, 4.0]])
    body, thorns, _ = cover(ball(5.0, kind="spiculated", spikes=spike), OFFSET)
    outside = (thorns > 0.1) & (body == 0)
    assert outside.any()
    assert 7 < DISTANCE[outside].max() <= 9.1
    x = OFFSET[..., 0][outside]
    assert x.min() > 4  # in its own direction alone


@pytest.fixture(scope="module")
def phantoms():
    config = PhantomConfig(size=96, slab_mm=120, without_nodules=0, extra_nodules=6)
    return [make_scan(seed, config) for seed in (1, 2)]


def test_nodules_keep_apart_and_lie_wholly_in_the_scan(phantoms):
    for phantom in phantoms:
        assert len(phantom.nodules) > 1
        for one, other in combinations(phantom.nodules, 2):
            gap = np.linalg.norm(np.subtract(one.center_xyz, other.center_xyz))
            assert gap > (one.diameter_mm + other.diameter_mm) / 2
        for nodule in phantom.nodules:
            assert nodule.kind in NODULE_KINDS
            assert nodule.diameter_mm > MIN_DIAMETER_MM / 2
            index = phantom.scan.geometry.irc_from_xyz(nodule.center_xyz)[0]
            reach = nodule.diameter_mm / 2 / phantom.scan.geometry.spacing_irc[0]
            assert reach < index < phantom.scan.shape_irc[0] - 1 - reach


def test_weights_of_kinds_choose_what_there_is():
    config = PhantomConfig(
        size=96, slab_mm=120, without_nodules=0, extra_nodules=6, kind_weights=(0, 0, 1, 0, 0)
    )
    phantom = make_scan(5, config)
    assert {nodule.kind for nodule in phantom.nodules} == {"ground-glass"}
    hu = [
        phantom.scan.hu[
            tuple(
                slice(a, a + n) for a, n in zip(nodule.start_irc, nodule.voxels.shape, strict=True)
            )
        ][nodule.voxels].mean()
        for nodule in phantom.nodules
        if nodule.voxels.sum() > 30
    ]
    assert max(hu) < -300
