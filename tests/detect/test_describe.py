"""Descriptions of nodules whose look is known by construction."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import Lungs
from luna.ct.mask import BoxMask
from luna.ct.scan import Scan
from luna.detect.describe import THICK_MM, describe
from luna.detect.findings import Description
from luna.detect.measure import measure
from luna.detect.opening import holds_cuboid

SPACING_XYZ = (0.7, 0.7, 1.25)
SHAPE = (32, 60, 60)
LUNG_HU, SOFT_HU, HAZE_HU, BONE_HU, FAT_HU = -860, 40, -600, 700, -80
BLUR_MM = 0.5


def lungs_of(labels: np.ndarray) -> Lungs:
    """Lungs on the scan's own grid."""
    return Lungs(
        labels=labels,
        hu=np.full(labels.shape, -850, np.float32),
        factor_irc=(1, 1, 1),
        shape_irc=labels.shape,
        spacing_irc=SPACING_XYZ[::-1],
        volume_ml=(1, 1),
        limits=(),
    )


def distance_mm(center_mm: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """The distance of every voxel from a point given as (z, y, x) mm from the middle."""
    axes = ((np.arange(n) - n // 2) * s for n, s in zip(SHAPE, SPACING_XYZ[::-1], strict=True))
    grid = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, center_mm, strict=True)))


def painted(*balls: tuple[Any, float]) -> np.ndarray:
    """A lung in which regions (bool arrays) have an HU, later ones over earlier ones."""
    hu = np.full(SHAPE, float(LUNG_HU))
    for region, value in balls:
        hu[region] = value
    return hu


@pytest.fixture
def look(scan_of: Callable[..., Scan]) -> Callable[..., Description]:
    """Describe what a scanner makes of painted HU: blurred, with noise.

    The component is what lies within `mask_mm` of the middle, as wide as a U-Net's mask.
    """

    def describe_it(hu: np.ndarray, mask_mm: float, noise: float = 25) -> Description:
        blurred = ndimage.gaussian_filter(hu, [BLUR_MM / s for s in SPACING_XYZ[::-1]])
        noisy = blurred + np.random.default_rng(0).normal(0, noise, SHAPE)
        scan = scan_of(np.rint(noisy).astype(np.int16), Geometry((0, 0, 0), SPACING_XYZ))
        lungs = lungs_of(np.ones(SHAPE, np.uint8))
        component = BoxMask((0, 0, 0), (distance_mm() <= mask_mm) & (blurred > -740))
        return describe(scan, lungs, component, measure(scan, component)[0])

    return describe_it


@pytest.mark.parametrize("radius_mm", [2.5, 3.5, 5, 8])
def test_a_solid_nodule_is_solid(look: Any, radius_mm: float) -> None:
    found = look(painted((distance_mm() <= radius_mm, SOFT_HU)), radius_mm + 1)
    assert (found.kind, found.solid_mm) == ("solid", None)
    assert found.calcification == "none"
    assert not found.fat
    assert not found.juxtapleural


@pytest.mark.parametrize("radius_mm", [3, 5, 8])
def test_a_faint_nodule_is_ground_glass(look: Any, radius_mm: float) -> None:
    found = look(painted((distance_mm() <= radius_mm, HAZE_HU)), radius_mm + 1)
    assert (found.kind, found.solid_mm) == ("ground-glass", None)


@pytest.mark.parametrize(("radius_mm", "core_mm"), [(5, 2.5), (8, 3), (8, 4.5)])
def test_a_core_in_haze_is_part_solid_and_measured(
    look: Any, radius_mm: float, core_mm: float
) -> None:
    r = distance_mm()
    found = look(painted((r <= radius_mm, HAZE_HU), (r <= core_mm, SOFT_HU)), radius_mm + 1)
    assert found.kind == "part-solid"
    assert found.solid_mm == pytest.approx(2 * core_mm, abs=1.2)


def test_a_vessel_through_ground_glass_is_no_solid_part(look: Any) -> None:
    vessel = np.zeros(SHAPE, np.bool_)
    vessel[15:17, :, 29:32] = True
    found = look(painted((distance_mm() <= 7, HAZE_HU), (vessel, SOFT_HU)), 8)
    assert found.kind == "ground-glass"


def test_a_faint_speck_has_no_kind(look: Any) -> None:
    assert look(painted((distance_mm() <= 1, -200)), 1.2, noise=5).kind is None


@pytest.mark.parametrize(
    ("regions", "pattern"),
    [
        ([(6.0, BONE_HU)], "complete"),
        ([(6.0, SOFT_HU), (2.5, BONE_HU)], "central"),
        ([(6.0, SOFT_HU)], "none"),
    ],
)
def test_calcification_in_shells(look: Any, regions: Any, pattern: str) -> None:
    r = distance_mm()
    found = look(painted(*((r <= radius, hu) for radius, hu in regions)), 7)
    assert found.calcification == pattern
    assert (found.calcified_share > 0.05) == (pattern != "none")


def test_popcorn_and_eccentric_calcification(look: Any) -> None:
    nodule = (distance_mm() <= 9, SOFT_HU)
    places = [(0, 4, 0), (0, -4, 0), (0, 0, 4.5), (0, 0, -4.5), (4, 0, 0), (-4, 0, 0)]
    kernels = [(distance_mm(place) <= 2.2, BONE_HU) for place in places]
    assert look(painted(nodule, *kernels), 10).calcification == "popcorn"
    assert look(painted(nodule, kernels[0]), 10).calcification == "other"


