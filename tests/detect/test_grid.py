"""A segmenter on a grid of one voxel size: it sees what it learned from, and marks the scan."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from luna.ct.lungs.find import find_lungs
from luna.ct.read import read_scan
from luna.ct.resample import Grid
from luna.data.luna16.folder import read_luna16
from luna.data.patches import Patches, PatchKind
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.data.prepared import open_prepared
from luna.detect.config import SegmentConfig
from luna.detect.segment import probabilities, segment
from luna.detect.segment.grid import _starts
from luna.nets.bundle import Bundle
from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d

CPU = torch.device("cpu")
EXACT = SegmentConfig(precision="float32")


def whole(scan, bundle: Bundle, **config: object) -> np.ndarray:
    """The probabilities of the scan's voxels, NaN where none were given."""
    out = np.full(scan.shape_irc, np.nan, np.float32)
    settings = replace(EXACT, **config)
    for place, p_voxel in probabilities(scan, find_lungs(scan), bundle, settings, CPU):
        assert np.isnan(out[place]).all()
        out[place] = p_voxel
    return out


def on_grid(bundle: Bundle, spacing_mm: float, antialias: bool = False) -> Bundle:
    card = replace(bundle.card, spacing_mm=spacing_mm, antialias=antialias)
    return Bundle(card, bundle.module)


class Recorder3d(UNet3d):
    """Keeps what it is shown."""

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        self.seen = [*getattr(self, "seen", []), hu.clone()]
        return torch.zeros_like(hu)


class Recorder(UNet):
    """Keeps what it is shown."""

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        self.seen = [*getattr(self, "seen", []), hu.clone()]
        return torch.zeros_like(hu[:, :1])


def test_the_scan_s_own_voxels_as_a_grid_change_nothing(chest, random_models) -> None:
    scan, bundle = chest(), random_models.segmentation
    own, grid = whole(scan, bundle), whole(scan, on_grid(bundle, 2.5))
    box = find_lungs(scan).box()
    np.testing.assert_allclose(grid[box], own[box], atol=1e-5)
    assert np.isnan(grid).sum() == grid.size - grid[box].size


@pytest.mark.parametrize("spacing_mm", [1.7, 2.5, 3.1])
def test_batches_change_nothing_and_every_voxel_of_the_lungs_box_is_judged(
    chest, random_models, spacing_mm: float
) -> None:
    scan, bundle = chest(), on_grid(random_models.segmentation, spacing_mm, antialias=True)
    four, seven = whole(scan, bundle), whole(scan, bundle, batch_slices=7)
    box = find_lungs(scan).box()
    assert np.isfinite(four[box]).all()
    np.testing.assert_allclose(seven[box], four[box], atol=1e-5)


@pytest.mark.parametrize("spacing_mm", [1.25, 2.0])
def test_soft_tissue_is_marked_where_it_is(nodule_chest, models, spacing_mm: float) -> None:
    lungs = find_lungs(nodule_chest)
    own = segment(nodule_chest, lungs, models.segmentation, EXACT, CPU, lambda a, b: None)
    bundle = on_grid(models.segmentation, spacing_mm, antialias=True)
    found = segment(nodule_chest, lungs, bundle, EXACT, CPU, lambda a, b: None)
    assert found.start_irc == own.start_irc
    both = np.count_nonzero(found.voxels & own.voxels)
    assert 2 * both / (found.voxels.sum() + own.voxels.sum()) > 0.93


def small_3d() -> tuple[dict, UNet3d]:
    torch.manual_seed(3)
    arguments = {"input_size": (16, 16, 16), "depth": 2, "width": 2}
    return arguments, UNet3d(**arguments).eval()


def test_patches_cover_the_box_and_their_answers_are_joined(chest, models) -> None:
    scan, (arguments, net) = chest(), small_3d()
    card = replace(
        models.segmentation.card, architecture="unet-3d", arguments=arguments, spacing_mm=3.0
    )
    p = whole(scan, Bundle(card, net))[find_lungs(scan).box()]
    assert np.isfinite(p).all()
    assert p.std() > 0
    assert ((p > 0) & (p < 1)).all()
    # A network that says the same everywhere says it where patches overlap too.
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.heads[-1].bias.fill_(1.0)
    even = whole(scan, Bundle(card, net))[find_lungs(scan).box()]
    np.testing.assert_allclose(even, 1 / (1 + np.exp(-1)), rtol=1e-5)


@pytest.mark.parametrize(("length", "side"), [(1, 16), (16, 16), (17, 16), (100, 16), (97, 32)])
def test_patches_reach_from_end_to_end(length: int, side: int) -> None:
    starts = _starts(length, side)
    covered = np.zeros(length, bool)
    for start in starts:
        assert 0 <= start <= max(length - side, 0)
        covered[start : start + side] = True
    assert covered.all()


@pytest.fixture(scope="module")
def every_slice(small_cohort: Path, tmp_path_factory: pytest.TempPathFactory):
    cache = tmp_path_factory.mktemp("every") / "cache"
    prep(read_luna16(small_cohort), cache, PrepConfig(slices="all"), workers=1)
    return open_prepared(cache), read_scan(read_luna16(small_cohort).files["1.2.3.0"])


def test_a_stack_of_slices_in_training_is_that_of_diagnosis(every_slice, models) -> None:
    prepared, scan = every_slice
    net = Recorder(7, 2, 2)
    card = replace(models.segmentation.card, spacing_mm=1.9, antialias=True)
    whole(scan, Bundle(card, net), batch_slices=1)
    grid = Grid(
        shape_irc=scan.shape_irc,
        spacing_irc=scan.geometry.spacing_irc,
        spacing_mm=1.9,
        antialias=True,
    )
    box = grid.box(find_lungs(scan).box())
    row, column = (
        max(s.start - net.receptive_margin, 0) // net.alignment * net.alignment for s in box[1:]
    )
    for k, seen in enumerate(net.seen):
        size = (7, *seen.shape[2:])
        kind = PatchKind(size_irc=size, spacing_mm=1.9, antialias=True, flat=True)
        center = [box[0].start + k, row + size[1] // 2, column + size[2] // 2]
        patch = Patches(prepared, kind, np.zeros(1, int), np.array([center]), np.zeros(1, bool))
        hu, _ = patch.read([0])
        assert torch.equal(hu.float().clamp(*card.hu_window), seen)


def test_a_patch_in_training_is_that_of_diagnosis(every_slice, models) -> None:
    prepared, scan = every_slice
    net = Recorder3d((16, 16, 16), 2, 2)
    card = replace(
        models.segmentation.card,
        architecture="unet-3d",
        arguments={"input_size": (16, 16, 16), "depth": 2, "width": 2},
        spacing_mm=3.3,
        antialias=True,
    )
    whole(scan, Bundle(card, net.eval()))
    kind = PatchKind(size_irc=(16, 16, 16), spacing_mm=3.3, antialias=True, flat=False)
    grid = Grid(
        shape_irc=scan.shape_irc,
        spacing_irc=scan.geometry.spacing_irc,
        spacing_mm=3.3,
        antialias=True,
    )
    first = np.array([s.start for s in grid.box(find_lungs(scan).box())])
    patch = Patches(prepared, kind, np.zeros(1, int), first[None] + 8, np.zeros(1, bool))
    hu, _ = patch.read([0])
    assert torch.equal(hu.float().clamp(*card.hu_window), net.seen[0])
