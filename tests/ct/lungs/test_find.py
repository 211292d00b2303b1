"""The lung mask on clean, cut, diseased and absent lungs."""

import csv

import numpy as np
import pytest

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.run.errors import InputError

A0001 = "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805"


def lung_voxels(scan) -> np.ndarray:
    """The aerated voxels inside the oval body of the crude chest."""
    r, c = np.mgrid[:96, :128]
    body = ((c - 64) / 56) ** 2 + ((r - 48) / 40) ** 2 < 0.95
    return (scan.hu < -600) & body


def test_finds_both_lungs_on_their_sides(chest) -> None:
    lungs = find_lungs(chest())
    # In LPS the patient's right is at low columns.
    assert lungs.label_at([[12, 48, 38], [12, 48, 90], [12, 48, 64], [12, 2, 2]]).tolist() == [
        1,
        2,
        0,
        0,
    ]
    assert lungs.side((12, 48, 20)) == "right"
    assert lungs.side((12, 48, 110)) == "left"
    assert lungs.limits == ()


def test_volume_is_that_of_the_aerated_lung(chest) -> None:
    scan = chest()
    lungs = find_lungs(scan)
    lung_ml = (lung_voxels(scan) & (scan.hu > -930)).sum() * 2.5**3 / 1000
    assert sum(lungs.volume_ml) == pytest.approx(lung_ml, rel=0.03)


