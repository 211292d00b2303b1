"""Nodule masks: the book's, voxel for voxel, and the bounded one on known shapes."""

import json

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.ct.geometry import Geometry
from luna.ct.scan import Provenance, Scan
from luna.data.nodule_mask import REACH, nodule_mask, nodule_voxels
from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan

GOLDEN = "1.2.826.0.1.3680043.10.9999.20261123.0000"
SPACING_XYZ = (0.7, 0.7, 1.25)


def scan_of(hu, spacing_xyz=SPACING_XYZ):
    return Scan(
        hu=np.asarray(hu, dtype=np.int16),
        geometry=Geometry((0.0, 0.0, 0.0), spacing_xyz),
        series_uid="1.2",
        provenance=Provenance(source="test", format="test"),
    )


def distance_mm(shape, center, spacing_irc=SPACING_XYZ[::-1]):
    grids = np.indices(shape).transpose(1, 2, 3, 0) - np.array(center)
    return np.linalg.norm(grids * spacing_irc, axis=-1)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.shared_data
def test_book_method_equals_the_golden_mask(shared):
    path = shared / "goldens" / "phantom" / "subset0" / f"{GOLDEN}.mhd"
    image = SimpleITK.ReadImage(str(path))
    geometry = Geometry(image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    scan = Scan(
        hu=SimpleITK.GetArrayFromImage(image).astype(np.int16),
        geometry=geometry,
        series_uid=GOLDEN,
        provenance=Provenance(source=str(path), format="MetaImage"),
    )
    truth = json.loads((shared / "goldens" / f"{GOLDEN}.json").read_text())["truth"]
    packed = np.load(shared / "goldens" / f"{GOLDEN}.npz")["positive_mask_packed"]
    golden = np.unpackbits(packed, count=scan.hu.size).reshape(scan.hu.shape).astype(bool)
    centers = [t["center_xyz"] for t in truth]
    diameters = [t["diameter_mm"] for t in truth]
    assert (nodule_mask(scan, centers, diameters, "book") == golden).all()


def test_book_growth_worked_by_hand():
    hu = np.full((11, 21, 21), -900)
    hu[5, 10, 6:15] = 0  # 4 columns either side
    hu[5, 8:12, 10] = 0  # 2 rows before, 1 after
    voxels = nodule_voxels(scan_of(hu, (1, 1, 1)), (10, 10, 5), 5, "book")
    # The radius is the first step, from 2 on, at which either end is lung: 2, 2 and 5.
    assert voxels.start_irc == (3, 8, 5)
    assert voxels.voxels.shape == (5, 5, 11)
    assert voxels.voxels.sum() == 9 + 4 - 1


def test_book_growth_stops_at_the_border_of_the_volume():
    voxels = nodule_voxels(scan_of(np.zeros((5, 9, 9)), (1, 1, 1)), (4, 4, 2), 5, "book")
    assert voxels.voxels.shape == (5, 9, 9)
    assert voxels.voxels.all()


@pytest.mark.parametrize("method", ["book", "bounded"])
def test_a_centre_off_the_volume_leaves_nothing(method):
    assert not nodule_mask(scan_of(np.zeros((5, 9, 9))), [(-50, 0, 0)], [8], method).any()


def test_bounded_finds_a_sphere():
    distance = distance_mm((24, 48, 48), (12, 24, 24))
    voxels = nodule_mask(scan_of(np.where(distance <= 6, 40, -860)), [(16.8, 16.8, 15)], [12])
    assert dice(voxels, distance <= 6) > 0.98


def test_bounded_does_not_follow_a_vessel():
    distance = distance_mm((24, 48, 48), (12, 24, 24))
    nodule = distance <= 6
    hu = np.where(nodule, 40, -860)
    hu[11:14, 23:26, :] = 40  # a vessel of 2 mm right through it
    scan = scan_of(hu)
    bounded = nodule_mask(scan, [(16.8, 16.8, 15)], [12])
    book = nodule_mask(scan, [(16.8, 16.8, 15)], [12], "book")
    assert dice(bounded, nodule) > 0.95
    assert dice(book, nodule) < dice(bounded, nodule) - 0.05
    assert not bounded[:, :, :12].any()
    assert book[:, :, :12].any()


def test_bounded_does_not_take_the_chest_wall():
    distance = distance_mm((24, 48, 48), (12, 24, 20))
    nodule = distance <= 5
    hu = np.where(nodule, 40, -860)
    hu[:, :, 26:] = 40  # 4.2 mm from the centre: the nodule sits on the pleura
    scan = scan_of(hu)
    bounded = nodule_mask(scan, [(14, 16.8, 15)], [10])
    assert dice(bounded, nodule) > 0.9
    assert not bounded[:, :, 30:].any()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    center=st.tuples(st.floats(0, 22), st.floats(0, 22), st.floats(0, 14)),
    diameter=st.floats(2, 25),
)
def test_bounded_is_one_piece_within_reach_whatever_the_image(seed, center, diameter):
    hu = np.random.default_rng(seed).integers(-1000, 200, (12, 32, 32))
    scan = scan_of(hu)
    nodule = nodule_voxels(scan, center, diameter)
    assert nodule.voxels.any()
    spots = np.argwhere(nodule.voxels) + nodule.start_irc
    away = np.linalg.norm(scan.geometry.xyz_from_irc(spots) - center, axis=1)
    # Half the finest voxel is allowed on top; a mask is at least the voxel at the centre.
    half_diagonal = np.linalg.norm(SPACING_XYZ) / 2
    assert away.max() <= max(REACH * diameter / 2 + min(SPACING_XYZ) / 2, half_diagonal) + 1e-9


def test_bounded_is_nearer_to_the_truth_than_the_book_on_phantoms():
    config = PhantomConfig(
        size=256, slab_mm=60, slice_mm=(1.25, 1.25), without_nodules=0, extra_nodules=5
    )
    scores = {"book": [], "bounded": []}
    for number in range(2):
        phantom = make_scan(5, config, number)
        for nodule in phantom.nodules:
            truth = np.zeros(phantom.scan.shape_irc, dtype=bool)
            high = np.add(nodule.start_irc, nodule.voxels.shape)
            box = tuple(slice(a, b) for a, b in zip(nodule.start_irc, high, strict=True))
            truth[box] = nodule.voxels
            for method, found in scores.items():
                args = ([nodule.center_xyz], [nodule.diameter_mm], method)
                found.append(dice(nodule_mask(phantom.scan, *args), truth))
    assert np.mean(scores["bounded"]) > np.mean(scores["book"]) + 0.1
    assert np.mean(scores["bounded"]) > 0.8
