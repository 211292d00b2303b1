"""The viewer's stack shows the scan where it is, within its bounds in voxels and bytes."""

import base64
import io
from dataclasses import replace
from itertools import pairwise
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.ct.scan import Provenance, Scan
from luna.detect.findings import Findings
from luna.report import stack
from luna.report.stack import LEVELS, LEVELS_HU, VOXELS_MAX, Stack, grid, levels_of, pack, region


def scan_of(hu: np.ndarray, spacing_xyz=(1.0, 1.0, 2.0)) -> Scan:
    source = Provenance(source="a", format="x")
    geometry = Geometry((0, 0, 0), spacing_xyz)
    return Scan(hu=hu.astype(np.int16), geometry=geometry, series_uid="1", provenance=source)


def unpacked(packed: Stack) -> np.ndarray:
    """The HU that a browser sees."""
    images = [Image.open(io.BytesIO(base64.b64decode(text))) for text in packed.images]
    return np.interp(np.stack([np.asarray(image) for image in images]), LEVELS, LEVELS_HU)


@pytest.fixture
def nothing(findings: Findings) -> Findings:
    return replace(findings, findings=(), warnings=())


@pytest.fixture
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "VOXELS_MAX", 2000)


sides = st.integers(1, 3000)
lengths = st.floats(0.05, 20)


@given(st.tuples(sides, sides, sides), st.tuples(lengths, lengths, lengths))
def test_any_scan_comes_below_the_bound_in_voxels(shape_irc, spacing_irc) -> None:
    step, rows, columns = grid(shape_irc, spacing_irc)
    kept = ceil(shape_irc[0] / step) * rows * columns
    assert kept <= VOXELS_MAX
    assert 1 <= rows <= shape_irc[1]
    assert 1 <= columns <= shape_irc[2]
    if prod(shape_irc) <= VOXELS_MAX:
        assert (step, rows, columns) == (1, *shape_irc[1:])


@pytest.mark.parametrize("slices", [300, 600, 1200])
def test_long_scans_are_coarsened_to_cubes(slices: int) -> None:
    step, rows, columns = grid((slices, 512, 512), (360 / slices, 0.7, 0.7))
    voxel_mm = (step * 360 / slices, 0.7 * 512 / rows, 0.7 * 512 / columns)
    assert max(voxel_mm) < 1.35
    assert max(voxel_mm) < 1.35 * min(voxel_mm)


@given(st.lists(st.floats(-1024, 1500), min_size=2, max_size=20).map(sorted))
def test_levels_rise_with_hu_and_come_back_as_fine_as_their_tissue(hu: list[float]) -> None:
    levels = levels_of(np.array(hu))
    assert all(a <= b for a, b in pairwise(levels.tolist()))
    off = np.abs(np.interp(levels, LEVELS, LEVELS_HU) - hu)
    fine = [20.1 if v > 300 else 2.1 if v > -200 else 4.2 for v in hu]
    assert (off <= fine).all()


def test_a_small_scan_is_shown_voxel_by_voxel(scan, nothing) -> None:
    packed = pack(scan, nothing)
    assert packed.is_whole
    assert packed.shape_irc == scan.shape_irc
    seen = unpacked(packed)
    assert np.abs(seen - scan.hu)[13, 19:21, 28:30].max() < 60  # within the bright box
    assert np.abs(seen - scan.hu)[:10].max() < 10


@pytest.mark.usefixtures("small_bound")
def test_a_large_scan_is_cut_to_the_lungs_and_what_was_found(findings) -> None:
    scan = scan_of(np.full((40, 60, 80), -850))
    mask = BoxMask((30, 50, 70), np.ones((2, 2, 2), dtype=bool))
    case = replace(findings, lungs_box=(slice(15, 20), slice(25, 40), slice(25, 55)))
    case = replace(case, findings=(replace(case.findings[0], mask=mask),))
    # 20 mm are 10 slices and 20 rows or columns.
    assert region(scan, case) == (slice(5, 40), slice(5, 60), slice(5, 80))
    packed = pack(scan, case)
    assert packed.is_cut
    assert prod(packed.shape_irc) <= 2000


@pytest.mark.usefixtures("small_bound")
@pytest.mark.parametrize("change", [{"limits": ("Part of the lungs is missing.",)}, {}])
def test_nothing_is_cut_away_that_luna_may_have_missed(nothing, change) -> None:
    scan = scan_of(np.full((40, 60, 80), -850))
    box = (slice(15, 20),) * 3 if change else None
    case = replace(nothing, lungs_box=box, **change)
    assert region(scan, case) == (slice(0, 40), slice(0, 60), slice(0, 80))


@pytest.mark.usefixtures("small_bound")
def test_a_coarsened_stack_still_lies_where_the_scan_does(nothing) -> None:
    hu = np.full((40, 60, 80), -1000)
    hu[30:36, 12:24, 40:60] = 200
    packed = pack(scan_of(hu), nothing)
    assert packed.step_irc[0] > 1
    where = np.argwhere(unpacked(packed) > -400)
    center = (where.mean(axis=0) + 0.5) * packed.step_irc + packed.start_irc
    assert (np.abs(center - (33, 18, 50)) <= np.array(packed.step_irc) / 2 + 0.5).all()


@pytest.mark.parametrize("noise_hu", [0, 30, 400])
def test_noise_costs_quality_and_not_bytes(
    nothing, monkeypatch: pytest.MonkeyPatch, noise_hu: float
) -> None:
    rng = np.random.default_rng(3)
    scan = scan_of(rng.normal(-400, noise_hu, (12, 160, 160)))
    # As few bytes a voxel as the largest stack may have.
    monkeypatch.setattr(stack, "PACKED_MAX", stack.PACKED_MAX * scan.hu.size // VOXELS_MAX)
    packed = sum(len(base64.b64decode(text)) for text in pack(scan, nothing).images)
    headers = 12 * 400  # of small pictures; in large ones they count for nothing
    assert packed <= stack.PACKED_MAX + headers


@pytest.mark.slow
def test_three_hundred_noisy_slices_make_at_most_twelve_mebibytes(nothing) -> None:
    rng = np.random.default_rng(3)
    hu = np.full((300, 512, 512), -800, dtype=np.int16)
    hu[:, 100:400] = 40
    for k in range(len(hu)):
        hu[k] += rng.normal(0, 40, hu[k].shape).astype(np.int16)
    packed = pack(scan_of(hu, (0.7, 0.7, 1.2)), nothing)
    assert sum(map(len, packed.images)) <= 12 << 20
