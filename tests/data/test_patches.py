"""Patches of one voxel size: which places they take, and what of the nodules is in them."""

from pathlib import Path

import numpy as np
import pytest

from luna.data.luna16.folder import read_luna16
from luna.data.patches import Patches, PatchKind, grid_of, training_patches, validation_patches
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.data.prepared import Prepared, open_prepared
from luna.run.errors import UsageError

FLAT = PatchKind(size_irc=(7, 32, 32), spacing_mm=2.0, antialias=True, flat=True)
CUBIC = PatchKind(size_irc=(16, 16, 16), spacing_mm=2.0, antialias=True, flat=False)


@pytest.fixture(scope="module")
def prepared(small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    cache = tmp_path_factory.mktemp("every") / "cache"
    prep(read_luna16(small_cohort), cache, PrepConfig(slices="all"), workers=1)
    return open_prepared(cache)


def volume_mm3(patches: Patches, row: int) -> float:
    return float(patches.read([row])[1].sum()) * patches.kind.spacing_mm**3


def test_a_cubic_patch_holds_its_nodule(prepared: Prepared) -> None:
    patches = training_patches(prepared, CUBIC, prepared.series[:2], background=False)
    assert len(patches) == 8
    assert patches.is_nodule.all()
    hu, mask = patches.read(range(8))
    assert hu.shape == mask.shape == (8, 1, 16, 16, 16)
    for row in range(8):
        diameter_mm = prepared.nodules.diameter_mm[row]
        assert volume_mm3(patches, row) == pytest.approx(np.pi / 6 * diameter_mm**3, rel=0.4)
        # What is marked is the soft tissue in the middle.
        assert hu[row][mask[row] > 0].float().mean() > -200
        where = np.argwhere(mask[row, 0].numpy()).mean(axis=0)
        assert np.linalg.norm(where - 8) < 1.5


def test_flat_patches_are_of_every_slice_that_a_nodule_reaches(prepared: Prepared) -> None:
    patches = training_patches(prepared, FLAT, prepared.series[:1], background=False)
    hu, mask = patches.read(range(len(patches)))
    assert hu.shape == (len(patches), 7, 32, 32)
    assert mask.shape == (len(patches), 1, 32, 32)
    slices = prepared.nodule_slices
    reached_mm = np.bincount(slices.nodule[slices.series == 0]) * 2.5
    count = np.unique(patches.center[:, 1:], axis=0, return_counts=True)[1]
    assert sorted(count) == pytest.approx(sorted(reached_mm / 2.0), abs=1)
    assert (mask.flatten(1).sum(1) > 0).float().mean() > 0.8
    # The middle of the seven slices is the judged one.
    for row in range(len(patches)):
        inside = mask[row, 0] > 0
        if inside.any():
            assert hu[row, 3][inside].float().mean() > -400


def test_slices_are_repeated_beyond_the_first_and_the_last(prepared: Prepared) -> None:
    last = grid_of(prepared, FLAT, 0).shape[0] - 1
    ends = Patches(
        prepared, FLAT, np.zeros(2, np.int64), np.array([[0, 40, 50], [last, 40, 50]]),
        np.zeros(2, np.bool_),
    )  # fmt: skip
    hu, _ = ends.read([0, 1])
    for repeated in (hu[0, :4], hu[1, 3:]):
        assert (repeated == repeated[:1]).all()
    assert (hu[0, 3] != hu[0, 4]).any()


def test_the_others_are_in_training_and_at_most_half_of_validation(prepared: Prepared) -> None:
    uids = prepared.series[:1]
    train = training_patches(prepared, CUBIC, uids, background=True)
    assert (len(train), train.is_nodule.sum()) == (13, 4)
    judged = validation_patches(prepared, CUBIC, uids)
    assert (len(judged), judged.is_nodule.sum()) == (8, 4)
    _, mask = judged.read(range(4, 8))
    assert mask.shape == (4, 1, 16, 16, 16)


def test_a_cache_of_some_slices_is_refused(small_cache: Path) -> None:
    prepared = open_prepared(small_cache)
    with pytest.raises(UsageError, match="only slices with nodules") as caught:
        training_patches(prepared, CUBIC, prepared.series, background=False)
    assert 'slices="all"' in str(caught.value.hint)
