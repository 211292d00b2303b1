"""A cohort of one's own: scans in any format, no candidates, masks in place of diameters."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from luna.ct.labels import read_labels
from luna.ct.lungs.find import find_lungs
from luna.ct.write import write_labels
from luna.data.luna16.folder import mask_of, read_luna16
from luna.data.luna16.member import read_member
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.data.prep.own import MARGIN_MM, lung_candidates
from luna.data.prepared import open_prepared

FIRST = "1.2.3.0"
NODULES = [(12, 40, 34), (9, 56, 42), (14, 50, 90), (10, 40, 96)]
"""Where the small cohort has its nodules (index, row, column)."""


@pytest.fixture
def own(cohort: Path) -> Path:
    """The small cohort without candidates."""
    (cohort / "candidates_V2.csv").unlink()
    return cohort


def prepared(root: Path, cache: Path, **config):
    report = prep(read_luna16(root), cache, PrepConfig(**config), workers=1)
    assert report.failed == {}
    return report, open_prepared(cache)


def test_candidates_are_every_nodule_and_places_in_the_lungs(own, tmp_path):
    report, data = prepared(own, tmp_path / "cache")
    found = data.candidates
    assert found.is_nodule.sum() == len(data.nodules.series) == 4 * len(NODULES)
    assert (~found.is_nodule).sum() > 0
    assert report.candidates == len(found.series)
    scan = read_member(read_luna16(own).files[FIRST], FIRST)
    rows = data.rows_in(found.series, [FIRST])
    others = found.center_irc[rows][~found.is_nodule[rows]]
    assert (find_lungs(scan).label_at(others) > 0).all()


def test_its_places_are_the_same_at_every_call_and_off_the_nodules(nodule_chest):
    centers, diameters = np.array(NODULES, dtype=float), np.array([15.0, 10.0, 15.0, 10.0])
    found = lung_candidates(nodule_chest, centers, diameters)
    assert np.array_equal(found, lung_candidates(nodule_chest, centers, diameters))
    apart = (found[:, None] - centers) * np.array(nodule_chest.geometry.spacing_irc)
    assert (np.linalg.norm(apart, axis=2) - diameters / 2 > MARGIN_MM).all()
    # Without the nodules known, the densest things in these lungs are the nodules.
    alone = lung_candidates(nodule_chest, np.zeros((0, 3)), np.zeros(0))
    assert len(alone) > len(found)


def test_a_table_of_candidates_added_later_is_used(own, tmp_path, small_cohort):
    prepared(own, tmp_path / "cache")
    shutil.copy(small_cohort / "candidates_V2.csv", own)
    report, data = prepared(own, tmp_path / "cache")
    assert report.kept == 0
    assert report.candidates == len(data.candidates.series) == 4 * 13


def as_nifti(path: Path) -> Path:
    other = path.with_suffix(".nii.gz")
    sitk.WriteImage(sitk.ReadImage(str(path)), str(other))
    path.unlink()
    return other


def test_linked_scans_of_other_formats_are_prepared(cohort, cache, tmp_path, contents_of):
    header = cohort / "subset0" / f"{FIRST}.mhd"
    moved = as_nifti(header).rename(tmp_path / "whose name is another.nii.gz")
    (cohort / "subset0" / f"{FIRST}.nii.gz").symlink_to(moved)
    report, data = prepared(cohort, tmp_path / "other")
    assert report.scans == 4
    before = open_prepared(cache)
    assert data.series == before.series
    assert np.allclose(data.candidates.center_irc, before.candidates.center_irc, atol=1e-5)


def test_a_series_in_two_formats_is_refused(cohort):
    shutil.copy(cohort / "subset0" / f"{FIRST}.mhd", cohort / "subset1" / f"{FIRST}.nii.gz")
    with pytest.raises(Exception, match="lies in two subsets"):
        read_luna16(cohort)


@pytest.fixture
def masked(cohort: Path) -> Path:
    """The small cohort with a label volume for its first scan: cubes where its nodules are."""
    scan = read_member(read_luna16(cohort).files[FIRST], FIRST)
    labels = np.zeros(scan.shape_irc, dtype=np.uint8)
    for number, irc in enumerate(NODULES, start=1):
        labels[tuple(slice(int(v) - 1, int(v) + 2) for v in irc)] = number
    mask_of(cohort, FIRST).parent.mkdir()
    write_labels(mask_of(cohort, FIRST), labels, scan)
    return cohort


def test_a_mask_is_what_the_unet_learns_from(masked, tmp_path):
    scan = read_member(read_luna16(masked).files[FIRST], FIRST)
    labels = read_labels(mask_of(masked, FIRST), scan)
    _, data = prepared(masked, tmp_path / "cache")
    assert np.array_equal(data.volumes.box("mask", 0, (0, 0, 0), scan.shape_irc) > 0, labels > 0)
    rows = data.rows_in(data.nodule_slices.series, [FIRST])
    slices = {
        (int(n), int(k))
        for n, k in zip(
            data.nodule_slices.nodule[rows], data.nodule_slices.index[rows], strict=True
        )
    }
    assert slices == {
        (n - 1, int(k)) for n, k in zip(labels[labels > 0], np.nonzero(labels)[0], strict=True)
    }


def test_another_mask_is_noticed_and_one_that_does_not_fit_refused(masked, tmp_path):
    prepared(masked, tmp_path / "cache")
    scan = read_member(read_luna16(masked).files[FIRST], FIRST)
    labels = np.array(read_labels(mask_of(masked, FIRST), scan))
    write_labels(mask_of(masked, FIRST), np.roll(labels, 1, axis=1), scan)
    report, _ = prepared(masked, tmp_path / "cache")
    assert report.kept == 3
    labels[labels == 1] = 0
    write_labels(mask_of(masked, FIRST), labels, scan)
    report = prep(read_luna16(masked), tmp_path / "cache", PrepConfig(), workers=1)
    assert list(report.failed) == [FIRST]
    assert "does not fit the annotations" in report.failed[FIRST]
