"""Which blocks are stored: all that a sample reads, and few besides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.ct.blocks import BLOCK_IRC, grid_of
from luna.ct.geometry import Geometry
from luna.data.prep.config import CHUNK_IRC, CONTEXT_SLICES, CROP_RC, PrepConfig
from luna.data.prep.needed import mark_box, needed_blocks

SHAPE = (60, 200, 220)
GEOMETRY = Geometry((0.0, 0.0, 0.0), (0.7, 0.7, 1.25))
NONE, NO_SLICES = np.zeros((0, 3)), np.zeros((0, 2), dtype=np.int64)

places = st.tuples(*(st.floats(-20, n + 20) for n in SHAPE))


def needed(candidates=NONE, nodules=NONE, slices=NO_SLICES, **config):
    return needed_blocks(SHAPE, GEOMETRY, candidates, nodules, slices, PrepConfig(**config))


def voxels_of(blocks: np.ndarray) -> np.ndarray:
    """The mask of voxels that lie in the blocks."""
    for axis, size in enumerate(BLOCK_IRC):
        blocks = np.repeat(blocks, size, axis=axis)
    return blocks[tuple(slice(n) for n in SHAPE)]


def box(mask: np.ndarray, center: np.ndarray, size: np.ndarray) -> np.ndarray:
    start = np.rint(center).astype(int) - size // 2
    spans = [
        slice(max(0, a), max(0, min(a + n, m))) for a, n, m in zip(start, size, SHAPE, strict=True)
    ]
    return mask[tuple(spans)]


def test_nothing_marked_needs_nothing_and_all_slices_need_all():
    assert not needed().any()
    every = needed_blocks(SHAPE, GEOMETRY, NONE, NONE, NO_SLICES, PrepConfig(slices="all"))
    assert every.shape == grid_of(SHAPE)
    assert every.all()


@settings(max_examples=60)
@given(places)
def test_a_candidates_chunk_is_whole_and_little_besides(center):
    mask = voxels_of(needed(np.array([center])))
    inside = box(mask, np.array(center), np.array(CHUNK_IRC))
    assert inside.all()
    # Each axis of a chunk touches one block more than fits in it, at most two.
    most = np.prod([-(-n // b) + 1 for n, b in zip(CHUNK_IRC, BLOCK_IRC, strict=True)])
    assert needed(np.array([center])).sum() <= most


@settings(max_examples=40)
@given(places, st.integers(0, SHAPE[0] - 1))
def test_a_nodules_crop_and_its_whole_slices_are_stored(center, index):
    slices = np.array([[0, index]])
    mask = voxels_of(needed(nodules=np.array([center]), slices=slices))
    around = np.array([index, *center[1:]])
    assert box(mask, around, np.array((2 * CONTEXT_SLICES + 1, *CROP_RC))).all()
    low, high = max(0, index - CONTEXT_SLICES), min(SHAPE[0], index + CONTEXT_SLICES + 1)
    assert mask[low:high].all()
    far = np.abs(np.arange(SHAPE[0]) - index) > CONTEXT_SLICES + BLOCK_IRC[0]
    assert not mask[far].any()


def test_cubic_voxels_need_more_where_they_are_larger():
    center = np.array([[30.0, 100.0, 110.0]])
    plain, coarse = needed(center), needed(center, spacing_mm=2.0)
    assert (coarse >= plain).all()
    assert coarse.sum() > plain.sum()


@given(st.tuples(*(st.integers(-40, 70) for _ in range(3))), st.tuples(*(st.integers(1, 60),) * 3))
def test_a_box_marks_the_blocks_that_its_voxels_lie_in(start, size):
    marked = np.zeros(grid_of(SHAPE), dtype=bool)
    mark_box(marked, np.array(start), np.array(size))
    # The last blocks reach beyond the volume.
    voxels = np.zeros(np.multiply(marked.shape, BLOCK_IRC), dtype=bool)
    voxels[tuple(slice(max(0, a), max(0, a + n)) for a, n in zip(start, size, strict=True))] = True
    expected = np.zeros_like(marked)
    for place in np.ndindex(*marked.shape):
        block = tuple(slice(p * b, (p + 1) * b) for p, b in zip(place, BLOCK_IRC, strict=True))
        expected[place] = voxels[block].any()
    assert np.array_equal(marked, expected)


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, 1e9])
def test_an_impossible_spacing_is_refused(spacing_mm):
    with pytest.raises(Exception, match="spacing_mm"):
        PrepConfig(spacing_mm=spacing_mm)
