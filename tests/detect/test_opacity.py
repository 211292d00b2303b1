"""A mass that no network was trained for is listed; normal tissue is not."""

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from luna.ct.geometry import Geometry
from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.findings import Opacity
from luna.detect.limits import resolution_limits
from luna.detect.opacity import find_opacities
from luna.nets.trained import TrainedRange
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan

A0001 = "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805"
TRAINED = TrainedRange(diameter_mm=(3.0, 30.0))


def opacities(scan: Scan, trained: TrainedRange = TRAINED) -> tuple[Opacity, ...]:
    return find_opacities(scan, find_lungs(scan), trained)


def with_ellipsoid(scan: Scan, center_irc, radii_mm, hu: float = 40) -> Scan:
    """The scan with an ellipsoid of soft tissue; radii along index, row and column."""
    grid = np.moveaxis(np.mgrid[tuple(slice(n) for n in scan.shape_irc)], 0, -1)
    offset = (grid - np.array(center_irc)) * scan.geometry.spacing_irc / np.array(radii_mm)
    values = scan.hu.copy()
    inside = (offset**2).sum(axis=-1) < 1
    values[inside] = np.random.default_rng(1).normal(hu, 15, inside.sum())
    return replace(scan, hu=values)


@pytest.fixture(scope="module")
def tall(chest: Callable[..., Scan]) -> Scan:
    """The crude chest, 150 mm high."""
    return chest(slices=60)


def test_normal_chests_have_none(chest: Callable[..., Scan], nodule_chest: Scan) -> None:
    assert opacities(chest()) == ()
    assert opacities(nodule_chest) == ()
    phantom = make_scan(5, PhantomConfig(size=128, slice_mm=(2.5, 2.5), extra_nodules=5)).scan
    assert opacities(phantom) == ()


@pytest.mark.parametrize("diameter_mm", [34, 50, 70])
@pytest.mark.parametrize(("column", "side"), [(38, "right"), (90, "left")])
def test_a_mass_in_the_lung_is_found_with_its_place_and_size(
    tall: Scan, diameter_mm: float, column: int, side: str
) -> None:
    center = (30, 48, column)
    (mass,) = opacities(with_ellipsoid(tall, center, [diameter_mm / 2] * 3))
    assert mass.side == side
    assert np.linalg.norm((np.array(mass.center_irc) - center) * 2.5) < 4
    np.testing.assert_allclose(tall.geometry.xyz_from_irc(mass.center_irc), mass.center_xyz)
    assert mass.measurement.diameter_mm == pytest.approx(diameter_mm, abs=6)
    assert mass.measurement.hu_mean == pytest.approx(20, abs=60)


def test_a_mass_on_the_pleura_is_found(tall: Scan) -> None:
    (mass,) = opacities(with_ellipsoid(tall, (30, 48, 24), (22, 22, 22)))
    assert mass.side == "right"
    assert abs(mass.center_irc[2] - 24) < 6


def test_two_masses_are_listed_largest_first(tall: Scan) -> None:
    both = with_ellipsoid(tall, (30, 48, 38), (18, 18, 18))
    both = with_ellipsoid(both, (30, 48, 90), (25, 25, 25))
    assert [mass.side for mass in opacities(both)] == ["left", "right"]


def test_the_range_of_the_card_decides(tall: Scan) -> None:
    scan = with_ellipsoid(tall, (30, 48, 38), (20, 20, 20))
    assert len(opacities(scan)) == 1
    assert opacities(scan, TrainedRange(diameter_mm=(3.0, 60.0))) == ()
    assert len(opacities(scan, TrainedRange())) == 1


def test_a_nodule_within_the_range_is_none(tall: Scan) -> None:
    assert opacities(with_ellipsoid(tall, (30, 48, 38), (13, 13, 13))) == ()


def test_a_layer_on_the_pleura_is_none(tall: Scan) -> None:
    """Fluid along the back of the right lung."""
    assert opacities(with_ellipsoid(tall, (30, 72, 38), (60, 12, 40))) == ()


def test_heart_with_contrast_is_none(tall: Scan) -> None:
    heart = with_ellipsoid(tall, (20, 44, 70), (45, 45, 55), hu=250)
    assert opacities(heart) == ()


@pytest.mark.parametrize(
    ("slice_mm", "pixel_mm", "words"),
    [
        (2.5, 0.7, []),
        (3.0, 0.7, ["trained for 0.6 to 2.5 mm"]),
        (5.0, 0.7, ["can be missed", "trained for 0.6 to 2.5 mm"]),
        (1.0, 1.5, ["Pixels are 1.5 mm wide"]),
    ],
)
def test_voxels_outside_the_range_of_training_are_a_limit(
    scan_of: Callable[..., Scan], slice_mm: float, pixel_mm: float, words: list[str]
) -> None:
    geometry = Geometry((0, 0, 0), (pixel_mm, pixel_mm, slice_mm))
    scan = scan_of(np.zeros((4, 4, 4)), geometry)
    trained = TrainedRange(slice_mm=(0.6, 2.5), pixel_mm=(0.46, 0.98))
    limits = resolution_limits(scan, trained)
    assert len(limits) == len(words)
    assert all(word in limit for word, limit in zip(words, limits, strict=True))
    # Where no card states a range, only slices too thick for any reading are one.
    assert len(resolution_limits(scan, TrainedRange())) == (slice_mm > 3)


@pytest.mark.shared_data
def test_the_tumour_of_a0001_is_listed(shared: Path) -> None:
    folder = shared / "real" / "lung-pet-ct-dx-a0001"
    scan = read_scan(folder / "study", series_uid=A0001)
    (mass,) = opacities(scan)
    assert mass.side == "left"
    with (folder / "tumour_boxes.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["series_uid"] == A0001]
    at = min(rows, key=lambda row: abs(float(row["z_mm"]) - mass.center_xyz[2]))
    assert int(at["xmin_px"]) < mass.center_irc[2] < int(at["xmax_px"])
    assert int(at["ymin_px"]) < mass.center_irc[1] < int(at["ymax_px"])
    assert mass.measurement.long_axis_mm == pytest.approx(72, abs=12)


@pytest.mark.shared_data
def test_a_tumour_of_the_range_is_left_to_the_networks(shared: Path) -> None:
    assert opacities(read_scan(shared / "real" / "cptac-c3n-00247")) == ()
    assert opacities(read_scan(shared / "real" / "lidc-idri-0001")) == ()


@pytest.fixture(scope="module")
def unpacked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed chests as LUNA16 lays them out."""
    pytest.importorskip("zstandard", reason="the chests are packed with zstandard")
    folder = tmp_path_factory.mktemp("chests")
    pack = shared / "real" / "luna16-mini" / "unpack.py"
    subprocess.run([sys.executable, pack, folder], check=True, capture_output=True)
    return folder / "subset0"


@pytest.mark.shared_data
@pytest.mark.slow
def test_of_seven_chests_only_the_pleural_mass_is_listed(unpacked: Path) -> None:
    found = {path.stem: opacities(read_scan(path)) for path in unpacked.glob("*.mhd")}
    assert len(found) == 7
    (uid,) = [uid for uid, listed in found.items() if listed]
    assert uid.endswith("83452")
    (mass,) = found[uid]
    assert mass.side == "right"
    assert np.linalg.norm(np.subtract(mass.center_xyz, (-88, 48, -204))) < 10
