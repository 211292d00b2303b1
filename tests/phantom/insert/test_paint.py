"""A painted nodule has the attenuation and volume that it was drawn with, and the place's noise."""

import numpy as np
import pytest

from luna.phantom.disease.lesion import Lesion
from luna.phantom.insert.optics import Optics
from luna.phantom.insert.paint import blurred, lung_room, paint

SPACING = np.array([1.5, 0.7, 0.7])
SHAPE = (32, 72, 72)
OPTICS = Optics(0.6, 0.9, 0)
CENTER = np.array([25.0, 25.0, 24.0])
LUNG_HU, NOISE_HU = -860, 25


def ball(radius: float, **changes) -> Lesion:
    values = {
        "kind": "solid",
        "malignant": False,
        "center": CENTER,
        "radius": radius,
        "axes": np.eye(3),
        "waves": np.zeros((0, 4)),
        "spikes": np.zeros((0, 4)),
        "hu": 30.0,
        "rim_hu": 30.0,
        "core": 1.0,
        "edge_mm": 0.0,
    }
    return Lesion(**values | changes)


@pytest.fixture(scope="module")
def lung():
    """Noisy lung, with a chest wall from column 60 on."""
    rng = np.random.default_rng(0)
    hu = np.full(SHAPE, LUNG_HU, np.float64)
    hu[:, :, 60:] = 40
    return (hu + rng.normal(0, NOISE_HU, SHAPE)).astype(np.int16)


@pytest.mark.parametrize("radius", [3.0, 6.0, 10.0])
@pytest.mark.parametrize("hu", [30.0, 400.0])
def test_volume_and_mean_attenuation_are_as_drawn(lung, radius, hu):
    done = paint(lung, SPACING, ball(radius, hu=hu, rim_hu=hu), OPTICS, 1)
    volume = done.shown.sum() * SPACING.prod()
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.04)
    excess = (done.hu.astype(float) - lung[done.box]).sum() * SPACING.prod()
    # Blur moves attenuation about; none is lost.
    assert excess == pytest.approx(volume * (hu - LUNG_HU), rel=0.04)
    center_mm = done.center_irc * SPACING
    assert np.abs(center_mm - CENTER[::-1]).max() < 0.1


def test_the_inside_of_a_large_nodule_has_its_attenuation_and_the_noise_of_its_place(lung):
    done = paint(lung, SPACING, ball(10.0), OPTICS, 1)
    grids = np.indices(done.hu.shape)
    away = sum(
        ((g + s.start) * mm - c) ** 2
        for g, s, mm, c in zip(grids, done.box, SPACING, CENTER[::-1], strict=True)
    )
    inside = done.hu[away < 7**2].astype(float)
    assert inside.mean() == pytest.approx(30, abs=4)
    assert inside.std() == pytest.approx(NOISE_HU, rel=0.25)
    before = lung[done.box][away < 7**2].astype(float)
    assert np.corrcoef(inside, before)[0, 1] > 0.9


def test_ground_glass_is_a_veil_over_the_vessels(lung):
    hu = lung.copy()
    hu[:, 34:38, 34:38] = 20  # a vessel along the index axis, through the middle
    done = paint(hu, SPACING, ball(9.0, kind="ground-glass", hu=-550.0, rim_hu=-550.0), OPTICS, 1)
    vessel = (hu[done.box] > -200) & (done.shown > 0.9)
    assert vessel.sum() > 20
    assert np.abs(done.hu[vessel].mean() - 20) < 40
    veil = (hu[done.box] < -700) & (done.shown > 0.99)
    assert done.hu[veil].mean() == pytest.approx(-550, abs=40)


def test_a_nodule_on_the_wall_ends_there(lung):
    on_wall = ball(6.0, center=np.array([41.0, 25.0, 24.0]))
    done = paint(lung, SPACING, on_wall, OPTICS, 1)
    columns = np.arange(done.box[2].start, done.box[2].stop)
    wall = columns >= 62
    assert (done.hu[:, :, wall] == lung[done.box][:, :, wall]).all()
    assert 0.2 < (done.shown > 0.5).sum() * SPACING.prod() / (4 / 3 * np.pi * 6**3) < 0.95


def test_where_there_is_no_lung_nothing_is_painted():
    assert paint(np.full(SHAPE, 40, np.int16), SPACING, ball(5.0), OPTICS, 1) is None


def test_the_room_of_a_lung_has_its_vessels_and_not_the_wall(lung):
    hu = lung.astype(np.float32)
    hu[:, 30:34, 30:34] = 20
    room = lung_room(hu, SPACING)
    assert room[:, 30:34, 30:34].all()
    assert not room[:, :, 63:].any()


def test_blur_has_the_measured_width_and_keeps_the_sum():
    point = np.zeros((41, 61, 61), np.float32)
    point[20, 30, 30] = 1
    spread = blurred(point, OPTICS, SPACING)
    assert spread.sum() == pytest.approx(1, abs=1e-3)
    row = spread.sum(axis=(0, 1))
    width = np.sqrt((row * ((np.arange(61) - 30) * 0.7) ** 2).sum())
    assert width == pytest.approx(np.sqrt(0.6**2 - 0.7**2 / 12), rel=0.06)
