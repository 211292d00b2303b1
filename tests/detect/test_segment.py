"""The box, the batches and the alignment change the time, never the probabilities."""

import numpy as np
import pytest
import torch

from luna.ct.lungs import find_lungs
from luna.detect.segment import Segmentation, SegmentConfig, segment
from luna.nets.models import Models
from luna.run.errors import TrustError, UsageError

CPU = torch.device("cpu")


def run(scan, random_models: Models, **config: object) -> Segmentation:
    settings = SegmentConfig(precision="float32", **config)
    return segment(
        scan, find_lungs(scan), random_models.segmentation, settings, CPU, lambda a, b: None
    )


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
    from dataclasses import replace

    scan = chest()
    bundle = random_models.segmentation
    softer = replace(bundle, card=replace(bundle.card, temperature=4.0))
    sharp = run(scan, random_models).p_voxel
    soft = run(scan, replace(random_models, segmentation=softer)).p_voxel
    inner = sharp > 0
    assert np.abs(soft - 0.5)[inner].mean() < np.abs(sharp - 0.5)[inner].mean()


def test_refuses_a_classifier_in_its_place(chest, random_models: Models) -> None:
    scan = chest()
    with pytest.raises(TrustError, match="no U-Net"):
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
    settings = SegmentConfig(precision="float32")
    actual = segment(
        scan,
        find_lungs(scan),
        random_models.segmentation,
        settings,
        torch.device("cuda"),
        lambda a, b: None,
    )
    np.testing.assert_allclose(actual.p_voxel, expected, atol=1e-3)