def test_fat_is_told_in_large_nodules_only(look: Any) -> None:
    r = distance_mm()
    assert look(painted((r <= 6, FAT_HU)), 7, noise=10).fat is True
    assert look(painted((r <= 6, SOFT_HU)), 7).fat is False
    assert look(painted((r <= 3, FAT_HU)), 4, noise=10).fat is None


def test_only_thick_tissue_makes_a_nodule_juxtapleural(look: Any) -> None:
    r = distance_mm()
    wall, vessel = np.zeros(SHAPE, np.bool_), np.zeros(SHAPE, np.bool_)
    wall[:, :, 37:] = True  # 4.9 mm from the middle
    vessel[14:18, :, 35:39] = True
    nodule = (r <= 5, SOFT_HU)
    on_wall = look(painted(nodule, (wall, SOFT_HU)), 5.5)
    assert on_wall.juxtapleural
    assert on_wall.kind == "solid"
    assert not look(painted(nodule, (vessel, SOFT_HU)), 5.5).juxtapleural
    far = np.roll(wall, 8, axis=2)
    far[:, :, :10] = False
    assert not look(painted(nodule, (far, SOFT_HU)), 5.5).juxtapleural


def test_strands_are_counted(look: Any) -> None:
    r = distance_mm()
    smooth = look(painted((r <= 5, SOFT_HU)), 6)
    strands = []
    for row, column in ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
        line = np.zeros(SHAPE, np.bool_)
        for step in np.linspace(0, 14 / np.hypot(row, column), 60):
            i, j = 30 + round(row * step / 0.7), 30 + round(column * step / 0.7)
            line[16, i - 1 : i + 1, j - 1 : j + 1] = True
        strands.append((line & (r < 14), SOFT_HU))
    assert smooth.strands == 0
    assert look(painted((r <= 5, SOFT_HU), *strands), 6).strands == 8


@pytest.mark.parametrize(("index", "third"), [(3, "lower"), (16, "middle"), (28, "upper")])
def test_thirds_by_height_on_the_nodules_side(
    scan_of: Callable[..., Scan], index: int, third: str
) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, :, :30] = 1
    labels[25:, :, 30:] = 2  # a short left lung must not count for the right one
    lungs = lungs_of(labels)
    hu = painted()
    hu[index - 1 : index + 2, 30:34, 15:19] = SOFT_HU
    scan = scan_of(hu.astype(np.int16), Geometry((0, 0, 0), SPACING_XYZ))
    mask = BoxMask((index - 1, 30, 15), np.ones((3, 4, 4), np.bool_))
    assert describe(scan, lungs, mask, mask).third == third


def test_a_scan_that_cuts_the_lungs_has_no_thirds(scan_of: Callable[..., Scan]) -> None:
    lungs = replace(lungs_of(np.ones(SHAPE, np.uint8)), limits=("Partial scan.",))
    scan = scan_of(painted().astype(np.int16), Geometry((0, 0, 0), SPACING_XYZ))
    mask = BoxMask((14, 30, 15), np.ones((3, 4, 4), np.bool_))
    assert describe(scan, lungs, mask, mask).third is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (1, 1, 5)])
def test_the_smallest_masks_are_described(
    scan_of: Callable[..., Scan], shape: tuple[int, int, int]
) -> None:
    scan = scan_of(np.full(shape, -1000), Geometry((0, 0, 0), SPACING_XYZ))
    lungs = lungs_of(np.ones(shape, np.uint8))
    mask = BoxMask((0, 0, 0), np.ones(shape, np.bool_))
    assert describe(scan, lungs, mask, mask).strands == 0


def test_the_place_of_the_box_in_the_scan_changes_nothing(
    scan_of: Callable[..., Scan], look: Any
) -> None:
    hu = np.rint(painted((distance_mm() <= 5, SOFT_HU))).astype(np.int16)
    wide = np.full([n + 20 for n in SHAPE], LUNG_HU, np.int16)
    wide[10:-10, 10:-10, 10:-10] = hu
    scan = scan_of(wide, Geometry((0, 0, 0), SPACING_XYZ))
    lungs = lungs_of(np.ones(wide.shape, np.uint8))
    nodule = distance_mm() <= 6
    box = ndimage.find_objects(nodule.astype(np.uint8))[0]
    i, r, c = (s.start + 10 for s in box)
    tight = BoxMask((i, r, c), nodule[box])
    loose = BoxMask((10, 10, 10), nodule)
    assert describe(scan, lungs, tight, tight) == describe(scan, lungs, loose, loose)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.sampled_from([0.3, 0.7, 1.0, 2.5])] * 3),
    st.floats(0.5, 0.999),
)
@settings(max_examples=100)
def test_where_no_cuboid_fits_no_ball_does(seed: int, spacing_irc, share: float) -> None:
    """The distance transform is left out there, and would have found nothing."""
    shape = [max(3, round(10 / s)) for s in spacing_irc]
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    mask = noise < np.quantile(noise, share)
    depth_mm = ndimage.distance_transform_edt(mask, sampling=spacing_irc)
    if (depth_mm >= THICK_MM).any():
        assert holds_cuboid(mask, THICK_MM / np.sqrt(3), spacing_irc)


def test_a_sheet_holds_no_cuboid_and_a_ball_does() -> None:
    grid = np.mgrid[:21, :21, :21] - 10
    ball = (grid**2).sum(axis=0) <= 5**2
    assert holds_cuboid(ball, THICK_MM / np.sqrt(3), (1.0, 1.0, 1.0))
    assert not holds_cuboid(np.abs(grid[0]) <= 1, THICK_MM / np.sqrt(3), (1.0, 1.0, 1.0))
