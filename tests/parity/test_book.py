"""Equality with what the book's own chapter-14 code computes, on the three golden scans.

The golden probabilities of the U-Net are stored as float16, whose steps just below 1 are
2^-11 = 4.9e-4 and so set the tolerance of 2e-3 generously; classifier probabilities are
stored in full. The largest differences are printed: run with `-s` to see them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from luna.ct.lungs.find import find_lungs
from luna.ct.mask import BoxMask
from luna.ct.read import read_scan
from luna.ct.scan import Scan
from luna.detect.classify import classify
from luna.detect.config import DiagnoseConfig, faithful
from luna.detect.group import Components, group
from luna.detect.pieces import erode
from luna.detect.pipeline import diagnose
from luna.detect.segment import probabilities
from luna.nets.models import Models, load_models

pytestmark = pytest.mark.shared_data

CPU = torch.device("cpu")
BOOK = faithful(DiagnoseConfig())

PHANTOM = "1.2.826.0.1.3680043.10.9999.20261123.0000"
CPTAC = "1.3.6.1.4.1.14519.5.2.1.7085.2626.242193282649561899185427104083"
A0001 = "1.3.6.1.4.1.14519.5.2.1.6655.2359.257508444832901632590301540805"
PLACES = {
    PHANTOM: f"goldens/phantom/subset0/{PHANTOM}.mhd",
    CPTAC: "real/cptac-c3n-00247",
    A0001: "real/lung-pet-ct-dx-a0001/study",
}


@dataclass(frozen=True)
class Case:
    """A golden and what luna's faithful way computes on its scan."""

    scan: Scan
    golden: dict[str, np.ndarray]
    facts: dict[str, object]
    p_voxel: np.ndarray
    components: Components


@pytest.fixture(scope="module")
def models(book_models: Path) -> Models:
    return load_models([book_models])


# A minute and a half each on two cores: the phantom runs by default, the patients in test-all.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(PHANTOM, id="phantom"),
        pytest.param(CPTAC, id="cptac", marks=pytest.mark.slow),
        pytest.param(A0001, id="a0001", marks=pytest.mark.slow),
    ],
)
def case(request: pytest.FixtureRequest, shared: Path, models: Models) -> Case:
    uid = request.param
    scan = read_scan(shared / PLACES[uid], series_uid=uid)
    with np.load(shared / "goldens" / f"{uid}.npz") as stored:
        golden = {key: stored[key] for key in stored.files}
    facts = json.loads((shared / "goldens" / f"{uid}.json").read_text())
    p_voxel = np.zeros(scan.shape_irc, np.float32)
    lungs = find_lungs(scan)
    for place, p in probabilities(scan, lungs, models.segmentation, BOOK.segment, CPU):
        p_voxel[place] = p
    marked = BoxMask((0, 0, 0), p_voxel > BOOK.segment.threshold)
    return Case(scan, golden, facts, p_voxel, group(scan, marked, balls=False))


def test_geometry(case: Case) -> None:
    assert list(case.scan.shape_irc) == case.facts["shape_irc"]
    np.testing.assert_allclose(case.scan.geometry.spacing_xyz, case.facts["spacing_xyz"])
    np.testing.assert_allclose(case.scan.geometry.origin_xyz, case.facts["origin_xyz"])
    np.testing.assert_allclose(case.scan.geometry.direction, case.facts["direction"])


def test_segmentation_probabilities(case: Case) -> None:
    largest = 0.0
    for ours, theirs in zip(case.p_voxel, case.golden["seg_prob"], strict=True):
        largest = max(largest, float(np.abs(ours - theirs.astype(np.float32)).max()))
    print(f"largest difference of segmentation probability {largest:.2e}")
    assert largest < 2e-3


def test_eroded_mask(case: Case) -> None:
    shape = case.scan.shape_irc
    theirs = np.unpackbits(case.golden["seg_mask_packed"])[: np.prod(shape)].reshape(shape)
    p_voxel = case.p_voxel
    differs = erode(p_voxel > 0.5) != theirs.astype(bool)
    # Erosion spreads an undecided voxel to its neighbours.
    undecided = ndimage.binary_dilation(np.abs(p_voxel - 0.5) < 1e-4)
    print(f"{differs.sum()} eroded voxels differ, {(differs & ~undecided).sum()} of them decided")
    assert not (differs & ~undecided).any()


def test_components(case: Case) -> None:
    theirs = case.golden["component_com_irc"]
    ours = case.components.center_irc
    assert len(ours) == len(theirs) == case.facts["components"]
    print(f"largest difference of centre {np.abs(ours - theirs).max():.2e} voxels")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_classifier_probabilities(case: Case, models: Models) -> None:
    p = classify(
        case.scan,
        case.golden["classified_center_irc"],
        models.nodule,
        BOOK.classify,
        CPU,
        lambda done, total: None,
    )
    difference = np.abs(p - case.golden["p_nodule"]).max()
    print(f"largest difference of classifier probability {difference:.2e}")
    assert difference < 1e-4
    assert (p > 0.5).sum() == case.facts["candidates_over_half"]


def test_chunks_are_crops(case: Case) -> None:
    for center, hu in zip(case.golden["chunk_center_irc"], case.golden["chunk_hu"], strict=True):
        low = np.array(hu.shape) // 2
        if (center >= low).all() and (center + low <= case.scan.shape_irc).all():
            crop = case.scan.crop(center, hu.shape)
            np.testing.assert_array_equal(crop.clip(-1000, 1000), hu.clip(-1000, 1000))


# The stages above are the same code; one scan shows that `diagnose` calls them.
@pytest.mark.parametrize("case", [PHANTOM], indirect=True)
def test_diagnose_faithful_gives_the_same_candidates(case: Case, models: Models) -> None:
    found = diagnose(case.scan, models, BOOK, CPU)
    assert len(found.candidates.p_nodule) == case.facts["components"]
    np.testing.assert_allclose(
        found.candidates.p_nodule, np.sort(case.golden["p_nodule"])[::-1], atol=1e-4
    )


def test_scans_too_thin_for_the_book_are_taken(shared: Path, models: Models) -> None:
    """16 slices; the book's crop of 32 slices fails on them."""
    scan = read_scan(shared / "real" / "lidc-idri-0001")
    found = diagnose(scan, models, BOOK, CPU)
    best = found.findings[0]
    assert best.p_nodule > 0.99
    assert np.linalg.norm(np.array(best.center_xyz) - (56.208, 86.343, -115.868)) < 2
