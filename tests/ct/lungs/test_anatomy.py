"""Headers that the anatomy contradicts are refused or said; good ones never are."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from luna.ct.geometry import Geometry
from luna.ct.lungs.anatomy import check_anatomy
from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan
from luna.run.errors import InputError

A0001 = "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805"


def doubts(scan: Scan) -> str:
    return " ".join(check_anatomy(scan, find_lungs(scan)))


def flipped(scan: Scan, *axes: int) -> Scan:
    return replace(scan, hu=np.ascontiguousarray(np.flip(scan.hu, axes)))


def valued(scan: Scan, scale: float, shift: float) -> Scan:
    return replace(scan, hu=np.rint(scan.hu * scale + shift).astype(np.int16))


def spaced(scan: Scan, x: float, y: float, z: float) -> Scan:
    old = scan.geometry
    spacing = tuple(a * b for a, b in zip(old.spacing_xyz, (x, y, z), strict=True))
    return replace(scan, geometry=Geometry(old.origin_xyz, spacing, old.direction))


def reduced(scan: Scan) -> Scan:
    """The same scan on the grid of its lungs, where every check is quick."""
    lungs = find_lungs(scan)
    z, y, x = lungs.spacing_irc
    geometry = Geometry(scan.geometry.origin_xyz, (x, y, z), scan.geometry.direction)
    return replace(scan, hu=np.rint(lungs.hu).astype(np.int16), geometry=geometry)


@pytest.fixture(scope="module")
def phantom() -> Scan:
    """A whole synthetic chest."""
    return make_scan(5, PhantomConfig(size=128, slice_mm=(2.5, 2.5))).scan


def test_a_good_header_is_not_doubted(phantom: Scan, chest: Callable[..., Scan]) -> None:
    assert doubts(phantom) == ""
    assert doubts(chest()) == ""


def test_directions_are_those_of_the_patient_not_of_the_grid(phantom: Scan) -> None:
    """Columns from left to right, and a header that says so."""
    old = phantom.geometry
    last = old.xyz_from_irc((0, 0, phantom.shape_irc[2] - 1))
    geometry = Geometry(tuple(last), old.spacing_xyz, (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert doubts(replace(flipped(phantom, 2), geometry=geometry)) == ""
    assert "mirrored" in doubts(replace(phantom, geometry=geometry))


@pytest.mark.parametrize(
    ("axes", "word"),
    [
        ((0,), "upside down"),
        ((1,), "spine lies in front"),
        ((2,), "mirrored"),
        ((1, 2), "spine lies in front"),
        ((0, 1), "upside down"),
    ],
)
def test_a_patient_turned_against_the_header_is_said(
    phantom: Scan, axes: tuple[int, ...], word: str
) -> None:
    assert word in doubts(flipped(phantom, *axes))


def test_a_patient_turned_by_90_degrees_is_said(phantom: Scan) -> None:
    turned = replace(phantom, hu=np.ascontiguousarray(phantom.hu.transpose(0, 2, 1)))
    assert "in doubt" in doubts(turned)


@pytest.mark.parametrize("change", [(1, 400), (1 / 1.9, 0), (0.5, 0), (2, 1024)])
def test_values_that_are_no_hounsfield_units_are_refused(
    phantom: Scan, change: tuple[float, float]
) -> None:
    with pytest.raises(InputError, match="Hounsfield") as error:
        doubts(valued(phantom, *change))
    assert error.value.exit_code == 3
    assert "HU" in error.value.why


@pytest.mark.parametrize("factor", [0.25, 4, 10])
def test_a_spacing_wrong_by_a_factor_is_refused(phantom: Scan, factor: float) -> None:
    with pytest.raises(InputError):
        doubts(spaced(phantom, factor, factor, factor))


def test_a_wrong_slice_spacing_is_refused_or_said(phantom: Scan) -> None:
    assert "Slice spacing in doubt" in doubts(spaced(phantom, 1, 1, 0.25))
    assert "Slice spacing in doubt" in doubts(spaced(phantom, 1, 1, 2.2))
    with pytest.raises(InputError, match="millimetres"):
        doubts(spaced(phantom, 1, 1, 4))


def test_rows_and_columns_of_different_sizes_are_refused(phantom: Scan) -> None:
    with pytest.raises(InputError, match="millimetres"):
        doubts(spaced(phantom, 1, 0.25, 1))
    assert "in doubt" in doubts(spaced(phantom, 0.5, 1, 1))


def test_soft_tissue_must_be_near_zero(chest: Callable[..., Scan]) -> None:
    scan = chest()
    hu = np.where(scan.hu > -300, scan.hu + 1000, scan.hu).astype(np.int16)
    with pytest.raises(InputError, match="Hounsfield") as error:
        doubts(replace(scan, hu=hu))
    assert "tissue around the lungs" in error.value.why


REAL = ["cptac-c3n-00247", "lung-pet-ct-dx-a0001/study"]


def test_what_a_slab_is_too_small_to_tell_is_said_whichever_way_it_lies(phantom: Scan) -> None:
    """A slab may show neither heart nor liver; then no direction of it passes as checked."""
    above_heart = 7 * phantom.shape_irc[0] // 10
    slab = replace(phantom, hu=phantom.hu[above_heart : above_heart + 12])
    for turned in (slab, flipped(slab, 0), flipped(slab, 2), spaced(slab, 1, 1, 2.5)):
        said = doubts(turned)
        assert "Header unchecked" in said or "in doubt" in said
        assert "the distance of the slices" in said or "in doubt" in said
    assert "in doubt" not in doubts(slab)
    assert "right and left" in doubts(slab)


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_scans_are_not_doubted_and_spoilt_ones_are(shared, name: str) -> None:
    uid = A0001 if "a0001" in name else None
    scan = reduced(read_scan(shared / "real" / name, series_uid=uid))
    assert doubts(scan) == ""
    for axis, word in ((0, "upside down"), (1, "spine lies in front"), (2, "mirrored")):
        assert word in doubts(flipped(scan, axis))
    for spoilt in (
        valued(scan, 1, 400),
        valued(scan, 1 / 1.9, 0),
        spaced(scan, 4, 4, 4),
        spaced(scan, 0.25, 0.25, 0.25),
    ):
        with pytest.raises(InputError):
            doubts(spoilt)


@pytest.mark.shared_data
def test_a_slab_of_a_real_scan_is_not_doubted(shared) -> None:
    scan = read_scan(shared / "real" / "lidc-idri-0001")
    assert "in doubt" not in doubts(scan)
    assert "spine lies in front" in doubts(flipped(scan, 1))
    assert "upside down" in doubts(flipped(scan, 0))
