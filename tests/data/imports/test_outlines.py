"""Readers' outlines: which are of one nodule, and what their nodule is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.ct.mask import BoxMask
from luna.data.imports.outlines import Outline, agreed, outline_of, outlines_of
from luna.run.nodules import UNKNOWN


@pytest.fixture(scope="module")
def scan(chest):
    return chest(slices=12, rows=40, columns=50)


def cube(start, side, reader="a", **ratings) -> Outline:
    return Outline(
        mask=BoxMask(tuple(start), np.ones((side,) * 3, dtype=bool)), reader=reader, **ratings
    )


def test_a_nodule_is_where_most_of_its_readers_are(scan):
    outlines = [cube((2, 2, 2), 3, "a"), cube((2, 2, 2), 3, "b"), cube((3, 3, 3), 3, "c")]
    (nodule,), left = agreed(outlines, scan, 3)
    assert left == 0
    assert nodule.mask.voxels.sum() == 27  # what two of three marked
    center = scan.geometry.irc_from_xyz(nodule.center_xyz)
    assert np.allclose(center, 3 + 1 / 3)
    ball_mm3 = np.pi * nodule.diameter_mm**3 / 6
    assert ball_mm3 == pytest.approx(27 * scan.geometry.voxel_mm3)


def test_too_few_readers_leave_a_finding_out_and_it_is_counted(scan):
    outlines = [cube((2, 2, 2), 3, "a"), cube((3, 3, 3), 2, "b"), cube((8, 20, 20), 2, "a")]
    nodules, left = agreed(outlines, scan, 2)
    assert (len(nodules), left) == (1, 1)
    # A reader who outlined one nodule twice is one reader.
    twice = [cube((2, 2, 2), 3, "a"), cube((3, 3, 3), 2, "a")]
    assert agreed(twice, scan, 2) == ([], 1)


def test_outlines_that_only_a_third_joins_are_one_nodule(scan):
    ends = [cube((2, 2, 2), 2, "a"), cube((2, 2, 5), 2, "b")]
    assert len(agreed(ends, scan, 1)[0]) == 2
    bridge = Outline(mask=BoxMask((2, 2, 3), np.ones((1, 1, 3), dtype=bool)), reader="c")
    (nodule,), _ = agreed([*ends, bridge], scan, 1)
    assert nodule.mask.voxels.any()


@given(st.permutations(range(5)))
def test_the_order_of_the_outlines_does_not_matter(scan, order):
    outlines = [cube((k, 2 * k, 3 * k), 4, str(k)) for k in range(5)]
    centers = {n.center_xyz for n in agreed(outlines, scan, 1)[0]}
    shuffled = {n.center_xyz for n in agreed([outlines[k] for k in order], scan, 1)[0]}
    assert np.allclose(sorted(centers), sorted(shuffled))


@pytest.mark.parametrize(
    ("malignancy", "verdict"), [((4, 5, 3), 1), ((1, 2, 3), 0), ((3, 3, 4), UNKNOWN), ((), UNKNOWN)]
)
def test_the_verdict_is_the_median_of_the_readers(scan, malignancy, verdict):
    ratings = malignancy or (0,)
    outlines = [cube((2, 2, 2), 3, str(k), malignancy=m) for k, m in enumerate(ratings)]
    assert agreed(outlines, scan, 1)[0][0].malignant == verdict


@pytest.mark.parametrize(
    ("texture", "kind"),
    [((1, 1), "ground-glass"), ((2, 3), "part-solid"), ((5, 5, 4), "solid"), ((0,), "")],
)
def test_the_kind_is_the_mean_texture(scan, texture, kind):
    outlines = [cube((2, 2, 2), 3, str(k), texture=t) for k, t in enumerate(texture)]
    assert agreed(outlines, scan, 1)[0][0].kind == kind


def test_one_label_is_split_into_pieces_and_several_are_nodules():
    labels = np.zeros((6, 20, 20), dtype=np.uint8)
    labels[1:3, 2:4, 2:4] = labels[4, 10, 10] = labels[5, 11, 11] = 1
    assert sorted(o.mask.voxels.sum() for o in outlines_of(labels, "a")) == [2, 8]
    labels[1:3, 2:4, 2:4] = 7
    assert sorted(o.mask.voxels.sum() for o in outlines_of(labels, "a")) == [2, 8]
    labels[4, 10, 10] = 7
    assert sorted(o.mask.voxels.sum() for o in outlines_of(labels, "a")) == [1, 9]


def test_an_empty_mask_is_no_outline():
    assert outline_of(np.zeros((3, 3, 3), dtype=bool), "a") is None
    assert outlines_of(np.zeros((3, 3, 3), dtype=np.uint8), "a") == []
