"""The box, the batches and the alignment change the time, never the probabilities or the marks."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from luna.ct.lungs.find import find_lungs
from luna.detect.config import SegmentConfig
from luna.detect.segment import probabilities, segment
from luna.nets.models import Models
from luna.run.errors import TrustError, UsageError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """The probabilities in the box that the network looked at, 0 where it was not run."""

    p_voxel: np.ndarray
    start_irc: tuple[int, int, int]


def run(scan, random_models: Models, device: torch.device = CPU, **config: object) -> Run:
    settings = SegmentConfig(precision="float32", **config)
    whole = np.zeros(scan.shape_irc, np.float32)
    lungs = find_lungs(scan)
    for place, p_voxel in probabilities(scan, lungs, random_models.segmentation, settings, device):
        whole[place] = p_voxel.cpu()
    box = lungs.box() if settings.region == "lungs" else tuple(slice(n) for n in whole.shape)
    return Run(whole[box], tuple(s.start or 0 for s in box))


def marks(scan, models: Models, **config: object):
    settings = SegmentConfig(precision="float32", **config)
    return segment(scan, find_lungs(scan), models.segmentation, settings, CPU, lambda a, b: None)


@pytest.mark.parametrize("region", ["lungs", "whole"])
def test_marks_are_the_voxels_above_the_threshold(chest, random_models, region: str) -> None:
    p = run(chest(), random_models, region=region)
    middle = float(np.median(p.p_voxel[p.p_voxel > 0]))
    found = marks(chest(), random_models, region=region, threshold=middle)
    np.testing.assert_array_equal(found.voxels, p.p_voxel > middle)
    assert found.start_irc == p.start_irc
    assert 0 < found.voxels.sum() < found.voxels.size


def test_the_config_s_threshold_marks_whatever_stands_on_the_card(chest, random_models) -> None:
    p = run(chest(), random_models).p_voxel
    bundle = random_models.segmentation
    card = replace(bundle.card, threshold=float(np.median(p[p > 0])))
    old = replace(random_models, segmentation=replace(bundle, card=card))
    np.testing.assert_array_equal(marks(chest(), old).voxels, p > 0.5)


def test_lungs_box_equals_whole_slices(chest, random_models: Models) -> None:
    scan = chest()
    box, whole = run(scan, random_models), run(scan, random_models, region="whole")
    part = tuple(slice(a, a + n) for a, n in zip(box.start_irc, box.p_voxel.shape, strict=True))
    inside = find_lungs(scan).label_at(np.moveaxis(np.mgrid[part], 0, -1)) > 0
    difference = np.abs(box.p_voxel - whole.p_voxel[part])[inside]
    assert inside.sum() > 10_000
    assert difference.max() < 1e-6  # the same sums in another order
    assert whole.p_voxel.std() > 0.01


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_equal_slice_by_slice(chest, random_models: Models, batch: int) -> None:
    scan = chest()
    expected = run(scan, random_models, region="whole", batch_slices=8)
    actual = run(scan, random_models, region="whole", batch_slices=batch)
    np.testing.assert_allclose(actual.p_voxel, expected.p_voxel, atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 95, 127), (5, 97, 130), (1, 96, 128)])
def test_any_size_is_taken(chest, scan_of, random_models: Models, shape) -> None:
    scan = chest()
    hu = np.pad(scan.hu[8:13], ((0, 0), (0, 2), (0, 2)), constant_values=-1000)
    hu = np.tile(hu, (5, 1, 1))[: shape[0], : shape[1], : shape[2]]
    odd = scan_of(hu.copy(), scan.geometry)
    assert run(odd, random_models, region="whole").p_voxel.shape == shape
    assert run(odd, random_models).p_voxel.size


def test_context_is_the_neighbouring_slices_and_repeats_at_the_ends(chest, random_models) -> None:
    scan = chest()
    net = random_models.segmentation.module
    hu = torch.from_numpy(scan.hu.copy()).float().clamp(-1000, 1000)
    whole = run(scan, random_models, region="whole").p_voxel
    for k, stack in ((0, [0, 0, 1]), (9, [8, 9, 10]), (23, [22, 23, 23])):
        with torch.inference_mode():
            expected = torch.sigmoid(net(hu[stack][None]))[0, 0].numpy()
        np.testing.assert_allclose(whole[k], expected, atol=1e-5)


def test_temperature_softens(chest, random_models: Models) -> None:
    scan = chest()
    bundle = random_models.segmentation
    softer = replace(bundle, card=replace(bundle.card, temperature=4.0))
    sharp = run(scan, random_models).p_voxel
    soft = run(scan, replace(random_models, segmentation=softer)).p_voxel
    inner = sharp > 0
    assert np.abs(soft - 0.5)[inner].mean() < np.abs(sharp - 0.5)[inner].mean()


def test_refuses_a_classifier_in_its_place(chest, random_models: Models) -> None:
    scan = chest()
    with pytest.raises(TrustError, match="not a U-Net"):
        segment(
            scan, find_lungs(scan), random_models.nodule, SegmentConfig(), CPU, lambda a, b: None
        )


@pytest.mark.parametrize("bad", [{"batch_slices": 0}, {"threshold": 0.0}, {"threshold": 1.0}])
def test_config_ranges(bad) -> None:
    with pytest.raises(UsageError):
        SegmentConfig(**bad)


@pytest.mark.cuda
def test_cuda_equals_cpu(chest, random_models: Models) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    scan = chest()
    expected = run(scan, random_models).p_voxel
    actual = run(scan, random_models, torch.device("cuda"))
    np.testing.assert_allclose(actual.p_voxel, expected, atol=1e-3)
