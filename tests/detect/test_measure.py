"""Measurements of nodules whose size is known by construction."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.detect.findings import Measurement
from luna.detect.measure import measure

SPACING_XYZ = (0.7, 0.7, 1.25)
SCRIPT = Path(__file__).parents[2] / "scripts" / "measure_balls.py"
spec = importlib.util.spec_from_file_location("measure_balls", SCRIPT)
assert spec is not None
assert spec.loader is not None
balls = importlib.util.module_from_spec(spec)
spec.loader.exec_module(balls)


def ellipsoid(half_axes_mm, angle_deg: float = 0.0, shape=(40, 80, 80)) -> np.ndarray:
    """Bool grid of an ellipsoid at its centre, its x and y axes turned in the axial plane."""
    z, y, x = ((np.arange(n) - n // 2) * s for n, s in zip(shape, SPACING_XYZ[::-1], strict=True))
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    u, v = c * x + s * y, -s * x + c * y
    a, b, h = half_axes_mm
    return (u / a) ** 2 + (v / b) ** 2 + (z / h) ** 2 <= 1


def scan_with(scan_of, mask: np.ndarray, hu: float = 40.0):
    rng = np.random.default_rng(0)
    volume = np.where(mask, hu, -850.0) + rng.normal(0, 20, mask.shape)
    return scan_of(np.rint(volume).astype(np.int16), Geometry((0, 0, 0), SPACING_XYZ))


def size(scan, mask: np.ndarray) -> Measurement:
    return measure(scan, BoxMask((0, 0, 0), mask))[1]


@pytest.mark.parametrize("diameter_mm", [3, 5, 6, 9, 14, 30])
@pytest.mark.parametrize("spacing_irc", [(1.0, 0.6, 0.6), (2.0, 0.8, 0.8)])
def test_balls_measure_what_they_are(diameter_mm: float, spacing_irc) -> None:
    offsets = np.random.default_rng(2).uniform(-0.5, 0.5, (8, 3))
    found = [balls.measured(diameter_mm, spacing_irc, tuple(offset)) for offset in offsets]
    errors = [m.diameter_mm - diameter_mm for m in found]
    assert abs(np.mean(errors)) < 0.15
    assert np.max(np.abs(errors)) < 0.5
    volume_mm3 = np.pi / 6 * diameter_mm**3
    assert np.mean([m.volume_mm3 for m in found]) == pytest.approx(
        volume_mm3, rel=0.2 if diameter_mm < 4 else 0.05
    )


@given(offset_irc=st.tuples(*[st.floats(-0.5, 0.5)] * 3), diameter_mm=st.floats(4, 12))
@settings(max_examples=30)
def test_where_a_ball_lies_between_voxels_hardly_matters(offset_irc, diameter_mm: float) -> None:
    spacing_irc = (1.25, 0.7, 0.7)
    centered = balls.measured(diameter_mm, spacing_irc, (0.0, 0.0, 0.0))
    shifted = balls.measured(diameter_mm, spacing_irc, offset_irc)
    assert shifted.diameter_mm == pytest.approx(centered.diameter_mm, abs=0.35)
    assert shifted.volume_mm3 == pytest.approx(centered.volume_mm3, rel=0.15)


def test_balls_of_five_and_seven_millimetres_do_not_round_to_six() -> None:
    """Fleischner's threshold is 6 mm; balls of 5 mm crossed it where voxels were counted."""
    offsets = np.random.default_rng(3).uniform(-0.5, 0.5, (12, 3))
    for diameter_mm in (5.0, 7.0):
        found = [balls.measured(diameter_mm, (1.25, 0.7, 0.7), tuple(o)) for o in offsets]
        assert {round(m.diameter_mm) for m in found} == {int(diameter_mm)}


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 137])
def test_axes_of_a_turned_ellipsoid(scan_of, angle: float) -> None:
    mask = ellipsoid((12, 7, 9), angle)
    m = size(scan_with(scan_of, mask), mask)
    # The voxels are all or nothing here, so the contour is known to a pixel.
    assert m.long_axis_mm == pytest.approx(24, abs=0.8)
    assert m.short_axis_mm == pytest.approx(14, abs=0.8)
    assert m.diameter_mm == (m.long_axis_mm + m.short_axis_mm) / 2
    assert m.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12 * 7 * 9, rel=0.03)
    assert m.plane == "axial"
    assert abs(m.plane_index - 20) <= 1