def test_mirrored_grid_swaps_columns_not_sides(chest, scan_of) -> None:
    scan = chest()
    mirrored = Geometry((160, -120, -30), (2.5, 2.5, 2.5), (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    lungs = find_lungs(scan_of(scan.hu[:, :, ::-1].copy(), mirrored))
    assert lungs.label_at((12, 48, 90)) == 1


def test_box_holds_the_lungs_and_little_else(chest) -> None:
    scan = chest()
    i, r, c = find_lungs(scan).box()
    lung = lung_voxels(scan)
    outside = lung.copy()
    outside[i, r, c] = False
    # The thinnest slices at apex and base are below what 2.5 mm morphology keeps.
    assert outside.sum() < 0.01 * lung.sum()
    assert r.stop - r.start < 75
    assert c.stop - c.start < 105


def test_slices_without_lung_take_the_whole_box(chest, scan_of) -> None:
    scan = chest()
    belly = np.where(scan.hu[12] < -600, 40, scan.hu[12])[None].repeat(20, axis=0)
    lungs = find_lungs(scan_of(np.concatenate([belly, scan.hu]), scan.geometry))
    assert lungs.box_in(slice(0, 2)) == lungs.box()[1:]
    rows, columns = lungs.box_in(slice(20, 22))
    assert rows.stop - rows.start < 50
    assert columns.stop - columns.start < 105


def test_nodules_on_the_pleura_and_masses_stay_inside(chest, scan_of) -> None:
    scan = chest(slices=40)
    hu = scan.hu.copy()
    i, r, c = np.mgrid[:40, :96, :128]
    pleural = (i - 20) ** 2 + (r - 48) ** 2 + (c - 21) ** 2 < 3**2  # on the outer wall
    mass = (i - 20) ** 2 + (r - 60) ** 2 + (c - 96) ** 2 < 10**2  # 50 mm wide, on the wall
    hu[pleural | mass] = 40
    lungs = find_lungs(scan_of(hu, scan.geometry))
    assert lungs.label_at((20, 48, 21)) == 1
    assert lungs.label_at((20, 60, 96)) == 2
    inside = lungs.label_at(np.argwhere(mass & lung_voxels(scan)))
    assert (inside == 2).mean() > 0.95


def test_cut_lungs_are_accepted_and_said(chest, scan_of) -> None:
    scan = chest()
    lungs = find_lungs(scan_of(scan.hu[10:14], scan.geometry))
    assert "lower and upper end" in lungs.limits[0]
    upper_half = find_lungs(scan_of(scan.hu[12:], scan.geometry))
    assert "its lower end" in upper_half.limits[0]


def test_a_single_slice_is_enough(chest, scan_of) -> None:
    scan = chest()
    one = find_lungs(scan_of(scan.hu[12:13].repeat(4, axis=0), scan.geometry))
    assert one.label_at((0, 48, 38)) == 1


def test_a_missing_lung_is_said(chest, scan_of) -> None:
    scan = chest()
    hu = scan.hu.copy()
    left = lung_voxels(scan)
    left[:, :, :70] = False
    hu[left] = 40
    lungs = find_lungs(scan_of(hu, scan.geometry))
    assert any("left lung" in warning for warning in lungs.limits)
    assert lungs.volume_ml[1] == 0


@pytest.mark.parametrize("hu", [-1000, 0, 40])
def test_no_lungs_is_an_error(scan_of, hu) -> None:
    noise = np.random.default_rng(1).normal(hu, 12, (20, 64, 64))
    with pytest.raises(InputError, match="no lungs") as error:
        find_lungs(scan_of(noise.clip(-1024).astype(np.int16)))
    assert error.value.exit_code == 3


def test_bowel_gas_is_no_lung(scan_of) -> None:
    i, r, c = np.mgrid[:24, :96, :128]
    hu = np.where(((c - 64) / 56) ** 2 + ((r - 48) / 40) ** 2 < 1, 40, -1000)
    for row, column in ((30, 50), (40, 80), (60, 64)):
        hu[((c - column) / 9) ** 2 + ((r - row) / 7) ** 2 + ((i - 12) / 9) ** 2 < 1] = -995
    noise = np.random.default_rng(1).normal(0, 10, hu.shape)
    with pytest.raises(InputError, match="no lungs"):
        find_lungs(scan_of((hu + noise).clip(-1024).astype(np.int16)))


def test_stool_is_no_lung(scan_of) -> None:
    _, r, c = np.mgrid[:24, :96, :128]
    hu = np.where(((c - 64) / 56) ** 2 + ((r - 48) / 40) ** 2 < 1, 40, -1000)
    hu[((c - 100) / 9) ** 2 + ((r - 48) / 9) ** 2 < 1] = -500
    geometry = Geometry((0, 0, 0), (2.5, 2.5, 2.5))
    with pytest.raises(InputError, match="no lungs"):
        find_lungs(scan_of(hu, geometry))


@pytest.mark.parametrize(
    ("rows", "columns", "cut"),
    [
        (slice(None), slice(24, None), "right"),  # 10 mm of the right lung lie outside
        (slice(None), slice(None, 104), "left"),
        (slice(24, 72), slice(24, 104), "right"),
        (slice(30, None), slice(None), "left"),
    ],
)
def test_a_lung_cut_by_the_field_of_view_is_a_lung(chest, scan_of, rows, columns, cut) -> None:
    scan = chest()
    part = scan_of(scan.hu[:, rows, columns], scan.geometry.shifted((0, 0, columns.start or 0)))
    whole, lungs = find_lungs(scan), find_lungs(part)
    assert any(f"the {cut} lung continues beyond the edge" in limit for limit in lungs.limits)
    for cut_ml, whole_ml in zip(lungs.volume_ml, whole.volume_ml, strict=True):
        assert 0.4 * whole_ml < cut_ml <= 1.02 * whole_ml


def test_air_around_the_patient_must_be_near_minus_1000(chest, scan_of) -> None:
    scan = chest()
    for values in (scan.hu + 400, scan.hu / 1.9):
        with pytest.raises(InputError, match="not Hounsfield units"):
            find_lungs(scan_of(values, scan.geometry))


@pytest.mark.parametrize("noise_hu", [100, 400])
def test_noise_that_is_clipped_is_no_wrong_unit(chest, scan_of, noise_hu: float) -> None:
    scan = chest()
    noise = np.random.default_rng(2).normal(0, noise_hu, scan.hu.shape)
    lungs = find_lungs(scan_of(np.maximum(scan.hu + noise, -1024), scan.geometry))
    assert max(lungs.volume_ml) > 150


def test_padding_says_nothing_about_the_values(chest, scan_of) -> None:
    """All that lies outside the body is padding, as a reader leaves it."""
    scan = chest()
    r, c = np.mgrid[:96, :128]
    hu = np.where(((c - 64) / 56) ** 2 + ((r - 48) / 40) ** 2 > 1, -1024, scan.hu)
    assert find_lungs(scan_of(hu, scan.geometry)).limits == ()


@pytest.mark.shared_data
def test_the_mass_of_a0001_is_inside_the_left_lung(shared) -> None:
    folder = shared / "real" / "lung-pet-ct-dx-a0001"
    scan = read_scan(folder / "study", series_uid=A0001)
    lungs = find_lungs(scan)
    with (folder / "tumour_boxes.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["series_uid"] == A0001]
    z0, dz = scan.geometry.origin_xyz[2], scan.geometry.spacing_xyz[2]
    for row in rows:
        i = round((float(row["z_mm"]) - z0) / dz)
        r = (int(row["ymin_px"]) + int(row["ymax_px"])) / 2
        c = (int(row["xmin_px"]) + int(row["xmax_px"])) / 2
        assert lungs.label_at((i, r, c)) == 2, row


@pytest.mark.shared_data
def test_real_lungs_have_the_volume_of_lungs(shared) -> None:
    lungs = find_lungs(read_scan(shared / "real" / "cptac-c3n-00247"))
    right_ml, left_ml = lungs.volume_ml
    assert 1500 < left_ml < right_ml < 4000
    # Chest wall, spine, heart, table and the air around the patient (index, row, column).
    elsewhere = [(31, 460, 256), (31, 330, 256), (40, 200, 330), (20, 500, 256), (60, 20, 20)]
    assert not lungs.label_at(elsewhere).any()
