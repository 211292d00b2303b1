"""A phantom is the same everywhere, and its truth is what is painted."""

from dataclasses import fields

import numpy as np
import pytest

from luna.phantom.config import BOUNDS, NODULE_KINDS, PhantomConfig
from luna.phantom.disease.nodules import malignancy_probability
from luna.phantom.phantom import make_scan
from luna.run.errors import UsageError

SMALL = PhantomConfig(
    size=160, slab_mm=60, slice_mm=(2.0, 2.0), without_nodules=0, negatives=(9, 9)
)


@pytest.fixture(scope="module")
def phantoms():
    """A few small scans with nodules."""
    return [make_scan(7, SMALL, number) for number in range(3)]


def test_same_seed_gives_same_bytes(phantoms):
    again = make_scan(7, SMALL, 1)
    assert again.scan.fingerprint() == phantoms[1].scan.fingerprint()
    assert again.candidates == phantoms[1].candidates
    assert [n.center_xyz for n in again.nodules] == [n.center_xyz for n in phantoms[1].nodules]


def test_other_numbers_and_seeds_give_other_scans(phantoms):
    prints = {p.scan.fingerprint() for p in phantoms}
    prints.add(make_scan(8, SMALL, 0).scan.fingerprint())
    assert len(prints) == len(phantoms) + 1


@pytest.mark.parametrize("slab_mm", [200.0, 240.0, 500.0])
def test_a_slab_as_tall_as_the_lungs_and_more_is_made(slab_mm: float):
    config = PhantomConfig(size=64, slab_mm=slab_mm, slice_mm=(5.0, 5.0), negatives=(1, 1))
    scan = make_scan(7, config).scan
    height_mm = (scan.shape_irc[0] + 1) * scan.geometry.spacing_xyz[2]
    assert height_mm > min(slab_mm, 200.0)


def test_anatomy_has_the_attenuation_of_its_tissues(phantoms):
    for phantom in phantoms:
        hu = phantom.scan.hu
        middle = hu[len(hu) // 2]
        lung = (middle > -950) & (middle < -700)
        assert 0.1 < lung.mean() < 0.6
        assert -920 < np.median(middle[lung]) < -820
        assert ((middle > 0) & (middle < 100)).mean() > 0.08
        assert (hu > 300).any()
        assert hu.min() >= -2048


def test_nodule_mask_is_centred_on_the_annotation_and_has_its_volume(phantoms):
    for phantom in phantoms:
        geometry = phantom.scan.geometry
        for nodule in phantom.nodules:
            assert nodule.voxels.any()
            center = np.argwhere(nodule.voxels).mean(axis=0) + nodule.start_irc
            gap_mm = np.linalg.norm(geometry.xyz_from_irc(center) - nodule.center_xyz)
            # The mask is rounded to whole voxels; half a voxel's diagonal bounds the shift.
            assert gap_mm < np.linalg.norm(geometry.spacing_irc) / 2
            volume = nodule.voxels.sum() * geometry.voxel_mm3
            if nodule.diameter_mm > 8:
                assert np.cbrt(6 * volume / np.pi) == pytest.approx(nodule.diameter_mm, rel=0.15)


def test_a_large_solid_nodule_is_soft_tissue_in_the_image():
    config = PhantomConfig(
        size=160, slab_mm=60, slice_mm=(2.0, 2.0), without_nodules=0, extra_nodules=0,
        kind_weights=(1, 0, 0, 0, 0), diameter_median_mm=18, diameter_sigma=0.05,
        juxtapleural_share=0, contrast_share=0,
    )  # fmt: skip
    phantom = make_scan(3, config)
    (nodule,) = phantom.nodules
    i, r, c = np.rint(phantom.scan.geometry.irc_from_xyz(nodule.center_xyz)).astype(int)
    assert -20 < phantom.scan.hu[i - 1 : i + 2, r - 1 : r + 2, c - 1 : c + 2].mean() < 90
    assert nodule.diameter_mm == pytest.approx(18, abs=3)


def test_candidates_mark_every_nodule_and_no_decoy_near_one(phantoms):
    for phantom in phantoms:
        positive = np.array([c.center_xyz for c in phantom.candidates if c.is_nodule])
        negative = np.array([c.center_xyz for c in phantom.candidates if not c.is_nodule])
        assert 0 < len(negative) <= 9
        for nodule in phantom.nodules:
            to_marks = np.linalg.norm(positive - nodule.center_xyz, axis=1)
            assert to_marks.min() < nodule.diameter_mm / 2 + 1
            to_decoys = np.linalg.norm(negative - nodule.center_xyz, axis=1)
            assert to_decoys.min() > nodule.diameter_mm / 2


def test_without_nodules():
    phantom = make_scan(1, PhantomConfig(size=64, slab_mm=30, without_nodules=1.0))
    assert phantom.nodules == ()
    assert not any(c.is_nodule for c in phantom.candidates)


def test_malignancy_follows_size_kind_and_lobe():
    for kind in NODULE_KINDS:
        chances = [malignancy_probability(d, kind, False) for d in (4, 6, 10, 20)]
        assert chances == sorted(chances)
        assert malignancy_probability(9, kind, True) > malignancy_probability(9, kind, False)
    assert (
        malignancy_probability(9, "spiculated", False)
        > malignancy_probability(9, "solid", False)
        > malignancy_probability(9, "calcified", False)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"slice_mm": (2.0, 1.0)},
        {"size": 8},
        {"contrast_share": 1.5},
        {"slab_mm": -1},
        {"without_nodules": 2},
        {"noise_hu": (10.0, float("nan"))},
        {"terminals_per_ml": (1.0, 1e9)},
        {"kind_weights": (0, 0, 0, 0, 0)},
        {"negatives": (-1, 5)},
    ],
)
def test_config_refuses(wrong):
    with pytest.raises(UsageError):
        PhantomConfig(**wrong)


def test_every_number_of_a_config_has_bounds():
    assert set(BOUNDS) == {field.name for field in fields(PhantomConfig)}