@pytest.mark.parametrize(
    ("half_axes_mm", "plane"), [((10, 5, 15), "coronal"), ((5, 10, 15), "sagittal")]
)
def test_the_plane_of_the_greatest_size_is_measured(scan_of, half_axes_mm, plane: str) -> None:
    mask = ellipsoid(half_axes_mm)
    m = size(scan_with(scan_of, mask), mask)
    assert m.plane == plane
    assert abs(m.plane_index - 40) <= 1
    assert m.long_axis_mm == pytest.approx(30, abs=0.8)
    assert m.short_axis_mm == pytest.approx(20, abs=0.8)


def test_a_lone_voxel_is_about_as_large_as_a_voxel(scan_of) -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    mask[4, 4, 4] = True
    m = size(scan_with(scan_of, mask), mask)
    assert 0.7 < m.short_axis_mm <= m.long_axis_mm < 1.8
    assert m.volume_mm3 == pytest.approx(0.7 * 0.7 * 1.25, rel=0.4)
    assert m.hu_min == m.hu_max == round(m.hu_mean)


def test_attenuation_is_that_of_the_mask(scan_of) -> None:
    mask = ellipsoid((5, 5, 5))
    scan = scan_with(scan_of, mask, hu=-100)
    body, m = measure(scan, BoxMask((0, 0, 0), mask))
    values = scan.hu[body.slices][body.voxels]
    assert (m.hu_min, m.hu_max) == (values.min(), values.max())
    assert m.hu_mean == pytest.approx(values.mean())


def test_a_vessel_and_a_rim_do_not_count(scan_of) -> None:
    nodule = ellipsoid((6, 6, 6))
    generous = ellipsoid((7.2, 7.2, 7.2))
    vessel = np.zeros_like(nodule)
    vessel[19:22, 38:42, 40:75] = True
    body, m = measure(scan_with(scan_of, nodule | vessel), BoxMask((0, 0, 0), generous | vessel))
    assert m.diameter_mm == pytest.approx(12, rel=0.1)
    inside = nodule[body.slices] & body.voxels
    assert inside.sum() > 0.9 * nodule.sum()


@pytest.mark.parametrize("radius_mm", [3.0, 6.0, 9.0])
@pytest.mark.parametrize("marked_mm", [0.0, 3.0])
def test_a_nodule_on_the_chest_wall_ends_where_the_wall_begins(
    scan_of, radius_mm: float, marked_mm: float
) -> None:
    """Two thirds of its radius stand between its centre and the wall; the network marks more."""
    shape = (40, 80, 120)
    ball = ellipsoid((radius_mm,) * 3, shape=shape)
    x = (np.arange(shape[2]) - shape[2] // 2) * SPACING_XYZ[0]
    depth_mm = np.broadcast_to(x - 2 / 3 * radius_mm, shape)
    nodule = ball & (depth_mm < 0)
    marked = ellipsoid((radius_mm + 1,) * 3, shape=shape) & (depth_mm < marked_mm)
    body, m = measure(scan_with(scan_of, ball | (depth_mm >= 0)), BoxMask((0, 0, 0), marked))
    inside = nodule[body.slices] & body.voxels
    assert inside.sum() > 0.8 * nodule.sum()
    assert inside.sum() > 0.85 * body.voxels.sum()
    truth_mm3 = nodule.sum() * np.prod(SPACING_XYZ)
    assert m.volume_mm3 == pytest.approx(truth_mm3, rel=0.15)
    assert m.long_axis_mm == pytest.approx(2 * radius_mm, rel=0.15)


@pytest.mark.parametrize("marked_mm", [0.0, 2.0, 4.0])
def test_ground_glass_on_the_chest_wall_is_not_taken_for_its_wall(
    scan_of, marked_mm: float
) -> None:
    """The wall that the network marks beside it is denser, and was measured in its place."""
    shape = (40, 80, 120)
    x = (np.arange(shape[2]) - shape[2] // 2) * SPACING_XYZ[0]
    depth_mm = np.broadcast_to(x - 8, shape)
    ball, wider = (ellipsoid((r,) * 3, shape=shape) for r in (12, 13))
    nodule = ball & (depth_mm < 0)
    volume = np.select([depth_mm >= 0, nodule], [40.0, -600.0], -850.0)
    volume += np.random.default_rng(0).normal(0, 20, shape)
    scan = scan_of(np.rint(volume).astype(np.int16), Geometry((0, 0, 0), SPACING_XYZ))
    _, m = measure(scan, BoxMask((0, 0, 0), wider & (depth_mm < marked_mm)))
    assert m.volume_mm3 == pytest.approx(nodule.sum() * np.prod(SPACING_XYZ), rel=0.15)
    assert m.long_axis_mm == pytest.approx(24, abs=1.5)
    assert -640 < m.hu_mean < -560


def test_a_mask_in_the_wall_is_kept_whole(scan_of) -> None:
    """Nothing stands out from the wall there: the mask is all that is known."""
    shape = (40, 80, 120)
    wall = np.zeros(shape, np.bool_)
    wall[:, :, 60:] = True
    marked = np.roll(ellipsoid((4, 4, 4), shape=shape), 8, axis=2)
    _, m = measure(scan_with(scan_of, wall), BoxMask((0, 0, 0), marked))
    assert m.volume_mm3 > 0.7 * marked.sum() * np.prod(SPACING_XYZ)


@pytest.mark.parametrize("hu", [40, -600])
def test_solid_and_ground_glass_are_measured_whole(scan_of, hu: float) -> None:
    nodule = ellipsoid((4, 4, 4))
    scan = scan_with(scan_of, nodule, hu)
    for mask in (nodule, ellipsoid((4.8, 4.8, 4.8)), ellipsoid((3.2, 3.2, 3.2))):
        assert size(scan, mask).diameter_mm == pytest.approx(8, abs=0.5)


@pytest.mark.parametrize("corner", [(0, 0, 0), (34, 68, 68)])
def test_a_nodule_at_the_border_of_the_scan_is_measured(scan_of, corner) -> None:
    cut = tuple(slice(a, a + 6 if k == 0 else a + 12) for k, a in enumerate(corner))
    mask = np.zeros((40, 80, 80), dtype=bool)
    mask[cut] = True
    m = size(scan_with(scan_of, mask), mask)
    assert m.long_axis_mm == pytest.approx(12 * 0.7 * np.sqrt(2), abs=1.0)
    assert m.cut_by_scan


@pytest.mark.parametrize(("slices", "cut"), [(18, True), (22, True), (32, False)])
def test_a_nodule_that_the_last_slice_cuts_says_so(scan_of, slices: int, cut: bool) -> None:
    """The centre of a ball of 12 mm lies 20 slices above the first one."""
    ball = ellipsoid((6, 6, 6))[:slices]
    m = size(scan_with(scan_of, ball[::-1]), ball[::-1])
    assert m.cut_by_scan == size(scan_with(scan_of, ball), ball).cut_by_scan == (slices < 25)
    assert (m.volume_mm3 < 850) == cut
    if not cut:
        assert m.equal_volume_mm == pytest.approx(12, abs=0.3)


@pytest.mark.parametrize("hu", [-1000, 40])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (1, 1, 5), (3, 3, 3)])
def test_a_mask_that_is_all_of_the_scan_has_a_size(scan_of, shape, hu: int) -> None:
    scan = scan_of(np.full(shape, hu), Geometry((0, 0, 0), SPACING_XYZ))
    body, m = measure(scan, BoxMask((0, 0, 0), np.ones(shape, dtype=bool)))
    assert body.voxels.any()
    assert 0 < m.short_axis_mm <= m.long_axis_mm
    assert m.volume_mm3 > 0


@given(angle_deg=st.floats(0, 180), ratio=st.floats(0.4, 0.7))
@settings(max_examples=15)
def test_the_axes_can_be_drawn_where_they_were_measured(
    scan_of, angle_deg: float, ratio: float
) -> None:
    mask = ellipsoid((9.0, 9.0 * ratio, 6.0), angle_deg)
    scan = scan_with(scan_of, mask)
    drawn = size(scan, mask).drawn[0]
    assert abs(drawn.plane_index - 20) <= 2  # noise chooses among slices that are nearly alike
    long_xyz, short_xyz = (
        np.diff(scan.geometry.xyz_from_irc(ends), axis=0)[0]
        for ends in (drawn.long_ends_irc, drawn.short_ends_irc)
    )
    # As long as they are stated, to the rounding; across each other; along the ellipsoid's axis.
    assert np.linalg.norm(long_xyz) == pytest.approx(drawn.long_axis_mm, abs=0.006)
    assert np.linalg.norm(short_xyz) == pytest.approx(drawn.short_axis_mm, abs=0.006)
    assert abs(long_xyz @ short_xyz) < 1e-6
    along = (np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg)), 0.0)
    # Within 20 degrees: the length is flat near its maximum, and noise chooses there.
    assert abs(long_xyz @ along) > 0.94 * np.linalg.norm(long_xyz)
    for ends in (drawn.long_ends_irc, drawn.short_ends_irc):
        middle_xyz = scan.geometry.xyz_from_irc(np.mean(ends, axis=0))
        center_xyz = scan.geometry.xyz_from_irc((20, 40, 40))
        assert np.linalg.norm((middle_xyz - center_xyz)[:2]) < 2.0  # a short axis may lie aside
